//! Jobs come to an end, or wait again: what becomes of those that a transaction holds.

use std::time::Duration;

use super::place::Fault;
use super::shares::Shares;
use super::table::Table;
use crate::lease::DRAINS_FREE;
use crate::{
    Cancelled, Completed, Completion, Extended, Failed, Failure, JobId, Lease, Released, State,
    Timestamp, retry,
};

/// Extends a lease to `time` from now, but not beyond its attempt's end. By that, the job is started.
pub(super) fn extend(table: &mut Table, lease: &Lease, time: Duration, now: Timestamp) -> Extended {
    let Some(standing) = table.leased(lease) else { return Extended::Lost };
    let Some(end) = standing.attempt_until.filter(|it| *it > now.0) else { return Extended::Lost };
    let until = now.after(time).min(Timestamp(end));
    standing.lease_until = Some(until.0);
    standing.is_accepted = true;
    standing.start_by = None;
    standing.is_changed = true;
    Extended::Held { time: now.until(until), cancel: standing.cancel_requested }
}

/// Records a result.
pub(super) fn complete(
    table: &mut Table,
    shares: &mut Shares,
    completion: &Completion,
    now: Timestamp,
) -> Completed {
    let lease = &completion.lease;
    let Some(standing) = table.leased(lease) else { return not_leased(table, completion) };
    let was_cancelled = completion.was_cancelled && standing.cancel_requested;
    let whose = (standing.caller.as_str(), standing.language.as_str());
    // A worker may tell what it likes, and more than the whole attempt it cannot have been.
    let run_time = completion.run_time.min(standing.attempt_max);
    shares.charge(whose, standing.cost, run_time);
    let state = if was_cancelled { State::Cancelled } else { State::Succeeded };
    table.keep_result(lease, &completion.digest, &completion.body);
    table.note_attempt(lease.id, "completed");
    table.end(lease.id, state, None, now);
    Completed::Recorded
}

/// A result that comes again, or too late.
fn not_leased(table: &mut Table, completion: &Completion) -> Completed {
    match table.find(completion.lease.id).map(|it| &it.result) {
        None => Completed::Gone,
        Some(Some((token, digest))) if *token == completion.lease.token => {
            Completed::Duplicate { is_same: digest[..] == completion.digest }
        }
        Some(_) => Completed::Stale,
    }
}

/// Ends an attempt that came to nothing.
pub(super) fn fail(table: &mut Table, failure: &Failure, now: Timestamp) -> Result<Failed, Fault> {
    let id = failure.lease.id;
    let Some(standing) = table.leased(&failure.lease) else { return Ok(Failed::Stale) };
    standing.deaths = 0;
    let is_cancelled = standing.cancel_requested;
    let is_free = failure.is_drain() && standing.drains < DRAINS_FREE.cast_signed();
    standing.drains += i32::from(is_free);
    let is_used_up = !is_free && standing.attempt >= standing.attempts_max;
    let is_over = !failure.is_retryable || is_used_up;
    let is_over = is_over || (standing.at_most_once && failure.may_have_run);
    table.note_attempt(id, &failure.reason);
    if is_cancelled {
        table.end(id, State::Cancelled, None, now);
        return Ok(Failed::Final(State::Cancelled));
    }
    if is_over {
        table.end(id, State::Dead, Some(&failure.reason), now);
        return Ok(Failed::Final(State::Dead));
    }
    if is_free {
        give_back(table, id, now);
        return Ok(Failed::Retry(now));
    }
    try_again(table, id, &failure.reason, now).map(Failed::Retry)
}

/// Has a job wait for its next attempt.
pub(super) fn try_again(
    table: &mut Table,
    id: JobId,
    reason: &str,
    now: Timestamp,
) -> Result<Timestamp, Fault> {
    let chance = getrandom::u32()?;
    let Some(standing) = table.find(id) else { return Err(Fault::Changed) };
    let at = now.after(retry::wait(u32::try_from(standing.attempt).unwrap_or(0), chance));
    standing.become_state(State::Scheduled);
    standing.run_at = Some(at.0);
    standing.reason = Some(reason.to_owned());
    Ok(at)
}

/// Hands a job back that was not started.
pub(super) fn release(table: &mut Table, lease: &Lease, now: Timestamp) -> Released {
    if table.leased(lease).is_none() {
        return Released::Stale;
    }
    table.note_attempt(lease.id, "released");
    give_back(table, lease.id, now);
    Released::Released
}

/// Makes a leased job ready again, as if it had not been claimed.
pub(super) fn give_back(table: &mut Table, id: JobId, now: Timestamp) {
    let Some(standing) = table.find(id) else { return };
    if standing.cancel_requested {
        return table.end(id, State::Cancelled, None, now);
    }
    standing.attempt -= 1;
    make_ready(table, id, now);
}

/// Makes a leased job ready again. It keeps its turn.
pub(super) fn make_ready(table: &mut Table, id: JobId, now: Timestamp) {
    let Some(standing) = table.find(id) else { return };
    standing.become_state(State::Ready);
    standing.ready_at = Some(now.0);
}

/// Ends a job that is not wanted any more, or asks its worker to.
pub(super) fn cancel(table: &mut Table, id: JobId, now: Timestamp) -> Cancelled {
    let Some(standing) = table.find(id) else { return Cancelled::Unknown };
    match standing.state {
        State::Ready | State::Scheduled => {
            table.end(id, State::Cancelled, None, now);
            Cancelled::Now
        }
        State::Leased => {
            standing.cancel_requested = true;
            standing.version += 1;
            standing.is_changed = true;
            Cancelled::Requested
        }
        is_final => Cancelled::AlreadyFinal(is_final),
    }
}

/// Makes a dead job ready again, with all its attempts.
pub(super) fn redrive(table: &mut Table, shares: &mut Shares, id: JobId, now: Timestamp) -> bool {
    let Some(standing) = table.find(id).filter(|it| it.state == State::Dead) else { return false };
    standing.become_state(State::Ready);
    (standing.turn, standing.cost) = shares.take_turn(&standing.caller, &standing.language);
    (standing.attempt, standing.deaths, standing.drains) = (0, 0, 0);
    standing.reason = None;
    (standing.ready_at, standing.start_by) = (Some(now.0), None);
    (standing.finished_at, standing.expires_at) = (None, None);
    standing.cancel_requested = false;
    true
}
