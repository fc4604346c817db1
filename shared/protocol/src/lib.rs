//! The words of the fleet, as plain data: what a client may ask, what it is answered, what an
//! executor says of itself.
//!
//! Invariant: nothing in here does I/O, reads a clock, or knows HTTP, SQL or Linux.

mod bounds;
mod fields;
mod health;
mod info;
mod interactive;
mod isolation;
mod problem;
mod report;
mod sources;
mod submission;
mod syntax;
mod validation;
pub mod worker;

pub use bounds::Bounds;
pub use health::{ExecutorHealth, HealthStatus};
pub use info::{
    ExampleFile, ExecutorInfo, LanguageInfo, ProgramExample, RuntimeInfo, RuntimeWarmth,
    SampleResult, SamplesReport, StartFrom, WarmInfo,
};
pub use interactive::{Interactive, TerminalSize};
pub use isolation::{
    Guarantee, IsolationReport, Level, LimitsInForce, SelfTestReport, SelfTestResult, Strength,
    UnknownLevel,
};
pub use problem::{FieldError, Problem};
pub use report::{
    CaseReport, CompileReport, CompileStatus, OutputFile, RunEvent, RunReport, RunStats, Stage,
    Status, Timings, Usage,
};
pub use sources::SourceFile;
pub use submission::{Case, Refusal, RunRequest, ValidateRequest};
pub use syntax::{StringSyntax, Syntax};
pub use validation::{Diagnostic, Severity, ValidateReport};
