//! Kill runs: whoever is killed, stopped or replaced while clients leave jobs, no acknowledged job is
//! lost, none has two results, and none is stuck.
//!
//! Everything is real: gateways, workers, an executor, the store's server, clients over HTTP. What
//! clients were answered and what was done to whom is written down (`history`), and held against what
//! was promised once all is well again (`checker`). `CHAOS_ROUNDS` has more done to the fleet, and
//! `CHAOS_SEED` the same as in a run before.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "tests fail by panicking, read what they are told to do, and say what they did"
)]

mod chance;
mod checker;
mod clients;
mod fleet;
mod history;

mod clocks;
mod kills;
mod poison;
mod rolling;
