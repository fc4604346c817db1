//! A zygote: an interpreter that has read what most programs need, and stands in for the spawner.
//! What is forked from it becomes a program by going on, confined, instead of executing one.
//!
//! It runs trusted code only, has one thread, an empty environment and no secret, and never sees
//! a request: programs go straight to the processes that become them.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::pipe::{PipeFlags, pipe_with};
use rustix::stdio::{dup2_stdin, dup2_stdout};

use crate::apply::{Confinement, Failure};
use crate::plan::plan;
use crate::starter::{Lines, show_as_program, until_told};
use crate::sys::descriptors::{close_all_but, keep_as_hand_over, take_hand_over};
use crate::sys::process::{default_signals, exit};
use crate::sys::title::Title;
use crate::tree::Processes;
use crate::wire::{self, Message};
use crate::{CellSpec, launcher};

/// First argument of a process that becomes a zygote by executing it.
pub(crate) const ARGUMENT: &str = "sandbox-zygote";

/// What a process goes on with that was forked from a zygote and confined: it makes itself ready,
/// waits, and does what it is told then. The process ends when it returns.
pub type Child<'a> = &'a dyn Fn(Waiting<'_>);

/// How a process becomes a program.
#[derive(Clone, Copy)]
pub(crate) enum Becomes<'a> {
    /// By executing one.
    Executed,
    /// By going on.
    Itself {
        /// What it does then.
        child: Child<'a>,
        /// Where its words stand.
        title: Option<Title>,
    },
}

/// A confined process whose program is not known yet. Its one use is to wait for that.
#[derive(Debug)]
pub struct Waiting<'a> {
    lines: &'a Lines,
    spec: &'a CellSpec,
    processes: &'a Processes,
    confinement: Confinement<'a>,
    title: Option<Title>,
}

/// What a process was told to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handed {
    /// The words of the command: the interpreter, its program, and the arguments of that.
    pub argv: Vec<String>,
    /// The whole environment.
    pub env: Vec<(String, String)>,
}

/// Executes a zygote, given as a program with its arguments. The socket on standard input becomes
/// descriptor 3; its streams are pipes that lead nowhere, as interpreters look at what theirs are.
pub(crate) fn execute(command: impl Iterator<Item = OsString>) -> ! {
    default_signals();
    let error = match take_streams() {
        Ok(()) => execute_words(command),
        Err(error) => error,
    };
    writeln!(io::stderr(), "the zygote could not start: {error}").unwrap_or_default();
    exit(1);
}

fn execute_words(mut command: impl Iterator<Item = OsString>) -> io::Error {
    let Some(program) = command.next() else { return io::Error::other("it has no program") };
    #[expect(clippy::disallowed_methods, reason = "this is the place that starts zygotes")]
    Command::new(program).args(command).exec()
}

fn take_streams() -> io::Result<()> {
    keep_as_hand_over(rustix::io::dup(io::stdin())?)?;
    let (stdin, nobody) = pipe_with(PipeFlags::CLOEXEC)?;
    dup2_stdin(stdin)?;
    drop(nobody);
    let (nobody, stdout) = pipe_with(PipeFlags::CLOEXEC)?;
    dup2_stdout(stdout)?;
    drop(nobody);
    Ok(())
}

/// Makes this process the spawner of a server, which passed the socket for that on as descriptor 3.
/// Returns never; in every process that is to become a program, `child` is called. This process
/// must have one thread, then and later.
pub fn serve(child: Child<'_>) -> ! {
    // Where it is not told, programs show the words of the zygote.
    let title = Title::find().ok();
    if let Some(title) = title {
        // Those name places of the host, and a supervisor's are seen by its programs.
        title.set(&["/proc/self/exe".to_owned(), launcher::ARGUMENT.to_owned()]);
    }
    match take_hand_over() {
        Ok(socket) => launcher::serve(socket, Becomes::Itself { child, title }),
        Err(_) => exit(1),
    }
}

impl<'a> Waiting<'a> {
    pub(crate) fn new(
        lines: &'a Lines,
        spec: &'a CellSpec,
        processes: &'a Processes,
        confinement: Confinement<'a>,
        title: Option<Title>,
    ) -> Self {
        Self { lines, spec, processes, confinement, title }
    }

    /// Says that this process is ready, waits for its program, and confines it for good. Its
    /// streams are in place then, and it is in its work directory. Ends this process if there is
    /// no program for it, or if it cannot be confined.
    pub fn wait(mut self) -> Handed {
        match self.until_confined() {
            Ok(handed) => handed,
            Err(Failure { step, errno }) => {
                let told = wire::send(&self.lines.reports, &Message::Failed { step, errno });
                exit(i32::from(told.is_err()));
            }
        }
    }

    fn until_confined(&mut self) -> Result<Handed, Failure> {
        let failed = |step: &'static str| move |error: io::Error| Failure::of(step, &error);
        wire::send(&self.lines.reports, &Message::Ready { baseline_bytes: 0 })
            .map_err(failed("tell of being ready"))?;
        let (mut policy, _) = until_told(self.lines)?;
        // What it has already is not the program's.
        let mapped = self.processes.own_mappings().map_err(failed("measure this process"))?;
        let limits = &mut policy.limits;
        limits.data_bytes = limits.data_bytes.saturating_add(mapped.data_bytes);
        limits.address_space_bytes =
            limits.address_space_bytes.map(|it| it.saturating_add(mapped.bytes));
        if let Some(title) = self.title {
            title.set(&policy.argv);
        }
        show_as_program().map_err(failed("become a program"))?;
        self.confinement.apply(&plan(&policy, self.spec))?;
        wire::send(&self.lines.reports, &Message::Started).map_err(failed("tell of the start"))?;
        // Everything of ours: that the pipe ends tells that the program began.
        close_all_but(&mut []);
        Ok(Handed { argv: policy.argv, env: policy.env })
    }
}
