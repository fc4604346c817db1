//! Jobs come in.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::Fault;
use super::reserve::Reserve;
use crate::{Bounds, Enqueued, JobId, NewJob, State, Timestamp};

/// What a job of somebody costs who has had none, in seconds.
const COST: f64 = 1.0;

/// Keeps a job.
pub(super) fn enqueue(
    connection: &Connection,
    job: &NewJob,
    (bounds, reserve): (&Bounds, &Reserve),
    now: Timestamp,
) -> Result<Enqueued, Fault> {
    if let Some(known) = known(connection, job, now)? {
        return Ok(known);
    }
    reserve.check()?;
    if let Some(full) = full(connection, job, bounds)? {
        return Ok(full);
    }
    insert(connection, job, bounds, now)?;
    Ok(Enqueued::Created(job.id))
}

/// What came with the same key before: it counts for its time, and for as long as its job is kept.
fn known(connection: &Connection, job: &NewJob, now: Timestamp) -> Result<Option<Enqueued>, Fault> {
    let Some(key) = &job.idempotency else { return Ok(None) };
    let mut find = connection.prepare_cached(
        "SELECT digest, id FROM keys WHERE caller = ? AND key = ? \
         AND (expires_at > ? OR EXISTS (SELECT 1 FROM jobs WHERE jobs.id = keys.id))",
    )?;
    let found = find
        .query_row(params![job.caller, key.key, now.0], |row| {
            Ok((row.get::<_, [u8; 32]>(0)?, row.get::<_, [u8; 16]>(1)?))
        })
        .optional()?;
    Ok(found.map(|(digest, id)| {
        if digest == key.digest {
            Enqueued::Existing(JobId::from_bytes(id))
        } else {
            Enqueued::Conflict
        }
    }))
}

fn full(connection: &Connection, job: &NewJob, bounds: &Bounds) -> Result<Option<Enqueued>, Fault> {
    let mut own = connection.prepare_cached(
        "SELECT coalesce(sum(jobs), 0) FROM counts \
         WHERE state IN ('ready', 'scheduled') AND caller = ?",
    )?;
    let mut all = connection.prepare_cached(
        "SELECT coalesce(sum(jobs), 0) FROM totals WHERE state IN ('ready', 'scheduled')",
    )?;
    let own: u64 = own.query_row([&job.caller], |row| row.get(0))?;
    let all: u64 = all.query_row([], |row| row.get(0))?;
    let own_max = job.waiting_max.unwrap_or(bounds.waiting_per_caller_max);
    let rows = [(own, own_max, true), (all, bounds.waiting_max, false)];
    let full = rows.into_iter().find(|(waiting, most, _)| waiting >= most);
    Ok(full.map(|(_, waiting_max, is_callers)| Enqueued::Full { waiting_max, is_callers }))
}

fn insert(
    connection: &Connection,
    job: &NewJob,
    bounds: &Bounds,
    now: Timestamp,
) -> Result<(), Fault> {
    let run_at = job.run_at.filter(|it| *it > now);
    let state = if run_at.is_some() { State::Scheduled } else { State::Ready };
    let start_by = job.start_within.map(|it| run_at.unwrap_or(now).after(it));
    let (turn, cost) = match state {
        State::Ready => take_turn(connection, &job.caller, &job.lane)?,
        _ => (0.0, 0.0),
    };
    let mut insert = connection.prepare_cached(
        "INSERT INTO jobs (id, caller, language, state, priority, turn, cost, attempts_max, \
         attempt_ms_max, at_most_once, ttl_ms, created_at, run_at, start_by, ready_at, callback_url) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )?;
    let number = insert.insert(params![
        job.id.as_bytes(),
        job.caller,
        &*job.lane,
        state.as_str(),
        job.priority.level(),
        turn,
        cost,
        job.attempts_max,
        millis(job.attempt_max),
        job.delivery == crate::Delivery::AtMostOnce,
        millis(job.ttl),
        now.0,
        run_at.map(|it| it.0),
        start_by.map(|it| it.0),
        run_at.is_none().then_some(now.0),
        job.callback_url,
    ])?;
    let mut keep = connection.prepare_cached("INSERT INTO bodies VALUES (?, ?)")?;
    keep.execute(params![number, job.body])?;
    if let Some(key) = &job.idempotency {
        let mut remember = connection.prepare_cached(
            "INSERT OR REPLACE INTO keys (caller, key, digest, id, expires_at) VALUES (?, ?, ?, ?, ?)",
        )?;
        let until = now.after(bounds.key_ttl);
        remember.execute(params![job.caller, key.key, key.digest, job.id.as_bytes(), until.0])?;
    }
    Ok(())
}

/// The turn of a caller's next job, and what it costs: as much later than the one before as that one is
/// expected to take. Who has none waiting comes in where the queue is, without any credit, and does
/// not wait for what is only guessed of its own job.
pub(super) fn take_turn(
    connection: &Connection,
    caller: &str,
    language: &str,
) -> Result<(f64, f64), Fault> {
    let mut share = connection.prepare_cached(
        "SELECT last_turn, expected_s FROM shares WHERE caller = ? AND language = ?",
    )?;
    let share = share
        .query_row([caller, language], |row| Ok((row.get::<_, f64>(0)?, row.get::<_, f64>(1)?)))
        .optional()?;
    let (last, cost) = share.unwrap_or((0.0, COST));
    let mut clock = connection.prepare_cached("SELECT turn FROM languages WHERE language = ?")?;
    let clock = clock.query_row([language], |row| row.get::<_, f64>(0)).optional()?;
    let turn = last.max(clock.unwrap_or_default());
    let mut note = connection.prepare_cached(
        "INSERT INTO shares VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET last_turn = excluded.last_turn",
    )?;
    note.execute(params![caller, language, turn + cost, cost])?;
    Ok((turn, cost))
}

pub(super) fn millis(time: std::time::Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
