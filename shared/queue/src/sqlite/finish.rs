//! Jobs come to an end, or wait again.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, params};

use super::Fault;
use super::enqueue::take_turn;
use crate::lease::DRAINS_FREE;
use crate::{
    Cancelled, Completed, Completion, Failed, Failure, JobId, Lease, Released, State, Timestamp,
    Token, retry,
};

/// How much the last attempt counts in the average of a caller's or a language's times.
const WEIGHT: f64 = 0.2;
/// How long what became of a callback is kept.
const CALLBACK_TTL: Duration = Duration::from_hours(7 * 24);

/// How a job becomes final.
#[derive(Clone, Copy)]
pub(super) struct Ending<'a> {
    state: State,
    reason: Option<&'a str>,
}

impl<'a> Ending<'a> {
    pub(super) fn new(state: State, reason: Option<&'a str>) -> Self {
        Self { state, reason }
    }
}

/// What has to be known of a job to decide what becomes of it.
pub(super) struct Standing {
    pub(super) number: i64,
    pub(super) state: State,
    pub(super) token: Option<Token>,
    pub(super) attempt: u32,
    pub(super) attempts_max: u32,
    pub(super) deaths: u32,
    drains: u32,
    attempt_max: Duration,
    pub(super) is_accepted: bool,
    pub(super) at_most_once: bool,
    pub(super) cancel_requested: bool,
}

impl Standing {
    /// That of a job.
    pub(super) fn find(connection: &Connection, id: JobId) -> Result<Option<Self>, Fault> {
        let mut find = connection.prepare_cached(
            "SELECT number, state, token, attempt, attempts_max, deaths, is_accepted, \
             at_most_once, cancel_requested, drains, attempt_ms_max FROM jobs WHERE id = ?",
        )?;
        let found = find.query_row([id.as_bytes()], |row| {
            let state: String = row.get(1)?;
            Ok(Self {
                number: row.get(0)?,
                state: state.parse().or(Err(rusqlite::Error::InvalidQuery))?,
                token: row.get::<_, Option<[u8; 16]>>(2)?.map(Token::from_bytes),
                attempt: row.get(3)?,
                attempts_max: row.get(4)?,
                deaths: row.get(5)?,
                is_accepted: row.get(6)?,
                at_most_once: row.get(7)?,
                cancel_requested: row.get(8)?,
                drains: row.get(9)?,
                attempt_max: Duration::from_millis(row.get(10)?),
            })
        });
        Ok(found.optional()?)
    }

    /// That of a leased job, if the token is its own.
    fn of(connection: &Connection, lease: &Lease) -> Result<Option<Self>, Fault> {
        let found = Self::find(connection, lease.id)?;
        let is_its = |it: &Self| it.state == State::Leased && it.token == Some(lease.token);
        Ok(found.filter(is_its))
    }
}

/// Records a result.
pub(super) fn complete(
    connection: &Connection,
    completion: &Completion,
    now: Timestamp,
) -> Result<Completed, Fault> {
    let Some(standing) = Standing::of(connection, &completion.lease)? else {
        return not_leased(connection, completion);
    };
    let was_cancelled = completion.was_cancelled && standing.cancel_requested;
    let state = if was_cancelled { State::Cancelled } else { State::Succeeded };
    let mut keep = connection.prepare_cached("INSERT INTO results VALUES (?, ?, ?, ?)")?;
    let token = completion.lease.token;
    keep.execute(params![standing.number, token.as_bytes(), completion.digest, completion.body])?;
    note_attempt(connection, standing.number, "completed", now)?;
    // A worker may tell what it likes, and more than the whole attempt it cannot have been.
    let run_time = completion.run_time.min(standing.attempt_max);
    charge(connection, standing.number, run_time)?;
    end(connection, standing.number, Ending::new(state, None), now)?;
    Ok(Completed::Recorded)
}

