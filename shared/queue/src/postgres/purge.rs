//! What has been kept for long enough goes.

use sqlx::{PgConnection, Row as _};

use super::place::{Fault, count, limit as bound};
use crate::{Bounds, Timestamp};

/// Deletes at most `limit` of each kind; says how much that was.
pub(super) async fn purge(
    connection: &mut PgConnection,
    limit: usize,
    bounds: &Bounds,
    now: Timestamp,
) -> Result<usize, Fault> {
    let jobs = over(connection, limit, bounds, now).await?;
    let mut deleted = 0;
    if !jobs.is_empty() {
        for sql in [
            "DELETE FROM bodies WHERE number = ANY($1)",
            "DELETE FROM results WHERE number = ANY($1)",
            "DELETE FROM attempts WHERE number = ANY($1)",
        ] {
            sqlx::query(sql).bind(&jobs).execute(&mut *connection).await?;
        }
        // Said of `expires_at`, it would be found by going through an index of all that are over.
        let sql = "DELETE FROM jobs WHERE number = ANY($1) AND finished_at IS NOT NULL";
        deleted += sqlx::query(sql).bind(&jobs).execute(&mut *connection).await?.rows_affected();
    }
    deleted += purge_keys(connection, limit, bounds, now).await?;
    let late = "DELETE FROM callbacks WHERE number = ANY(ARRAY \
                (SELECT number FROM callbacks WHERE expires_at < $1 ORDER BY expires_at LIMIT $2))";
    let late = sqlx::query(late).bind(now.0).bind(bound(limit));
    deleted += late.execute(&mut *connection).await?.rows_affected();
    // Their numbers have few gaps but those of what is deleted.
    let too_many = sqlx::query(
        "DELETE FROM callbacks WHERE number = ANY(ARRAY(SELECT number FROM callbacks \
         WHERE number <= (SELECT number FROM callbacks ORDER BY number DESC LIMIT 1) - $1 \
         ORDER BY number LIMIT $2))",
    );
    let most = i64::try_from(bounds.callbacks_max()).unwrap_or(i64::MAX);
    let too_many = too_many.bind(most).bind(bound(limit));
    deleted += too_many.execute(&mut *connection).await?.rows_affected();
    for sql in [
        "DELETE FROM counts WHERE ctid = ANY(ARRAY \
         (SELECT ctid FROM counts WHERE jobs = 0 LIMIT $1))",
        "DELETE FROM totals WHERE ctid = ANY(ARRAY \
         (SELECT ctid FROM totals WHERE jobs = 0 LIMIT $1))",
    ] {
        let delete = sqlx::query(sql).bind(bound(limit));
        deleted += delete.execute(&mut *connection).await?.rows_affected();
    }
    deleted += forget_turns(connection, limit).await?;
    Ok(usize::try_from(deleted).unwrap_or(usize::MAX))
}

/// Deletes keys that have ended, and the oldest beyond the most that are kept. One that stands for a job
/// that is kept has its time again, and comes behind the others; of those beyond, only one whose job is
/// not over. So keys end in the order of their numbers, and those that stay are in nobody's way.
async fn purge_keys(
    connection: &mut PgConnection,
    limit: usize,
    bounds: &Bounds,
    now: Timestamp,
) -> Result<u64, Fault> {
    let purge = sqlx::query(
        "WITH oldest AS MATERIALIZED (SELECT number, id, expires_at < $1 AS has_ended, \
         number <= (SELECT number FROM keys ORDER BY number DESC LIMIT 1) - $2 AS is_beyond \
         FROM keys ORDER BY number LIMIT $3), due AS MATERIALIZED (SELECT number, \
         (SELECT TRUE FROM jobs WHERE jobs.id = oldest.id \
         AND (finished_at IS NULL OR NOT is_beyond)) AS is_needed \
         FROM oldest WHERE has_ended OR is_beyond), \
         stay AS (UPDATE keys SET number = DEFAULT, expires_at = $4 \
         WHERE number = ANY(ARRAY(SELECT number FROM due WHERE is_needed))) \
         DELETE FROM keys WHERE number = ANY(ARRAY(SELECT number FROM due WHERE is_needed IS NULL))",
    );
    let most = i64::try_from(bounds.keys_max()).unwrap_or(i64::MAX);
    let purge = purge.bind(now.0).bind(most).bind(bound(limit)).bind(now.after(bounds.key_ttl).0);
    Ok(purge.execute(connection).await?.rows_affected())
}

/// Forgets whose turn it is where nothing is kept. Callers who have nothing are as new ones; and a lane
/// that has nothing begins anew, when nobody is left who had a turn there.
async fn forget_turns(connection: &mut PgConnection, limit: usize) -> Result<u64, Fault> {
    let shares = "DELETE FROM shares WHERE ctid = ANY(ARRAY (SELECT ctid FROM shares WHERE NOT EXISTS \
                  (SELECT 1 FROM counts WHERE counts.caller = shares.caller) OR NOT EXISTS \
                  (SELECT 1 FROM totals WHERE totals.language = shares.language) LIMIT $1))";
    let shares = sqlx::query(shares).bind(bound(limit)).execute(&mut *connection).await?;
    let shares = shares.rows_affected();
    if count(bound(limit)) <= shares {
        return Ok(shares);
    }
    let lanes = "DELETE FROM languages WHERE ctid = ANY(ARRAY (SELECT ctid FROM languages \
                 WHERE NOT EXISTS (SELECT 1 FROM totals \
                 WHERE totals.language = languages.language) LIMIT $1))";
    let lanes = sqlx::query(lanes).bind(bound(limit)).execute(connection).await?;
    Ok(shares + lanes.rows_affected())
}

/// Jobs that are over and have been kept for long enough, and the oldest of those beyond the most that
/// are kept.
async fn over(
    connection: &mut PgConnection,
    limit: usize,
    bounds: &Bounds,
    now: Timestamp,
) -> Result<Vec<i64>, Fault> {
    let kept = "SELECT coalesce(sum(jobs), 0)::bigint FROM totals \
                WHERE state IN ('succeeded', 'cancelled', 'expired', 'dead')";
    let kept = sqlx::query_scalar(kept).fetch_one(&mut *connection).await?;
    let too_many = count(kept).saturating_sub(bounds.kept_max);
    let too_many = usize::try_from(too_many).unwrap_or(usize::MAX).min(limit);
    let find = sqlx::query(
        "SELECT number FROM (SELECT number, expires_at FROM jobs WHERE expires_at IS NOT NULL \
         ORDER BY expires_at LIMIT $1) AS old WHERE expires_at < $2 \
         UNION SELECT number FROM (SELECT number FROM jobs WHERE expires_at IS NOT NULL \
         ORDER BY expires_at LIMIT $3) AS oldest",
    );
    let find = find.bind(bound(limit)).bind(now.0).bind(bound(too_many));
    let found = find.fetch_all(connection).await?;
    Ok(found.iter().map(|row| row.try_get(0)).collect::<sqlx::Result<_>>()?)
}
