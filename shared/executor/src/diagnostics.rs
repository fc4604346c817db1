//! What compilers and front ends find, read out of what they say.

use protocol::{Diagnostic, RunEvent, Severity};
use regex::{Captures, Regex, RegexBuilder};

use crate::log::Log;
use crate::spec::RuntimeSpec;

/// Errors, and warnings.
pub(crate) type Findings = (Vec<Diagnostic>, Vec<Diagnostic>);

/// Most diagnostics that are told of each kind.
pub(crate) const DIAGNOSTICS_MAX: usize = 100;

/// What reads the output of either phase that has any.
#[derive(Debug)]
pub(crate) struct Readers {
    compile: Option<Reader>,
    pub(crate) validate: Option<Reader>,
}

impl Readers {
    /// Those of a language. Its compiler says things as its validator does, unless it is told otherwise.
    pub(crate) fn parse(spec: &RuntimeSpec) -> Result<Self, regex::Error> {
        let validate = spec.validate.as_ref();
        let validate = validate.map(|it| Reader::parse(&it.pattern, it.caret)).transpose()?;
        let compile = match &spec.compile {
            Some(compile) => match &compile.pattern {
                Some(pattern) => Some(Reader::parse(pattern, false)?),
                None => validate.clone(),
            },
            None => None,
        };
        Ok(Self { compile, validate })
    }

    /// What a compiler found that said this.
    pub(crate) fn of_compiler(&self, output: &str) -> Findings {
        let mut findings = Findings::default();
        if let Some(reader) = &self.compile {
            reader.read(output, &mut findings);
        }
        findings
    }
}

/// What reads one form of output.
#[derive(Debug, Clone)]
pub(crate) struct Reader {
    pattern: Regex,
    /// Whether the column is told by a caret two lines below.
    has_caret: bool,
}

impl Reader {
    fn parse(pattern: &str, has_caret: bool) -> Result<Self, regex::Error> {
        let pattern = RegexBuilder::new(pattern).multi_line(true).build()?;
        Ok(Self { pattern, has_caret })
    }

    /// Adds the diagnostics in a text to others.
    pub(crate) fn read(&self, text: &str, (errors, warnings): &mut Findings) {
        for found in self.pattern.captures_iter(text) {
            let severity = found.name("severity").map_or("error", |it| it.as_str());
            let column =
                if self.has_caret { caret(text, &found) } else { number(&found, "column") };
            let diagnostic = Diagnostic {
                message: group(&found, "message").unwrap_or_default(),
                line: number(&found, "line").unwrap_or_default(),
                column: column.unwrap_or_default(),
                code: group(&found, "code"),
                file: group(&found, "file"),
            };
            if severity.contains("warning") {
                warnings.push(diagnostic);
            } else if !severity.contains("note") && !severity.contains("help") {
                errors.push(diagnostic);
            }
        }
    }
}

/// Diagnostics in the form that compilers use.
pub(crate) fn lines_of(diagnostics: &[Diagnostic]) -> String {
    let lines = diagnostics.iter().map(|Diagnostic { message, line, column, file, .. }| {
        let file = file.as_deref().unwrap_or("source");
        format!("{file}:{line}:{column}: error: {message}\n")
    });
    lines.collect()
}

/// Tells in a log what was found, for as long as anybody reads.
pub(crate) async fn tell(log: &Log, (errors, warnings): Findings) {
    let of = |severity| move |diagnostic| RunEvent::Diagnostic { severity, diagnostic };
    let errors = errors.into_iter().take(DIAGNOSTICS_MAX).map(of(Severity::Error));
    let warnings = warnings.into_iter().take(DIAGNOSTICS_MAX).map(of(Severity::Warning));
    for event in errors.chain(warnings) {
        if !log.add(event).await {
            return;
        }
    }
}

/// The column of the caret two lines below.
fn caret(text: &str, found: &Captures<'_>) -> Option<u64> {
    let line = text.get(found.get_match().end()..)?.lines().nth(2)?;
    line.find('^').map(|it| it as u64 + 1)
}

fn group(found: &Captures<'_>, name: &str) -> Option<String> {
    found.name(name).map(|it| it.as_str().trim().to_owned()).filter(|it| !it.is_empty())
}

fn number(found: &Captures<'_>, name: &str) -> Option<u64> {
    found.name(name)?.as_str().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(pattern: &str, has_caret: bool, text: &str) -> Findings {
        let mut findings = Findings::default();
        Reader::parse(pattern, has_caret).unwrap().read(text, &mut findings);
        findings
    }

    const USUAL: &str = r"^(?P<file>[^:\n]+):(?P<line>\d+):(?P<column>\d+): (?P<severity>error|warning|note): (?P<message>.*)$";

    #[test]
    fn lines_of_the_usual_form_are_sorted_by_severity() {
        let text = "a.x:3:5: error: bad\n  code\na.x:4:1: warning: odd\na.x:9:9: note: see\n";
        let (errors, warnings) = findings(USUAL, false, text);
        assert_eq!((errors.len(), warnings.len()), (1, 1));
        assert_eq!((errors[0].line, errors[0].column), (3, 5));
        assert_eq!((errors[0].message.as_str(), errors[0].file.as_deref()), ("bad", Some("a.x")));
    }

    #[test]
    fn a_caret_tells_the_column() {
        let pattern = r"^(?P<file>[^:\n]+):(?P<line>\d+): (?P<severity>error): (?P<message>.*)$";
        let (errors, _) = findings(pattern, true, "A.x:1: error: bad\nabc def\n    ^\n");
        assert_eq!((errors[0].line, errors[0].column), (1, 5));
    }

    #[test]
    fn a_place_may_be_on_a_line_of_its_own() {
        let pattern =
            r"^(?P<severity>error|warning): (?P<message>.+)\n +--> (?P<line>\d+):(?P<column>\d+)$";
        let text = "error: bad\n  --> 12:3\n   |\nwarning: odd\n --> 2:1\nerror: all in all\n";
        let (errors, warnings) = findings(pattern, false, text);
        assert_eq!((errors.len(), warnings.len()), (1, 1));
        let found = (errors[0].message.as_str(), errors[0].line, errors[0].column);
        assert_eq!(found, ("bad", 12, 3));
    }
}
