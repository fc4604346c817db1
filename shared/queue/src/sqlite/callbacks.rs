//! Who is to be told that jobs are final.

use rusqlite::{Connection, params};

use super::Fault;
use crate::callback::{KEPT, LOOK_MAX};
use crate::{Callback, CallbackOutcome, DueCallbacks, JobId, OpenCallback, Timestamp};

/// Callbacks that are due and whose turn it is.
pub(super) fn due(
    connection: &Connection,
    wish: &DueCallbacks,
    now: Timestamp,
) -> Result<Vec<Callback>, Fault> {
    let mut look = connection.prepare_cached(
        "SELECT number, id, caller, url, attempt FROM callbacks WHERE due_at <= ? \
         ORDER BY due_at LIMIT ?",
    )?;
    let found = look.query_map(params![now.0, LOOK_MAX], |row| {
        Ok(Callback {
            number: row.get(0)?,
            id: JobId::from_bytes(row.get(1)?),
            caller: row.get(2)?,
            url: row.get(3)?,
            attempt: row.get::<_, u32>(4)? + 1,
        })
    })?;
    let (taken, passed) = wish.choose(found.collect::<Result<_, _>>()?);
    let until = now.after(wish.time);
    let mut take = connection
        .prepare_cached("UPDATE callbacks SET due_at = ?2, attempt = ?3 WHERE number = ?1")?;
    for callback in &taken {
        take.execute(params![callback.number, until.0, callback.attempt])?;
    }
    let mut pass =
        connection.prepare_cached("UPDATE callbacks SET due_at = ?2 WHERE number = ?1")?;
    for callback in &passed {
        pass.execute(params![callback.number, now.0])?;
    }
    for callback in taken.iter().chain(&passed) {
        keep(connection, callback.number, until)?;
    }
    Ok(taken)
}

/// Keeps the job of a callback that is due again then.
fn keep(connection: &Connection, number: i64, due_at: Timestamp) -> Result<(), Fault> {
    let mut keep = connection.prepare_cached(
        "UPDATE jobs SET expires_at = ?2 WHERE expires_at < ?2 \
         AND id = (SELECT id FROM callbacks WHERE number = ?1)",
    )?;
    keep.execute(params![number, due_at.after(KEPT).0])?;
    Ok(())
}

/// Notes what came of a callback.
pub(super) fn note(
    connection: &Connection,
    number: i64,
    outcome: &CallbackOutcome,
    now: Timestamp,
) -> Result<(), Fault> {
    let (due_at, reason) = match outcome {
        CallbackOutcome::Delivered => (None, None),
        CallbackOutcome::Again { after, reason } => (Some(now.after(*after).0), Some(reason)),
        CallbackOutcome::Dead(reason) => (None, Some(reason)),
    };
    let mut note = connection
        .prepare_cached("UPDATE callbacks SET due_at = ?2, reason = ?3 WHERE number = ?1")?;
    note.execute(params![number, due_at, reason])?;
    match due_at {
        Some(due_at) => keep(connection, number, Timestamp(due_at)),
        None => Ok(()),
    }
}

/// The callbacks of a caller that were not taken, the newest first.
pub(super) fn open(
    connection: &Connection,
    caller: &str,
    limit: usize,
) -> Result<Vec<OpenCallback>, Fault> {
    let mut find = connection.prepare_cached(
        "SELECT number, id, url, attempt, due_at, reason FROM callbacks \
         WHERE caller = ? AND (due_at IS NOT NULL OR reason IS NOT NULL) \
         ORDER BY number DESC LIMIT ?",
    )?;
    let found = find.query_map(params![caller, limit], |row| {
        Ok(OpenCallback {
            number: row.get(0)?,
            job_id: JobId::from_bytes(row.get(1)?),
            url: row.get(2)?,
            attempt: row.get(3)?,
            due_at: row.get::<_, Option<i64>>(4)?.map(Timestamp),
            reason: row.get(5)?,
        })
    })?;
    Ok(found.collect::<Result<_, _>>()?)
}
