//! Who is to be told that jobs are final.

use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgPool, Row as _};

use super::place::{Bytes, Fault, bytes, id, limit as bound, time};
use crate::callback::{KEPT, LOOK_MAX};
use crate::{Callback, CallbackOutcome, DueCallbacks, OpenCallback, Timestamp};

/// Callbacks that are due and whose turn it is.
pub(super) async fn take(
    connection: &mut PgConnection,
    wish: &DueCallbacks,
    now: Timestamp,
) -> Result<Vec<Callback>, Fault> {
    let look = sqlx::query(
        "SELECT number, id, caller, url, attempt FROM callbacks WHERE due_at <= $1 \
         ORDER BY due_at LIMIT $2 FOR UPDATE SKIP LOCKED",
    );
    let found = look.bind(now.0).bind(bound(LOOK_MAX)).fetch_all(&mut *connection).await?;
    let read = |row: &PgRow| {
        Ok(Callback {
            number: row.try_get(0)?,
            id: id(row.try_get::<Bytes, _>(1)?),
            caller: row.try_get(2)?,
            url: row.try_get(3)?,
            attempt: attempt(row, 4)? + 1,
        })
    };
    let (taken, passed) = wish.choose(found.iter().map(read).collect::<sqlx::Result<_>>()?);
    let until = now.after(wish.time);
    let take = "UPDATE callbacks SET due_at = $2, attempt = attempt + 1 WHERE number = ANY($1)";
    let pass = "UPDATE callbacks SET due_at = $2 WHERE number = ANY($1)";
    for (sql, callbacks, due_at) in [(take, &taken, until), (pass, &passed, now)] {
        if callbacks.is_empty() {
            continue;
        }
        let numbers: Vec<i64> = callbacks.iter().map(|it| it.number).collect();
        sqlx::query(sql).bind(numbers).bind(due_at.0).execute(&mut *connection).await?;
        let jobs: Vec<Bytes> = callbacks.iter().map(|it| bytes(it.id)).collect();
        keep(connection, &jobs, until).await?;
    }
    Ok(taken)
}

/// Keeps the jobs of callbacks that are due again then. Whoever has one of them deletes it, or has it run
/// again.
async fn keep(
    connection: &mut PgConnection,
    jobs: &[Bytes],
    due_at: Timestamp,
) -> Result<(), Fault> {
    let keep = sqlx::query(
        "UPDATE jobs SET expires_at = $2 WHERE number = ANY(ARRAY(SELECT number FROM jobs \
         WHERE id = ANY($1) AND expires_at < $2 FOR UPDATE SKIP LOCKED))",
    );
    keep.bind(jobs).bind(due_at.after(KEPT).0).execute(connection).await?;
    Ok(())
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
    let note =
        sqlx::query("UPDATE callbacks SET due_at = $2, reason = $3 WHERE number = $1 RETURNING id");
    let note = note.bind(number).bind(due_at).bind(reason);
    let noted = note.fetch_optional(&mut *connection).await?;
    match (noted, due_at) {
        (Some(row), Some(due_at)) => {
            keep(connection, &[row.try_get::<Bytes, _>(0)?], Timestamp(due_at)).await
        }
        _ => Ok(()),
    }
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
