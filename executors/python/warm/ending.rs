//! How a program ends. The interpreter's own finaliser writes to every object, and so copies all
//! that a zygote shares, which takes longer than most programs. A program that has nothing to say
//! at its end is taken down here, with what is its own only; the finaliser is left to the others.

use std::ffi::CStr;

use crate::interpreter::{Interpreter, Object};
use crate::process::{exit, exit_at_once, flush_streams, interrupt};

/// The exit code after an uncaught error.
const RAISED: i32 = 1;
/// The exit code if the standard streams did not take what was written.
const NOT_FLUSHED: i32 = 120;
/// The minor version that leaves an error of finding the exit code raised.
const LEAVES_ERRORS: i32 = 12;
/// The exit code after an interrupt that did not end the process.
const INTERRUPTED: i32 = 130;

/// What is taken out of `sys` before modules end.
const SPECIAL: &[&CStr] = &[
    c"path",
    c"argv",
    c"ps1",
    c"ps2",
    c"last_type",
    c"last_value",
    c"last_traceback",
    c"last_exc",
    c"path_hooks",
    c"path_importer_cache",
    c"meta_path",
    c"__interactivehook__",
];

/// Streams of `sys`, and what they were at first.
const STREAMS: &[(&CStr, &CStr)] =
    &[(c"stdin", c"__stdin__"), (c"stdout", c"__stdout__"), (c"stderr", c"__stderr__")];

/// How a main module ended.
#[derive(Debug)]
pub(crate) struct Ending {
    code: i32,
    /// Whether an interrupt ended it, which the process ends by, too.
    is_interrupted: bool,
    /// Whether an error is left for the interpreter's finaliser to tell.
    is_error_left: bool,
}

impl Ending {
    pub(crate) fn code(code: i32) -> Self {
        Self { code, is_interrupted: false, is_error_left: false }
    }

    /// Of what running the main module gave: none if it raised an error, which is shown now.
    /// `names` are those of the module.
    pub(crate) fn of(python: &Interpreter, result: Option<Object<'_>>, names: &Object<'_>) -> Self {
        let is_raised = result.is_none();
        drop(result);
        if is_raised && python.is_exit_raised() {
            return Self::of_exit(python);
        }
        let is_interrupted = is_raised && python.is_interrupt_raised();
        if is_raised {
            python.print_error();
        }
        // As the interpreter does, and does not after `SystemExit`.
        names.remove(c"__file__");
        names.remove(c"__cached__");
        Self { is_interrupted, ..Self::code(if is_raised { RAISED } else { 0 }) }
    }

    /// Of the `SystemExit` that is raised, which has a code, or something to be shown.
    fn of_exit(python: &Interpreter) -> Self {
        let raised = python.take_error();
        flush_streams();
        let code = raised.value.as_ref().and_then(|it| {
            let code = if it.is_exception() { it.attribute(c"code") } else { None };
            python.clear_error();
            code.or_else(|| it.share())
        });
        let number = match code {
            None => 0,
            Some(code) if code.is_none() => 0,
            Some(code) if code.is_integer() => code.as_exit_code(),
            Some(code) => {
                let stream = python.system(c"stderr").filter(|it| !it.is_none());
                python.write(&code, stream.as_ref());
                let failure = python.take_error();
                python.tell("\n");
                failure.raise_again();
                RAISED
            }
        };
        // A number that is too large, or a text that cannot be had.
        let is_error_left = python.is_raised() && python.minor_version() >= LEAVES_ERRORS;
        if !is_error_left {
            python.clear_error();
        }
        Self { is_error_left, ..Self::code(number) }
    }
}

/// Ends this process as the interpreter does after its main module.
pub(crate) fn end(python: &Interpreter, life: &Object<'_>, ending: &Ending) -> ! {
    if !ending.is_error_left && is_simple(python, life) && leave(python, life) {
        flush_streams();
        interrupt_if(ending);
        exit_at_once(ending.code);
    }
    if ending.is_error_left {
        forget_threading(python);
    } else {
        let_go(python, life);
    }
    let code = if python.finalize() { ending.code } else { NOT_FLUSHED };
    interrupt_if(ending);
    exit(code)
}

fn interrupt_if(ending: &Ending) {
    if ending.is_interrupted {
        interrupt();
        exit(INTERRUPTED);
    }
}

/// Whether nothing of the program goes on: no thread, no exit function, no finaliser, and nothing
/// that watches every call, and would see ours.
fn is_simple(python: &Interpreter, life: &Object<'_>) -> bool {
    let is = |name: &CStr| {
        let result = life.call_method(name, &[]);
        python.clear_error();
        result.is_none_or(|it| it.is_true())
    };
    !(is(c"tracer") || is(c"profiler") || is(c"count_threads") || is(c"has_more"))
}

/// Ends what is the program's own. Returns no if the interpreter's finaliser has to, because
/// streams fail, or something that is shared holds on to what should end.
fn leave(python: &Interpreter, life: &Object<'_>) -> bool {
    if life.call_method(c"run_exit_functions", &[]).is_none() {
        python.clear_error();
    }
    if !flush(python) {
        return false;
    }
    let names = life.call_method(c"leavers", &[]);
    python.clear_error();
    let Some(names) = names.filter(|it| !it.is_none()) else { return false };
    let Some(modules) = python.system(c"modules") else { return false };
    for name in SPECIAL.iter().filter(|it| python.system(it).is_some()) {
        python.set_system(name, None);
    }
    for (name, first) in STREAMS {
        python.set_system(name, python.system(first).as_ref());
    }
    for name in names.items() {
        modules.set_none(&name);
    }
    python.collect_garbage();
    if remains(python, life) {
        if life.call_method(c"forget", &[]).is_none() {
            python.clear_error();
        }
        python.collect_garbage();
        if remains(python, life) {
            return false;
        }
    }
    flush(python)
}

fn remains(python: &Interpreter, life: &Object<'_>) -> bool {
    let remain = life.call_method(c"remain", &[]);
    python.clear_error();
    remain.is_none_or(|it| it.is_true())
}

/// Keeps the interpreter's finaliser from calling into a module that most programs do not import,
/// so that it tells of the error that is left as it does without.
fn forget_threading(python: &Interpreter) {
    let error = python.take_error();
    if let Some(modules) = python.system(c"modules") {
        modules.remove(c"threading");
    }
    error.raise_again();
}

/// Leaves everything to the interpreter's finaliser. What the program has set to watch calls does
/// not see this one.
fn let_go(python: &Interpreter, life: &Object<'_>) {
    let watchers: Vec<_> = [(c"tracer", c"set_tracer"), (c"profiler", c"set_profiler")]
        .into_iter()
        .filter_map(|(read, set)| {
            let watcher = life.call_method(read, &[]).filter(|it| !it.is_none())?;
            let set = life.attribute(set)?;
            set.call(&[&python.none()?])?;
            Some((set, watcher))
        })
        .collect();
    let _gone = life.call_method(c"let_go", &[]);
    for (set, watcher) in &watchers {
        let _set = set.call(&[watcher]);
    }
    python.clear_error();
}

/// Flushes the standard streams. Returns whether they took everything; the interpreter's finaliser
/// would find, and tell, the same again.
fn flush(python: &Interpreter) -> bool {
    for name in [c"stdout", c"stderr"] {
        let Some(stream) = python.system(name).filter(|it| !it.is_none()) else { continue };
        let is_closed = stream.attribute(c"closed").is_some_and(|it| it.is_true());
        python.clear_error();
        if !is_closed && stream.call_method(c"flush", &[]).is_none() {
            python.clear_error();
            return false;
        }
    }
    true
}
