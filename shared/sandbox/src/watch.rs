//! Watches one program until it ends or has to be ended.

use std::io::Read as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, WaitStatus, kill_process, kill_process_group, pidfd_open,
    waitpid,
};

use crate::Limits;
use crate::meter::Meter;
use crate::warden::{PATIENCE, Reach, end_all, pause, reap_one};
use crate::wire::{self, ASK_USAGE, EndReason, Ended, Exit, Message, Stop, Usage};

/// How often a tree is looked at. A hog dirties some 30 MB in this time.
const INTERVAL: Duration = Duration::from_millis(10);

/// One program under watch.
pub(crate) struct Watch<'a> {
    program: Pid,
    started: Instant,
    limits: Limits,
    meter: &'a Meter,
    exit: Option<Exit>,
    memory_peak: u64,
    /// Processor time when last looked at.
    cpu: Duration,
}

impl<'a> Watch<'a> {
    pub(crate) fn new(program: Pid, limits: Limits, meter: &'a Meter) -> Self {
        let (memory_peak, cpu) = (0, Duration::ZERO);
        Self { program, started: Instant::now(), limits, meter, exit: None, memory_peak, cpu }
    }

    /// Watches until the program ends or has to be ended, and says why.
    pub(crate) fn until_end(&mut self, control: &UnixStream) -> EndReason {
        let handle = pidfd_open(self.program, PidfdFlags::empty()).ok();
        let deadline = self.started + Duration::from_millis(self.limits.wall_ms);
        let mut watch_at = self.started + INTERVAL;
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
                watch_at = Instant::now() + INTERVAL;
            }
            let pause = watch_at.min(deadline).saturating_duration_since(Instant::now());
            match wait_for_event(control, handle.as_ref(), pause) {
                Some(Heard::Stop(reason)) => return reason,
                Some(Heard::Signal(signal)) => self.deliver(signal),
                Some(Heard::Asked) => {
                    if let Some(reason) = self.tell_usage(control) {
                        return reason;
                    }
                }
                None => {}
            }
        }
    }

    /// Sends a signal to the program and to those of its processes that stayed in its group.
    /// Only this process reaps it, and has not yet, so the group's number is still the program's.
    fn deliver(&self, signal: wire::Signal) {
        let signal = match signal {
            wire::Signal::Interrupt => Signal::INT,
            wire::Signal::Terminate => Signal::TERM,
            wire::Signal::Kill => Signal::KILL,
        };
        // It may have ended meanwhile.
        kill_process_group(self.program, signal).unwrap_or_default();
    }

    /// Takes the exit of the program, and orphans that ended.
    fn reap(&mut self) {
        while let Some((pid, status)) = reap_one() {
            if pid == self.program {
                self.exit = Some(exit_of(status));
            }
        }
    }

    /// Looks at the run once; says why it must end, if it must.
    fn look(&mut self) -> Option<EndReason> {
        let spent = self.meter.look(self.limits.memory_bytes);
        self.memory_peak = self.memory_peak.max(spent.memory_bytes);
        self.cpu = spent.cpu;
        // A group's peak may touch its bound without anybody being killed for it.
        let too_much = !self.meter.is_exact() && spent.memory_bytes > self.limits.memory_bytes;
        if too_much || spent.out_of_memory {
            return Some(EndReason::Memory);
        }
        (spent.cpu > Duration::from_millis(self.limits.cpu_ms)).then_some(EndReason::CpuTime)
    }

    /// Tells the server what the run has spent so far; says why it must end, if it must.
    fn tell_usage(&mut self, control: &UnixStream) -> Option<EndReason> {
        let reason = self.look();
        let usage = Usage {
            wall_us: micros(self.started.elapsed()),
            cpu_us: micros(self.cpu),
            memory_bytes: self.memory_peak,
            processes: self.meter.count(),
        };
        let is_told = wire::send(control, &Message::Usage(usage)).is_ok();
        reason.or((!is_told).then_some(EndReason::Cancelled))
    }

    /// Kills what is left and adds up what the run spent.
    pub(crate) fn finish(mut self, reason: EndReason, reach: Reach) -> Ended {
        let wall = self.started.elapsed();
        self.end_program();
        let clean = end_all(reach, Some(self.program)) && self.meter.is_alone();
        let total = self.meter.total();
        let reason = match reason {
            EndReason::Exited if total.out_of_memory => EndReason::Memory,
            reason => self.reason_by_kernel(reason, total.cpu),
        };
        Ended {
            exit: self.exit.unwrap_or(Exit::Signal(Signal::KILL.as_raw())),
            reason,
            wall_us: micros(wall),
            cpu_us: micros(total.cpu),
            memory_bytes: self.memory_peak.max(total.memory_bytes),
            exact: self.meter.is_exact(),
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

/// What the server says while a program runs.
enum Heard {
    /// The run must end, for this reason.
    Stop(EndReason),
    /// The program is to get a signal.
    Signal(wire::Signal),
    /// What was spent so far is to be told.
    Asked,
}

/// Waits for the program's end, a word of the server, or `pause`. Returns the word, if there is one.
fn wait_for_event(
    control: &UnixStream,
    program: Option<&OwnedFd>,
    pause: Duration,
) -> Option<Heard> {
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
        Ok(0) | Err(_) => Some(Heard::Stop(EndReason::Cancelled)),
        Ok(_) => {
            let byte = u8::from_le_bytes(byte);
            if byte == ASK_USAGE {
                return Some(Heard::Asked);
            }
            Stop::reason(byte).map(Heard::Stop).or(wire::Signal::of(byte).map(Heard::Signal))
        }
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
