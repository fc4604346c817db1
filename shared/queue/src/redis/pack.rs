//! What scripts are told.

use std::time::Duration;

use redis::ScriptInvocation;

use crate::callback::{KEPT, LOOK_MAX};
use crate::lane;
use crate::lease::DRAINS_FREE;
use crate::{
    CallbackOutcome, Claim, Completion, Delivery, DueCallbacks, Failure, Filter, Lease, NewJob,
    StoreError, Timestamp, Token, retry,
};

/// The longest time that is told, in milliseconds: scripts count in floats of 53 bits, and times are
/// added to others.
const LONGEST: i64 = 1 << 50;
/// Attempts after which waits grow no longer.
const WAITS: u32 = 8;

type Call = ScriptInvocation<'static>;

pub(super) fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(LONGEST).min(LONGEST)
}

fn time(at: Timestamp) -> i64 {
    at.0.clamp(-LONGEST, LONGEST)
}

/// What there may be, or nothing.
fn maybe(value: Option<impl ToString>) -> String {
    value.map(|it| it.to_string()).unwrap_or_default()
}

/// Tells all of a list.
pub(super) fn each<T>(call: &mut Call, items: &[T], tell: fn(&mut Call, &T)) {
    for item in items {
        tell(call, item);
    }
}

pub(super) fn new_job(call: &mut Call, job: &NewJob) {
    call.arg(&job.id.as_bytes()[..]).arg(&job.caller).arg(&*job.lane).arg(&job.body);
    call.arg(job.priority.level());
    call.arg(maybe(job.run_at.map(time))).arg(maybe(job.start_within.map(millis)));
    match &job.idempotency {
        Some(key) => call.arg(&key.key).arg(&key.digest[..]),
        None => call.arg("").arg(""),
    };
    call.arg(job.delivery == Delivery::AtMostOnce).arg(job.attempts_max);
    call.arg(millis(job.attempt_max)).arg(millis(job.ttl));
    call.arg(job.callback_url.as_deref().unwrap_or_default()).arg(job.callback_url.is_some());
    call.arg(maybe(job.waiting_max));
}

pub(super) fn claim(call: &mut Call, claim: &Claim, turn: u64) -> Result<(), StoreError> {
    call.arg(&claim.worker).arg(claim.poll.is_some());
    call.arg(claim.poll.as_deref().unwrap_or_default()).arg(millis(claim.lease));
    call.arg(claim.most).arg(claim.running_max).arg(turn);
    call.arg(claim.lanes.len()).arg(claim.running_max_of.len());
    for lane in &claim.lanes {
        call.arg(&**lane);
    }
    for (caller, most) in &claim.running_max_of {
        call.arg(caller).arg(*most);
    }
    for _ in 0..claim.most {
        let token = Token::random().map_err(|it| StoreError::Unavailable(it.to_string()))?;
        call.arg(&token.as_bytes()[..]);
    }
    Ok(())
}

pub(super) fn lease(call: &mut Call, lease: &Lease) {
    call.arg(&lease.id.as_bytes()[..]).arg(&lease.token.as_bytes()[..]);
}

pub(super) fn completion(call: &mut Call, completion: &Completion) {
    lease(call, &completion.lease);
    call.arg(&completion.digest[..]).arg(&completion.body).arg(completion.was_cancelled);
    call.arg(completion.run_time.as_secs_f64());
}

pub(super) fn failure(call: &mut Call, failure: &Failure) {
    lease(call, &failure.lease);
    call.arg(&failure.reason).arg(failure.is_retryable).arg(failure.may_have_run);
    call.arg(if failure.is_drain() { DRAINS_FREE } else { 0 });
}

/// The longest waits before another attempt, and what to choose by how much of one it is.
pub(super) fn chance(call: &mut Call) -> Result<(), StoreError> {
    let waits = (1..=WAITS).map(|it| millis(retry::wait(it, u32::MAX)).to_string());
    call.arg(waits.collect::<Vec<_>>().join(","));
    let seed = getrandom::u32().map_err(|it| StoreError::Unavailable(it.to_string()))?;
    call.arg(seed >> 1);
    Ok(())
}

pub(super) fn list(
    call: &mut Call,
    filter: &Filter,
    (from, limit, look_max): (Option<i64>, usize, usize),
) {
    let Filter { caller, state, language, queue, since, before } = filter;
    call.arg(limit).arg(look_max).arg(maybe(from));
    call.arg(caller.as_deref().unwrap_or_default()).arg(state.map_or("", |it| it.as_str()));
    call.arg(language.as_deref().map(lane::prefix).unwrap_or_default());
    call.arg(maybe(since.map(time))).arg(maybe(before.map(time)));
    call.arg(caller.is_some()).arg(queue.as_deref().unwrap_or_default());
}

pub(super) fn due_callbacks(call: &mut Call, wish: &DueCallbacks) {
    call.arg(millis(KEPT)).arg(LOOK_MAX).arg(wish.limit).arg(millis(wish.time));
    call.arg(wish.of_caller_max);
    for (caller, count) in &wish.sending {
        call.arg(caller).arg(*count);
    }
}

pub(super) fn outcome(call: &mut Call, number: i64, outcome: &CallbackOutcome) {
    let (again, reason) = match outcome {
        CallbackOutcome::Delivered => (None, None),
        CallbackOutcome::Again { after, reason } => (Some(millis(*after)), Some(reason)),
        CallbackOutcome::Dead(reason) => (None, Some(reason)),
    };
    call.arg(millis(KEPT)).arg(number).arg(maybe(again));
    call.arg(reason.map_or("", String::as_str)).arg(reason.is_some());
}
