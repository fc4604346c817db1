//! The parser and what it complains of. It walks its trees by recursion, so strangers' sources
//! are read on a stack that fits the deepest tree of their length, and never on the server's.

use std::time::Duration;

use oxc_allocator::Allocator;
use oxc_diagnostics::{Diagnostics, LabeledSpan, OxcDiagnostic};
use oxc_parser::{ParseOptions, Parser, ParserReturn};
use oxc_span::SourceType;
use protocol::Diagnostic;
use rustix::time::{ClockId, clock_gettime};

use crate::depth::check_depth;

/// Stack for a byte of source: two and a half times what the worst of a hundred kinds of deep
/// nesting took. Only what is used of a stack becomes memory.
const STACK_BYTES_PER_BYTE: usize = 4 * 1024;
const STACK_BYTES_MIN: usize = 8 * 1024 * 1024;
/// Shortest beginning of a source that is tried.
const TRIAL_BYTES_MIN: usize = 1024;
/// What parsing a beginning may cost; the longest sound ones take 1 ms.
const TRIAL_TIME_MAX: Duration = Duration::from_millis(100);
/// Longest source that is read at all; the executor's own bound is lower.
const SOURCE_BYTES_MAX: usize = 1024 * 1024;
/// Diagnostics of one file; the rest says little new.
const DIAGNOSTICS_MAX: usize = 100;

/// How a file is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// With `import` and `export`, and `await` at the top.
    Module,
    /// With `require`.
    CommonJs,
}

/// Runs `read` on a stack for `bytes` of source, and says so if that cannot be done.
pub(crate) fn on_deep_stack<T: Send>(
    bytes: usize,
    read: impl FnOnce() -> T + Send,
) -> Result<T, Diagnostic> {
    if bytes > SOURCE_BYTES_MAX {
        return Err(fault("the source is too long to be read"));
    }
    let stack_bytes = STACK_BYTES_MIN + bytes * STACK_BYTES_PER_BYTE;
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(stack_bytes).spawn_scoped(scope, read);
        match thread.map(std::thread::ScopedJoinHandle::join) {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(_)) => Err(fault("the parser failed on this source")),
            Err(_) => Err(fault("there is no memory to read the source; try again")),
        }
    })
}

pub(crate) fn fault(message: &str) -> Diagnostic {
    Diagnostic { message: message.to_owned(), line: 0, column: 0, code: None, file: None }
}

/// Parses a file, as what its name says or, where that leaves it open, as what it holds. Node
/// allows `return` at the top of a `CommonJS` file.
///
/// Refuses a source that would take long: the parser tries several readings of a bracket, a `<`
/// or an arrow, one inside the other, and has no limit of its own.
pub(crate) fn parse<'a>(
    allocator: &'a Allocator,
    source: &'a str,
    source_type: SourceType,
    file: &str,
) -> Result<ParserReturn<'a>, Diagnostic> {
    check_depth(source, file)?;
    check_time(source, source_type, file)?;
    let mut parsed = parse_as(allocator, source, source_type);
    if kind(&parsed) == Kind::CommonJs {
        parsed.program.source_type = source_type.with_commonjs(true);
    }
    let is_settled = parsed.diagnostics.is_empty() || kind(&parsed) == Kind::Module;
    if is_settled || !source_type.is_unambiguous() {
        return Ok(parsed);
    }
    // `await` at the top makes a module too, but is a name elsewhere.
    let module = parse_as(allocator, source, source_type.with_module(true));
    Ok(if module.diagnostics.is_empty() { module } else { parsed })
}

fn parse_as<'a>(
    allocator: &'a Allocator,
    source: &'a str,
    source_type: SourceType,
) -> ParserReturn<'a> {
    let options = ParseOptions {
        allow_return_outside_function: !source_type.is_module(),
        ..ParseOptions::default()
    };
    Parser::new(allocator, source, source_type).with_options(options).parse()
}

/// Parses ever longer beginnings of a source, until one takes far more than any sound source.
/// What is slow is so by its nesting, which its beginnings have too; so the last step is not much
/// slower than the one before. A sound source is parsed twice by this, in well under 1 ms.
fn check_time(source: &str, source_type: SourceType, file: &str) -> Result<(), Diagnostic> {
    let mut length = TRIAL_BYTES_MIN;
    while length < source.len() {
        let end = source.floor_char_boundary(length);
        let start = cpu_time();
        let trial = Allocator::default();
        drop(parse_as(&trial, source.get(..end).unwrap_or_default(), source_type));
        if cpu_time().saturating_sub(start) > TRIAL_TIME_MAX {
            let (line, column) = position(source, end);
            let message = "the source takes too long to parse; nest it less deeply";
            return Err(Diagnostic { line, column, file: Some(file.to_owned()), ..fault(message) });
        }
        length += length / 2;
    }
    Ok(())
}

/// Time that this thread has used: unlike the clock on the wall it is not for others to spend.
fn cpu_time() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(now.tv_nsec).unwrap_or_default())
}

/// How a file asks to be loaded, by what it holds.
pub(crate) fn kind(parsed: &ParserReturn<'_>) -> Kind {
    if parsed.module_record.has_module_syntax || parsed.program.source_type.is_module() {
        Kind::Module
    } else {
        Kind::CommonJs
    }
}

/// Errors and warnings in the words of the protocol.
pub(crate) fn diagnostics(
    found: Diagnostics,
    source: &str,
    file: &str,
) -> (Vec<Diagnostic>, Vec<Diagnostic>) {
    let (errors, warnings): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|it| it.severity == oxc_diagnostics::Severity::Error);
    let told = |found: Vec<OxcDiagnostic>| {
        found.iter().take(DIAGNOSTICS_MAX).map(|it| diagnostic(it, source, file)).collect()
    };
    (told(errors), told(warnings))
}

fn diagnostic(found: &OxcDiagnostic, source: &str, file: &str) -> Diagnostic {
    // A name that is declared twice is labelled in both places, and the second one is wrong.
    let is_earlier = |it: &&LabeledSpan| it.label().is_some_and(|it| it.contains(" already "));
    let wrong = found.labels.iter().find(|it| !is_earlier(it)).or(found.labels.first());
    let (line, column) = wrong.map_or((0, 0), |it| position(source, it.offset() as usize));
    let help = found.help.as_ref().map(|help| format!(" ({help})")).unwrap_or_default();
    Diagnostic {
        message: format!("{}{help}", found.message),
        line,
        column,
        code: found.code.is_some().then(|| found.code.to_string()),
        file: Some(file.to_owned()),
    }
}

/// Line and column, from 1 and in characters, of a place in a source.
pub(crate) fn position(source: &str, offset: usize) -> (u64, u64) {
    let before = source.get(..offset).unwrap_or(source);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line as u64, column as u64)
}
