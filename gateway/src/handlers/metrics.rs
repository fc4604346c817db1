//! `GET /metrics`: OpenMetrics.

use std::time::Instant;

use actix_web::{HttpResponse, web};

use crate::shared::Shared;

/// `GET /metrics`
pub(crate) async fn metrics(shared: web::Data<Shared>) -> HttpResponse {
    let views = shared.fleet.views(Instant::now());
    if let Some(jobs) = &shared.jobs
        && let Ok(stats) = jobs.store.stats().await
    {
        shared.metrics.note_jobs(&stats);
    }
    let text = shared.metrics.render(&views);
    HttpResponse::Ok().content_type(telemetry::metrics::CONTENT_TYPE).body(text)
}
