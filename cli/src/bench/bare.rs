//! Runs programs without us: by the commands that somebody would type into a shell.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use tempfile::TempDir;

use super::programs::Program;
use crate::fleet::{self, process};
use crate::http;

/// How long one command may take.
const COMMAND_MAX: Duration = Duration::from_mins(2);

/// Where bare toolchains work; gone with all in it when this is dropped.
#[derive(Debug)]
pub(crate) struct Workshop {
    scratch: TempDir,
    environment: Vec<(String, String)>,
}

/// Where a program runs bare, and how.
#[derive(Debug)]
pub(crate) struct Site<'a> {
    /// What runs: the program itself, or another in its stead.
    pub(crate) program: &'a Program,
    directory: PathBuf,
    commands: Vec<Vec<String>>,
}

impl Workshop {
    pub(crate) fn make(checkout: &Path) -> anyhow::Result<Self> {
        let found = fleet::toolchain_directories(checkout);
        let path = settings::path_directories().into_iter().chain(found);
        let path: Vec<String> = path.map(|it| it.display().to_string()).collect();
        let scratch = tempfile::Builder::new().prefix("flotilla-bench-").tempdir()?;
        let environment = vec![
            ("PATH".to_owned(), path.join(":")),
            // A compiler that is killed leaves its temporary files.
            ("TMPDIR".to_owned(), scratch.path().display().to_string()),
        ];
        Ok(Self { scratch, environment })
    }

    /// Removes it, when nobody works there any longer.
    pub(crate) fn clear(self) -> anyhow::Result<()> {
        let path = self.scratch.path().to_owned();
        self.scratch.close().with_context(|| format!("cannot remove {}", path.display()))
    }

    /// Makes a place for a worker's bare runs of a program, at the `version` that the fleet runs,
    /// or the comparison would be of two others. Where its toolchain is not installed, its floor
    /// runs in its stead.
    pub(crate) async fn site<'a>(
        &self,
        program: &'a Program,
        version: &str,
        worker: usize,
    ) -> anyhow::Result<Site<'a>> {
        match (self.own_site(program, version, worker).await, program.floor()) {
            (Ok(site), _) => Ok(site),
            (Err(_), Some(floor)) => self.own_site(floor, version, worker).await,
            (Err(error), None) => Err(error),
        }
    }

    async fn own_site<'a>(
        &self,
        program: &'a Program,
        version: &str,
        worker: usize,
    ) -> anyhow::Result<Site<'a>> {
        let name = format!("{}-{}-{worker}", program.language, program.name);
        let directory = self.scratch.path().join(name);
        std::fs::create_dir_all(&directory)?;
        let mut places = BTreeMap::from([("dir".to_owned(), directory.display().to_string())]);
        for (name, words) in program.programs() {
            let words: Vec<String> =
                words.iter().map(|word| word.replace("{version}", version)).collect();
            let place = self.output(&words, &directory).await.unwrap_or_default();
            let place = String::from_utf8_lossy(&place).trim().to_owned();
            if place.is_empty() {
                bail!("no {name} for it is installed");
            }
            places.insert(name.clone(), place);
        }
        let commands = program.bare(&places);
        if commands.is_empty() {
            bail!("there is no bare toolchain to compare with");
        }
        Ok(Site { program, directory, commands })
    }

    /// Milliseconds from the first command's start to the last one's end; `number` makes the
    /// source one of its own.
    pub(crate) async fn run(&self, site: &Site<'_>, number: u64) -> anyhow::Result<f64> {
        let Site { program, directory, commands } = site;
        std::fs::write(program.entry(directory), program.source(number))?;
        let began = Instant::now();
        let mut printed = Vec::new();
        for words in commands {
            printed = self.output(words, directory).await?;
        }
        let ms = began.elapsed().as_secs_f64() * 1000.0;
        if printed != program.expected().as_bytes() {
            bail!("printed {:?}", http::head(&printed));
        }
        Ok(ms)
    }

    /// What a command prints, which must succeed.
    async fn output(&self, words: &[String], directory: &Path) -> anyhow::Result<Vec<u8>> {
        let output = process::output(words, &self.environment, directory, COMMAND_MAX).await?;
        if !output.status.success() {
            bail!("`{}`: {}: {}", words.join(" "), output.status, http::head(&output.stderr));
        }
        Ok(output.stdout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn check(program: &Program, expected: Result<&str, &str>) {
        let workshop = Workshop::make(Path::new("/")).unwrap();
        let site = workshop.site(program, "1", 0).await;
        let came = match &site {
            Ok(site) => workshop.run(site, 7).await.map(|_| site.program.name.as_str()),
            Err(error) => Err(anyhow::anyhow!("{error:#}")),
        };
        let came = came.map_err(|it| it.to_string());
        assert_eq!(came.as_deref().map_err(String::as_str), expected);
    }

    #[tokio::test]
    async fn a_program_runs_bare_or_its_floor_in_its_stead() {
        let text = |programs: &str, rest: &str| {
            format!(
                "expected = \"1\\n\"\nentry = \"main.a\"\nbare = [[\"{{run}}\", \"{{dir}}/main.a\"]]\n\
                 programs = {{ run = [\"sh\", \"-c\", \"{programs}\"] }}\n{rest}\n\
                 [body]\nlanguage = \"alpha\"\ncode = \"echo 1\"\n"
            )
        };
        let found = text("command -v sh", "");
        let [low] = &Program::all(&[("low", &found)])[..] else { panic!("one program") };
        check(low, Ok("low")).await;
        let missing = text("command -v no-such-program", "");
        let [high] = &Program::all(&[("high", &missing)])[..] else { panic!("one program") };
        check(high, Err("no run for it is installed")).await;
        let missing = text("command -v no-such-program", "floor = \"low\"");
        let both = Program::all(&[("high", &missing), ("low", &found)]);
        check(&both[0], Ok("low")).await;
    }
}
