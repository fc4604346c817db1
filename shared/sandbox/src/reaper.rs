//! The supervisor of one cell. It has one thread, makes the cell, outlives each program in it,
//! and tells how it ended.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::process::{DumpableBehavior, Pid, getpid, set_child_subreaper, set_dumpable_behavior};
use rustix::thread::set_no_new_privs;

use crate::apply::Failure;
use crate::cell::CellRequest;
use crate::meter::Meter;
use crate::starter::Starter;
use crate::sys::landlock;
use crate::sys::namespaces::{hide_cgroups, keep_user};
use crate::sys::process::exit;
use crate::view::{self, Foundation};
use crate::warden::{Reach, end_all};
use crate::warm::WarmProcess;
use crate::watch::Watch;
use crate::wire::{self, EndReason, Message, Order};
use crate::zygote::Becomes;
use crate::{Assignment, CellSpec, Limits, Policy};

/// What the reaper of a cell keeps of it.
struct Cell<'a> {
    spec: CellSpec,
    reach: Reach,
    meter: Meter,
    becomes: Becomes<'a>,
    /// What becomes the first program.
    waiting: Waiting,
}

/// The process of a cell that waits, as far as there is one.
enum Waiting {
    Nobody,
    /// For a policy.
    Starter(Starter),
    /// For what it is to do.
    Warm(WarmProcess),
}

/// What a reaper has around it that is the first process of its own namespaces.
#[derive(Debug, Clone)]
pub(crate) struct Apart {
    /// What the tree of its runs was begun with.
    pub(crate) foundation: Foundation,
    /// User and group to be kept, where the user namespace is its own too.
    pub(crate) user: Option<(u32, u32)>,
}

/// Makes a cell, runs in it what the server asks for until that closes the socket, and ends this
/// process.
pub(crate) fn serve(control: OwnedFd, apart: Option<&Apart>, becomes: Becomes<'_>) -> ! {
    let control = UnixStream::from(control);
    // A server that is gone needs no answer: the runs are over and cleaned up in any case.
    match supervise(&control, apart, becomes) {
        Ok(()) => exit(0),
        Err(_) => exit(1),
    }
}

fn supervise(control: &UnixStream, apart: Option<&Apart>, becomes: Becomes<'_>) -> io::Result<()> {
    let Some((request, _)) = wire::receive_with::<CellRequest>(control)? else { return Ok(()) };
    let (mut cell, files) = match make(request, control, apart, becomes) {
        Ok(made) => made,
        Err(Failure { step, errno }) => {
            return wire::send(control, &Message::Failed { step, errno });
        }
    };
    let handles: Vec<_> = files.iter().map(|it| it.as_fd()).collect();
    wire::send_with(control, &Message::Ready { baseline_bytes: 0 }, &handles)?;
    drop(files);
    while let Some((order, streams)) = wire::receive_with::<Order>(control)? {
        wire::send(control, &cell.obey(order, streams, control)?)?;
    }
    Ok(())
}

/// Makes everything that a run needs around it before it is known.
fn make<'a>(
    request: CellRequest,
    control: &UnixStream,
    apart: Option<&Apart>,
    becomes: Becomes<'a>,
) -> Result<(Cell<'a>, Option<OwnedFd>), Failure> {
    let CellRequest { spec, group } = request;
    let failed = |step: &'static str| move |error: io::Error| Failure::of(step, &error);
    if let Some((uid, gid)) = apart.and_then(|it| it.user) {
        keep_user(uid, gid).map_err(failed("keep the user"))?;
    }
    // Who is asked there is beyond the reach of programs, and silent only where the machine is slow;
    // anywhere else they may stop it, and go unwatched meanwhile.
    let patience = if spec.mechanisms.landlock_scope { 50 } else { 5 };
    let user = spec.slot_user().map(|it| (it, patience));
    let mut meter = Meter::open(group.as_ref(), user).map_err(failed("find what to measure"))?;
    let pid = meter.processes().own().unwrap_or(getpid()).as_raw_nonzero().get();
    wire::send(control, &Message::Hello { pid }).map_err(failed("greet"))?;
    if let Some(group) = &group {
        group.join().map_err(failed("enter the control group"))?;
    }
    set_child_subreaper(Some(getpid()))
        .map_err(|it| Failure::of("become a subreaper", &it.into()))?;
    set_no_new_privs(true).map_err(|it| Failure::of("give up new privileges", &it.into()))?;
    if apart.is_none() && spec.slot_user().is_none() {
        meter.find_unseen().map_err(failed("count the user's processes"))?;
    }
    let mut files = None;
    if let Some(Apart { foundation, .. }) = apart {
        if group.is_some() {
            // Kernels without such namespaces tell the names of groups, and nothing else.
            hide_cgroups().unwrap_or_default();
        }
        let made = view::enter(foundation, &spec).map_err(|it| Failure::of(it.step, &it.error))?;
        if group.is_none() {
            let ours = made.try_clone().map_err(failed("keep the files"))?;
            meter.count_files(ours);
        }
        files = Some(made);
    }
    let reach = enter_reach(&spec, apart);
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(|it| Failure::of("hide the supervisor", &it.into()))?;
    let waiting = if spec.can_wait() {
        Waiting::Starter(Starter::fork(&spec, &meter, becomes)?)
    } else {
        Waiting::Nobody
    };
    Ok((Cell { spec, reach, meter, becomes, waiting }, files))
}

