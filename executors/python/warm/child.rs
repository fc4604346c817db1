//! What a process does that was forked to become one program.

use crate::ending::{Ending, end};
use crate::interpreter::{Interpreter, Object};
use crate::process::exit_at_once;

/// What a process is told to run: two texts, in which each word ends with a NUL.
#[derive(Debug)]
pub(crate) struct Handed {
    /// The interpreter, the script, and the script's arguments.
    pub(crate) argv: String,
    /// The whole environment, `NAME=value`.
    pub(crate) env: String,
}

/// The exit code of an interpreter that fails outside its program.
const FAILED: i32 = 1;
/// The exit code of an interpreter that cannot open its script.
const NO_SCRIPT: i32 = 2;

/// Makes this process ready, has `wait` learn of its program, runs that, and ends with it. It was
/// forked from a process that had called `before_fork`.
pub(crate) fn run(python: &Interpreter, life: &Object<'_>, wait: impl FnOnce() -> Handed) -> ! {
    python.after_fork_in_child();
    if life.call_method(c"ready", &[]).is_none() {
        python.print_error();
        exit_at_once(FAILED);
    }
    let ending = run_script(python, life, &wait());
    end(python, life, &ending)
}

/// Runs the script to the end of its main module.
fn run_script(python: &Interpreter, life: &Object<'_>, handed: &Handed) -> Ending {
    let texts = (python.text(&handed.argv), python.text(&handed.env));
    let begun = match &texts {
        (Some(argv), Some(env)) => life.call_method(c"begin", &[argv, env]),
        _ => None,
    };
    let Some([path, names]) = begun.and_then(|it| it.pair()) else {
        python.print_error();
        exit_at_once(FAILED);
    };
    let Some(path) = path.bytes() else { exit_at_once(FAILED) };
    match python.run_file(&path, &names) {
        Ok(result) => Ending::of(python, result, &names),
        Err(error) => {
            let path = path.to_string_lossy();
            python.tell(&format!("can't open file '{path}': {error}\n"));
            Ending::code(NO_SCRIPT)
        }
    }
}