/// A result that comes again, or too late.
fn not_leased(connection: &Connection, completion: &Completion) -> Result<Completed, Fault> {
    let mut find = connection.prepare_cached(
        "SELECT r.token, r.digest FROM jobs LEFT JOIN results r USING (number) WHERE id = ?",
    )?;
    let found = find
        .query_row([completion.lease.id.as_bytes()], |row| {
            Ok((row.get::<_, Option<[u8; 16]>>(0)?, row.get::<_, Option<[u8; 32]>>(1)?))
        })
        .optional()?;
    Ok(match found {
        None => Completed::Gone,
        Some((Some(token), Some(digest))) if Token::from_bytes(token) == completion.lease.token => {
            Completed::Duplicate { is_same: digest == completion.digest }
        }
        Some(_) => Completed::Stale,
    })
}

/// What an attempt took is what the next jobs of its caller are expected to take.
fn charge(connection: &Connection, number: i64, time: Duration) -> Result<(), Fault> {
    let mut share = connection.prepare_cached(
        "UPDATE shares SET expected_s = max(0.01, expected_s * (1 - ?2) + ?3 * ?2), \
         last_turn = last_turn + ?3 - (SELECT cost FROM jobs WHERE number = ?1) \
         FROM (SELECT caller AS whose, language AS which FROM jobs WHERE number = ?1) \
         WHERE caller = whose AND language = which",
    )?;
    share.execute(params![number, WEIGHT, time.as_secs_f64()])?;
    let mut average = connection.prepare_cached(
        "UPDATE languages SET average_ms = coalesce(average_ms * (1 - ?2) + ?3 * ?2, ?3) \
         WHERE language = (SELECT language FROM jobs WHERE number = ?1)",
    )?;
    average.execute(params![number, WEIGHT, time.as_secs_f64() * 1000.0])?;
    Ok(())
}

/// Ends an attempt that came to nothing.
pub(super) fn fail(
    connection: &Connection,
    failure: &Failure,
    now: Timestamp,
) -> Result<Failed, Fault> {
    let Some(standing) = Standing::of(connection, &failure.lease)? else {
        return Ok(Failed::Stale);
    };
    let number = standing.number;
    note_attempt(connection, number, &failure.reason, now)?;
    let is_free = failure.is_drain() && standing.drains < DRAINS_FREE;
    let mut lives = connection
        .prepare_cached("UPDATE jobs SET deaths = 0, drains = drains + ?2 WHERE number = ?1")?;
    lives.execute(params![number, is_free])?;
    let reason = Some(failure.reason.as_str());
    if standing.cancel_requested {
        end(connection, number, Ending::new(State::Cancelled, None), now)?;
        return Ok(Failed::Final(State::Cancelled));
    }
    let is_used_up = !is_free && standing.attempt >= standing.attempts_max;
    let is_over = !failure.is_retryable || is_used_up;
    if is_over || (standing.at_most_once && failure.may_have_run) {
        end(connection, number, Ending::new(State::Dead, reason), now)?;
        return Ok(Failed::Final(State::Dead));
    }
    if is_free {
        give_back(connection, &standing, now)?;
        return Ok(Failed::Retry(now));
    }
    let at = try_again(connection, &standing, &failure.reason, now)?;
    Ok(Failed::Retry(at))
}

/// Has a job wait for its next attempt.
pub(super) fn try_again(
    connection: &Connection,
    standing: &Standing,
    reason: &str,
    now: Timestamp,
) -> Result<Timestamp, Fault> {
    let chance = getrandom::u32().map_err(Fault::of_chance)?;
    let at = now.after(retry::wait(standing.attempt, chance));
    let mut wait = connection.prepare_cached(
        "UPDATE jobs SET state = 'scheduled', run_at = ?, token = NULL, lease_until = NULL, \
         reason = ?, version = version + 1 WHERE number = ?",
    )?;
    wait.execute(params![at.0, reason, standing.number])?;
    Ok(at)
}

/// Hands a job back that was not started.
pub(super) fn release(
    connection: &Connection,
    lease: &Lease,
    now: Timestamp,
) -> Result<Released, Fault> {
    let Some(standing) = Standing::of(connection, lease)? else { return Ok(Released::Stale) };
    note_attempt(connection, standing.number, "released", now)?;
    give_back(connection, &standing, now)?;
    Ok(Released::Released)
}

/// Makes a leased job ready again, as if it had not been claimed.
pub(super) fn give_back(
    connection: &Connection,
    standing: &Standing,
    now: Timestamp,
) -> Result<(), Fault> {
    if standing.cancel_requested {
        return end(connection, standing.number, Ending::new(State::Cancelled, None), now);
    }
    make_ready(connection, (standing.number, standing.attempt.saturating_sub(1)), now)
}

