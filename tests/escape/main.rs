//! Programs that try to get out, sent to real executors with each kind of rights that servers
//! have in containers. What they did is looked at from outside, and each names the step that must
//! stop it and the guarantee that it attacks.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a check that cannot be made must fail"
)]

mod control;
mod matrix;

mod attack;
mod canaries;
mod ground;
mod listeners;
mod machine;
mod promise;
mod refusal;
mod rights;
mod table;
mod victim;

mod compile;
mod files;
mod languages;
mod limits;
mod network;
mod order;
mod processes;
mod requests;
mod secrets;
mod stream;
mod surface;
mod survivors;
mod terminals;
mod truth;
mod writes;
