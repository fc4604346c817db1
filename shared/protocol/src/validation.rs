//! The answer to `POST /validate`.

use serde::{Deserialize, Serialize};

/// One complaint of a language's own front end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Diagnostic {
    /// What is wrong.
    pub message: String,
    /// Line, from 1; 0 if the front end named none.
    pub line: u64,
    /// Column, from 1; 0 if the front end named none.
    pub column: u64,
    /// The front end's own code for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The file it is in, when there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
}

/// How bad a complaint is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// It keeps the program from running.
    Error,
    /// It does not.
    Warning,
}

/// What a front end thinks of a program that it did not run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ValidateReport {
    /// The request's id.
    pub request_id: String,
    /// Whether there are no errors.
    pub is_valid: bool,
    /// What keeps it from running.
    pub errors: Vec<Diagnostic>,
    /// What does not.
    pub warnings: Vec<Diagnostic>,
}
