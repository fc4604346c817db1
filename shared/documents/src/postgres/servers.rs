//! Servers that use the database, and where each is reached.

use std::time::Duration;

use sqlx::{PgPool, Row as _};

use super::place::Fault;
use crate::store::ServerPlace;

/// Notes a server, and forgets those that were killed long ago.
pub(super) async fn announce(pool: &PgPool, name: &str, place: &ServerPlace) -> Result<(), Fault> {
    let note = "WITH old AS (DELETE FROM server WHERE name <> $1 \
                AND seen_at < clock_timestamp() - interval '1 hour') \
                INSERT INTO server (name, url, token, seen_at) VALUES ($1, $2, $3, clock_timestamp()) \
                ON CONFLICT (name) DO UPDATE SET url = excluded.url, token = excluded.token, \
                seen_at = excluded.seen_at";
    let note = sqlx::query(note).bind(name).bind(&place.url).bind(&place.token);
    note.execute(pool).await?;
    Ok(())
}

pub(super) async fn one(
    pool: &PgPool,
    name: &str,
    age: Duration,
) -> Result<Option<ServerPlace>, Fault> {
    let look = "SELECT url, token FROM server \
                WHERE name = $1 AND seen_at > clock_timestamp() - make_interval(secs => $2)";
    let look = sqlx::query(look).bind(name).bind(age.as_secs_f64());
    let Some(row) = look.fetch_optional(pool).await? else { return Ok(None) };
    Ok(Some(ServerPlace { url: row.try_get(0)?, token: row.try_get(1)? }))
}

pub(super) async fn leave(pool: &PgPool, name: &str) -> Result<(), Fault> {
    sqlx::query("DELETE FROM server WHERE name = $1").bind(name).execute(pool).await?;
    Ok(())
}
