//! What of a submission is checked before anyone is bothered with it: pure, from bytes and
//! bounds to an admitted request or the reasons why not.

use std::borrow::Cow;
use std::time::Duration;

use protocol::{Bounds, FieldError, Interactive, Refusal, RunRequest, ValidateRequest};
use serde::Deserialize;

/// The longest that any request may take.
const DEADLINE_MAX: Duration = Duration::from_mins(20);

/// Why a submission was not taken.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(crate) enum AdmissionError {
    /// Its content is wrong.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It says that it is not JSON.
    #[error("the body must be `application/json`, not `{0}`")]
    MediaType(String),
    /// The body is larger than any permitted submission.
    #[error("the body may be at most {0} bytes")]
    BodyTooLarge(usize),
    /// The body did not arrive in time.
    #[error("the body did not arrive within {0} s; send it faster")]
    BodyTimeout(f64),
    /// The body broke off.
    #[error("the body could not be read to its end; send it again")]
    BodyBroken,
    /// All memory for bodies is taken.
    #[error("too many requests are in progress; try again")]
    Overloaded,
}

/// A submission that may be sent to an executor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Admitted {
    /// The language or alias asked for.
    pub language: String,
    /// How long an executor may take to answer it.
    pub deadline: Duration,
    /// How somebody takes part in it, if anybody does.
    pub interactive: Option<Interactive>,
}

impl Admitted {
    /// Refuses what takes somebody who types, where nobody could.
    pub(crate) fn has_no_company(&self) -> Result<(), AdmissionError> {
        let Some(interactive) = self.interactive else { return Ok(()) };
        let field = if interactive.terminal.is_some() { "/tty" } else { "/interactive" };
        let detail = "nobody could type here; send it to `POST /v1/runs`";
        Err(Refusal::Invalid(vec![FieldError::new(field, detail)]).into())
    }
}

/// What a submission asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// To run a program.
    Execute,
    /// To look at one.
    Validate,
}

/// Refuses a content type that is not JSON. None at all is taken for JSON.
pub(crate) fn check_media_type(content_type: Option<&str>) -> Result<(), AdmissionError> {
    let Some(content_type) = content_type else { return Ok(()) };
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_json = essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"));
    if is_json {
        return Ok(());
    }
    let shown = essence.chars().filter(|it| !it.is_control()).take(64).collect();
    Err(AdmissionError::MediaType(shown))
}

/// The language that a body asks for, as far as that can be told; its bounds are for
/// [`admit`] to hold the body against.
pub(crate) fn language_of(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Peek<'a> {
        #[serde(borrow)]
        language: Option<Cow<'a, str>>,
    }
    let peek: Peek<'_> = serde_json::from_slice(body).ok()?;
    peek.language.map(Cow::into_owned)
}

/// Admits a body, or tells everything that is wrong with it. `allowance` is what an answer may
/// take beside the run's own timeout.
pub(crate) fn admit(
    action: Action,
    body: &[u8],
    bounds: &Bounds,
    allowance: Duration,
) -> Result<Admitted, AdmissionError> {
    let parsed = match action {
        Action::Execute => RunRequest::parse(body, bounds).map(|request| {
            let runs = u32::try_from(request.cases.len().max(1)).unwrap_or(u32::MAX);
            (request.language, request.timeout.saturating_mul(runs), request.interactive)
        }),
        Action::Validate => {
            ValidateRequest::parse(body, bounds).map(|it| (it.language, Duration::ZERO, None))
        }
    };
    match parsed {
        Ok((Some(language), run_time, interactive)) => {
            let deadline = run_time.saturating_add(allowance).min(DEADLINE_MAX);
            Ok(Admitted { language, deadline, interactive })
        }
        Ok((None, ..)) => Err(Refusal::Invalid(vec![language_missing()]).into()),
        Err(Refusal::Invalid(mut errors)) => {
            let is_object = errors.iter().all(|it| !it.pointer.is_empty());
            let is_told = errors.iter().any(|it| it.pointer == "/language");
            if is_object && !is_told && language_of(body).is_none() {
                errors.insert(0, language_missing());
            }
            Err(Refusal::Invalid(errors).into())
        }
        Err(refusal) => Err(refusal.into()),
    }
}

