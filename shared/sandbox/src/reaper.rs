//! The per-run supervisor. It has one thread, outlives its program, and tells how it ended.

use std::io::{self, Read as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{
    DumpableBehavior, Pid, PidfdFlags, Signal, WaitOptions, WaitStatus, getpid, getppid,
    kill_process, pidfd_open, set_child_subreaper, set_dumpable_behavior,
    set_parent_process_death_signal, waitpid,
};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};
use rustix::thread::set_no_new_privs;

use crate::apply::{Failure, become_program};
use crate::sys::process::{Fork, children_usage, default_signals, exit, fork};
use crate::sys::{identity, landlock};
use crate::tree::{self, Sample};
use crate::warden::{PATIENCE, Reach, end_all, pause, reap_one};
use crate::wire::{self, EndReason, Ended, Exit, Message, Stop};
use crate::{Limits, Policy};

/// How often a tree is looked at. A hog dirties some 30 MB in this time.
const WATCH_INTERVAL: Duration = Duration::from_millis(10);

/// The far ends that the spawner hands to a reaper.
pub(crate) struct Ends {
    pub(crate) control: OwnedFd,
    pub(crate) stdin: OwnedFd,
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
}

/// Supervises one run, from its policy to its end, and ends this process.
pub(crate) fn serve(ends: Ends) -> ! {
    let control = UnixStream::from(ends.control);
    let streams = [ends.stdin, ends.stdout, ends.stderr];
    // A server that is gone needs no answer: the run is over and cleaned up in any case.
    match run(&control, streams) {
        Ok(()) => exit(0),
        Err(_) => exit(1),
    }
}

fn run(control: &UnixStream, streams: [OwnedFd; 3]) -> io::Result<()> {
    let hello = Message::Hello { pid: getpid().as_raw_nonzero().get() };
    wire::send(control, &hello)?;
    let policy: Policy = wire::receive(control)?;
    set_child_subreaper(Some(getpid()))?;
    set_no_new_privs(true)?;
    let reach = enter_reach(&policy);
    let launched = launch(&policy, streams);
    // From here on the program cannot read us, whatever its user is.
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    match launched {
        Ok(program) => {
            let started = Instant::now();
            let told = wire::send(control, &Message::Started);
            let mut watch = Watch::new(program, started, policy.limits);
            let reason = match told {
                Ok(()) => watch.until_end(control),
                Err(_) => EndReason::Cancelled,
            };
            wire::send(control, &Message::Ended(watch.finish(reason, reach)))
        }
        Err(failure) => {
            end_all(reach);
            let Failure { step, errno } = failure;
            wire::send(control, &Message::Failed { step, errno })
        }
    }
}

/// Finds how the run can be killed whole, and enters the scope that makes the best way safe.
fn enter_reach(policy: &Policy) -> Reach {
    if policy.mechanisms.landlock_scope && landlock::enter_scope().is_ok() {
        return Reach::Scope;
    }
    match policy.uid {
        Some(uid) if policy.mechanisms.user_switch => Reach::User(uid),
        _ => Reach::Tree,
    }
}

/// Forks the program and waits until it was executed, or until a step failed.
fn launch(policy: &Policy, streams: [OwnedFd; 3]) -> Result<Pid, Failure> {
    let error = |step: &str, error: io::Error| Failure {
        step: step.to_owned(),
        errno: error.raw_os_error().unwrap_or_default(),
    };
    if let Some(uid) = policy.uid.filter(|_| identity::is_root()) {
        // A program may open its own streams again by name, as `/dev/stdin`, if it owns them.
        let owner = Some(rustix::fs::Uid::from_raw(uid));
        for stream in &streams {
            rustix::fs::fchown(stream, owner, None)
                .map_err(|it| error("hand over the streams", it.into()))?;
        }
    }
    let (failure_reader, failure_writer) =
        pipe_with(PipeFlags::CLOEXEC).map_err(|it| error("make a pipe", it.into()))?;
    let parent = getpid();
    match fork().map_err(|it| error("fork the program", it))? {
        Fork::Child => {
            let failure = match take_streams(parent, streams) {
                Ok(()) => become_program(policy),
                Err(it) => error("take over the streams", it),
            };
            let told = wire::send(
                std::fs::File::from(failure_writer),
                &Message::Failed { step: failure.step, errno: failure.errno },
            );
            exit(i32::from(told.is_err()));
        }
        Fork::Parent(program) => {
            drop((failure_writer, streams));
            // Nothing but the end of the pipe means that the program was executed.
            match wire::receive(std::fs::File::from(failure_reader)) {
                Ok(Message::Failed { step, errno }) => Err(Failure { step, errno }),
                Ok(_) | Err(_) => Ok(program),
            }
        }
    }
}

fn take_streams(parent: Pid, streams: [OwnedFd; 3]) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    if getppid() != Some(parent) {
        exit(1);
    }
    default_signals();
    let [stdin, stdout, stderr] = streams;
    dup2_stdin(stdin)?;
    dup2_stdout(stdout)?;
    dup2_stderr(stderr)?;
    Ok(())
}