/// Makes a leased job ready again that had so many attempts. It keeps its turn.
pub(super) fn make_ready(
    connection: &Connection,
    (number, attempt): (i64, u32),
    now: Timestamp,
) -> Result<(), Fault> {
    let mut back = connection.prepare_cached(
        "UPDATE jobs SET state = 'ready', attempt = ?, token = NULL, lease_until = NULL, \
         ready_at = ?, version = version + 1 WHERE number = ?",
    )?;
    back.execute(params![attempt, now.0, number])?;
    Ok(())
}

/// Ends a job that is not wanted any more, or asks its worker to.
pub(super) fn cancel(
    connection: &Connection,
    id: JobId,
    now: Timestamp,
) -> Result<Cancelled, Fault> {
    let Some(standing) = Standing::find(connection, id)? else { return Ok(Cancelled::Unknown) };
    match standing.state {
        State::Ready | State::Scheduled => {
            end(connection, standing.number, Ending::new(State::Cancelled, None), now)?;
            Ok(Cancelled::Now)
        }
        State::Leased => {
            let mut ask = connection.prepare_cached(
                "UPDATE jobs SET cancel_requested = 1, version = version + 1 WHERE number = ?",
            )?;
            ask.execute([standing.number])?;
            Ok(Cancelled::Requested)
        }
        is_final => Ok(Cancelled::AlreadyFinal(is_final)),
    }
}

/// Makes a dead job ready again, with all its attempts.
pub(super) fn redrive(connection: &Connection, id: JobId, now: Timestamp) -> Result<bool, Fault> {
    let standing = Standing::find(connection, id)?.filter(|it| it.state == State::Dead);
    let Some(Standing { number, .. }) = standing else { return Ok(false) };
    let (caller, language) = whose(connection, number)?;
    let (turn, cost) = take_turn(connection, &caller, &language)?;
    let mut again = connection.prepare_cached(
        "UPDATE jobs SET state = 'ready', attempt = 0, deaths = 0, drains = 0, reason = NULL, \
         turn = ?2, cost = ?3, ready_at = ?4, start_by = NULL, finished_at = NULL, expires_at = NULL, \
         cancel_requested = 0, \
         version = version + 1 WHERE number = ?1",
    )?;
    again.execute(params![number, turn, cost, now.0])?;
    Ok(true)
}

pub(super) fn whose(connection: &Connection, number: i64) -> Result<(String, String), Fault> {
    let mut find =
        connection.prepare_cached("SELECT caller, language FROM jobs WHERE number = ?")?;
    Ok(find.query_row([number], |row| Ok((row.get(0)?, row.get(1)?)))?)
}

/// Makes a job final, and remembers whom to tell of it.
pub(super) fn end(
    connection: &Connection,
    number: i64,
    ending: Ending<'_>,
    now: Timestamp,
) -> Result<(), Fault> {
    let mut end = connection.prepare_cached(
        "UPDATE jobs SET state = ?2, reason = ?3, token = NULL, lease_until = NULL, ready_at = NULL, \
         run_at = NULL, finished_at = ?4, expires_at = ?4 + ttl_ms, version = version + 1 \
         WHERE number = ?1",
    )?;
    end.execute(params![number, ending.state.as_str(), ending.reason, now.0])?;
    let mut tell = connection.prepare_cached(
        "INSERT INTO callbacks (id, caller, url, due_at, expires_at) \
         SELECT id, caller, callback_url, ?2, ?3 FROM jobs WHERE number = ?1 AND callback_url IS NOT NULL",
    )?;
    tell.execute(params![number, now.0, now.after(CALLBACK_TTL).0])?;
    Ok(())
}

pub(super) fn note_attempt(
    connection: &Connection,
    number: i64,
    reason: &str,
    now: Timestamp,
) -> Result<(), Fault> {
    let mut note = connection.prepare_cached(
        "UPDATE attempts SET ended_at = ?2, reason = ?3 WHERE number = ?1 \
         AND lease = (SELECT leases FROM jobs WHERE number = ?1)",
    )?;
    note.execute(params![number, now.0, reason])?;
    Ok(())
}
