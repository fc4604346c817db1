//! Many checks against one server, each with a sentence for a name.

use std::fmt::Debug;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use anyhow::{Result, ensure};
use futures::future::{FutureExt as _, LocalBoxFuture};
use futures::stream::StreamExt as _;

/// No check takes longer, or its server hangs.
const CHECK_PATIENCE: Duration = Duration::from_mins(3);

/// Checks that have not been made yet.
#[derive(Default)]
pub(crate) struct Checks<'a> {
    list: Vec<(String, LocalBoxFuture<'a, Result<()>>)>,
}

impl<'a> Checks<'a> {
    /// Adds one.
    pub(crate) fn add(
        &mut self,
        name: impl Into<String>,
        check: impl Future<Output = Result<()>> + 'a,
    ) {
        self.list.push((name.into(), check.boxed_local()));
    }

    /// Adds those of another subject.
    pub(crate) fn extend(&mut self, others: Self) {
        self.list.extend(others.list);
    }

    /// Makes all of them, `at_once` at a time, and fails with the sentences that do not hold.
    pub(crate) async fn make(self, subject: &str, at_once: usize) {
        let count = self.list.len();
        let made = self.list.into_iter().map(|(name, check)| async move {
            let caught = AssertUnwindSafe(check).catch_unwind();
            let fault = match tokio::time::timeout(CHECK_PATIENCE, caught).await {
                Ok(Ok(Ok(()))) => return None,
                Ok(Ok(Err(error))) => format!("{error:#}"),
                Ok(Err(panic)) => words_of(&*panic),
                Err(_) => "it takes too long".to_owned(),
            };
            println!("FAILED: {name}: {fault}");
            Some(format!("- {name}: {fault}"))
        });
        let results: Vec<Option<String>> =
            futures::stream::iter(made).buffer_unordered(at_once).collect().await;
        let faults: Vec<String> = results.into_iter().flatten().collect();
        println!("{subject}: {} of {count} checks hold", count - faults.len());
        assert!(faults.is_empty(), "{subject}:\n{}", faults.join("\n"));
    }
}

/// Fails unless both are equal.
pub(crate) fn same<T: PartialEq + Debug>(what: &str, got: &T, expected: &T) -> Result<()> {
    ensure!(got == expected, "{what} is {}, not {}", short(got), short(expected));
    Ok(())
}

/// A value for people: what is long is cut.
pub(crate) fn short(value: &impl Debug) -> String {
    const CHARS_MAX: usize = 1500;
    let text = format!("{value:?}");
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}… ({} bytes)", &text[..end], text.len()),
        None => text,
    }
}

/// Waits until `holds` does, and fails if that takes too long.
pub(crate) async fn eventually(
    what: &str,
    patience: Duration,
    mut holds: impl AsyncFnMut() -> bool,
) -> Result<()> {
    let waited = tokio::time::timeout(patience, async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    ensure!(waited.await.is_ok(), "{what}: not within {patience:?}");
    Ok(())
}

fn words_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("it panicked: {}", text.unwrap_or("without a word"))
}
