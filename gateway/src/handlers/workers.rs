//! `/v1/workers`: what operators see of workers, and tell them.

use actix_web::{HttpResponse, web};
use protocol::worker::Action;
use serde_json::json;

use crate::error::ApiError;
use crate::shared::Shared;

/// `GET /v1/workers`
pub(crate) async fn list(shared: web::Data<Shared>) -> Result<HttpResponse, ApiError> {
    let workers = shared.jobs()?.workers.views();
    Ok(HttpResponse::Ok().json(json!({ "workers": workers })))
}

/// `POST /v1/workers/{id}/drain`
pub(crate) async fn drain(
    id: web::Path<String>,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    tell(&id, Action::Drain, &shared).await
}

/// `POST /v1/workers/{id}/resume`
pub(crate) async fn resume(
    id: web::Path<String>,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    tell(&id, Action::Resume, &shared).await
}

async fn tell(id: &str, action: Action, shared: &Shared) -> Result<HttpResponse, ApiError> {
    let jobs = shared.jobs()?;
    let told = jobs.workers.tell(id, action, jobs.store.board()).await?;
    Ok(HttpResponse::Accepted().json(told))
}