fn language_missing() -> FieldError {
    FieldError::new("/language", "`language` is required; `GET /v1/languages` lists them")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const ALLOWANCE: Duration = Duration::from_secs(90);

    fn admit_run(value: &Value) -> Result<Admitted, AdmissionError> {
        admit(Action::Execute, value.to_string().as_bytes(), &Bounds::default(), ALLOWANCE)
    }

    #[track_caller]
    fn check_pointers(value: &Value, pointers: &[&str]) {
        let Err(AdmissionError::Refused(Refusal::Invalid(errors))) = admit_run(value) else {
            panic!("{value} should be refused")
        };
        let found: Vec<&str> = errors.iter().map(|it| it.pointer.as_str()).collect();
        assert_eq!(found, pointers);
    }

    #[test]
    fn the_deadline_covers_every_case_and_is_bounded() {
        let seconds = |value| admit_run(&value).unwrap().deadline.as_secs();
        assert_eq!(seconds(json!({"language": "alpha", "code": "x", "timeout": 5})), 95);
        let cases = json!([{"inputData": "a"}, {"inputData": "b"}]);
        assert_eq!(
            seconds(json!({"language": "alpha", "code": "x", "timeout": 5, "cases": cases})),
            100
        );
        let many = vec![json!({"inputData": "a"}); 100];
        assert_eq!(
            seconds(json!({"language": "alpha", "code": "x", "timeout": 60, "cases": many})),
            1200
        );
    }

    #[test]
    fn a_missing_language_is_told_with_all_else() {
        check_pointers(&json!({"code": "x"}), &["/language"]);
        check_pointers(&json!({"code": "", "timeout": 0}), &["/language", "/code", "/timeout"]);
        check_pointers(&json!({"code": "x", "language": null, "a": 1}), &["/language", "/a"]);
        check_pointers(&json!({"code": "x", "language": 5}), &["/language"]);
        check_pointers(&json!({"code": "x", "language": ""}), &["/language"]);
        check_pointers(&json!([]), &[""]);
    }

    #[test]
    fn whoever_types_is_sent_where_that_can_be() {
        let admitted = |value| admit_run(&value).unwrap().has_no_company();
        assert!(admitted(json!({"language": "alpha", "code": "x"})).is_ok());
        let typed = json!({"language": "alpha", "code": "x", "interactive": true});
        let refused = admitted(typed).unwrap_err();
        let AdmissionError::Refused(Refusal::Invalid(errors)) = refused else { panic!() };
        assert_eq!(errors[0].pointer, "/interactive");
        assert!(errors[0].detail.contains("/v1/runs"));
    }

    #[test]
    fn a_validation_has_fewer_fields() {
        let bounds = Bounds::default();
        let check = |value: Value| {
            admit(Action::Validate, value.to_string().as_bytes(), &bounds, ALLOWANCE)
        };
        let admitted = check(json!({"language": "alpha", "code": "x"})).unwrap();
        let language = "alpha".to_owned();
        assert_eq!(admitted, Admitted { language, deadline: ALLOWANCE, interactive: None });
        assert!(check(json!({"language": "alpha", "code": "x", "timeout": 5})).is_err());
    }

    #[test]
    fn json_goes_by_several_names_or_none() {
        for good in [
            None,
            Some("application/json"),
            Some("application/json; charset=utf-8"),
            Some("Application/JSON"),
            Some("application/vnd.x+json"),
        ] {
            assert_eq!(check_media_type(good), Ok(()));
        }
        for bad in ["text/plain", "", "json", "application/xml", "multipart/form-data"] {
            assert!(check_media_type(Some(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_language_is_found_without_a_full_parse() {
        assert_eq!(language_of(br#"{"code": "x", "language": "alpha"}"#).as_deref(), Some("alpha"));
        assert_eq!(language_of(br#"{"language": 1}"#), None);
        assert_eq!(language_of(b"[]"), None);
        assert_eq!(language_of(b"\xff"), None);
    }
}
