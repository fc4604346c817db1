//! Starts the real binaries on free ports, for tests: an executor of its own, or a whole fleet.
//!
//! Everything that is started here is drained when it is dropped, and what it leaves behind is an
//! error.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test that cannot be set up fails, and says what it skips"
)]

mod gateways;
pub mod processes;
mod server;
mod shifted_clock;
pub mod stores;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::Value;

pub use gateways::{answering, lonely};
pub use server::{
    REQUIRE, Server, ServerBuilder, lasting_port, prepared_directory, start_executor,
    toolchain_path,
};
pub use shifted_clock::ShiftedClock;

/// The repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests is below the repository")
}

/// A binary of the workspace, built in the same profile as the tests.
pub fn binary(name: &str) -> PathBuf {
    let directory = std::env::current_exe().expect("a test has a path");
    let directory = directory.ancestors().nth(2).expect("tests are below the target").to_owned();
    let path = directory.join(name);
    assert!(path.exists(), "{} is missing: build the workspace's binaries first", path.display());
    path
}

/// The languages that have a folder.
pub fn executors() -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(repository().join("executors"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// A client without redirects and with a deadline beyond every run.
pub fn client() -> &'static reqwest::Client {
    static CLIENT: OnceLock<reqwest::Client> = OnceLock::new();
    CLIENT.get_or_init(|| {
        drop(rustls::crypto::ring::default_provider().install_default());
        reqwest::Client::builder()
            .timeout(Duration::from_mins(2))
            .no_proxy()
            .pool_max_idle_per_host(0)
            .build()
            .unwrap()
    })
}

/// Sends JSON and returns status and JSON.
pub async fn post(url: &str, body: &Value) -> (u16, Value) {
    let request = client().post(url).header("content-type", "application/json");
    let answer = request.body(body.to_string()).send().await.unwrap();
    read(answer).await
}

/// Gets a path and returns status and JSON.
pub async fn get(url: &str) -> (u16, Value) {
    read(client().get(url).send().await.unwrap()).await
}

async fn read(answer: reqwest::Response) -> (u16, Value) {
    let status = answer.status().as_u16();
    let text = answer.text().await.unwrap();
    let value = serde_json::from_str(&text).unwrap_or(Value::String(text));
    (status, value)
}
