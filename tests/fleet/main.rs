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

use tests::processes;

mod between;
mod browsers;
mod checks;
mod jobs;
mod language;
mod player;
mod programs;
mod raw;
mod socket;
mod stopped;
mod story;
mod target;
mod viewer;

mod contract;
mod endings;
mod fields;
mod files;
mod output;
mod validation;

mod access;
mod audit;
mod bench;
mod cache;
mod callbacks;
mod command_line;
mod compatibility;
mod connections;
mod console;
mod crash_points;
mod dialects;
mod doctor;
mod faults;
mod faulty;
mod fences;
mod full_disk;
mod gateway;
mod install_worker;
mod interactive;
mod job_taken;
mod job_views;
mod jobs_page;
mod killed;
mod killed_stores;
mod load;
mod module_policy;
mod page_programs;
mod passed_over;
mod peers;
mod queue_service;
mod queues;
mod resources;
mod room_runs;
mod rooms;
mod run_access;
mod run_stats;
mod run_typing;
mod same_place;
mod selftest;
mod semantics;
mod shortcuts;
mod socket_bounds;
mod sockets;
mod stores;
mod typescript_client;
mod unknown_outcomes;
mod unprivileged;
mod worker_crash_points;
mod worker_protocol;
mod worker_results;
mod worker_slots;
mod workers;
mod zygotes;

mod languages;
