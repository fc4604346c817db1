//! Servers that use the database, and where each is reached.

use std::time::Duration;

use sqlx::PgPool;

use super::place::Fault;

/// Notes a server, and forgets those that were killed long ago.
pub(super) async fn announce(pool: &PgPool, name: &str, url: &str) -> Result<(), Fault> {
    let note = "WITH old AS (DELETE FROM server WHERE name <> $1 \
                AND seen_at < clock_timestamp() - interval '1 hour') \
                INSERT INTO server (name, url, seen_at) VALUES ($1, $2, clock_timestamp()) \
                ON CONFLICT (name) DO UPDATE SET url = excluded.url, seen_at = excluded.seen_at";
    sqlx::query(note).bind(name).bind(url).execute(pool).await?;
    Ok(())
}

pub(super) async fn one(pool: &PgPool, name: &str, age: Duration) -> Result<Option<String>, Fault> {
    let look = "SELECT url FROM server \
                WHERE name = $1 AND seen_at > clock_timestamp() - make_interval(secs => $2)";
    let look = sqlx::query_scalar(look).bind(name).bind(age.as_secs_f64());
    Ok(look.fetch_optional(pool).await?)
}

pub(super) async fn leave(pool: &PgPool, name: &str) -> Result<(), Fault> {
    sqlx::query("DELETE FROM server WHERE name = $1").bind(name).execute(pool).await?;
    Ok(())
}
