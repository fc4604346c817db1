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
use crate::watch::Watch;
use crate::wire::{self, EndReason, Message};
use crate::{CellSpec, Policy};

/// What the reaper of a cell keeps of it.
struct Cell {
    spec: CellSpec,
    reach: Reach,
    meter: Meter,
    /// What becomes the first program.
    starter: Option<Starter>,
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
pub(crate) fn serve(control: OwnedFd, apart: Option<&Apart>) -> ! {
    let control = UnixStream::from(control);
    // A server that is gone needs no answer: the runs are over and cleaned up in any case.
    match supervise(&control, apart) {
        Ok(()) => exit(0),
        Err(_) => exit(1),
    }
}

fn supervise(control: &UnixStream, apart: Option<&Apart>) -> io::Result<()> {
    let Some((request, _)) = wire::receive_with::<CellRequest>(control)? else { return Ok(()) };
    let (mut cell, files) = match make(request, control, apart) {
        Ok(made) => made,
        Err(Failure { step, errno }) => {
            return wire::send(control, &Message::Failed { step, errno });
        }
    };
    let handles: Vec<_> = files.iter().map(|it| it.as_fd()).collect();
    wire::send_with(control, &Message::Ready, &handles)?;
    drop(files);
    while let Some((policy, streams)) = wire::receive_with::<Policy>(control)? {
        wire::send(control, &Message::Accepted)?;
        let streams = <[OwnedFd; 3]>::try_from(streams)
            .map_err(|_few| io::Error::other("a policy came without its streams"))?;
        wire::send(control, &cell.run(&policy, streams, control))?;
    }
    Ok(())
}

/// Makes everything that a run needs around it before it is known.
fn make(
    request: CellRequest,
    control: &UnixStream,
    apart: Option<&Apart>,
) -> Result<(Cell, Option<OwnedFd>), Failure> {
    let CellRequest { spec, group } = request;
    let failed = |step: &'static str| move |error: io::Error| Failure::of(step, &error);
    if let Some((uid, gid)) = apart.and_then(|it| it.user) {
        keep_user(uid, gid).map_err(failed("keep the user"))?;
    }
    let mut meter = Meter::open(group.as_ref()).map_err(failed("find what to measure"))?;
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
    // Elsewhere, a run of the same user could reach what waits for the next.
    let is_apart = matches!(reach, Reach::Scope | Reach::Namespace);
    let starter = is_apart.then(|| Starter::fork(&spec, meter.processes())).transpose()?;
    Ok((Cell { spec, reach, meter, starter }, files))
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

impl Cell {
    /// Runs one program to its end, and says how that was.
    fn run(&mut self, policy: &Policy, streams: [OwnedFd; 3], control: &UnixStream) -> Message {
        self.meter.reset(self.starter.as_ref().map(Starter::spent).unwrap_or_default());
        match self.launch(policy, streams) {
            Ok(program) => {
                let mut watch = Watch::new(program, policy.limits, &self.meter);
                let reason = match wire::send(control, &Message::Started) {
                    Ok(()) => watch.until_end(control),
                    Err(_) => EndReason::Cancelled,
                };
                Message::Ended(watch.finish(reason, self.reach))
            }
            Err(Failure { step, errno }) => {
                end_all(self.reach, None);
                Message::Failed { step, errno }
            }
        }
    }

    /// Starts the program and waits until it was executed, or until a step failed.
    fn launch(&mut self, policy: &Policy, streams: [OwnedFd; 3]) -> Result<Pid, Failure> {
        if let Some(uid) = self.spec.slot_user() {
            // A program may open its own streams again by name, as `/dev/stdin`, if it owns them.
            let owner = Some(rustix::fs::Uid::from_raw(uid));
            for stream in &streams {
                rustix::fs::fchown(stream, owner, None)
                    .map_err(|it| Failure::of("hand over the streams", &it.into()))?;
            }
        }
        let waiting = self.starter.take().map(Starter::still_waits).transpose()?.flatten();
        let starter = match waiting {
            Some(starter) => starter,
            None => Starter::fork(&self.spec, self.meter.processes())?,
        };
        starter.start(policy, streams)
    }
}
