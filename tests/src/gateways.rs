//! Gateways as tests start them.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::{Server, ServerBuilder, client};

/// How long one may take to answer.
const PATIENCE: Duration = Duration::from_mins(1);

/// A gateway that no executor can be reached from.
pub fn lonely(directory: &Path, settings: &[(&str, &str)]) -> ServerBuilder {
    let store = format!("sqlite:{}", directory.join("jobs.db").display());
    let builder = ServerBuilder::new("gateway")
        .set("GATEWAY_STORE_URL", &store)
        .set("GATEWAY_DRAIN_SECONDS", "5")
        .set("GATEWAY_RATE_PER_MINUTE", "1000000")
        .set("GATEWAY_RATE_BURST", "100000");
    settings.iter().fold(builder, |builder, (name, value)| builder.set(name, value))
}

/// A gateway that answers, well or not.
pub async fn answering(builder: ServerBuilder) -> Server {
    let gateway = builder.spawn();
    let deadline = Instant::now() + PATIENCE;
    while client().get(gateway.url("/health/live")).send().await.is_err() {
        assert!(Instant::now() < deadline, "it does not answer:\n{}", gateway.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    gateway
}
