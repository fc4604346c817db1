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
    for (table, column) in [("keys", "caller, key"), ("callbacks", "number")] {
        deleted += purge_table(connection, table, column, limit, now)?;
    }
    // Their numbers have no gaps but those of what is deleted.
    let mut too_many = connection.prepare_cached(
        "DELETE FROM callbacks WHERE number IN (SELECT number FROM callbacks \
         WHERE number <= (SELECT max(number) FROM callbacks) - ?1 ORDER BY number LIMIT ?2)",
    )?;
    let most = i64::try_from(bounds.callbacks_max()).unwrap_or(i64::MAX);
    deleted += too_many.execute(params![most, limit])?;
    // Shares of callers who have nothing are what a new caller would get.
    let rest = [
        "DELETE FROM counts WHERE (caller, state) IN \
         (SELECT caller, state FROM counts WHERE jobs = 0 LIMIT ?)",
        "DELETE FROM totals WHERE (language, state) IN \
         (SELECT language, state FROM totals WHERE jobs = 0 LIMIT ?)",
        "DELETE FROM shares WHERE (caller, language) IN (SELECT caller, language FROM shares \
         WHERE NOT EXISTS (SELECT 1 FROM counts WHERE counts.caller = shares.caller) LIMIT ?)",
    ];
    for sql in rest {
        deleted += connection.prepare_cached(sql)?.execute([limit])?;
    }
    Ok(deleted)
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

fn purge_table(
    connection: &Connection,
    table: &str,
    column: &str,
    limit: usize,
    now: Timestamp,
) -> Result<usize, Fault> {
    let sql = format!(
        "DELETE FROM {table} WHERE ({column}) IN \
         (SELECT {column} FROM {table} WHERE expires_at < ? ORDER BY expires_at LIMIT ?)"
    );
    Ok(connection.prepare_cached(&sql)?.execute(params![now.0, limit])?)
}
