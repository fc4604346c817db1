//! Finds executors: the programs `executor-*` beside this one, which describe themselves.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde::Deserialize;

use super::process;

/// How long a program may take to describe itself.
const DESCRIBE_TIMEOUT: Duration = Duration::from_secs(10);

/// What an executor says of itself without being started (`--describe`).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Description {
    /// Its name, after `executor-`.
    pub(crate) name: String,
    /// Its port when nothing names another.
    pub(crate) port: u16,
    /// The languages it runs.
    pub(crate) languages: Vec<String>,
}

/// An executor that could be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// The program.
    pub(crate) program: PathBuf,
    /// What it says.
    pub(crate) description: Description,
}

/// The executors in `directory` in the order of their ports, and why others there are none.
pub(crate) async fn find(directory: &Path) -> anyhow::Result<(Vec<Candidate>, Vec<String>)> {
    let entries = std::fs::read_dir(directory)
        .with_context(|| format!("cannot list {}", directory.display()))?;
    let mut programs: Vec<PathBuf> =
        entries.filter_map(|it| Some(it.ok()?.path())).filter(|it| is_executor(it)).collect();
    programs.sort();
    let (mut candidates, mut failures) = (Vec::new(), Vec::new());
    for program in programs {
        match describe(&program).await {
            Ok(description) => candidates.push(Candidate { program, description }),
            Err(error) => failures.push(format!("{}: {error:#}", program.display())),
        }
    }
    candidates.sort_by_key(|it| (it.description.port, it.description.name.clone()));
    Ok((candidates, failures))
}

/// Keeps the executors that `only` names, by their own names or by those of languages. No name
/// at all keeps all.
pub(crate) fn select(
    candidates: Vec<Candidate>,
    only: &[String],
) -> anyhow::Result<Vec<Candidate>> {
    let is_called = |it: &Candidate, name: &String| {
        it.description.name == *name || it.description.languages.contains(name)
    };
    if let Some(name) = only.iter().find(|name| !candidates.iter().any(|it| is_called(it, name))) {
        let names: Vec<&str> = candidates.iter().map(|it| it.description.name.as_str()).collect();
        bail!("there is no executor `{name}`; there are {}", names.join(", "));
    }
    let wanted = |it: &Candidate| only.is_empty() || only.iter().any(|name| is_called(it, name));
    Ok(candidates.into_iter().filter(wanted).collect())
}

fn is_executor(path: &Path) -> bool {
    let named = path.file_name().and_then(|it| it.to_str());
    named.is_some_and(|it| it.starts_with("executor-") && !it.contains('.')) && path.is_file()
}

async fn describe(program: &Path) -> anyhow::Result<Description> {
    let words = [program.display().to_string(), "--describe".to_owned()];
    let output = process::output(&words, &[], Path::new("/"), DESCRIBE_TIMEOUT).await?;
    if !output.status.success() {
        bail!("`--describe`: {}: {}", output.status, crate::http::head(&output.stderr).trim());
    }
    serde_json::from_slice(&output.stdout).context("`--describe` prints no description; build it")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(name: &str, languages: &[&str]) -> Candidate {
        let languages = languages.iter().map(|it| (*it).to_owned()).collect();
        let description = Description { name: name.to_owned(), port: 1, languages };
        Candidate { program: PathBuf::from(name), description }
    }

    fn check(only: &[&str], expected: Option<&[&str]>) {
        let candidates = vec![candidate("a", &["a", "a2"]), candidate("b", &["b"])];
        let only: Vec<String> = only.iter().map(|it| (*it).to_owned()).collect();
        let selected = select(candidates, &only).ok();
        let names: Option<Vec<String>> =
            selected.map(|it| it.into_iter().map(|it| it.description.name).collect());
        assert_eq!(
            names.as_deref().map(|it| it.iter().map(String::as_str).collect()),
            expected.map(<[&str]>::to_vec)
        );
    }

    #[test]
    fn an_executor_is_selected_by_its_name_or_a_language() {
        check(&[], Some(&["a", "b"]));
        check(&["b"], Some(&["b"]));
        check(&["a2", "b"], Some(&["a", "b"]));
        check(&["a", "c"], None);
    }
}
