//! The tables, and how older files come to have them.

use rusqlite::Connection;

use super::Fault;
use crate::StoreError;

/// One step from each version to the next.
const MIGRATIONS: &[&str] = &[include_str!("schema-1.sql")];

/// Tells our files from others: "Flot".
const APPLICATION: i64 = 0x466c_6f74;

/// Brings a file to the newest version, one step at a time, each whole or not at all.
pub(super) fn migrate(connection: &mut Connection, place: &str) -> Result<(), StoreError> {
    let newest = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    let number = |name: &str, connection: &Connection| {
        connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0))
    };
    let found = number("user_version", connection).map_err(Fault::from)?;
    let owner = number("application_id", connection).map_err(Fault::from)?;
    if owner != 0 && owner != APPLICATION {
        return Err(StoreError::Unavailable(format!("{place} belongs to another program")));
    }
    if found > newest {
        return Err(StoreError::Newer { place: place.to_owned(), found, known: newest });
    }
    for (version, sql) in (1..).zip(MIGRATIONS).filter(|(version, _)| *version > found) {
        let step = connection.transaction().map_err(Fault::from)?;
        step.execute_batch(sql).map_err(Fault::from)?;
        step.pragma_update(None, "user_version", version).map_err(Fault::from)?;
        step.pragma_update(None, "application_id", APPLICATION).map_err(Fault::from)?;
        step.commit().map_err(Fault::from)?;
    }
    Ok(())
}