/// Finds how a run can be killed whole, and enters the scope that makes the best way safe.
fn enter_reach(spec: &CellSpec, apart: Option<&Apart>) -> Reach {
    if apart.is_some() {
        return Reach::Namespace;
    }
    if spec.mechanisms.landlock_scope && landlock::enter_scope().is_ok() {
        return Reach::Scope;
    }
    match spec.slot_user() {
        Some(uid) => Reach::User(uid),
        // The filter keeps every process of the run in the group of the first.
        None if spec.mechanisms.seccomp => Reach::Group,
        None => Reach::Tree,
    }
}

impl Cell<'_> {
    /// Does what the server asks for, and returns what came of it.
    fn obey(
        &mut self,
        order: Order,
        streams: Vec<OwnedFd>,
        control: &UnixStream,
    ) -> io::Result<Message> {
        let done = match order {
            Order::Warm(policy) => self.warm(&policy, streams).map(|warm| {
                let baseline_bytes = warm.baseline_bytes();
                self.waiting = Waiting::Warm(warm);
                Message::Ready { baseline_bytes }
            }),
            Order::Run(policy) => {
                wire::send(control, &Message::Accepted)?;
                self.launch(&policy, streams)
                    .map(|program| self.see_to_end(program, policy.limits, control))
            }
            Order::HandOver(assignment) => match self.hand_over(&assignment) {
                Ok(None) => Ok(Message::Gone),
                Ok(Some(program)) => {
                    wire::send(control, &Message::Accepted)?;
                    Ok(self.see_to_end(program, assignment.limits, control))
                }
                Err(failure) => Err(failure),
            },
        };
        Ok(done.unwrap_or_else(|Failure { step, errno }| {
            end_all(self.reach, None);
            Message::Failed { step, errno }
        }))
    }

    /// Watches a program to its end, and says how that was.
    fn see_to_end(&self, program: Pid, limits: Limits, control: &UnixStream) -> Message {
        let mut watch = Watch::new(program, limits, &self.meter);
        let reason = match wire::send(control, &Message::Started) {
            Ok(()) => watch.until_end(control),
            Err(_) => EndReason::Cancelled,
        };
        Message::Ended(watch.finish(reason, self.reach))
    }

    /// Starts a program and waits until it was executed, or until a step failed.
    fn launch(&mut self, policy: &Policy, streams: Vec<OwnedFd>) -> Result<Pid, Failure> {
        self.give(&streams)?;
        let starter = self.starter()?;
        self.meter.begin(starter.baseline());
        starter.start(policy, streams)
    }

    /// Starts a process that waits for its program, and waits until it does.
    fn warm(&mut self, policy: &Policy, streams: Vec<OwnedFd>) -> Result<WarmProcess, Failure> {
        self.give(&streams)?;
        let starter = self.starter()?;
        WarmProcess::start(starter, policy, streams, &self.meter)
    }

    /// Tells the process that waits what its program is; none if there is no such process.
    fn hand_over(&mut self, assignment: &Assignment) -> Result<Option<Pid>, Failure> {
        match std::mem::replace(&mut self.waiting, Waiting::Nobody) {
            Waiting::Warm(warm) => warm.hand_over(assignment, &self.spec, &mut self.meter),
            Waiting::Nobody | Waiting::Starter(_) => Ok(None),
        }
    }

    /// Lets the slot's user have the streams: a program may open its own again by name, as
    /// `/dev/stdin`, if it owns them.
    fn give(&self, streams: &[OwnedFd]) -> Result<(), Failure> {
        let Some(uid) = self.spec.slot_user() else { return Ok(()) };
        let owner = Some(rustix::fs::Uid::from_raw(uid));
        streams.iter().try_for_each(|stream| {
            rustix::fs::fchown(stream, owner, None)
                .map_err(|it| Failure::of("hand over the streams", &it.into()))
        })
    }

    /// The process that waits for a policy, or one that is forked now.
    fn starter(&mut self) -> Result<Starter, Failure> {
        let waiting = match std::mem::replace(&mut self.waiting, Waiting::Nobody) {
            Waiting::Starter(starter) => starter.still_waits()?,
            Waiting::Nobody | Waiting::Warm(_) => None,
        };
        match waiting {
            Some(starter) => Ok(starter),
            None => Starter::fork(&self.spec, &self.meter, self.becomes),
        }
    }
}
