//! Who is to be told that jobs are final.

use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgPool, Row as _};

use super::place::{Bytes, Fault, id, limit as bound, time};
use crate::store::{CallbackOutcome, OpenCallback};
use crate::{Callback, Timestamp};

/// Callbacks that are due, not due again before `until`.
pub(super) async fn take(
    connection: &mut PgConnection,
    limit: usize,
    now: Timestamp,
    until: Timestamp,
) -> Result<Vec<Callback>, Fault> {
    let take = sqlx::query(
        "WITH due AS MATERIALIZED (SELECT number FROM callbacks WHERE due_at <= $1 \
         ORDER BY due_at LIMIT $3 FOR UPDATE SKIP LOCKED) \
         UPDATE callbacks SET due_at = $2, attempt = attempt + 1 \
         WHERE number = ANY(ARRAY(SELECT number FROM due)) RETURNING number, id, url, attempt",
    );
    let taken = take.bind(now.0).bind(until.0).bind(bound(limit)).fetch_all(connection).await?;
    let read = |row: &PgRow| {
        Ok(Callback {
            number: row.try_get(0)?,
            id: id(row.try_get::<Bytes, _>(1)?),
            url: row.try_get(2)?,
            attempt: attempt(row, 3)?,
        })
    };
    Ok(taken.iter().map(read).collect::<sqlx::Result<_>>()?)
}

/// Notes what came of a callback.
pub(super) async fn note(
    connection: &mut PgConnection,
    number: i64,
    outcome: &CallbackOutcome,
    now: Timestamp,
) -> Result<(), Fault> {
    let (due_at, reason) = match outcome {
        CallbackOutcome::Delivered => (None, None),
        CallbackOutcome::Again { after, reason } => (Some(now.after(*after).0), Some(reason)),
        CallbackOutcome::Dead(reason) => (None, Some(reason)),
    };
    let note = sqlx::query("UPDATE callbacks SET due_at = $2, reason = $3 WHERE number = $1");
    note.bind(number).bind(due_at).bind(reason).execute(connection).await?;
    Ok(())
}

/// The callbacks of a caller that were not taken, the newest first.
pub(super) async fn open(
    pool: &PgPool,
    caller: &str,
    limit: usize,
) -> Result<Vec<OpenCallback>, Fault> {
    let find = sqlx::query(
        "SELECT number, id, url, attempt, due_at, reason FROM callbacks \
         WHERE caller = $1 AND (due_at IS NOT NULL OR reason IS NOT NULL) \
         ORDER BY number DESC LIMIT $2",
    );
    let found = find.bind(caller).bind(bound(limit)).fetch_all(pool).await?;
    let read = |row: &PgRow| {
        Ok(OpenCallback {
            number: row.try_get(0)?,
            job_id: id(row.try_get::<Bytes, _>(1)?),
            url: row.try_get(2)?,
            attempt: attempt(row, 3)?,
            due_at: time(row.try_get(4)?),
            reason: row.try_get(5)?,
        })
    };
    Ok(found.iter().map(read).collect::<sqlx::Result<_>>()?)
}

fn attempt(row: &PgRow, index: usize) -> sqlx::Result<u32> {
    Ok(u32::try_from(row.try_get::<i32, _>(index)?).unwrap_or(0))
}
