//! Lets in who may come in: first the key, then what it is good for, then the rate. Whatever keys
//! do that can do more than submit is written down.

use std::net::IpAddr;

use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage as _, web};

use crate::auth::{Caller, Keys, Role, Unauthorized};
use crate::error::ApiError;
use crate::rate_limit::{self, Allowance, Subject};
use crate::rooms;
use crate::shared::Shared;

/// How it is found out who asks.
type Authenticate = fn(&Keys, &HeaderMap) -> Result<Caller, Unauthorized>;

/// Middleware of what any key may look at.
pub(crate) async fn for_all(
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    gate(&[Role::Submit, Role::Work, Role::Admin], Keys::authenticate, request, next).await
}

/// Middleware of sockets, where each message is for one of these.
pub(crate) async fn for_sockets(
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    gate(&[Role::Submit, Role::Work], Keys::authenticate_socket, request, next).await
}

/// Middleware of what anybody may look at if the console is public, and otherwise any key.
pub(crate) async fn for_onlookers(
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let shared = request.app_data::<web::Data<Shared>>().cloned();
    let Some(shared) = shared.filter(|it| it.settings.console_public) else {
        return for_all(request, next).await;
    };
    // Whoever has a key looks in its name; whoever has none, or a wrong one, as a stranger.
    let caller = shared.keys.authenticate(request.headers()).unwrap_or(Caller::Anonymous);
    audited(&[Role::Submit, Role::Work, Role::Admin], &shared, caller, request, next).await
}

/// Middleware of what callers do.
pub(crate) async fn for_callers(
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    gate(&[Role::Submit], Keys::authenticate, request, next).await
}

/// Middleware of what callers do in rooms, and whoever brings an invitation: those are strangers, and
/// guessing is limited by address.
pub(crate) async fn for_guests(
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    if !rooms::brings_invitation(request.headers()) {
        return for_callers(request, next).await;
    }
    let Some(shared) = request.app_data::<web::Data<Shared>>().cloned() else {
        return Ok(request.error_response(ApiError::Internal));
    };
    let_in(&[Role::Submit], &shared, Caller::Anonymous, request, next).await
}

/// Middleware of what callers do with their own, and operators with everybody's.
pub(crate) async fn for_owners(
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    gate(&[Role::Submit, Role::Admin], Keys::authenticate, request, next).await
}

/// Within such, middleware of what operators have no part in.
pub(crate) async fn callers_alone(
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let may = request.extensions().get::<Caller>().is_some_and(|it| it.may(Role::Submit));
    if may {
        next.call(request).await
    } else {
        Ok(request.error_response(ApiError::Forbidden(&[Role::Submit])))
    }
}

/// Middleware of what workers do.
pub(crate) async fn for_workers(
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    gate(&[Role::Work], Keys::authenticate, request, next).await
}

/// Middleware of what operators do.
pub(crate) async fn for_operators(
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    gate(&[Role::Admin], Keys::authenticate, request, next).await
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
    gate(&[Role::Submit], Keys::authenticate, request, next).await
}

async fn gate(
    roles: &'static [Role],
    by: Authenticate,
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let Some(shared) = request.app_data::<web::Data<Shared>>().cloned() else {
        return Ok(request.error_response(ApiError::Internal));
    };
    let caller = match authenticate(&shared, by, &request) {
        Ok(caller) => caller,
        Err(error) => return Ok(request.error_response(error)),
    };
    audited(roles, &shared, caller, request, next).await
}

/// Lets a caller in who may come in, and has it written down where that is to be.
async fn audited(
    roles: &'static [Role],
    shared: &Shared,
    caller: Caller,
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let peer = address(shared, &request);
    let mut used = shared.audit.begin(&caller, peer, &request);
    let answered = let_in(roles, shared, caller, request, next).await;
    if let Some(used) = &mut used {
        used.answered(match &answered {
            Ok(response) => response.status().as_u16(),
            Err(error) => error.as_response_error().status_code().as_u16(),
        });
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

fn authenticate(
    shared: &Shared,
    by: Authenticate,
    request: &ServiceRequest,
) -> Result<Caller, ApiError> {
    match by(&shared.keys, request.headers()) {
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
    let subject = rate_limit::subject(caller, address(shared, request), request.headers(), trusts);
    take(shared, caller, &subject)
}

/// Takes one request, or one message over a socket, out of its caller's bucket.
pub(crate) fn take(
    shared: &Shared,
    caller: &Caller,
    subject: &Subject,
) -> Result<Allowance, ApiError> {
    let rate = match caller.holder() {
        Some(holder) => holder.per_minute.or_else(|| rate_of_workers(holder.may(Role::Work))),
        None => None,
    };
    Ok(match rate {
        Some(per_minute) => shared.rate_limit.take_of(subject, per_minute)?,
        None => shared.rate_limit.take(subject)?,
    })
}

/// Workers ask as often as there are jobs, whose number is bounded already.
fn rate_of_workers(is_worker: bool) -> Option<u32> {
    const PER_MINUTE: u32 = 600_000;
    is_worker.then_some(PER_MINUTE)
}

/// Where a request comes from. Other gateways say for whom they pass one on.
fn address(shared: &Shared, request: &ServiceRequest) -> Option<IpAddr> {
    let peer = request.peer_addr().map(|it| it.ip());
    let is_passed_on = shared.identity.is_passed_on(request.headers());
    let trusts = is_passed_on || shared.settings.trust_forwarded_for;
    rate_limit::address(peer, request.headers(), trusts)
}
