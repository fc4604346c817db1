//! The rules of the repository that no linter knows: its invariants, and that every deployment
//! file agrees with the one table of services. Nothing here needs a toolchain or starts a service.
#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    reason = "a check that cannot be made must fail, and says where"
)]

mod boundaries;
mod compose;
mod dockerfiles;
mod languages;
mod layout;
mod licences;
mod manifests;
mod railway_project;
mod repository;
mod service_files;
mod services;
mod tokens;
mod variables;
