//! Snippets.

use bytes::Bytes;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::Fault;
use crate::snippet::SnippetId;
use crate::store::{Bounds, TOUCH_MILLISECONDS};

pub(super) fn keep(
    connection: &Connection,
    id: &SnippetId,
    data: &[u8],
    (bounds, now): (Bounds, Timestamp),
) -> Result<bool, Fault> {
    let keep = "INSERT INTO snippet (id, touched_at, data) SELECT ?1, ?2, ?3 FROM totals \
                WHERE (snippets < ?4 AND snippet_bytes + length(?3) <= ?5) \
                OR EXISTS (SELECT 1 FROM snippet WHERE id = ?1) \
                ON CONFLICT (id) DO UPDATE SET touched_at = max(touched_at, excluded.touched_at)";
    let kept = connection.prepare_cached(keep)?.execute(params![
        id.as_str(),
        now.as_millisecond(),
        data,
        bounds.snippets_max,
        bounds.snippet_bytes_max,
    ])?;
    Ok(kept > 0)
}

pub(super) fn one(
    connection: &Connection,
    id: &SnippetId,
    now: Timestamp,
) -> Result<Option<Bytes>, Fault> {
    let look = "SELECT data FROM snippet WHERE id = ?1";
    let data = connection.prepare_cached(look)?.query_row([id.as_str()], |row| row.get(0));
    let data: Option<Vec<u8>> = data.optional()?;
    let touch = "UPDATE snippet SET touched_at = ?2 WHERE id = ?1 AND touched_at < ?2 - ?3";
    let touched = params![id.as_str(), now.as_millisecond(), TOUCH_MILLISECONDS];
    connection.prepare_cached(touch)?.execute(touched)?;
    Ok(data.map(Bytes::from))
}

pub(super) fn purge(
    connection: &Connection,
    before: Timestamp,
    limit: usize,
) -> Result<usize, Fault> {
    let delete = "DELETE FROM snippet WHERE id IN (SELECT id FROM snippet WHERE touched_at < ?1 \
                  ORDER BY touched_at LIMIT ?2)";
    Ok(connection.prepare_cached(delete)?.execute(params![before.as_millisecond(), limit])?)
}
