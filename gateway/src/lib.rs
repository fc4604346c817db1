//! The one public door of the fleet: it authenticates, checks shape and size, picks a live
//! executor for the language, and passes bytes both ways.
//!
//! Invariant: no language is named in here. What the fleet can do is what its live executors
//! say on `/info`.

pub mod app;

mod admission;
mod audit;
mod auth;
mod body;
mod dialects;
mod dispatch;
mod drain;
mod envelope;
mod error;
mod events;
mod fleet;
mod gate;
mod glance;
mod handlers;
mod jobs;
mod listen;
mod metrics;
mod openapi;
mod origin;
mod peers;
mod rate_limit;
mod rooms;
mod routes;
mod routing;
mod running;
mod runs;
mod settings;
mod shared;
mod socket;
mod wait;

pub use dialects::Profile;
pub use settings::{Executors, InvalidSettings, Settings};
