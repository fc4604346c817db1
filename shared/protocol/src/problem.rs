//! How a fault of ours, or a request that we cannot take, is told (RFC 9457).

use serde::{Deserialize, Serialize};

/// One wrong field of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldError {
    /// JSON pointer to the field (RFC 6901), such as `/files/0/path`.
    pub pointer: String,
    /// What is wrong with it and what would be right.
    pub detail: String,
}

impl FieldError {
    /// A wrong field at `pointer`.
    pub fn new(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), detail: detail.into() }
    }
}

/// The body of every answer that is not a result, as `application/problem+json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// Identifies the kind of problem; always `about:blank#` and the code.
    #[serde(rename = "type")]
    pub kind: String,
    /// The HTTP status, repeated.
    pub status: u16,
    /// The kind in words.
    pub title: String,
    /// Stable, machine-readable name of the problem, such as `invalid_request`.
    pub code: String,
    /// What happened and what to do.
    pub detail: String,
    /// The request's id, as in the `x-request-id` header.
    pub request_id: String,
    /// Every wrong field, when fields are what is wrong.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
}

impl Problem {
    /// A problem named `code`, answered with `status`.
    pub fn new(status: u16, code: &str, detail: impl Into<String>, request_id: &str) -> Self {
        Self {
            kind: format!("about:blank#{code}"),
            status,
            title: code.replace('_', " "),
            code: code.to_owned(),
            detail: detail.into(),
            request_id: request_id.to_owned(),
            errors: Vec::new(),
        }
    }

    /// The same problem with the fields that caused it.
    #[must_use]
    pub fn with_errors(mut self, errors: Vec<FieldError>) -> Self {
        self.errors = errors;
        self
    }
}
