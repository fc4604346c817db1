//! `GET /api/microservices/…`: the original specification's view of the fleet, one entry a
//! service name of the settings.

use std::collections::BTreeMap;
use std::time::Instant;

use actix_web::{HttpResponse, web};
use jiff::Timestamp;
use protocol::{ExecutorInfo, Level};
use serde::Serialize;

use crate::error::ApiError;
use crate::fleet::View;
use crate::routing::{self, NoChoice, Remembered};
use crate::shared::Shared;

/// The answer to `GET /api/microservices/health`.
#[derive(Debug, Serialize)]
struct ServicesHealth {
    /// `healthy` if every service is, `unhealthy` if none is, else `degraded`.
    status: &'static str,
    /// RFC 3339.
    timestamp: String,
    services: BTreeMap<String, Service>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Service {
    status: &'static str,
    /// Of the last probe, in milliseconds.
    response_time: Option<f64>,
    instances: usize,
    instances_healthy: usize,
    /// The weakest of its healthy instances.
    isolation: Option<Level>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// The answer to `GET /api/microservices/info/{language}`.
#[derive(Debug, Serialize)]
struct ServiceInfo<'a> {
    service: String,
    status: &'static str,
    #[serde(flatten)]
    info: &'a ExecutorInfo,
}

/// `GET /api/microservices/health`
pub(crate) async fn health(shared: web::Data<Shared>) -> HttpResponse {
    let views = shared.fleet.views(Instant::now());
    let mut services = BTreeMap::new();
    for place in shared.fleet.remembered() {
        for (index, name) in place.names.iter().enumerate() {
            // Instances carry the first name of their place; further names are the same ones.
            let first = place.names.first().map_or("", String::as_str);
            let own: Vec<&View> = views.iter().filter(|it| it.name == first).collect();
            if index == 0 || !services.contains_key(name) {
                services.insert(name.clone(), service(&own));
            }
        }
    }
    let healthy = services.values().filter(|it| it.instances_healthy > 0).count();
    let status = match healthy {
        0 => "unhealthy",
        all if all == services.len() => "healthy",
        _ => "degraded",
    };
    HttpResponse::Ok().json(ServicesHealth {
        status,
        timestamp: Timestamp::now().to_string(),
        services,
    })
}

/// `GET /api/microservices/info/{language}`: by service name, language or alias.
pub(crate) async fn info(
    shared: web::Data<Shared>,
    language: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let word = language.into_inner();
    let remembered = shared.fleet.remembered();
    let is_meant = |it: &&Remembered| {
        it.names.iter().any(|name| name.eq_ignore_ascii_case(&word))
            || it.info.as_ref().is_some_and(|info| routing::find(info, &word).is_some())
    };
    let language: String = word.chars().take(64).collect();
    let Some(place) = remembered.iter().find(is_meant) else {
        let known = remembered.into_iter().flat_map(|it| it.names).collect();
        return Err(NoChoice::UnknownLanguage { language, known }.into());
    };
    let Some(info) = &place.info else {
        return Err(NoChoice::NoLiveExecutor { language }.into());
    };
    let service = place.names.first().cloned().unwrap_or_default();
    let views = shared.fleet.views(Instant::now());
    let is_healthy = views.iter().any(|it| it.name == service && it.is_live());
    let status = word_for(is_healthy);
    Ok(HttpResponse::Ok().json(ServiceInfo { service, status, info }))
}

fn service(instances: &[&View]) -> Service {
    let healthy: Vec<&&View> = instances.iter().filter(|it| it.is_live()).collect();
    let shown = healthy.first().or(instances.first().as_ref()).copied();
    Service {
        status: word_for(!healthy.is_empty()),
        response_time: shown.and_then(|it| it.latency_ms),
        instances: instances.len(),
        instances_healthy: healthy.len(),
        isolation: healthy.iter().filter_map(|it| Some(it.health.as_ref()?.isolation)).min(),
        error: if healthy.is_empty() { shown.and_then(|it| it.output.clone()) } else { None },
    }
}

fn word_for(is_healthy: bool) -> &'static str {
    if is_healthy { "healthy" } else { "unhealthy" }
}
