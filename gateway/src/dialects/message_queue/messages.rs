//! What is said over the socket of the message queue, both ways: pure.

use protocol::{Problem, Refusal};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::{Asked, Sender, Told};
use crate::admission::AdmissionError;
use crate::auth::Role;
use crate::error::ApiError;

/// Longest name that a client gives a message, in bytes of JSON.
const ID_BYTES_MAX: usize = 130;
/// Longest name of a task that is told back, in bytes.
const TASK_ID_BYTES_MAX: usize = 200;

/// A message of a client's.
#[derive(Debug)]
pub(super) struct Heard {
    /// What its answer is to be known by.
    pub(super) id: Option<Value>,
    /// The task that it names.
    pub(super) task_id: Option<String>,
    /// What it says.
    pub(super) what: Result<What, ApiError>,
}

/// What a client may say.
#[derive(Debug)]
pub(super) enum What {
    /// It leaves a task, and waits for the result.
    Submit(Asked),
    /// It waits for the result of a task that it left before.
    Subscribe(Named),
    /// A machine takes tasks.
    Ready(Ready),
    /// A machine has a task.
    Accepted(Named),
    /// A machine has run a task.
    Result(Box<Told>),
    /// A machine is there.
    Heartbeat(Sender),
}

/// A task, by its name.
#[derive(Debug, Deserialize)]
pub(super) struct Named {
    pub(super) task_id: String,
}

/// How many tasks a machine takes now, and of what.
#[derive(Debug, Deserialize)]
pub(super) struct Ready {
    pub(super) limit: usize,
    pub(super) language: Option<String>,
    #[serde(flatten)]
    pub(super) sender: Sender,
}

impl What {
    /// Its `type`.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Submit(_) => "submit",
            Self::Subscribe(_) => "subscribe",
            Self::Ready(_) => "ready",
            Self::Accepted(_) => "accepted",
            Self::Result(_) => "result",
            Self::Heartbeat(_) => "heartbeat",
        }
    }

    /// What a key has to be good for that says so.
    pub(super) fn roles(&self) -> &'static [Role] {
        match self {
            Self::Submit(_) | Self::Subscribe(_) => &[Role::Submit],
            Self::Ready(_) | Self::Accepted(_) | Self::Result(_) | Self::Heartbeat(_) => {
                &[Role::Work]
            }
        }
    }
}

/// The task that a message is about, if it names one.
fn task_id(fields: &Map<String, Value>) -> Option<String> {
    let name = fields.get("task_id")?.as_str()?;
    (name.len() <= TASK_ID_BYTES_MAX).then(|| name.to_owned())
}

/// Reads a message.
pub(super) fn parse(text: &[u8]) -> Heard {
    let mut fields: Map<String, Value> = match serde_json::from_slice(text) {
        Ok(fields) => fields,
        Err(error) => return Heard { id: None, task_id: None, what: Err(wrong(&error)) },
    };
    let id = match fields.remove("id") {
        None | Some(Value::Null) => None,
        Some(id @ (Value::String(_) | Value::Number(_))) if is_short(&id) => Some(id),
        Some(_) => {
            let problem = "must be a number, or a text of at most 128 bytes";
            let what = Err(ApiError::invalid("/id", problem));
            return Heard { id: None, task_id: None, what };
        }
    };
    let task_id = task_id(&fields);
    let kind = fields.remove("type");
    let what = match kind.as_ref().and_then(Value::as_str) {
        Some("submit") => of(fields).map(What::Submit),
        Some("subscribe") => of(fields).map(What::Subscribe),
        Some("ready") => of(fields).map(What::Ready),
        Some("accepted") => of(fields).map(What::Accepted),
        Some("result") => of(fields).map(|it| What::Result(Box::new(it))),
        Some("heartbeat") => of(fields).map(What::Heartbeat),
        _ => {
            let problem = "must be `submit`, `subscribe`, `ready`, `accepted`, `result` or \
                           `heartbeat`";
            Err(ApiError::invalid("/type", problem))
        }
    };
    Heard { id, task_id, what }
}

fn is_short(id: &Value) -> bool {
    id.to_string().len() <= ID_BYTES_MAX
}

fn of<T: DeserializeOwned>(fields: Map<String, Value>) -> Result<T, ApiError> {
    serde_json::from_value(Value::Object(fields)).map_err(|it| wrong(&it))
}

