//! Parses what a client asks into a [`RunRequest`], whose every value is within its bounds.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::fields::{Fields, kind};
use crate::sources::{self, SourceFile};
use crate::{Bounds, FieldError, Interactive, interactive};

/// Everything that an executor needs for one run. Built only by parsing, so its values are
/// within their bounds.
#[derive(Debug, Clone, PartialEq)]
pub struct RunRequest {
    /// The language or alias asked for; an executor alone may do without.
    pub language: Option<String>,
    /// The sources: one nameless file if the client sent `code`.
    pub sources: Vec<SourceFile>,
    /// Standard input.
    pub input: String,
    /// Arguments of the program.
    pub args: Vec<String>,
    /// Environment that is added to the run's own.
    pub env: BTreeMap<String, String>,
    /// Wall clock of the run phase.
    pub timeout: Duration,
    /// Processor time of the run phase.
    pub cpu_time: Duration,
    /// Memory of the whole process tree, in bytes.
    pub memory_bytes: u64,
    /// Version, prefix or semver range of the runtime.
    pub version: Option<String>,
    /// Options for the compiler; checked against the language's allow-list later.
    pub compiler_options: Vec<String>,
    /// Cases; empty if there is just the one input.
    pub cases: Vec<Case>,
    /// Globs of files to return.
    pub output_files: Vec<String>,
    /// Whether the exact bytes of standard output are wanted too.
    pub output_base64: bool,
    /// Whether a compiled program may come from the compile cache, and go there.
    pub cache: bool,
    /// How somebody takes part in it, if anybody does.
    pub interactive: Option<Interactive>,
}

/// One standard input and what should come of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// The client's name for it.
    pub name: Option<String>,
    /// Standard input.
    pub input: String,
    /// Arguments instead of the request's.
    pub args: Option<Vec<String>>,
    /// What must come out; compared without trailing white space of lines and of the whole.
    pub expected_output: Option<String>,
}

/// Sources to look at without running them.
#[derive(Debug, Clone, PartialEq)]
pub struct ValidateRequest {
    /// The language or alias asked for.
    pub language: Option<String>,
    /// The sources, as in [`RunRequest::sources`].
    pub sources: Vec<SourceFile>,
    /// Version, prefix or semver range of the runtime.
    pub version: Option<String>,
}

/// Why a submission was not taken.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// The body is not JSON.
    #[error("the body is not valid JSON: {0}")]
    NotJson(String),
    /// A part is larger than it may be.
    #[error("{}", .0.detail)]
    TooLarge(FieldError),
    /// Fields are wrong; all of them are listed.
    #[error("{} of the request's fields {}; see `errors`", .0.len(), if .0.len() == 1 { "is wrong" } else { "are wrong" })]
    Invalid(Vec<FieldError>),
}

impl RunRequest {
    /// Parses the body of `POST /execute` or `POST /v1/execute`.
    pub fn parse(body: &[u8], bounds: &Bounds) -> Result<Self, Refusal> {
        parse_object(body, bounds, |fields, sizes| {
            let language = name(fields, "language");
            let sources = sources::read(fields, bounds, &mut sizes.code);
            let input = fields.string("inputData").unwrap_or_default();
            sizes.input += input.len();
            let args = fields.strings("args", bounds.args_max, bounds.args_bytes_max);
            let env = environment(fields, bounds);
            let interactive = interactive::read(fields);
            let timeout = fields
                .seconds("timeout", bounds.timeout_max_seconds)
                .unwrap_or_else(|| interactive::timeout_default(interactive, bounds));
            let cpu_time = fields.seconds("cpuTime", bounds.timeout_max_seconds).unwrap_or(timeout);
            let memory_mb = fields
                .whole("memoryLimit", bounds.memory_min_mb, bounds.memory_max_mb)
                .unwrap_or(bounds.memory_default_mb);
            Self {
                language,
                sources,
                input,
                args,
                env,
                timeout: Duration::from_secs_f64(timeout),
                cpu_time: Duration::from_secs_f64(cpu_time),
                memory_bytes: memory_mb * 1024 * 1024,
                version: name(fields, "version"),
                compiler_options: fields.strings("compilerOptions", bounds.args_max, 4096),
                cases: cases(fields, bounds, sizes, interactive),
                output_files: fields.strings("outputFiles", bounds.args_max, 4096),
                output_base64: fields.boolean("outputBase64").unwrap_or_default(),
                cache: fields.boolean("cache").unwrap_or(true),
                interactive,
            }
        })
        .and_then(|(request, sizes)| sizes.check(bounds).map(|()| request))
    }
}

