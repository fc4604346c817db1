//! Runs one program with no more rights than its policy grants.
//!
//! # Theory of operation
//!
//! A run happens in a [`Cell`]: everything of its confinement that does not depend on the program,
//! made before the program is known. Four kinds of process exist.
//!
//! 1. The **server** (whoever calls [`Spawner::cell`]) is threaded and large. It never forks for
//!    a run. It keeps cells ready, makes and limits their control groups, creates the pipes of
//!    a run, and hands their far ends to the cell's supervisor over a sequenced-packet socket.
//! 2. The **spawner** is the same binary, started again before anything else happened, with an
//!    empty environment, one thread and no secret. It lays the foundation that all cells share
//!    (namespaces away from the host's, a read-only tree of what programs need), and forks
//!    a reaper for every packet. It ends when the server's end of the socket closes. If it dies,
//!    the server starts another; runs that were under way go on, because their control sockets do
//!    not pass through it.
//! 3. The **reaper** is the supervisor of one cell, with the server's rights, and never executes
//!    another program. It joins the cell's control group, is the first process of its namespaces
//!    and mounts the cell's files, or enters a Landlock domain that limits whom it can signal:
//!    whatever the host has of these. Then it forks the process that is to become the program,
//!    unless other runs could reach that, and waits. When a policy comes it has that process
//!    started, or one that is forked now, outlives it, watches wall clock, processor time and
//!    memory of the whole tree, obeys a [`Stop`], passes a [`Signal`] on to the program's group
//!    (which is the program's for as long as nobody reaped it), kills whatever is left, reaps
//!    until nothing is, and reports how it ended by the kernel's word. If the control socket
//!    closes, it kills what runs and ends, and the cell is gone.
//! 4. The **program** begins as a starter: confined step by step ([`plan`] says which, [`apply`]
//!    does them), as far as can be before the program is known, and then executed. It has its
//!    standard streams, and no other descriptor of ours. The programs of one cell belong to one
//!    run and follow each other, a compiler and what it made. Where somebody takes part in the
//!    run, all streams may be the far end of a terminal ([`Terminal`]), which then controls the
//!    session that the starter began. The near end stays with the server, and the programs have no
//!    name for either.
//!
//! Every one of them is a subreaper for those below: orphans of a killed reaper come to the
//! spawner, orphans of a killed spawner to the server, and each sweeps what it did not expect.
//!
//! A program ends because it exited, because a limit was reached, because the server asked for
//! it, or because one of the processes above it died. In every case the whole tree is killed
//! before its end is told, so the pipes reach their end then.
//!
//! Nothing in here knows languages, HTTP or queues.

mod apply;
mod cell;
mod cgroup;
mod enforcement;
mod keeper;
mod launcher;
mod mechanisms;
mod meter;
mod packet;
mod plan;
mod policy;
mod probe;
mod reaper;
mod spawner;
mod starter;
#[cfg(test)]
mod strategies;
mod sys;
mod terminal;
mod tool;
#[cfg(test)]
mod tracers;
mod tree;
mod view;
mod warden;
mod warm;
mod watch;
mod wire;
mod zygote;

pub use cell::{Cell, Running};
pub use cgroup::Cgroups;
pub use enforcement::{Gain, gain, guarantees, raise};
pub use mechanisms::Mechanisms;
pub use plan::{CountedWith, Step};
pub use policy::{Assignment, CellSpec, Limits, Policy};
pub use probe::{Probe, ProbeResult, probe};
pub use spawner::{Grounds, LaunchError, Preload, Spawner};
pub use sys::identity::{current_uid, is_root};
pub use sys::seccomp::Surface;
pub use terminal::{Size, Terminal, can_make_terminals};
pub use tool::{ToolOutput, start_tool};
pub use view::{Foundation, OUT, SHARED_MEMORY, TEMPORARY, WORK};
pub use wire::{ASK_USAGE, EndReason, Ended, Exit, Message, Signal, Stop, Usage};
pub use zygote::{Child, Handed, Waiting, serve};

/// Becomes one of the sandbox's own processes if this program was started as one, and then never
/// returns. Must be the first thing that `main` does, while there is one thread.
pub fn enter() {
    let mut arguments = std::env::args_os().skip(1);
    let Some(first) = arguments.next() else { return };
    if first == launcher::ARGUMENT {
        launcher::serve_from_stdin();
    }
    if first == zygote::ARGUMENT {
        zygote::execute(arguments);
    }
    if first == probe::ARGUMENT {
        probe::serve();
    }
}
