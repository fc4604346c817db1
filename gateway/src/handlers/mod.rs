//! One file a resource.

pub(crate) mod collab;
pub(crate) mod console;
pub(crate) mod docs;
pub(crate) mod execute;
pub(crate) mod fleet;
pub(crate) mod health;
pub(crate) mod invitations;
pub(crate) mod jobs;
pub(crate) mod languages;
pub(crate) mod metrics;
pub(crate) mod microservices;
pub(crate) mod queue;
pub(crate) mod room_runs;
pub(crate) mod rooms;
pub(crate) mod run_begin;
pub(crate) mod run_socket;
pub(crate) mod runs;
pub(crate) mod snippets;
pub(crate) mod worker;
pub(crate) mod workers;