impl ValidateRequest {
    /// Parses the body of `POST /validate` or `POST /v1/validate`.
    pub fn parse(body: &[u8], bounds: &Bounds) -> Result<Self, Refusal> {
        parse_object(body, bounds, |fields, sizes| Self {
            language: name(fields, "language"),
            sources: sources::read(fields, bounds, &mut sizes.code),
            version: name(fields, "version"),
        })
        .and_then(|(request, sizes)| sizes.check(bounds).map(|()| request))
    }
}

/// What of a submission counts against a size bound.
#[derive(Default)]
struct Sizes {
    code: usize,
    input: usize,
}

impl Sizes {
    fn check(&self, bounds: &Bounds) -> Result<(), Refusal> {
        let parts = [
            ("/code", "source text", self.code, bounds.code_bytes_max),
            ("/inputData", "standard input", self.input, bounds.input_bytes_max),
        ];
        for (pointer, what, bytes, bytes_max) in parts {
            if bytes > bytes_max {
                let detail = format!("{what} may be at most {bytes_max} bytes, not {bytes}");
                return Err(Refusal::TooLarge(FieldError::new(pointer, detail)));
            }
        }
        Ok(())
    }
}

fn parse_object<T>(
    body: &[u8],
    bounds: &Bounds,
    read: impl FnOnce(&mut Fields<'_>, &mut Sizes) -> T,
) -> Result<(T, Sizes), Refusal> {
    let values_max = bounds.values_max();
    if has_more_values(body, values_max) {
        let detail = format!("the body may hold at most {values_max} values");
        return Err(Refusal::TooLarge(FieldError::new("", detail)));
    }
    let value: Value =
        serde_json::from_slice(body).map_err(|error| Refusal::NotJson(error.to_string()))?;
    let object = match value {
        Value::Object(object) => object,
        other => {
            let detail = format!("the body must be a JSON object, not {}", kind(&other));
            return Err(Refusal::Invalid(vec![FieldError::new("", detail)]));
        }
    };
    let mut errors = Vec::new();
    let mut sizes = Sizes::default();
    let mut fields = Fields::new("", object, &mut errors);
    let parsed = read(&mut fields, &mut sizes);
    fields.finish();
    if errors.is_empty() { Ok((parsed, sizes)) } else { Err(Refusal::Invalid(errors)) }
}

/// Whether JSON text has more than `max` values: all but the first of a list or object follow a
/// comma, a colon or an opening bracket outside of strings.
fn has_more_values(text: &[u8], max: usize) -> bool {
    let (mut values, mut in_string, mut is_escaped) = (0, false, false);
    for byte in text {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if in_string => is_escaped = true,
            b'"' => in_string = !in_string,
            b',' | b':' | b'[' | b'{' if !in_string => {
                values += 1;
                if values > max {
                    return true;
                }
            }
            _ => {}
        }
    }
    false
}

/// A short word: a language, an alias, a version.
fn name(fields: &mut Fields<'_>, field: &'static str) -> Option<String> {
    const BYTES_MAX: usize = 64;
    let text = fields.string(field)?;
    if text.is_empty() || text.len() > BYTES_MAX || text.chars().any(char::is_control) {
        let detail = format!("`{field}` must be 1 to {BYTES_MAX} bytes of printable text");
        fields.refuse(field, detail);
        return None;
    }
    Some(text)
}

