//! Logs, request ids, trace context and metrics: the only crate that knows exporters.
//!
//! What never goes into a log: source text, standard input, output, keys and tokens.

mod context;
mod logs;
pub mod metrics;

pub use context::{
    CALLER_HEADER, REQUEST_ID_HEADER, RUN_KEY_HEADER, RequestContext, TRACEPARENT_HEADER,
    request_context,
};
pub use logs::start_logs;
