//! What has been kept for long enough goes.

use rusqlite::{Connection, params};

use super::Fault;
use crate::{Bounds, Timestamp};

/// Deletes at most `limit` of each kind; says how much that was.
pub(super) fn purge(
    connection: &Connection,
    limit: usize,
    bounds: &Bounds,
    now: Timestamp,
) -> Result<usize, Fault> {
    let jobs = over(connection, limit, bounds, now)?;
    for number in &jobs {
        for table in ["bodies", "results", "attempts", "jobs"] {
            let sql = format!("DELETE FROM {table} WHERE number = ?");
            connection.prepare_cached(&sql)?.execute([number])?;
        }
    }
    let mut deleted = jobs.len();
    deleted += purge_keys(connection, limit, bounds, now)?;
    let mut late = connection.prepare_cached(
        "DELETE FROM callbacks WHERE number IN \
         (SELECT number FROM callbacks WHERE expires_at < ? ORDER BY expires_at LIMIT ?)",
    )?;
    deleted += late.execute(params![now.0, limit])?;
    // Their numbers have no gaps but those of what is deleted.
    let mut too_many = connection.prepare_cached(
        "DELETE FROM callbacks WHERE number IN (SELECT number FROM callbacks \
         WHERE number <= (SELECT max(number) FROM callbacks) - ?1 ORDER BY number LIMIT ?2)",
    )?;
    let most = i64::try_from(bounds.callbacks_max()).unwrap_or(i64::MAX);
    deleted += too_many.execute(params![most, limit])?;
    for sql in [
        "DELETE FROM counts WHERE (caller, state) IN \
         (SELECT caller, state FROM counts WHERE jobs = 0 LIMIT ?)",
        "DELETE FROM totals WHERE (language, state) IN \
         (SELECT language, state FROM totals WHERE jobs = 0 LIMIT ?)",
    ] {
        deleted += connection.prepare_cached(sql)?.execute([limit])?;
    }
    Ok(deleted + forget_turns(connection, limit)?)
}

/// Deletes keys that have ended, and the oldest beyond the most that are kept. One that stands for a job
/// that is kept has its time again, and comes behind the others; of those beyond, only one whose job is
/// not over. So keys end in the order of their numbers, and those that stay are in nobody's way.
fn purge_keys(
    connection: &Connection,
    limit: usize,
    bounds: &Bounds,
    now: Timestamp,
) -> Result<usize, Fault> {
    let mut due = connection.prepare_cached(
        "SELECT number, EXISTS (SELECT 1 FROM jobs WHERE jobs.id = oldest.id \
         AND (finished_at IS NULL OR NOT is_beyond)) \
         FROM (SELECT number, id, expires_at < ?1 AS has_ended, \
         number <= (SELECT max(number) FROM keys) - ?2 AS is_beyond \
         FROM keys ORDER BY number LIMIT ?3) AS oldest WHERE has_ended OR is_beyond",
    )?;
    let most = i64::try_from(bounds.keys_max()).unwrap_or(i64::MAX);
    let due = due.query_map(params![now.0, most, limit], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let due: Vec<(i64, bool)> = due.collect::<Result<_, _>>()?;
    let mut renew = connection.prepare_cached(
        "UPDATE keys SET number = (SELECT max(number) FROM keys) + 1, expires_at = ?2 \
         WHERE number = ?1",
    )?;
    let mut delete = connection.prepare_cached("DELETE FROM keys WHERE number = ?")?;
    let mut deleted = 0;
    for (number, is_needed) in due {
        if is_needed {
            renew.execute(params![number, now.after(bounds.key_ttl).0])?;
        } else {
            deleted += delete.execute([number])?;
        }
    }
    Ok(deleted)
}

/// Forgets whose turn it is where nothing is kept. Callers who have nothing are as new ones; and a lane
/// that has nothing begins anew, when nobody is left who had a turn there.
fn forget_turns(connection: &Connection, limit: usize) -> Result<usize, Fault> {
    let mut shares = connection.prepare_cached(
        "DELETE FROM shares WHERE (caller, language) IN (SELECT caller, language FROM shares \
         WHERE NOT EXISTS (SELECT 1 FROM counts WHERE counts.caller = shares.caller) \
         OR NOT EXISTS (SELECT 1 FROM totals WHERE totals.language = shares.language) LIMIT ?)",
    )?;
    let shares = shares.execute([limit])?;
    if shares >= limit {
        return Ok(shares);
    }
    let mut lanes = connection.prepare_cached(
        "DELETE FROM languages WHERE language IN (SELECT language FROM languages \
         WHERE NOT EXISTS (SELECT 1 FROM totals WHERE totals.language = languages.language) LIMIT ?)",
    )?;
    Ok(shares + lanes.execute([limit])?)
}

/// Jobs that are over and have been kept for long enough, and the oldest of those beyond the most that
/// are kept.
fn over(
    connection: &Connection,
    limit: usize,
    bounds: &Bounds,
    now: Timestamp,
) -> Result<Vec<i64>, Fault> {
    let mut count = connection.prepare_cached(
        "SELECT coalesce(sum(jobs), 0) FROM totals \
         WHERE state IN ('succeeded', 'cancelled', 'expired', 'dead')",
    )?;
    let kept: u64 = count.query_row([], |row| row.get(0))?;
    let too_many = usize::try_from(kept.saturating_sub(bounds.kept_max)).unwrap_or(usize::MAX);
    let mut find = connection.prepare_cached(
        "SELECT number FROM (SELECT number, expires_at FROM jobs WHERE expires_at IS NOT NULL \
         ORDER BY expires_at LIMIT ?1) WHERE expires_at < ?2 \
         UNION SELECT number FROM (SELECT number FROM jobs WHERE expires_at IS NOT NULL \
         ORDER BY expires_at LIMIT ?3)",
    )?;
    let found = find.query_map(params![limit, now.0, too_many.min(limit)], |row| row.get(0))?;
    Ok(found.collect::<Result<_, _>>()?)
}
