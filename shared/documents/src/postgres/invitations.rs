//! Invitations.

use jiff::Timestamp;
use sqlx::{PgPool, Row as _};

use super::number;
use super::place::Fault;
use crate::invitation::{Invitation, InvitationId};
use crate::store::InvitationRow;
use crate::words::RoomId;

pub(super) async fn keep(
    pool: &PgPool,
    invitation: &Invitation,
    (most, now): (u64, Timestamp),
) -> Result<bool, Fault> {
    let insert = "WITH old AS (DELETE FROM invitation WHERE room = $2 AND expires_at <= $8) \
                  INSERT INTO invitation (id, room, digest, role, created_at, expires_at) \
                  SELECT $1, id, $3, $4, $5, $6 FROM room WHERE id = $2 AND (SELECT count(*) \
                  FROM invitation WHERE room = $2 AND expires_at > $8) < $7";
    let insert = sqlx::query(insert)
        .bind(invitation.id.as_str())
        .bind(invitation.room.as_str())
        .bind(&invitation.digest.as_bytes()[..])
        .bind(invitation.role.as_str())
        .bind(invitation.created_at.as_millisecond())
        .bind(invitation.expires_at.as_millisecond())
        .bind(number(most))
        .bind(now.as_millisecond());
    Ok(insert.execute(pool).await?.rows_affected() > 0)
}

pub(super) async fn of(
    pool: &PgPool,
    room: &RoomId,
    now: Timestamp,
) -> Result<Vec<Invitation>, Fault> {
    let look = "SELECT id, digest, role, created_at, expires_at FROM invitation \
                WHERE room = $1 AND expires_at > $2 ORDER BY id COLLATE \"C\"";
    let look = sqlx::query(look).bind(room.as_str()).bind(now.as_millisecond());
    let mut all = Vec::new();
    for row in look.fetch_all(pool).await? {
        let row = InvitationRow {
            id: row.try_get(0)?,
            digest: row.try_get(1)?,
            role: row.try_get(2)?,
            created_at: row.try_get(3)?,
            expires_at: row.try_get(4)?,
        };
        all.extend(row.invitation(room));
    }
    Ok(all)
}

pub(super) async fn end(pool: &PgPool, room: &RoomId, id: &InvitationId) -> Result<bool, Fault> {
    let end = sqlx::query("DELETE FROM invitation WHERE room = $1 AND id = $2");
    let end = end.bind(room.as_str()).bind(id.as_str());
    Ok(end.execute(pool).await?.rows_affected() > 0)
}
