//! Lets in who may come in: first the key, then what it is good for, then the rate. Whatever keys
//! do that can do more than submit is written down.

use std::net::IpAddr;

use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage as _, web};

use crate::auth::{Caller, Role};
use crate::error::ApiError;
use crate::rate_limit::{self, Allowance};
use crate::shared::Shared;

/// Middleware of what any key may look at.
pub(crate) async fn for_all(
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    gate(&[Role::Submit, Role::Work, Role::Admin], request, next).await
}

/// Middleware of what callers do.
pub(crate) async fn for_callers(
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    gate(&[Role::Submit], request, next).await
}

/// Middleware of what workers do.
pub(crate) async fn for_workers(
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    gate(&[Role::Work], request, next).await
}

/// Middleware of what operators do.
pub(crate) async fn for_operators(
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    gate(&[Role::Admin], request, next).await
}

/// Middleware of what whoever has a ticket of a run does, or its caller. On a WebSocket those who
/// are not let in are told by its close code, as browsers show nothing else.
pub(crate) async fn for_viewers(
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let Some(shared) = request.app_data::<web::Data<Shared>>().cloned() else {
        return Ok(request.error_response(ApiError::Internal));
    };
    let has_ticket = request.query_string().split('&').any(|it| it.starts_with("ticket="));
    if has_ticket {
        return let_in(&[Role::Submit], &shared, Caller::Anonymous, request, next).await;
    }
    let is_socket = request.path().ends_with("/ws");
    if is_socket && shared.keys.authenticate(request.headers()).is_err() {
        return match allowance(&shared, &Caller::Anonymous, &request) {
            Ok(_) => next.call(request).await,
            Err(error) => Ok(request.error_response(error)),
        };
    }
    gate(&[Role::Submit], request, next).await
}

async fn gate(
    roles: &'static [Role],
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let Some(shared) = request.app_data::<web::Data<Shared>>().cloned() else {
        return Ok(request.error_response(ApiError::Internal));
    };
    let caller = match authenticate(&shared, &request) {
        Ok(caller) => caller,
        Err(error) => return Ok(request.error_response(error)),
    };
    let audited = caller.holder().is_some_and(|it| it.may(Role::Work) || it.may(Role::Admin));
    let peer = address(&request);
    let answered = let_in(roles, &shared, caller.clone(), request, next).await;
    if let (true, Ok(response)) = (audited, &answered) {
        shared.audit.note(&caller, peer, response);
    }
    answered
}

async fn let_in(
    roles: &'static [Role],
    shared: &Shared,
    caller: Caller,
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    if !roles.iter().any(|it| caller.may(*it)) {
        return Ok(request.error_response(ApiError::Forbidden(roles)));
    }
    let allowance = match allowance(shared, &caller, &request) {
        Ok(allowance) => allowance,
        Err(error) => return Ok(request.error_response(error)),
    };
    request.extensions_mut().insert(caller);
    let mut response = next.call(request).await?;
    let headers = response.headers_mut();
    let numbers = [
        ("ratelimit-limit", u64::from(allowance.limit)),
        ("ratelimit-remaining", u64::from(allowance.remaining)),
        ("ratelimit-reset", allowance.reset_seconds),
    ];
    for (name, number) in numbers {
        headers.insert(HeaderName::from_static(name), HeaderValue::from(number));
    }
    Ok(response)
}

fn authenticate(shared: &Shared, request: &ServiceRequest) -> Result<Caller, ApiError> {
    match shared.keys.authenticate(request.headers()) {
        Ok(caller) => Ok(caller),
        Err(unauthorized) => {
            // Guessing keys is limited by address.
            allowance(shared, &Caller::Anonymous, request)?;
            Err(unauthorized.into())
        }
    }
}

/// Takes the request out of its caller's bucket.
fn allowance(
    shared: &Shared,
    caller: &Caller,
    request: &ServiceRequest,
) -> Result<Allowance, ApiError> {
    let trusts = shared.settings.trust_forwarded_for;
    let subject = rate_limit::subject(caller, address(request), request.headers(), trusts);
    let rate = match caller.holder() {
        Some(holder) => holder.per_minute.or_else(|| rate_of_workers(holder.may(Role::Work))),
        None => None,
    };
    Ok(match rate {
        Some(per_minute) => shared.rate_limit.take_of(&subject, per_minute)?,
        None => shared.rate_limit.take(&subject)?,
    })
}

/// Workers ask as often as there are jobs, whose number is bounded already.
fn rate_of_workers(is_worker: bool) -> Option<u32> {
    const PER_MINUTE: u32 = 600_000;
    is_worker.then_some(PER_MINUTE)
}

fn address(request: &ServiceRequest) -> Option<IpAddr> {
    request.peer_addr().map(|it| it.ip())
}
