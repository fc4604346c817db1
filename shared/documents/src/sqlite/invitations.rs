//! Invitations.

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::Fault;
use crate::invitation::{Invitation, InvitationId};
use crate::store::InvitationRow;
use crate::words::RoomId;

pub(super) fn keep(
    connection: &Connection,
    invitation: &Invitation,
    (most, now): (u64, Timestamp),
) -> Result<bool, Fault> {
    let room = invitation.room.as_str();
    connection
        .prepare_cached("DELETE FROM invitation WHERE room = ?1 AND expires_at <= ?2")?
        .execute(params![room, now.as_millisecond()])?;
    let insert = "INSERT INTO invitation (id, room, digest, role, created_at, expires_at) \
                  SELECT ?1, id, ?3, ?4, ?5, ?6 FROM room WHERE id = ?2 \
                  AND (SELECT count(*) FROM invitation WHERE room = ?2) < ?7";
    let kept = connection.prepare_cached(insert)?.execute(params![
        invitation.id.as_str(),
        room,
        invitation.digest.as_bytes(),
        invitation.role.as_str(),
        invitation.created_at.as_millisecond(),
        invitation.expires_at.as_millisecond(),
        most,
    ])?;
    Ok(kept > 0)
}

pub(super) fn of(
    connection: &Connection,
    room: &RoomId,
    now: Timestamp,
) -> Result<Vec<Invitation>, Fault> {
    let look = "SELECT id, digest, role, created_at, expires_at FROM invitation \
                WHERE room = ?1 AND expires_at > ?2 ORDER BY id";
    let mut look = connection.prepare_cached(look)?;
    let rows = look.query_map(params![room.as_str(), now.as_millisecond()], |row| {
        Ok(InvitationRow {
            id: row.get(0)?,
            digest: row.get(1)?,
            role: row.get(2)?,
            created_at: row.get(3)?,
            expires_at: row.get(4)?,
        })
    })?;
    let rows = rows.collect::<Result<Vec<_>, _>>()?;
    Ok(rows.into_iter().filter_map(|it| it.invitation(room)).collect())
}

pub(super) fn end(
    connection: &Connection,
    room: &RoomId,
    id: &InvitationId,
) -> Result<bool, Fault> {
    let end = "DELETE FROM invitation WHERE room = ?1 AND id = ?2";
    let ended = connection.prepare_cached(end)?.execute([room.as_str(), id.as_str()])?;
    Ok(ended > 0)
}
