//! Rooms and tickets.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::Fault;
use crate::invitation::InvitationId;
use crate::secret::SecretDigest;
use crate::store::{Row, TicketRow};
use crate::words::{RoomId, RoomRecord, Ticket};

pub(super) fn create(connection: &Connection, room: &RoomRecord, most: u64) -> Result<bool, Fault> {
    let rooms: u64 =
        connection.prepare_cached("SELECT rooms FROM totals")?.query_row([], |row| row.get(0))?;
    if rooms >= most {
        return Ok(false);
    }
    let insert = "INSERT INTO room (id, title, visibility, owner, created_at, touched_at, number, \
                  bytes, snapshot_number) VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, 0, 0)";
    connection.prepare_cached(insert)?.execute(params![
        room.id.as_str(),
        room.title,
        room.visibility.as_str(),
        room.owner,
        room.created_at.as_millisecond(),
        room.touched_at.as_millisecond(),
    ])?;
    Ok(true)
}

pub(super) fn one(connection: &Connection, id: &RoomId) -> Result<Option<RoomRecord>, Fault> {
    let look = "SELECT id, title, visibility, owner, created_at, touched_at, bytes FROM room \
                WHERE id = ?1";
    let row = connection.prepare_cached(look)?.query_row([id.as_str()], |row| {
        Ok(Row {
            id: row.get(0)?,
            title: row.get(1)?,
            visibility: row.get(2)?,
            owner: row.get(3)?,
            created_at: row.get(4)?,
            touched_at: row.get(5)?,
            bytes: row.get(6)?,
        })
    });
    Ok(row.optional()?.and_then(Row::record))
}

pub(super) fn delete(connection: &Connection, id: &RoomId) -> Result<bool, Fault> {
    let deleted =
        connection.prepare_cached("DELETE FROM room WHERE id = ?1")?.execute([id.as_str()])?;
    Ok(deleted > 0)
}

pub(super) fn purge(
    connection: &Connection,
    before: Timestamp,
    now: Timestamp,
    limit: usize,
) -> Result<Vec<RoomId>, Fault> {
    for table in ["ticket", "invitation"] {
        connection
            .prepare_cached(&format!("DELETE FROM {table} WHERE expires_at <= ?1"))?
            .execute([now.as_millisecond()])?;
    }
    let delete = "DELETE FROM room WHERE id IN (SELECT id FROM room WHERE touched_at < ?1 \
                  ORDER BY touched_at LIMIT ?2) RETURNING id";
    let mut delete = connection.prepare_cached(delete)?;
    let deleted =
        delete.query_map(params![before.as_millisecond(), limit], |row| row.get::<_, String>(0))?;
    let deleted = deleted.collect::<Result<Vec<_>, _>>()?;
    Ok(deleted.into_iter().filter_map(|it| it.parse().ok()).collect())
}

pub(super) fn keep_ticket(
    connection: &Connection,
    digest: SecretDigest,
    ticket: &Ticket,
    (most, now): (u64, Timestamp),
) -> Result<bool, Fault> {
    let room = ticket.room.as_str();
    connection
        .prepare_cached("DELETE FROM ticket WHERE room = ?1 AND expires_at <= ?2")?
        .execute(params![room, now.as_millisecond()])?;
    let insert = "INSERT INTO ticket (digest, room, role, name, expires_at, invitation) \
                  SELECT ?1, id, ?3, ?4, ?5, ?7 FROM room WHERE id = ?2 \
                  AND (SELECT count(*) FROM ticket WHERE room = ?2) < ?6 \
                  AND (?7 IS NULL OR EXISTS (SELECT 1 FROM invitation WHERE id = ?7 AND room = ?2))";
    let kept = connection.prepare_cached(insert)?.execute(params![
        digest.as_bytes(),
        room,
        ticket.role.as_str(),
        ticket.name,
        ticket.expires_at.as_millisecond(),
        most,
        ticket.invitation.as_ref().map(InvitationId::as_str),
    ])?;
    Ok(kept > 0)
}

pub(super) fn take_ticket(
    connection: &Connection,
    digest: SecretDigest,
    now: Timestamp,
) -> Result<Option<Ticket>, Fault> {
    let take = "DELETE FROM ticket WHERE digest = ?1 \
                RETURNING room, role, name, expires_at, invitation";
    let taken = connection.prepare_cached(take)?.query_row([digest.as_bytes()], |row| {
        Ok(TicketRow {
            room: row.get(0)?,
            role: row.get(1)?,
            name: row.get(2)?,
            expires_at: row.get(3)?,
            invitation: row.get(4)?,
        })
    });
    Ok(taken.optional()?.and_then(TicketRow::ticket).filter(|it| it.expires_at > now))
}
