//! The tables, and how older files come to have them.

use rusqlite::Connection;

use super::Fault;
use crate::StoreError;

/// One step from each version to the next.
const MIGRATIONS: &[&str] = &[
    include_str!("schema-1.sql"),
    include_str!("schema-2.sql"),
    include_str!("schema-3.sql"),
    include_str!("schema-4.sql"),
];

/// Tells our files from others: "Flot".
const APPLICATION: i64 = 0x466c_6f74;

/// The version of a file. It is refused, and not touched, if it is another program's, or if a younger
/// version of this one wrote it.
pub(super) fn version(connection: &Connection, place: &str) -> Result<i64, StoreError> {
    let number = |name: &str| {
        let found = connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        found.map_err(|it| StoreError::from(Fault::from(it)))
    };
    let (found, owner) = (number("user_version")?, number("application_id")?);
    if owner != 0 && owner != APPLICATION {
        return Err(StoreError::Unavailable(format!("{place} belongs to another program")));
    }
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    if found > known {
        return Err(StoreError::Newer { place: place.to_owned(), found, known });
    }
    Ok(found)
}

/// Brings a file from a version to the newest, one step at a time, each whole or not at all.
pub(super) fn migrate(connection: &mut Connection, from: i64) -> Result<(), StoreError> {
    for (version, sql) in (1..).zip(MIGRATIONS).filter(|(version, _)| *version > from) {
        let step = connection.transaction().map_err(Fault::from)?;
        step.execute_batch(sql).map_err(Fault::from)?;
        step.pragma_update(None, "user_version", version).map_err(Fault::from)?;
        step.pragma_update(None, "application_id", APPLICATION).map_err(Fault::from)?;
        step.commit().map_err(Fault::from)?;
    }
    Ok(())
}