fn wrong(error: &serde_json::Error) -> ApiError {
    if error.is_data() {
        return ApiError::invalid("", error.to_string());
    }
    AdmissionError::from(Refusal::NotJson(error.to_string())).into()
}

/// The answer to a message.
pub(super) fn answer(id: Option<&Value>, kind: &str, fields: Value) -> String {
    let mut told = news(kind, fields);
    if let (Some(id), Some(object)) = (id, told.as_object_mut()) {
        object.insert("id".to_owned(), id.clone());
    }
    told.to_string()
}

/// The answer to a message that is refused, or news of a task that are bad.
pub(super) fn error(id: Option<&Value>, task_id: Option<&str>, error: &ApiError) -> String {
    let Problem { code, detail, errors, .. } = error.problem("");
    let mut fields = json!({ "code": code, "detail": detail });
    let more = [
        ("errors", (!errors.is_empty()).then(|| json!(errors))),
        ("retry_after", error.retry_seconds().map(Value::from)),
        ("task_id", task_id.map(Value::from)),
    ];
    if let Some(object) = fields.as_object_mut() {
        object.extend(more.into_iter().filter_map(|(name, it)| Some((name.to_owned(), it?))));
    }
    answer(id, "error", fields)
}

/// What nobody asked for just now.
pub(super) fn push(kind: &str, fields: Value) -> String {
    news(kind, fields).to_string()
}

fn news(kind: &str, mut fields: Value) -> Value {
    if let Some(object) = fields.as_object_mut() {
        object.insert("type".to_owned(), json!(kind));
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(message: &Value) -> Heard {
        parse(message.to_string().as_bytes())
    }

    #[test]
    fn each_kind_of_message_needs_a_role() {
        for (message, role) in [
            (json!({"type": "submit", "code": "1", "timeout": 3}), Role::Submit),
            (json!({"type": "subscribe", "task_id": "a"}), Role::Submit),
            (json!({"type": "ready", "limit": 3, "vm_info": {"a": 1}}), Role::Work),
            (json!({"type": "accepted", "task_id": "a"}), Role::Work),
            (json!({"type": "result", "task_id": "a", "output": [1], "new": 1}), Role::Work),
            (json!({"type": "heartbeat", "vm_info": {}, "system_metrics": {}}), Role::Work),
        ] {
            let what = heard(&message).what.unwrap();
            assert_eq!(what.roles(), [role], "{message}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_by_its_code() {
        for (text, code) in [
            ("", "not_json"),
            ("{", "not_json"),
            ("[]", "invalid_request"),
            ("{}", "invalid_request"),
            (r#"{"type": "task"}"#, "invalid_request"),
            (r#"{"type": ["submit"]}"#, "invalid_request"),
            (r#"{"type": "submit"}"#, "invalid_request"),
            (r#"{"type": "submit", "code": "1", "source": "2"}"#, "invalid_request"),
            (r#"{"type": "ready", "limit": -1}"#, "invalid_request"),
            (r#"{"type": "accepted"}"#, "invalid_request"),
        ] {
            let error = parse(text.as_bytes()).what.unwrap_err();
            assert_eq!(error.code(), code, "{text}: {error}");
        }
        let deep = "[".repeat(100_000);
        assert_eq!(parse(deep.as_bytes()).what.unwrap_err().code(), "invalid_request");
    }

    #[test]
    fn the_clients_name_for_a_message_comes_back_and_is_bounded() {
        let heartbeat = |id: Value| heard(&json!({"type": "heartbeat", "id": id}));
        for id in [json!("a"), json!(7), json!("x".repeat(128))] {
            let heard = heartbeat(id.clone());
            assert!(heard.what.is_ok());
            let told = answer(heard.id.as_ref(), "ok", json!({}));
            assert_eq!(told, json!({"id": id, "type": "ok"}).to_string());
        }
        assert!(heartbeat(Value::Null).what.is_ok());
        for id in [json!("x".repeat(129)), json!({}), json!([1])] {
            let heard = heartbeat(id);
            assert!(heard.id.is_none() && heard.what.is_err());
        }
        let unknown = heard(&json!({"id": 1, "type": "x"}));
        let told = error(unknown.id.as_ref(), None, &unknown.what.unwrap_err());
        let told: Value = serde_json::from_str(&told).unwrap();
        assert_eq!((&told["id"], &told["code"]), (&json!(1), &json!("invalid_request")));
        assert_eq!(told["errors"][0]["pointer"], "/type");
    }
}
