//! Who is to be told that jobs are final.

use rusqlite::{Connection, params};

use super::Fault;
use crate::store::{CallbackOutcome, OpenCallback};
use crate::{Callback, JobId, Timestamp};

/// Callbacks that are due, not due again before `until`.
pub(super) fn due(
    connection: &Connection,
    limit: usize,
    now: Timestamp,
    until: Timestamp,
) -> Result<Vec<Callback>, Fault> {
    let mut take = connection.prepare_cached(
        "UPDATE callbacks SET due_at = ?2, attempt = attempt + 1 WHERE number IN \
         (SELECT number FROM callbacks WHERE due_at <= ?1 ORDER BY due_at LIMIT ?3) \
         RETURNING number, id, url, attempt",
    )?;
    let taken = take.query_map(params![now.0, until.0, limit], |row| {
        Ok(Callback {
            number: row.get(0)?,
            id: JobId::from_bytes(row.get(1)?),
            url: row.get(2)?,
            attempt: row.get(3)?,
        })
    })?;
    Ok(taken.collect::<Result<_, _>>()?)
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
    Ok(())
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