/// One program under watch.
struct Watch {
    program: Pid,
    started: Instant,
    limits: Limits,
    exit: Option<Exit>,
    memory_peak: u64,
}

impl Watch {
    fn new(program: Pid, started: Instant, limits: Limits) -> Self {
        Self { program, started, limits, exit: None, memory_peak: 0 }
    }

    /// Watches until the program ends or has to be ended, and says why.
    fn until_end(&mut self, control: &UnixStream) -> EndReason {
        let handle = pidfd_open(self.program, PidfdFlags::empty()).ok();
        let deadline = self.started + Duration::from_millis(self.limits.wall_ms);
        let mut watch_at = self.started + WATCH_INTERVAL;
        loop {
            let now = Instant::now();
            self.reap();
            if self.exit.is_some() {
                return EndReason::Exited;
            }
            if now >= deadline {
                return EndReason::WallTime;
            }
            if now >= watch_at {
                if let Some(reason) = self.look() {
                    return reason;
                }
                watch_at = Instant::now() + WATCH_INTERVAL;
            }
            let pause = watch_at.min(deadline).saturating_duration_since(Instant::now());
            if let Some(reason) = wait_for_event(control, handle.as_ref(), pause) {
                return reason;
            }
        }
    }

    /// Takes the exit of the program, and orphans that ended.
    fn reap(&mut self) {
        while let Some((pid, status)) = reap_one() {
            if pid == self.program {
                self.exit = Some(exit_of(status));
            }
        }
    }

    /// Looks at the tree once; says why it must end, if it must.
    fn look(&mut self) -> Option<EndReason> {
        let processes = tree::below(getpid());
        let Sample { mut memory_bytes, cpu, processes: count } = tree::sample(&processes);
        if memory_bytes > self.limits.memory_bytes && count > 1 {
            // Pages that a fork shares were counted for each process.
            memory_bytes = tree::proportional_memory(&processes).unwrap_or(memory_bytes);
        }
        self.memory_peak = self.memory_peak.max(memory_bytes);
        if memory_bytes > self.limits.memory_bytes {
            return Some(EndReason::Memory);
        }
        let cpu = cpu + children_usage().0;
        (cpu > Duration::from_millis(self.limits.cpu_ms)).then_some(EndReason::CpuTime)
    }

    /// Kills what is left and adds up what the run spent.
    fn finish(mut self, reason: EndReason, reach: Reach) -> Ended {
        let wall = self.started.elapsed();
        self.end_program();
        let clean = end_all(reach);
        let (cpu, largest) = children_usage();
        Ended {
            exit: self.exit.unwrap_or(Exit::Signal(Signal::KILL.as_raw())),
            reason: self.reason_by_kernel(reason, cpu),
            wall_us: micros(wall),
            cpu_us: micros(cpu),
            memory_bytes: self.memory_peak.max(largest),
            clean,
        }
    }

    /// Kills the program before the rest goes, so that its own status is kept.
    fn end_program(&mut self) {
        if self.exit.is_some() || kill_process(self.program, Signal::KILL).is_err() {
            return;
        }
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            match waitpid(Some(self.program), WaitOptions::NOHANG) {
                Ok(None) => pause(Duration::from_micros(200)),
                Ok(Some((_, status))) => {
                    self.exit = Some(exit_of(status));
                    return;
                }
                Err(_) => return,
            }
        }
    }

    /// The kernel ends a process that used up its processor time before we look.
    fn reason_by_kernel(&self, reason: EndReason, cpu: Duration) -> EndReason {
        let spent = cpu >= Duration::from_millis(self.limits.cpu_ms);
        let by_kernel = [Signal::XCPU.as_raw(), Signal::KILL.as_raw()].map(Exit::Signal);
        let killed = self.exit.is_some_and(|exit| by_kernel.contains(&exit));
        if reason == EndReason::Exited && spent && killed { EndReason::CpuTime } else { reason }
    }
}

/// Waits for the program's end, a command, or `pause`. Says why the run must end, if it must.
fn wait_for_event(
    control: &UnixStream,
    program: Option<&OwnedFd>,
    pause: Duration,
) -> Option<EndReason> {
    let mut polled = vec![PollFd::new(control, PollFlags::IN)];
    if let Some(program) = program {
        polled.push(PollFd::from_borrowed_fd(program.as_fd(), PollFlags::IN));
    }
    let timeout = Timespec::try_from(pause).unwrap_or(Timespec { tv_sec: 0, tv_nsec: 1_000_000 });
    if poll(&mut polled, Some(&timeout)).is_err() {
        return None;
    }
    if polled.first().is_none_or(|it| it.revents().is_empty()) {
        return None;
    }
    let mut byte = [0];
    match (&mut &*control).read(&mut byte) {
        // The server is gone, or does not want the run any more.
        Ok(0) | Err(_) => Some(EndReason::Cancelled),
        Ok(_) => Stop::reason(u8::from_le_bytes(byte)),
    }
}

fn exit_of(status: WaitStatus) -> Exit {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, Some(signal)) => Exit::Signal(signal),
        (None, None) => Exit::Signal(Signal::KILL.as_raw()),
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
