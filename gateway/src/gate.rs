//! Lets in who may come in: first the key, then the rate.

use std::net::IpAddr;

use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage as _, web};

use crate::auth::Caller;
use crate::error::ApiError;
use crate::rate_limit::{self, Allowance};
use crate::shared::Shared;

/// Middleware of every route that is not open to all.
pub(crate) async fn gate(
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let shared = request.app_data::<web::Data<Shared>>();
    let checked = shared.ok_or(ApiError::Internal).and_then(|shared| check(shared, &request));
    match checked {
        Ok((caller, allowance)) => {
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
        Err(error) => Ok(request.error_response(error)),
    }
}

fn check(shared: &Shared, request: &ServiceRequest) -> Result<(Caller, Allowance), ApiError> {
    let trusts = shared.settings.trust_forwarded_for;
    let peer: Option<IpAddr> = request.peer_addr().map(|it| it.ip());
    let take = |caller: &Caller| {
        let subject = rate_limit::subject(caller, peer, request.headers(), trusts);
        shared.rate_limit.take(&subject)
    };
    match shared.keys.authenticate(request.headers()) {
        Ok(caller) => {
            let allowance = take(&caller)?;
            Ok((caller, allowance))
        }
        Err(unauthorized) => {
            // Guessing keys is limited by address.
            take(&Caller::Anonymous)?;
            Err(unauthorized.into())
        }
    }
}
