//! A process that was executed and confined before its program is known. It makes itself ready,
//! says so, hears of exactly one program, and is never used again.
//!
//! What it hears, and how, is in [`message`]: a handful of lines in any language can read it.

use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

use crate::apply::Failure;
use crate::meter::{Baseline, Meter};
use crate::plan::{CountedWith, counted_with, limits};
use crate::starter::Starter;
use crate::sys::identity::current_uid;
use crate::sys::limits::tighten;
use crate::{Assignment, CellSpec, Policy};

/// A process that waits for its program. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct WarmProcess {
    /// None once it was told.
    process: Option<Pid>,
    line: UnixStream,
    baseline: Baseline,
}

/// What a process says once it is ready.
const READY: u8 = b'r';

/// How long a waiting process may take to hear of its program.
const PATIENCE: Duration = Duration::from_secs(5);

impl WarmProcess {
    /// Starts the process of `policy`, and waits until it says that it is ready, or for as long as
    /// the policy's wall clock lets it.
    pub(crate) fn start(
        starter: Starter,
        policy: &Policy,
        mut streams: Vec<OwnedFd>,
        meter: &Meter,
    ) -> Result<Self, Failure> {
        let (line, far) = UnixStream::pair().map_err(|it| failed(&it))?;
        line.set_write_timeout(Some(PATIENCE)).map_err(|it| failed(&it))?;
        streams.push(OwnedFd::from(far));
        let process = starter.start(policy, streams)?;
        let mut warm = Self { process: Some(process), line, baseline: Baseline::default() };
        let deadline = Instant::now() + Duration::from_millis(policy.limits.wall_ms);
        warm.until_ready(deadline).map_err(|it| failed(&it))?;
        warm.baseline = meter.baseline(process);
        Ok(warm)
    }

    /// Memory that it has in use, and that is not its program's, in bytes.
    pub(crate) fn baseline_bytes(&self) -> u64 {
        self.baseline.memory_bytes
    }

    fn until_ready(&mut self, deadline: Instant) -> io::Result<()> {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
        let mut polled = [PollFd::new(&self.line, PollFlags::IN)];
        if poll(&mut polled, Some(&timeout))? == 0 {
            return Err(io::Error::other("it does not become ready"));
        }
        let mut byte = [0];
        match self.line.read(&mut byte)? {
            1 if byte == [READY] => Ok(()),
            _ => Err(io::Error::other("it ended before it was ready")),
        }
    }

    /// Tells it what it is to do, and lets it have what the assignment says from now on. None if it
    /// is gone: then nothing of the program ran.
    pub(crate) fn hand_over(
        mut self,
        assignment: &Assignment,
        spec: &CellSpec,
        meter: &mut Meter,
    ) -> Result<Option<Pid>, Failure> {
        let Some(process) = self.process else { return Ok(None) };
        if !matches!(waitpid(Some(process), WaitOptions::NOHANG), Ok(None)) {
            self.process = None;
            return Ok(None);
        }
        self.baseline = self.baseline.now(process);
        meter.begin(self.baseline);
        self.confine(process, assignment, spec, meter)?;
        let told = self.line.write_all(&message(assignment));
        match told.and_then(|()| self.line.shutdown(Shutdown::Both)) {
            Ok(()) => {
                self.process = None;
                Ok(Some(process))
            }
            Err(_) => Ok(None),
        }
    }

    /// Takes away what it was given to become ready.
    fn confine(
        &self,
        process: Pid,
        assignment: &Assignment,
        spec: &CellSpec,
        meter: &Meter,
    ) -> Result<(), Failure> {
        let step = |it: io::Error| Failure::of("set the limits of the program", &it);
        let mapped = self.baseline.mapped;
        let mut allowed = assignment.limits;
        allowed.cpu_ms = allowed.cpu_ms.saturating_add(millis(self.baseline.cpu));
        allowed.data_bytes = allowed.data_bytes.saturating_add(mapped.data_bytes);
        allowed.address_space_bytes =
            allowed.address_space_bytes.map(|it| it.saturating_add(mapped.bytes));
        let others = match counted_with(spec) {
            CountedWith::Nobody => 0,
            CountedWith::Supervisor => 1,
            CountedWith::OthersOfItsUser { soon } => {
                let processes = meter.processes();
                processes.tasks_of(current_uid(), meter.first_child()).saturating_add(soon)
            }
        };
        let most = allowed.processes.saturating_add(others);
        tighten(process, spec.slot_user(), &limits(&allowed), most).map_err(step)
    }
}

impl Drop for WarmProcess {
    fn drop(&mut self) {
        if let Some(process) = self.process {
            kill_process(process, Signal::KILL).unwrap_or_default();
            waitpid(Some(process), WaitOptions::empty()).unwrap_or_default();
        }
    }
}

/// What a waiting process reads, to its end: fields that each end with a NUL. The number of words,
/// the words, the number of variables, and those as `NAME=value`.
fn message(assignment: &Assignment) -> Vec<u8> {
    let Assignment { words, env, .. } = assignment;
    let mut message = Vec::new();
    let mut add = |field: &str| {
        message.extend_from_slice(field.as_bytes());
        message.push(0);
    };
    add(&words.len().to_string());
    for word in words {
        add(word);
    }
    add(&env.len().to_string());
    for (name, value) in env {
        add(&format!("{name}={value}"));
    }
    message
}

fn failed(error: &io::Error) -> Failure {
    Failure::of("make a process ready", error)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests::policy;

    #[test]
    fn a_message_counts_its_fields() {
        let assignment = Assignment {
            words: vec!["main".to_owned(), String::new()],
            env: vec![("A".to_owned(), "b=c".to_owned())],
            limits: policy().limits,
        };
        assert_eq!(message(&assignment), b"2\0main\0\x001\0A=b=c\0");
    }
}
