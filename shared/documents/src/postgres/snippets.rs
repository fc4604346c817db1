//! Snippets.

use bytes::Bytes;
use jiff::Timestamp;
use sqlx::PgPool;

use super::number;
use super::place::Fault;
use crate::snippet::SnippetId;
use crate::store::{Bounds, TOUCH_MILLISECONDS};

pub(super) async fn keep(
    pool: &PgPool,
    id: &SnippetId,
    data: &[u8],
    (bounds, now): (Bounds, Timestamp),
) -> Result<bool, Fault> {
    let mut step = pool.begin().await?;
    // One after another, or two would both be the last that there may be.
    sqlx::query("SELECT pg_advisory_xact_lock(1181511540, 3)").execute(&mut *step).await?;
    let keep = "INSERT INTO snippet (id, touched_at, bytes, data) \
                SELECT $1::text, $2::bigint, $3::bigint, $4::bytea \
                WHERE EXISTS (SELECT 1 FROM snippet WHERE id = $1::text) \
                OR (SELECT count(*) < $5::bigint \
                AND coalesce(sum(bytes), 0)::bigint + $3::bigint <= $6::bigint FROM snippet) \
                ON CONFLICT (id) DO UPDATE \
                SET touched_at = greatest(snippet.touched_at, excluded.touched_at)";
    let keep = sqlx::query(keep)
        .bind(id.as_str())
        .bind(now.as_millisecond())
        .bind(number(data.len() as u64))
        .bind(data)
        .bind(number(bounds.snippets_max))
        .bind(number(bounds.snippet_bytes_max));
    let kept = keep.execute(&mut *step).await?.rows_affected();
    step.commit().await?;
    Ok(kept > 0)
}

pub(super) async fn one(
    pool: &PgPool,
    id: &SnippetId,
    now: Timestamp,
) -> Result<Option<Bytes>, Fault> {
    let look = sqlx::query_scalar::<_, Vec<u8>>("SELECT data FROM snippet WHERE id = $1");
    let data = look.bind(id.as_str()).fetch_optional(pool).await?;
    let touch = "UPDATE snippet SET touched_at = $2::bigint \
                 WHERE id = $1 AND touched_at < $2::bigint - $3::bigint";
    let touch = sqlx::query(touch).bind(id.as_str()).bind(now.as_millisecond());
    touch.bind(TOUCH_MILLISECONDS).execute(pool).await?;
    Ok(data.map(Bytes::from))
}

pub(super) async fn purge(pool: &PgPool, before: Timestamp, limit: usize) -> Result<usize, Fault> {
    let delete = "DELETE FROM snippet WHERE id IN (SELECT id FROM snippet WHERE touched_at < $1 \
                  ORDER BY touched_at LIMIT $2 FOR UPDATE SKIP LOCKED)";
    let delete = sqlx::query(delete)
        .bind(before.as_millisecond())
        .bind(i64::try_from(limit).unwrap_or(i64::MAX));
    let deleted = delete.execute(pool).await?.rows_affected();
    Ok(usize::try_from(deleted).unwrap_or(usize::MAX))
}
