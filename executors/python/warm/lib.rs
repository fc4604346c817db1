//! The native half of a zygote of Python: runs programs in children of an interpreter that has
//! imported what they need, so that each sees an interpreter which was started for it.
//!
//! # Theory of operation
//!
//! `zygote.py` runs in an interpreter as it is installed, imports, loads this library, and raises
//! an error with one of the functions below as `sys.excepthook`. The interpreter calls that from
//! its own code, on its main thread with its first thread state, after every frame of Python is
//! gone: a program that is run from there has no frame below its main module, as it should be.
//! Neither private structures nor a second thread state are needed for that, in any version.
//!
//! From then on the zygote runs nothing of Python. `PyOS_BeforeFork` is called once, and every
//! child calls `PyOS_AfterFork_Child`, as if it were the only one. `life.py` does what Python can
//! do; what must have no frame of Python below it (the main module, its threads' end, exit
//! functions, `__del__`) is called from here.
#![expect(unsafe_code, reason = "an interpreter is spoken to through its C API")]

mod child;
mod ending;
mod functions;
mod interpreter;
mod process;

use std::ffi::c_void;

use sandbox::Waiting;

use crate::child::Handed;
use crate::interpreter::{Interpreter, Object, tell_plainly};
use crate::process::{Fork, exit_at_once, fork};

/// The exit code of a zygote that cannot serve.
const REFUSED: i32 = 1;

/// `sys.excepthook` of `zygote.py --check`: has a child run each program of `error.life.check`,
/// which compares how it ended. The arguments are a type, an error, and a traceback.
///
/// # Safety
///
/// Only an interpreter may call it, holding its lock, with objects or nulls.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn check(_kind: *mut c_void, error: *mut c_void, _traceback: *mut c_void) {
    let checked = Interpreter::find().map_err(|it| it.to_string()).and_then(|python| {
        let life = settled(&python, error)?;
        check_all(&python, &life).ok_or("the check did not come to its end".to_owned())
    });
    match checked {
        Ok(true) => exit_at_once(0),
        Ok(false) => exit_at_once(REFUSED),
        Err(reason) => {
            tell_plainly(&format!("zygote: {reason}\n"));
            exit_at_once(REFUSED);
        }
    }
}

/// `sys.excepthook` of `zygote.py`: makes this process the spawner of the server that started it, and
/// every process that is forked from it one program of Python.
///
/// # Safety
///
/// Only an interpreter may call it, holding its lock, with objects or nulls.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn serve(_kind: *mut c_void, error: *mut c_void, _traceback: *mut c_void) {
    let found = Interpreter::find().map_err(|it| it.to_string());
    let life = found.as_ref().map_err(Clone::clone).and_then(|python| settled(python, error));
    let (python, life) = match (&found, &life) {
        (Ok(python), Ok(life)) => (python, life),
        (Err(reason), _) | (_, Err(reason)) => {
            tell_plainly(&format!("zygote: {reason}\n"));
            exit_at_once(REFUSED);
        }
    };
    python.before_fork();
    sandbox::serve(&|waiting: Waiting<'_>| {
        child::run(python, life, || {
            let sandbox::Handed { argv, env } = waiting.wait();
            Handed {
                argv: argv.iter().map(|word| format!("{word}\0")).collect(),
                env: env.iter().map(|(name, value)| format!("{name}={value}\0")).collect(),
            }
        })
    })
}

/// The `Life` that an error brings here, with the interpreter ready to be forked.
fn settled(python: &Interpreter, error: *mut c_void) -> Result<Object<'_>, String> {
    let life = python.shared(error).and_then(|it| it.attribute(c"life"));
    let life = life.ok_or("the error has no `life`")?;
    if life.call_method(c"settle", &[]).is_none() {
        python.print_error();
        return Err("this interpreter cannot be settled".to_owned());
    }
    Ok(life)
}

/// Whether all programs ended as they should; none if that cannot be told.
fn check_all(python: &Interpreter, life: &Object<'_>) -> Option<bool> {
    let check = life.attribute(c"check")?;
    while check.call_method(c"next", &[])?.is_true() {
        python.before_fork();
        match fork() {
            Ok(Fork::Child) => child::run(python, life, || {
                let sat = check.call_method(c"sit", &[]).and_then(|it| it.pair());
                let texts = sat.and_then(|[argv, env]| Some((argv.as_text()?, env.as_text()?)));
                let Some((argv, env)) = texts else { exit_at_once(REFUSED) };
                Handed { argv, env }
            }),
            Ok(Fork::Parent(child)) => {
                python.after_fork_in_parent();
                check.call_method(c"mark", &[&python.integer(child)?])?;
            }
            Err(_) => return None,
        }
    }
    Some(!check.attribute(c"faults")?.is_true())
}
