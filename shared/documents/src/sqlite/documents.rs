//! Documents: updates in order, and what stands for those up to one.

use bytes::Bytes;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::Fault;
use crate::store::{Appended, Loaded};
use crate::words::RoomId;

pub(super) fn load(
    connection: &Connection,
    id: &RoomId,
    after: u64,
    now: Timestamp,
) -> Result<Option<Loaded>, Fault> {
    let touch = "UPDATE room SET touched_at = max(touched_at, ?2) WHERE id = ?1 \
                 RETURNING number, snapshot_number";
    let found = connection
        .prepare_cached(touch)?
        .query_row(params![id.as_str(), now.as_millisecond()], |row| {
            Ok((row.get::<_, u64>(0)?, row.get::<_, u64>(1)?))
        })
        .optional()?;
    let Some((number, snapshot_number)) = found else { return Ok(None) };
    let snapshot = if snapshot_number > after {
        let look = "SELECT state FROM room_snapshot WHERE room = ?1";
        let state = connection.prepare_cached(look)?.query_row([id.as_str()], |row| row.get(0));
        state.optional()?.map(|it: Vec<u8>| Bytes::from(it))
    } else {
        None
    };
    let look = "SELECT data FROM room_update WHERE room = ?1 AND number > ?2 ORDER BY number";
    let mut look = connection.prepare_cached(look)?;
    let updates = look.query_map(params![id.as_str(), after], |row| row.get::<_, Vec<u8>>(0))?;
    let updates = updates.map(|it| it.map(Bytes::from)).collect::<Result<_, _>>()?;
    Ok(Some(Loaded { snapshot, updates, number }))
}

pub(super) fn append(
    connection: &Connection,
    id: &RoomId,
    updates: &[Bytes],
    (most, now): (u64, Timestamp),
) -> Result<Appended, Fault> {
    let bytes: u64 = updates.iter().map(|it| it.len() as u64).sum();
    let total: u64 =
        connection.prepare_cached("SELECT bytes FROM totals")?.query_row([], |row| row.get(0))?;
    let look = "SELECT number FROM room WHERE id = ?1";
    let before: Option<u64> =
        connection.prepare_cached(look)?.query_row([id.as_str()], |row| row.get(0)).optional()?;
    let Some(before) = before else { return Ok(Appended::NoRoom) };
    if total + bytes > most {
        return Ok(Appended::Full);
    }
    let insert = "INSERT INTO room_update (room, number, data) VALUES (?1, ?2, ?3)";
    let mut insert = connection.prepare_cached(insert)?;
    let mut number = before;
    for update in updates {
        number += 1;
        insert.execute(params![id.as_str(), number, &update[..]])?;
    }
    let note = "UPDATE room SET number = ?2, bytes = bytes + ?3, touched_at = max(touched_at, ?4) \
                WHERE id = ?1";
    let note = connection.prepare_cached(note);
    note?.execute(params![id.as_str(), number, bytes, now.as_millisecond()])?;
    Ok(Appended::Written { before, number })
}

pub(super) fn keep_snapshot(
    connection: &Connection,
    id: &RoomId,
    number: u64,
    state: &[u8],
) -> Result<(), Fault> {
    let note = "UPDATE room SET snapshot_number = ?2 WHERE id = ?1 AND snapshot_number <= ?2 \
                AND number >= ?2";
    let noted = connection.prepare_cached(note)?.execute(params![id.as_str(), number])?;
    if noted == 0 {
        return Ok(());
    }
    let keep = "INSERT INTO room_snapshot (room, state) VALUES (?1, ?2) \
                ON CONFLICT (room) DO UPDATE SET state = excluded.state";
    connection.prepare_cached(keep)?.execute(params![id.as_str(), state])?;
    let forget = "DELETE FROM room_update WHERE room = ?1 AND number <= ?2";
    connection.prepare_cached(forget)?.execute(params![id.as_str(), number])?;
    let measure = "UPDATE room SET bytes = \
         (SELECT coalesce(sum(length(state)), 0) FROM room_snapshot WHERE room = ?1) + \
         (SELECT coalesce(sum(length(data)), 0) FROM room_update WHERE room = ?1) WHERE id = ?1";
    connection.prepare_cached(measure)?.execute([id.as_str()])?;
    Ok(())
}