fn environment(fields: &mut Fields<'_>, bounds: &Bounds) -> BTreeMap<String, String> {
    let Some(object) = fields.object("env") else { return BTreeMap::new() };
    if object.len() > bounds.args_max {
        let detail =
            format!("`env` may have at most {} entries, not {}", bounds.args_max, object.len());
        fields.refuse("env", detail);
        return BTreeMap::new();
    }
    let mut env = BTreeMap::new();
    for (name, value) in object {
        let at = format!("env/{}", name.replace('~', "~0").replace('/', "~1"));
        let starts_well =
            name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
        if !starts_well || !name.chars().all(|it| it.is_ascii_alphanumeric() || it == '_') {
            fields.refuse(&at, "a name must be letters, digits and `_`, not starting with a digit");
            continue;
        }
        match value {
            Value::String(text) if text.contains('\0') => {
                fields.refuse(&at, "must not hold a NUL character");
            }
            Value::String(text) => {
                env.insert(name, text);
            }
            other => fields.refuse(&at, format!("must be a string, not {}", kind(&other))),
        }
    }
    let bytes: usize = env.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
    if bytes > bounds.args_bytes_max {
        let detail = format!("`env` may hold at most {} bytes, not {bytes}", bounds.args_bytes_max);
        fields.refuse("env", detail);
    }
    env
}

