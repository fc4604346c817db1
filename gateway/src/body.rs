//! Reads a request's body: never more than its bound, never longer than its deadline, and never
//! more of all bodies together than there is memory for.

use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::http::header::CONTENT_LENGTH;
use actix_web::web::{self, Bytes, BytesMut};
use futures::StreamExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::admission::AdmissionError;

/// Unit of the memory budget, in bytes.
const UNIT: usize = 64 << 10;
/// What is still read of a body that is refused, so that its sender gets to read why.
const REFUSED_BYTES_MAX: usize = 64 << 20;
/// How long that may take.
const REFUSED_TIME_MAX: Duration = Duration::from_secs(5);

/// Memory for all bodies at the same time.
#[derive(Debug, Clone)]
pub(crate) struct Budget(Arc<Semaphore>);

impl Budget {
    /// A budget of that many MiB.
    pub(crate) fn new(mb: usize) -> Self {
        Self(Arc::new(Semaphore::new((mb << 20) / UNIT)))
    }

    /// Has `memory` be enough for so many bytes.
    pub(crate) fn hold(
        &self,
        memory: &mut Option<OwnedSemaphorePermit>,
        bytes: usize,
    ) -> Result<(), AdmissionError> {
        let held = memory.as_ref().map_or(0, |it| it.num_permits() * UNIT);
        if bytes <= held {
            return Ok(());
        }
        let more = self.take(bytes - held)?;
        match memory {
            Some(memory) => memory.merge(more),
            None => *memory = Some(more),
        }
        Ok(())
    }

    fn take(&self, bytes: usize) -> Result<OwnedSemaphorePermit, AdmissionError> {
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX);
        match Arc::clone(&self.0).try_acquire_many_owned(units) {
            Ok(permit) => Ok(permit),
            Err(_none_left) => Err(AdmissionError::Overloaded),
        }
    }
}

/// A body, and its share of the memory.
#[derive(Debug)]
pub(crate) struct Body {
    /// The bytes.
    pub bytes: Bytes,
    _memory: OwnedSemaphorePermit,
}

/// What a body may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BodyBounds {
    /// Its size, in bytes.
    pub bytes_max: usize,
    /// Seconds that it may take to arrive.
    pub seconds: f64,
}

/// Reads the whole body.
pub(crate) async fn read(
    request: &HttpRequest,
    mut payload: web::Payload,
    budget: &Budget,
    bounds: BodyBounds,
) -> Result<Body, AdmissionError> {
    let deadline = crate::settings::seconds(bounds.seconds);
    let reading = read_bounded(request, &mut payload, budget, bounds.bytes_max);
    let read = tokio::time::timeout(deadline, reading).await;
    let read = read.unwrap_or(Err(AdmissionError::BodyTimeout(bounds.seconds)));
    if matches!(read, Err(AdmissionError::BodyTooLarge(_) | AdmissionError::Overloaded)) {
        discard(payload).await;
    }
    read
}

async fn read_bounded(
    request: &HttpRequest,
    payload: &mut web::Payload,
    budget: &Budget,
    bytes_max: usize,
) -> Result<Body, AdmissionError> {
    let announced = request.headers().get(CONTENT_LENGTH).and_then(|it| it.to_str().ok());
    let announced = announced.and_then(|it| it.parse::<usize>().ok()).unwrap_or(0);
    if announced > bytes_max {
        return Err(AdmissionError::BodyTooLarge(bytes_max));
    }
    let mut memory = budget.take(announced.max(1))?;
    let mut body = BytesMut::with_capacity(announced.min(UNIT));
    while let Some(chunk) = payload.next().await {
        let Ok(chunk) = chunk else { return Err(AdmissionError::BodyBroken) };
        let length = body.len() + chunk.len();
        if length > bytes_max {
            return Err(AdmissionError::BodyTooLarge(bytes_max));
        }
        let held = memory.num_permits() * UNIT;
        if length > held {
            memory.merge(budget.take(length - held)?);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Body { bytes: body.freeze(), _memory: memory })
}

/// Reads on and forgets: an answer sent against a sender who still writes is lost to a reset.
async fn discard(mut payload: web::Payload) {
    let reading = async {
        let mut read = 0;
        while let Some(Ok(chunk)) = payload.next().await {
            read += chunk.len();
            if read > REFUSED_BYTES_MAX {
                return;
            }
        }
    };
    // A sender that takes longer has lost its claim to the answer.
    drop(tokio::time::timeout(REFUSED_TIME_MAX, reading).await);
}
