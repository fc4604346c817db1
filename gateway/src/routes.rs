//! Every path, in one place: what it takes, and who may come in.

use std::future::{Ready, ready};

use actix_web::guard::{Any, Get, Head};
use actix_web::middleware::from_fn;
use actix_web::web::{self, ServiceConfig};
use actix_web::{FromRequest, Handler, Resource, Responder};

use crate::dialects::{job_api, message_queue, queue_service};
use crate::error::ApiError;
use crate::gate;
use crate::handlers::{
    collab, console, docs, execute, fleet, health, invitations, jobs, languages, metrics,
    microservices, queue, room_runs, rooms, run_socket, runs, snippets, worker, workers,
};
use crate::openapi;
use crate::peers;

/// Registers every path. What is neither here nor allowed is told as a problem.
pub(crate) fn configure(app: &mut ServiceConfig) {
    app.service(get("/", console::page))
        .service(get("/assets/{file}", console::asset))
        .service(get("/docs", docs::page))
        .service(get("/docs.css", docs::style))
        .service(get("/docs.js", docs::script))
        .service(get("/openapi.json", openapi::document))
        .service(get("/health", health::aggregate))
        .service(get("/health/live", health::live))
        .service(get("/health/ready", health::ready))
        .service(get("/metrics", metrics::metrics).wrap(from_fn(gate::for_all)))
        .service(get("/v1/fleet", fleet::report).wrap(from_fn(gate::for_onlookers)))
        .service(
            web::scope("/v1/worker")
                .service(post("/register", worker::register))
                .service(post("/poll", worker::poll))
                .service(post("/beat", worker::beat))
                .service(post("/complete", worker::complete))
                .service(post("/fail", worker::fail))
                .service(post("/release", worker::release))
                .service(post("/leave", worker::leave))
                .default_service(web::route().to(not_found))
                .wrap(from_fn(gate::for_workers)),
        )
        .service(
            web::scope("/v1/workers")
                .service(get("", workers::list))
                .service(post("/{id}/drain", workers::drain))
                .service(post("/{id}/resume", workers::resume))
                .default_service(web::route().to(not_found))
                .wrap(from_fn(gate::for_operators)),
        )
        .configure(job_paths)
        .configure(run_paths)
        .configure(room_paths)
        .service(
            web::scope("/v1")
                .service(post("/execute", execute::execute))
                .service(post("/validate", execute::validate))
                .service(post("/snippets", snippets::keep))
                .service(get("/snippets/{id}", snippets::one))
                .service(get("/languages", languages::list))
                .service(get("/languages/{language}", languages::one))
                .default_service(web::route().to(not_found))
                .wrap(from_fn(gate::for_callers)),
        )
        .service(get("/collab/{roomId}", collab::enter))
        .service(post("/api/execute", job_api::execute).wrap(from_fn(gate::for_callers)))
        .service(get("/api/status/{jobId}", job_api::status).wrap(from_fn(gate::for_callers)))
        .configure(message_queue_paths)
        .configure(queue_service_paths)
        .service(
            web::scope("/api/microservices")
                .service(get("/health", microservices::health))
                .service(get("/info/{language}", microservices::info))
                .default_service(web::route().to(not_found))
                .wrap(from_fn(gate::for_callers)),
        )
        .default_service(web::route().to(console::elsewhere));
}

/// Jobs, for those whose they are and for operators.
fn job_paths(app: &mut ServiceConfig) {
    app.service(
        web::scope("/v1/jobs")
            .service(
                web::resource("")
                    .route(web::route().guard(Any(Get()).or(Head())).to(jobs::list))
                    .route(web::post().to(jobs::submit).wrap(from_fn(gate::callers_alone)))
                    .default_service(web::route().to(|| method("GET, HEAD, POST"))),
            )
            .service(
                web::resource("/{id}")
                    .route(web::route().guard(Any(Get()).or(Head())).to(jobs::one))
                    .route(web::delete().to(jobs::cancel))
                    .default_service(web::route().to(|| method("GET, HEAD, DELETE"))),
            )
            .service(get("/{id}/submission", jobs::submission))
            .service(get("/{id}/events", jobs::follow))
            .service(post("/{id}/redrive", jobs::redrive))
            .default_service(web::route().to(not_found))
            .wrap(from_fn(gate::for_owners)),
    )
    .service(get("/v1/callbacks", jobs::callbacks).wrap(from_fn(gate::for_owners)))
    .service(get("/v1/queue", queue::look).wrap(from_fn(gate::for_owners)));
}

/// Runs that people take part in.
fn run_paths(app: &mut ServiceConfig) {
    app.service(
        web::scope("/v1/runs")
            .service(post("", runs::start).wrap(from_fn(gate::for_callers)))
            .service(
                web::resource("/{id}")
                    .route(web::route().guard(Any(Get()).or(Head())).to(runs::one))
                    .route(web::delete().to(runs::stop))
                    .default_service(web::route().to(|| method("GET, HEAD, DELETE")))
                    .wrap(from_fn(peers::to_the_run))
                    .wrap(from_fn(gate::for_viewers)),
            )
            .service(
                get("/{id}/events", runs::follow)
                    .wrap(from_fn(peers::to_the_run))
                    .wrap(from_fn(gate::for_viewers)),
            )
            .service(
                web::resource("/{id}/ws")
                    .route(web::get().to(run_socket::open))
                    .default_service(web::route().to(|| method("GET")))
                    .wrap(from_fn(peers::to_the_run))
                    .wrap(from_fn(gate::for_viewers)),
            )
            .default_service(web::route().to(not_found)),
    );
}

