//! What has been kept for long enough goes.

use rusqlite::{Connection, params};

use super::Fault;
use crate::Timestamp;

/// Deletes at most `limit` of each kind; says how much that was.
pub(super) fn purge(connection: &Connection, limit: usize, now: Timestamp) -> Result<usize, Fault> {
    let mut jobs = connection.prepare_cached(
        "SELECT number FROM jobs WHERE expires_at < ? ORDER BY expires_at LIMIT ?",
    )?;
    let jobs = jobs.query_map(params![now.0, limit], |row| row.get(0))?;
    let jobs = jobs.collect::<Result<Vec<i64>, _>>()?;
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
    // Shares of callers who have nothing are what a new caller would get.
    let rest = [
        "DELETE FROM counts WHERE jobs = 0",
        "DELETE FROM shares WHERE NOT EXISTS (SELECT 1 FROM counts WHERE counts.caller = \
         shares.caller AND counts.language = shares.language)",
    ];
    for sql in rest {
        deleted += connection.prepare_cached(sql)?.execute([])?;
    }
    Ok(deleted)
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
