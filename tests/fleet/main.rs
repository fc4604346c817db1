//! End to end: real servers, real toolchains, and what a client sees of them.
//!
//! Each test starts the servers of one subject once and makes many checks against them; a check
//! that fails is told by its sentence. Programs are in `programs/`, one folder a language.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "tests fail by panicking, start processes, and say what they skip"
)]

mod checks;
mod jobs;
mod language;
mod processes;
mod programs;
mod raw;
mod target;

mod contract;
mod endings;
mod fields;
mod files;
mod output;
mod validation;

mod access;
mod bench;
mod cache;
mod command_line;
mod compatibility;
mod connections;
mod dialects;
mod doctor;
mod faults;
mod faulty;
mod gateway;
mod killed;
mod load;
mod module_policy;
mod queues;
mod resources;
mod rooms;
mod selftest;
mod semantics;
mod shortcuts;
mod stores;
mod typescript_client;
mod worker_protocol;
mod workers;
mod zygotes;

mod languages;
