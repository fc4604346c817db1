//! Wire contracts of others, one file each: thin translations to what this gateway does anyway.

mod claims;
mod condition;
pub(crate) mod job_api;
pub(crate) mod message_queue;
mod owner;
pub(crate) mod queue_service;
mod tasks;

pub(crate) use job_api::limits::Limits;
pub use job_api::limits::Profile;

use crate::settings::Settings;

/// How many jobs may run at a time that came in by one of these, by the name that they have in the
/// store instead of a caller's.
pub(crate) fn running_max_of(settings: &Settings) -> Vec<(String, u64)> {
    vec![(job_api::CALLER.to_owned(), Limits::of(settings).running)]
}
