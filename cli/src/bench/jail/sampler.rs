//! A process that takes samples of one level: it has a spawner, and answers every line on its
//! standard input with one sample. It ends when its input does.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use sandbox::{Cell, Cgroups, EndReason, Ended, Exit, Grounds, Message, Policy, Spawner};
use serde::{Deserialize, Serialize};

use super::rungs::Task;
use crate::fleet::process;

/// The command that is such a process; nobody else calls it.
pub(crate) const JAIL_SAMPLER: &str = "jail-sampler";

/// How long a cell gets to come to rest, and to go away again, outside of what is measured.
const REST: Duration = Duration::from_millis(4);

/// One run.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Sample {
    /// From asking for a cell to having it, in microseconds.
    pub(super) cell_us: f64,
    /// From asking for the program to knowing its end.
    pub(super) run_us: f64,
}

/// A sample, or why there is none.
type Answer = Result<Sample, String>;

/// The handle to such a process. Dropping it ends the process.
#[derive(Debug)]
pub(super) struct Sampler {
    process: Child,
    requests: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Sampler {
    /// Starts it.
    pub(super) fn start(task: &Task) -> anyhow::Result<Self> {
        let mut process = process::without_runtime("/proc/self/exe".as_ref())
            .arg(JAIL_SAMPLER)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut requests = process.stdin.take().context("no pipe to the sampler")?;
        let answers = BufReader::new(process.stdout.take().context("no pipe from the sampler")?);
        writeln!(requests, "{}", serde_json::to_string(task)?)?;
        Ok(Self { process, requests: Some(requests), answers })
    }

    /// Has it take one sample.
    pub(super) fn sample(&mut self) -> anyhow::Result<Sample> {
        // If it is gone, the answer says so.
        self.requests.as_mut().map_or(Ok(()), |it| writeln!(it)).unwrap_or_default();
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        if line.is_empty() {
            bail!("the sampler ended without a word");
        }
        serde_json::from_str::<Answer>(&line)?.map_err(anyhow::Error::msg)
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        drop(self.requests.take());
        if self.process.wait().is_err() {
            // Somebody else reaped it.
        }
    }
}

/// Is such a process. Must be called while there is one thread.
pub(crate) fn sample_jail() -> anyhow::Result<()> {
    let mut lines = io::stdin().lines();
    let task: Task = serde_json::from_str(&lines.next().context("nothing to do")??)?;
    let spawner = start(&task);
    for line in lines {
        line?;
        let answer: Answer = match &spawner {
            Ok(spawner) => sample(spawner, &task).map_err(|it| format!("{it:#}")),
            Err(error) => Err(format!("{error:#}")),
        };
        let mut stdout = io::stdout().lock();
        writeln!(stdout, "{}", serde_json::to_string(&answer)?)?;
    }
    Ok(())
}

fn start(task: &Task) -> anyhow::Result<Spawner> {
    let cgroups = task.cell.mechanisms.cgroup.then(Cgroups::claim).transpose();
    let cgroups = cgroups.map_err(anyhow::Error::msg)?;
    Ok(Spawner::start(Grounds { foundation: task.foundation.clone(), cgroups })?)
}

fn sample(spawner: &Spawner, task: &Task) -> anyhow::Result<Sample> {
    let began = Instant::now();
    let mut cell = spawner.cell(&task.cell)?;
    cell.limit(task.policy.limits)?;
    let cell_us = microseconds(began);
    pause();
    let began = Instant::now();
    let ended = run(&mut cell, &task.policy)?;
    let run_us = microseconds(began);
    drop(cell);
    pause();
    if ended.reason != EndReason::Exited || ended.exit != Exit::Code(0) || !ended.clean {
        bail!("the program did not end well: {ended:?}");
    }
    Ok(Sample { cell_us, run_us })
}

/// Runs the program to its end, and reads what it wrote to the end.
fn run(cell: &mut Cell, policy: &Policy) -> anyhow::Result<Ended> {
    let running = cell.launch(policy)?;
    drop(running.stdin);
    let ended = until_end(running.control)?;
    for stream in [running.stdout, running.stderr] {
        read_to_end(stream)?;
    }
    Ok(ended)
}

fn until_end(mut control: UnixStream) -> anyhow::Result<Ended> {
    let mut buffer = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        match Message::decode(&mut buffer)? {
            Some(Message::Ended(ended)) => return Ok(ended),
            Some(Message::Failed { step, errno }) => bail!("step `{step}`: error {errno}"),
            Some(_) => {}
            None => match control.read(&mut chunk)? {
                0 => bail!("the supervisor died"),
                count => buffer.extend_from_slice(chunk.get(..count).unwrap_or_default()),
            },
        }
    }
}

fn read_to_end(stream: OwnedFd) -> io::Result<()> {
    File::from(stream).read_to_end(&mut Vec::new())?;
    Ok(())
}

/// Microseconds since then.
pub(super) fn microseconds(began: Instant) -> f64 {
    began.elapsed().as_secs_f64() * 1e6
}

/// Waits a moment before something is measured.
#[expect(clippy::disallowed_methods, reason = "no runtime thread: the process does nothing else")]
pub(super) fn pause() {
    std::thread::sleep(REST);
}