/// Rooms, for their owners and for whoever is invited.
fn room_paths(app: &mut ServiceConfig) {
    app.service(
        web::scope("/v1/rooms")
            .service(post("", rooms::create).wrap(from_fn(gate::for_callers)))
            .service(
                web::resource("/{id}")
                    .route(
                        web::route()
                            .guard(Any(Get()).or(Head()))
                            .to(rooms::one)
                            .wrap(from_fn(gate::for_guests)),
                    )
                    .route(web::delete().to(rooms::delete).wrap(from_fn(gate::for_callers)))
                    .default_service(web::route().to(|| method("GET, HEAD, DELETE"))),
            )
            .service(get("/{id}/languages", languages::of_room).wrap(from_fn(gate::for_guests)))
            .service(post("/{id}/tickets", rooms::ticket).wrap(from_fn(gate::for_guests)))
            .service(post("/{id}/runs", room_runs::start).wrap(from_fn(gate::for_guests)))
            .service(
                get("/{id}/runs/{runId}", room_runs::one)
                    .wrap(from_fn(peers::to_the_run))
                    .wrap(from_fn(gate::for_guests)),
            )
            .service(
                web::resource("/{id}/invitations")
                    .route(web::route().guard(Any(Get()).or(Head())).to(invitations::list))
                    .route(web::post().to(invitations::create))
                    .default_service(web::route().to(|| method("GET, HEAD, POST")))
                    .wrap(from_fn(gate::for_callers)),
            )
            .service(
                web::resource("/{id}/invitations/{invitationId}")
                    .route(web::delete().to(invitations::delete))
                    .default_service(web::route().to(|| method("DELETE")))
                    .wrap(from_fn(gate::for_callers)),
            )
            .default_service(web::route().to(not_found)),
    );
}

/// The message queue, for front-ends and for machines that only call out.
fn message_queue_paths(app: &mut ServiceConfig) {
    app.service(
        web::scope("/dialects/message-queue")
            .service(
                // A look at the head alone would take tasks, and nobody would have them.
                web::resource("/tasks")
                    .route(web::get().to(message_queue::poll).wrap(from_fn(gate::for_workers)))
                    .route(web::post().to(message_queue::submit).wrap(from_fn(gate::for_callers)))
                    .default_service(web::route().to(|| method("GET, POST"))),
            )
            .service(
                web::resource("/ws")
                    .route(web::get().to(message_queue::socket::open))
                    .default_service(web::route().to(|| method("GET")))
                    .wrap(from_fn(gate::for_sockets)),
            )
            .service(post("/results", message_queue::tell).wrap(from_fn(gate::for_workers)))
            .service(get("/results/{id}", message_queue::result).wrap(from_fn(gate::for_callers)))
            .service(post("/heartbeat", message_queue::beat).wrap(from_fn(gate::for_workers)))
            .service(get("/vms", message_queue::vms).wrap(from_fn(gate::for_operators)))
            .service(get("/status", message_queue::status).wrap(from_fn(gate::for_all)))
            .service(get("/health", message_queue::health))
            .default_service(web::route().to(not_found)),
    );
}

/// The queue service, for submitters and for workers.
fn queue_service_paths(app: &mut ServiceConfig) {
    app.service(
        web::scope("/dialects/queue-service")
            .service(post("/tasks", queue_service::submit).wrap(from_fn(gate::for_callers)))
            .service(
                web::resource("/tasks/next")
                    .route(web::get().to(queue_service::next))
                    .default_service(web::route().to(|| method("GET")))
                    .wrap(from_fn(gate::for_workers)),
            )
            .service(get("/tasks/{eval_id}", queue_service::one).wrap(from_fn(gate::for_callers)))
            .service(
                post("/tasks/{eval_id}/complete", queue_service::complete)
                    .wrap(from_fn(gate::for_workers)),
            )
            .service(
                post("/tasks/{eval_id}/fail", queue_service::fail).wrap(from_fn(gate::for_workers)),
            )
            .service(get("/status", queue_service::status).wrap(from_fn(gate::for_all)))
            .service(get("/health", queue_service::health))
            .default_service(web::route().to(not_found)),
    );
}

fn get<F, Args>(path: &str, handler: F) -> Resource
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    web::resource(path)
        .route(web::route().guard(Any(Get()).or(Head())).to(handler))
        .default_service(web::route().to(|| method("GET, HEAD")))
}

fn post<F, Args>(path: &str, handler: F) -> Resource
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    web::resource(path)
        .route(web::post().to(handler))
        .default_service(web::route().to(|| method("POST")))
}

fn not_found() -> Ready<Result<&'static str, ApiError>> {
    ready(Err(ApiError::NotFound))
}

fn method(allowed: &'static str) -> Ready<Result<&'static str, ApiError>> {
    ready(Err(ApiError::Method(allowed)))
}
