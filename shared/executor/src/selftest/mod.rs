//! The self-test: at boot and every hour, hostile programs of the executor's own languages run as
//! every run does, and what came of their attempts is looked at from outside.
//!
//! Invariant: while a promise is known to be broken, no runs are taken.
//!
//! The probes of boot are not made again: they are processes that would have to be told from the
//! orphans that the spawner's keeper kills, and they show less than a run that tries to get out.

mod attack;
mod standing;
mod traps;
mod verdict;

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use protocol::SelfTestReport;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::core::Core;
use attack::Attack;
use verdict::{Attempt, Outcome};

pub(crate) use standing::Standing;

/// How often a self-test is begun at boot before it counts as impossible.
const BOOT_ROUNDS_MAX: usize = 3;

/// Longest time to the next self-test after one that failed or could not be made.
const RETRY: Duration = Duration::from_secs(30);

/// Every hostile program on every runtime once.
#[derive(Debug)]
struct Round {
    report: SelfTestReport,
    verdict: Verdict,
}

/// What a round shows.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    /// Every promise held.
    Held,
    /// Something that is promised was got around.
    Broken(String),
    /// It did not come to an end; nothing was got around as far as it went.
    Unproven(String),
}

/// Tests for the first time. The error says which attempt got through.
pub(crate) async fn at_boot(core: &Arc<Core>) -> anyhow::Result<()> {
    let languages = core.spec.languages.len();
    anyhow::ensure!(
        core.language.hostile.len() >= languages,
        "each of the {languages} languages needs a hostile program for the self-test"
    );
    let (_never, stop) = watch::channel(false);
    let mut last = String::new();
    for _ in 0..BOOT_ROUNDS_MAX {
        let round = round(core, &stop).await;
        let verdict = round.verdict.clone();
        core.standing.note(round, Instant::now());
        match verdict {
            Verdict::Held => return Ok(()),
            Verdict::Broken(what) => anyhow::bail!(
                "the self-test failed: {what}. This is said to be enforced here and is not, so \
                 nothing is served: look for what opens the jail (a mount, a link or a toolchain \
                 whose directory holds more than it should, an outer filter), and report it if \
                 there is nothing of the kind"
            ),
            Verdict::Unproven(why) => last = why,
        }
    }
    anyhow::bail!(
        "the self-test could not be made: {last}. Nothing is served that is not proven: the log \
         says more"
    )
}

/// The self-tests after boot.
#[derive(Debug)]
pub(crate) struct Rounds {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Rounds {
    /// Tests every `period` from now on.
    pub(crate) fn start(core: Arc<Core>, period: Duration) -> Self {
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(keep_testing(core, period, stopped));
        Self { stop, task }
    }

    /// Ends them. One that is under way is cancelled, as a run is.
    pub(crate) async fn stop(self) {
        self.stop.send_replace(true);
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the self-tests ended before their time");
        }
    }
}

async fn keep_testing(core: Arc<Core>, period: Duration, mut stop: watch::Receiver<bool>) {
    let mut pause = period;
    loop {
        // Either end of the wait is the end of the tests: a wish, or nobody who could have one.
        if tokio::time::timeout(pause, stop.changed()).await.is_ok() {
            return;
        }
        let round = round(&core, &stop).await;
        if *stop.borrow() {
            return;
        }
        pause = match &round.verdict {
            Verdict::Held => period,
            Verdict::Broken(_) | Verdict::Unproven(_) => period.min(RETRY),
        };
        core.standing.note(round, Instant::now());
    }
}

/// Lets every hostile program loose on every runtime, one after the other.
async fn round(core: &Arc<Core>, stop: &watch::Receiver<bool>) -> Round {
    let started = Instant::now();
    let mut attempts = Vec::new();
    let mut unproven = None;
    for (index, runtime) in core.runtimes.iter().enumerate() {
        for hostile in core.language.hostile {
            let attack = Attack { core, runtime: index, hostile, stop };
            match attack.make().await {
                Ok(seen) => {
                    let who = format!("{} {}", seen.language, runtime.toolchain.version);
                    attempts.extend(verdict::judge(&who, &seen, &core.isolation.guarantees));
                }
                Err(reason) => {
                    unproven.get_or_insert(reason);
                }
            }
        }
    }
    let verdict = conclude(&attempts, unproven);
    let report = SelfTestReport {
        passed: verdict == Verdict::Held,
        time: Timestamp::now().to_string(),
        duration_ms: started.elapsed().as_secs_f64() * 1000.0,
        results: attempts.into_iter().map(|it| it.result).collect(),
    };
    Round { report, verdict }
}

/// What the attempts show together: one that got through outweighs whatever could not be tried.
fn conclude(attempts: &[Attempt], unproven: Option<String>) -> Verdict {
    let told = |wanted: Outcome| {
        let those = attempts.iter().filter(|it| it.result.promised && it.outcome == wanted);
        let told: Vec<String> = those.map(Attempt::told).collect();
        (!told.is_empty()).then(|| told.join("; "))
    };
    if let Some(broken) = told(Outcome::GotThrough) {
        return Verdict::Broken(broken);
    }
    match unproven.or_else(|| told(Outcome::NotMade)) {
        Some(reason) => Verdict::Unproven(reason),
        None => Verdict::Held,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::SelfTestResult;

    fn attempt(outcome: Outcome, promised: bool) -> Attempt {
        let result = SelfTestResult {
            name: "files (x 1)".to_owned(),
            promised,
            passed: outcome == Outcome::Held,
            detail: Some("it got through".to_owned()),
        };
        Attempt { result, outcome }
    }

    #[track_caller]
    fn check(attempts: &[Attempt], unproven: Option<&str>, expected: &Verdict) {
        assert_eq!(conclude(attempts, unproven.map(str::to_owned)), *expected);
    }

    #[test]
    fn one_attempt_that_got_through_breaks_the_promise() {
        let broken = Verdict::Broken("files (x 1): it got through".to_owned());
        let both = [attempt(Outcome::Held, true), attempt(Outcome::GotThrough, true)];
        check(&both, None, &broken);
        check(&both, Some("no slot"), &broken);
    }

    #[test]
    fn what_is_not_promised_breaks_nothing() {
        check(&[attempt(Outcome::GotThrough, false)], None, &Verdict::Held);
        check(&[attempt(Outcome::NotMade, false)], None, &Verdict::Held);
    }

    #[test]
    fn what_was_not_tried_proves_nothing() {
        let unproven = |why: &str| Verdict::Unproven(why.to_owned());
        check(&[attempt(Outcome::Held, true)], Some("no slot"), &unproven("no slot"));
        check(&[attempt(Outcome::NotMade, true)], None, &unproven("files (x 1): it got through"));
    }
}
