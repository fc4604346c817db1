//! How a program ends. The interpreter's own finaliser writes to every object, and so copies all
//! that a zygote shares, which takes longer than most programs. Here only what is the program's
//! own ends, in the same order and with the same output; the finaliser is left to what needs it.

use std::ffi::CStr;

use crate::interpreter::{Interpreter, Object};
use crate::process::{exit, exit_at_once, flush_streams, interrupt};

/// The exit code after an uncaught error.
const RAISED: i32 = 1;
/// The exit code if the standard streams did not take what was written.
const NOT_FLUSHED: i32 = 120;
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
    is_interrupted: bool,
}

impl Ending {
    pub(crate) fn code(code: i32) -> Self {
        Self { code, is_interrupted: false }
    }

    /// Of what running the main module gave: none if it raised an error, which is shown now.
    /// `names` are those of the module.
    pub(crate) fn of(python: &Interpreter, result: Option<Object<'_>>, names: &Object<'_>) -> Self {
        let is_raised = result.is_none();
        drop(result);
        if is_raised && python.is_exit_raised() {
            return Self::code(exit_code(python));
        }
        let is_interrupted = is_raised && python.is_interrupt_raised();
        if is_raised {
            python.print_error();
        }
        // As the interpreter does, and does not after `SystemExit`.
        names.remove(c"__file__");
        names.remove(c"__cached__");
        Self { code: if is_raised { RAISED } else { 0 }, is_interrupted }
    }
}

/// The exit code that the `SystemExit` which is raised asks for; what is no code is shown.
fn exit_code(python: &Interpreter) -> i32 {
    let raised = python.take_error();
    flush_streams();
    let code = raised.value.as_ref().and_then(|it| {
        let code = if it.is_exception() { it.attribute(c"code") } else { None };
        python.clear_error();
        code.or_else(|| it.share())
    });
    match code {
        None => 0,
        Some(code) if code.is_none() => 0,
        Some(code) if code.is_integer() => code.as_exit_code(),
        Some(code) => {
            let stream = python.system(c"stderr").filter(|it| !it.is_none());
            python.write(&code, stream.as_ref());
            python.tell("\n");
            RAISED
        }
    }
}

/// Ends this process as the interpreter does after its main module.
pub(crate) fn end(python: &Interpreter, life: &Object<'_>, ending: &Ending) -> ! {
    wait_for_threads(python);
    if life.call_method(c"run_exit_functions", &[]).is_none() {
        python.clear_error();
    }
    if leave(python, life) {
        interrupt_if(ending);
        exit_at_once(ending.code);
    }
    if life.call_method(c"unfreeze", &[]).is_none() {
        python.clear_error();
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

fn wait_for_threads(python: &Interpreter) {
    let Some(threading) = python.imported("threading") else { return python.clear_error() };
    if threading.call_method(c"_shutdown", &[]).is_none() {
        threading.tell_of_error();
    }
}

/// Ends what is the program's own. Returns no if the interpreter's finaliser has to, because
/// threads go on, streams fail, or something that is shared holds on to what should end.
fn leave(python: &Interpreter, life: &Object<'_>) -> bool {
    let threads = life.call_method(c"count_threads", &[]);
    if threads.is_none_or(|it| it.is_true()) || !flush(python) {
        python.clear_error();
        return false;
    }
    python.collect_garbage();
    let Some(names) = life.call_method(c"leavers", &[]) else {
        python.clear_error();
        return false;
    };
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
