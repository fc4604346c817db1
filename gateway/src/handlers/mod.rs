//! One file a resource.

pub(crate) mod collab;
pub(crate) mod docs;
pub(crate) mod execute;
pub(crate) mod health;
pub(crate) mod jobs;
pub(crate) mod languages;
pub(crate) mod metrics;
pub(crate) mod microservices;
pub(crate) mod rooms;
pub(crate) mod worker;
pub(crate) mod workers;