fn cases(
    fields: &mut Fields<'_>,
    bounds: &Bounds,
    sizes: &mut Sizes,
    interactive: Option<Interactive>,
) -> Vec<Case> {
    let Some(values) = fields.list("cases", bounds.cases_max) else { return Vec::new() };
    if interactive.is_some() {
        fields.refuse("cases", "an interactive run has one input, and no `cases`");
    }
    if values.is_empty() {
        fields.refuse("cases", "`cases` must hold at least one case");
    }
    let mut cases = Vec::with_capacity(values.len());
    for (index, value) in values.into_iter().enumerate() {
        let at = format!("/cases/{index}");
        let Value::Object(object) = value else {
            let detail = format!("must be an object, not {}", kind(&value));
            fields.errors().push(FieldError::new(at, detail));
            continue;
        };
        let has_args = object.get("args").is_some_and(|args| !args.is_null());
        let mut fields = Fields::new(at, object, fields.errors());
        let name = name(&mut fields, "name");
        let input = fields.string("inputData").unwrap_or_default();
        sizes.input += input.len();
        let args = fields.strings("args", bounds.args_max, bounds.args_bytes_max);
        let expected_output = fields.string("expectedOutput");
        sizes.input += expected_output.as_ref().map_or(0, String::len);
        fields.finish();
        cases.push(Case { name, input, args: has_args.then_some(args), expected_output });
    }
    cases
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn parse(value: &Value) -> Result<RunRequest, Refusal> {
        RunRequest::parse(value.to_string().as_bytes(), &Bounds::default())
    }

    #[track_caller]
    fn check_refused(value: &Value, pointers: &[&str]) {
        let Err(Refusal::Invalid(errors)) = parse(value) else {
            panic!("{value} should be refused, was {:?}", parse(value))
        };
        let found: Vec<&str> = errors.iter().map(|error| error.pointer.as_str()).collect();
        assert_eq!(found, pointers, "{errors:?}");
    }

    #[test]
    fn the_original_contract_parses_with_its_defaults() {
        let request = parse(&json!({"code": "x", "inputData": "in", "timeout": 5})).unwrap();
        assert_eq!(request.sources, [SourceFile { path: String::new(), content: b"x".to_vec() }]);
        assert_eq!(request.input, "in");
        assert_eq!(request.timeout, Duration::from_secs(5));
        assert_eq!(request.cpu_time, Duration::from_secs(5));
        assert_eq!(request.memory_bytes, 128 << 20);
        let request = parse(&json!({"code": "x"})).unwrap();
        assert_eq!(request.timeout, Duration::from_secs(30));
    }

    #[test]
    fn the_cache_is_used_unless_it_is_refused() {
        let cache = |value| parse(&json!({"code": "x", "cache": value})).map(|it| it.cache);
        assert!(parse(&json!({"code": "x"})).unwrap().cache);
        assert!(cache(json!(null)).unwrap() && cache(json!(true)).unwrap());
        assert!(!cache(json!(false)).unwrap());
        check_refused(&json!({"code": "x", "cache": "no"}), &["/cache"]);
        let validate =
            ValidateRequest::parse(br#"{"code": "x", "cache": false}"#, &Bounds::default());
        assert!(matches!(validate, Err(Refusal::Invalid(_))));
    }

    #[test]
    fn whoever_types_has_the_longest_time_and_one_input() {
        let plain = parse(&json!({"code": "x"})).unwrap();
        assert_eq!(plain.interactive, None);
        let request = parse(&json!({"code": "x", "interactive": true})).unwrap();
        let interactive = request.interactive.unwrap();
        assert_eq!((interactive.terminal, interactive.detach_timeout.as_secs()), (None, 60));
        assert_eq!(request.timeout, Duration::from_mins(1));
        let cases = json!([{"inputData": "a"}]);
        check_refused(&json!({"code": "x", "interactive": true, "cases": cases}), &["/cases"]);
        check_refused(
            &json!({"code": "x", "interactive": 1, "detachTimeout": 601}),
            &["/interactive", "/detachTimeout"],
        );
    }

    #[test]
    fn a_terminal_has_a_size_and_somebody_who_types() {
        let request = parse(&json!({"code": "x", "tty": {"cols": 80, "rows": 24}})).unwrap();
        let terminal = request.interactive.and_then(|it| it.terminal).unwrap();
        assert_eq!((terminal.cols, terminal.rows), (80, 24));
        let tty = |tty: Value| json!({"code": "x", "tty": tty});
        check_refused(&tty(json!({"cols": 0, "rows": 501})), &["/tty/cols", "/tty/rows"]);
        check_refused(&tty(json!({"cols": 80, "depth": 1})), &["/tty/rows", "/tty/depth"]);
        check_refused(&tty(json!(true)), &["/tty"]);
        let odd = json!({"code": "x", "interactive": false, "tty": {"cols": 1, "rows": 1}});
        check_refused(&odd, &["/interactive"]);
    }

    #[test]
    fn null_counts_as_absent() {
        assert!(parse(&json!({"code": "x", "inputData": null, "files": null})).is_ok());
    }

    #[test]
    fn every_wrong_field_is_told_at_once() {
        check_refused(
            &json!({"code": 1, "timeout": 0, "cpuTime": "5", "memoryLimit": 1, "args": ["a\u{0}"], "nonsense": 1}),
            &["/code", "/args/0", "/timeout", "/cpuTime", "/memoryLimit", "/nonsense"],
        );
    }

    #[test]
    fn a_timeout_is_above_zero_and_at_most_sixty() {
        for timeout in [json!(0), json!(-1), json!(60.001), json!(1e300), json!("5"), json!([])] {
            check_refused(&json!({"code": "x", "timeout": timeout}), &["/timeout"]);
        }
        assert!(parse(&json!({"code": "x", "timeout": 0.25})).is_ok());
        assert!(parse(&json!({"code": "x", "timeout": 60})).is_ok());
        let nan = RunRequest::parse(br#"{"code": "x", "timeout": NaN}"#, &Bounds::default());
        assert!(matches!(nan, Err(Refusal::NotJson(_))));
    }

    #[test]
    fn code_or_files_but_not_neither_nor_both() {
        check_refused(&json!({}), &["/code"]);
        check_refused(&json!({"code": ""}), &["/code"]);
        check_refused(&json!({"files": []}), &["/files"]);
        check_refused(&json!({"code": "x", "files": [{"path": "a", "content": ""}]}), &["/files"]);
    }

    #[test]
    fn paths_that_leave_the_work_directory_are_refused() {
        for path in ["/etc/passwd", "../a", "a/../b", "a//b", "./a", "a/", "", "a\0b", "a\nb"] {
            check_refused(&json!({"files": [{"path": path, "content": "x"}]}), &["/files/0/path"]);
        }
    }

    #[test]
    fn two_files_cannot_share_a_place() {
        let file = |path: &str| json!({"path": path, "content": "x"});
        check_refused(&json!({"files": [file("a"), file("a")]}), &["/files/1/path"]);
        check_refused(&json!({"files": [file("a"), file("a/b")]}), &["/files/1/path"]);
        check_refused(&json!({"files": [file("a/b"), file("a")]}), &["/files/1/path"]);
        assert!(parse(&json!({"files": [file("a/b"), file("a/c"), file("a.b")]})).is_ok());
    }

    #[test]
    fn a_thousand_files_are_too_many() {
        let files: Vec<Value> =
            (0..1000).map(|it| json!({"path": it.to_string(), "content": ""})).collect();
        check_refused(&json!({"files": files}), &["/files"]);
    }

    #[test]
    fn base64_is_decoded_and_its_faults_are_told() {
        let file = |content: &str| json!({"files": [{"path": "a", "content": content, "encoding": "base64"}]});
        assert_eq!(parse(&file("AP8=")).unwrap().sources[0].content, [0, 255]);
        check_refused(&file("%%%"), &["/files/0/content"]);
        check_refused(
            &json!({"files": [{"path": "a", "content": "x", "encoding": "rot13"}]}),
            &["/files/0/encoding"],
        );
        check_refused(
            &json!({"files": [{"path": "a", "content": "x", "type": "symlink"}]}),
            &["/files/0/type"],
        );
    }

    #[test]
    fn what_is_too_large_is_told_with_its_bound() {
        let refusal = parse(&json!({"code": "x".repeat(51_201)})).unwrap_err();
        assert_eq!(refusal.to_string(), "source text may be at most 51200 bytes, not 51201");
        assert!(parse(&json!({"code": "x".repeat(51_200)})).is_ok());
    }

    #[test]
    fn a_swarm_of_values_is_refused_before_it_is_parsed() {
        let body = format!(r#"{{"code": [{}0]}}"#, "0,".repeat(1_000_000));
        let refusal = RunRequest::parse(body.as_bytes(), &Bounds::default()).unwrap_err();
        assert!(matches!(refusal, Refusal::TooLarge(_)));
        let text = r#"",:[{\"#.repeat(6000);
        assert!(parse(&json!({"code": "x", "inputData": text})).is_ok(), "text is one value");
    }

    #[test]
    fn the_largest_permitted_submission_is_no_swarm() {
        let args = vec!["a"; 64];
        let case = json!({"name": "n", "inputData": "i", "args": args, "expectedOutput": "o"});
        let files: Vec<Value> = (0..100)
            .map(|it| json!({"path": it.to_string(), "content": "", "encoding": "utf8"}))
            .collect();
        let env: serde_json::Map<String, Value> =
            (0..64).map(|it| (format!("V{it}"), json!("x"))).collect();
        let body = json!({
            "files": files, "cases": vec![case; 100], "env": env, "args": args,
            "compilerOptions": args, "outputFiles": args, "timeout": 1, "cpuTime": 1,
            "memoryLimit": 64, "version": "1", "language": "alpha", "outputBase64": true,
            "cache": false,
        });
        parse(&body).unwrap();
    }

    #[test]
    fn deep_json_is_refused_without_a_crash() {
        let deep = "[".repeat(1_000);
        let body = format!(r#"{{"code": {deep}"#);
        let refusal = RunRequest::parse(body.as_bytes(), &Bounds::default());
        assert!(matches!(refusal, Err(Refusal::NotJson(_))));
    }

    proptest! {
        #[test]
        fn no_body_makes_the_parser_panic(body in proptest::collection::vec(any::<u8>(), 0..256)) {
            drop(RunRequest::parse(&body, &Bounds::default()));
        }
    }
}
