//! The tables, and how older databases come to have them.

use sqlx::{Connection as _, PgConnection, Row as _};

use super::place::{Fault, Place};
use crate::{Durability, StoreError};

/// One step from each version to the next.
const MIGRATIONS: &[&str] = &[
    include_str!("schema-1.sql"),
    include_str!("schema-2.sql"),
    include_str!("schema-3.sql"),
    include_str!("schema-4.sql"),
    include_str!("schema-5.sql"),
];
/// Tells our tables from others'.
const APPLICATION: &str = "flotilla jobs";
/// The oldest server that was tried.
const OLDEST: i32 = 150_000;

/// What there is of us in a database.
enum Found {
    Nothing,
    Version(i64),
    Others,
}

/// Brings a database to the newest version, whole or not at all, and one gateway at a time. It is
/// refused, and not touched, if its schema is another program's, or if a younger version of this one
/// wrote it.
pub(super) async fn migrate(
    connection: &mut PgConnection,
    place: &Place,
) -> Result<(), StoreError> {
    let told = |error: sqlx::Error| place.told(&Fault::from(error));
    let mut step = connection.begin().await.map_err(told)?;
    // Whoever starts at the same time may take a while.
    let wait = "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0; \
                SELECT pg_advisory_xact_lock(1181511540, 0)";
    sqlx::raw_sql(wait).execute(&mut *step).await.map_err(told)?;
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    let from = match find(&mut step).await.map_err(told)? {
        Found::Nothing => {
            sqlx::raw_sql(ABOUT).execute(&mut *step).await.map_err(told)?;
            0
        }
        Found::Version(found) if found > known => {
            return Err(StoreError::Newer { place: place.shown().to_owned(), found, known });
        }
        Found::Version(found) => found,
        Found::Others => {
            let shown = place.shown();
            let error = format!("the schema `flotilla` of {shown} belongs to another program");
            return Err(StoreError::Unavailable(error));
        }
    };
    if from == known {
        return Ok(());
    }
    for (_, &sql) in (1..).zip(MIGRATIONS).filter(|(version, _)| *version > from) {
        sqlx::raw_sql(sql).execute(&mut *step).await.map_err(told)?;
    }
    let note = "INSERT INTO about (application, version) VALUES ($1, $2) \
                ON CONFLICT (is_one) DO UPDATE SET version = excluded.version";
    let note = sqlx::query(note).bind(APPLICATION).bind(known);
    note.execute(&mut *step).await.map_err(told)?;
    step.commit().await.map_err(told)
}

/// Whose the tables are, and when somebody swept last.
const ABOUT: &str = "CREATE SCHEMA IF NOT EXISTS flotilla; \
    CREATE TABLE about (is_one BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (is_one), \
    application TEXT NOT NULL, version BIGINT NOT NULL, last_sweep_at BIGINT) \
    WITH (fillfactor = 50)";

async fn find(connection: &mut PgConnection) -> sqlx::Result<Found> {
    let look = "SELECT (SELECT count(*) FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace \
                WHERE nspname = 'flotilla'), (SELECT count(*) FROM information_schema.columns \
                WHERE table_schema = 'flotilla' AND table_name = 'about' \
                AND column_name IN ('application', 'version', 'last_sweep_at'))";
    let row = sqlx::query(look).fetch_one(&mut *connection).await?;
    let (things, columns): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
    if things == 0 {
        return Ok(Found::Nothing);
    }
    if columns < 3 {
        return Ok(Found::Others);
    }
    let ours = sqlx::query_scalar("SELECT version FROM flotilla.about WHERE application = $1");
    let version = ours.bind(APPLICATION).fetch_optional(connection).await?;
    Ok(version.map_or(Found::Others, Found::Version))
}

/// What the server keeps of what it acknowledged; or why it cannot be used.
pub(super) async fn look_over(
    connection: &mut PgConnection,
    place: &Place,
) -> Result<Durability, StoreError> {
    let ask = "SELECT current_setting('server_version_num')::integer, \
               current_setting('server_encoding'), current_setting('fsync') = 'on'";
    let row = sqlx::query(ask).fetch_one(connection).await;
    let (version, encoding, is_flushed): (i32, String, bool) = row
        .and_then(|row| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?)))
        .map_err(|error| place.told(&Fault::from(error)))?;
    let shown = place.shown();
    if version < OLDEST {
        let error = format!("{shown} is too old; it has to be version 15 or newer");
        return Err(StoreError::Unavailable(error));
    }
    if encoding != "UTF8" {
        let error = format!("{shown} keeps text as {encoding}; make a database with UTF8");
        return Err(StoreError::Unavailable(error));
    }
    Ok(if is_flushed { Durability::PowerLoss } else { Durability::ProcessCrash })
}
