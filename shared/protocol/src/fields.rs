//! Reads the fields of a JSON object one by one and remembers every fault, so that a client
//! learns of all wrong fields at once.

use serde_json::{Map, Value};

use crate::FieldError;

/// The fields of one object, not yet read, and the faults found so far.
pub(crate) struct Fields<'a> {
    at: String,
    known: Vec<&'static str>,
    left: Map<String, Value>,
    errors: &'a mut Vec<FieldError>,
}

impl<'a> Fields<'a> {
    /// The fields of `object`, which stands at the JSON pointer `at`.
    pub(crate) fn new(
        at: impl Into<String>,
        object: Map<String, Value>,
        errors: &'a mut Vec<FieldError>,
    ) -> Self {
        Self { at: at.into(), known: Vec::new(), left: object, errors }
    }

    /// Takes a field out; null counts as absent.
    pub(crate) fn take(&mut self, name: &'static str) -> Option<Value> {
        self.known.push(name);
        self.left.remove(name).filter(|value| !value.is_null())
    }

    /// Notes a fault of the field `name`.
    pub(crate) fn refuse(&mut self, name: &str, detail: impl Into<String>) {
        self.errors.push(FieldError::new(format!("{}/{name}", self.at), detail));
    }

    /// A string.
    pub(crate) fn string(&mut self, name: &'static str) -> Option<String> {
        match self.take(name)? {
            Value::String(text) => Some(text),
            other => {
                self.refuse(name, format!("`{name}` must be a string, not {}", kind(&other)));
                None
            }
        }
    }

    /// A boolean.
    pub(crate) fn boolean(&mut self, name: &'static str) -> Option<bool> {
        match self.take(name)? {
            Value::Bool(yes) => Some(yes),
            other => {
                self.refuse(name, format!("`{name}` must be true or false, not {}", kind(&other)));
                None
            }
        }
    }

    /// Seconds, above 0 and at most `max`.
    pub(crate) fn seconds(&mut self, name: &'static str, max: f64) -> Option<f64> {
        let value = self.take(name)?;
        let Some(seconds) = value.as_f64() else {
            let detail = format!("`{name}` must be a number of seconds, not {}", kind(&value));
            self.refuse(name, detail);
            return None;
        };
        if seconds > 0.0 && seconds <= max {
            return Some(seconds);
        }
        let detail =
            format!("`{name}` must be more than 0 and may be at most {max} s, not {seconds}");
        self.refuse(name, detail);
        None
    }

    /// A whole number from `min` to `max`.
    pub(crate) fn whole(&mut self, name: &'static str, min: u64, max: u64) -> Option<u64> {
        let value = self.take(name)?;
        let Value::Number(number) = &value else {
            let detail = format!("`{name}` must be a whole number, not {}", kind(&value));
            self.refuse(name, detail);
            return None;
        };
        match number.as_u64().or_else(|| whole_float(number.as_f64()?)) {
            Some(number) if (min..=max).contains(&number) => Some(number),
            _ => {
                let detail =
                    format!("`{name}` must be a whole number from {min} to {max}, not {value}");
                self.refuse(name, detail);
                None
            }
        }
    }

    /// A list of at most `max` values.
    pub(crate) fn list(&mut self, name: &'static str, max: usize) -> Option<Vec<Value>> {
        match self.take(name)? {
            Value::Array(values) if values.len() <= max => Some(values),
            Value::Array(values) => {
                let detail =
                    format!("`{name}` may have at most {max} entries, not {}", values.len());
                self.refuse(name, detail);
                None
            }
            other => {
                self.refuse(name, format!("`{name}` must be a list, not {}", kind(&other)));
                None
            }
        }
    }

    /// A list of at most `max` strings without NUL, together at most `bytes_max`.
    pub(crate) fn strings(
        &mut self,
        name: &'static str,
        max: usize,
        bytes_max: usize,
    ) -> Vec<String> {
        let Some(values) = self.list(name, max) else { return Vec::new() };
        let mut texts = Vec::with_capacity(values.len());
        for (index, value) in values.into_iter().enumerate() {
            match value {
                Value::String(text) if text.contains('\0') => {
                    self.refuse(&format!("{name}/{index}"), "must not hold a NUL character");
                }
                Value::String(text) => texts.push(text),
                other => {
                    let detail = format!("must be a string, not {}", kind(&other));
                    self.refuse(&format!("{name}/{index}"), detail);
                }
            }
        }
        let bytes: usize = texts.iter().map(String::len).sum();
        if bytes > bytes_max {
            let detail =
                format!("`{name}` may hold at most {bytes_max} bytes together, not {bytes}");
            self.refuse(name, detail);
        }
        texts
    }

    /// An object.
    pub(crate) fn object(&mut self, name: &'static str) -> Option<Map<String, Value>> {
        match self.take(name)? {
            Value::Object(object) => Some(object),
            other => {
                self.refuse(name, format!("`{name}` must be an object, not {}", kind(&other)));
                None
            }
        }
    }

    /// Whether nothing is wrong with the field `name` so far.
    pub(crate) fn has_no_fault_of(&self, name: &str) -> bool {
        let at = format!("{}/{name}", self.at);
        self.errors.iter().all(|it| it.pointer != at)
    }

    /// The faults so far, for the values of a list that are objects themselves.
    pub(crate) fn errors(&mut self) -> &mut Vec<FieldError> {
        self.errors
    }

    /// Refuses every field that nobody asked for.
    pub(crate) fn finish(self) {
        let known = self.known.join("`, `");
        for name in self.left.keys() {
            let shown: String = name.chars().take(64).collect();
            self.errors.push(FieldError::new(
                format!("{}/{}", self.at, shown.replace('~', "~0").replace('/', "~1")),
                format!("unknown field `{shown}`; the fields are `{known}`"),
            ));
        }
    }
}

/// The JSON type of a value, with its article.
pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// `128.0` is as whole as `128`.
fn whole_float(number: f64) -> Option<u64> {
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked to be whole and in range"
    )]
    (number.fract() == 0.0 && (0.0..=EXACT_MAX).contains(&number)).then_some(number as u64)
}
