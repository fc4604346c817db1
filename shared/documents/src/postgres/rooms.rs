//! Rooms and tickets.

use jiff::Timestamp;
use sqlx::{PgPool, Row as _};

use super::place::Fault;
use super::{count, number};
use crate::invitation::InvitationId;
use crate::secret::SecretDigest;
use crate::store::{Row, TicketRow};
use crate::words::{RoomId, RoomRecord, Ticket};

pub(super) async fn create(pool: &PgPool, room: &RoomRecord, most: u64) -> Result<bool, Fault> {
    let mut step = pool.begin().await?;
    // One room after another, or two would both be the last that there may be.
    sqlx::query("SELECT pg_advisory_xact_lock(1181511540, 2)").execute(&mut *step).await?;
    let insert = "INSERT INTO room SELECT $1, $2, $3, $4, $5, $6, 0, 0, 0 \
                  WHERE (SELECT count(*) FROM room) < $7";
    let insert = sqlx::query(insert)
        .bind(room.id.as_str())
        .bind(&room.title)
        .bind(room.visibility.as_str())
        .bind(&room.owner)
        .bind(room.created_at.as_millisecond())
        .bind(room.touched_at.as_millisecond())
        .bind(number(most));
    let kept = insert.execute(&mut *step).await?.rows_affected();
    step.commit().await?;
    Ok(kept > 0)
}

pub(super) async fn one(pool: &PgPool, id: &RoomId) -> Result<Option<RoomRecord>, Fault> {
    let look = "SELECT id, title, visibility, owner, created_at, touched_at, bytes FROM room \
                WHERE id = $1";
    let Some(row) = sqlx::query(look).bind(id.as_str()).fetch_optional(pool).await? else {
        return Ok(None);
    };
    let row = Row {
        id: row.try_get(0)?,
        title: row.try_get(1)?,
        visibility: row.try_get(2)?,
        owner: row.try_get(3)?,
        created_at: row.try_get(4)?,
        touched_at: row.try_get(5)?,
        bytes: count(row.try_get(6)?),
    };
    Ok(row.record())
}

pub(super) async fn delete(pool: &PgPool, id: &RoomId) -> Result<bool, Fault> {
    let delete = sqlx::query("DELETE FROM room WHERE id = $1").bind(id.as_str());
    Ok(delete.execute(pool).await?.rows_affected() > 0)
}

pub(super) async fn purge(
    pool: &PgPool,
    before: Timestamp,
    now: Timestamp,
    limit: usize,
) -> Result<Vec<RoomId>, Fault> {
    for ended in [
        "DELETE FROM ticket WHERE expires_at <= $1",
        "DELETE FROM invitation WHERE expires_at <= $1",
    ] {
        sqlx::query(ended).bind(now.as_millisecond()).execute(pool).await?;
    }
    let delete = "DELETE FROM room WHERE id IN (SELECT id FROM room WHERE touched_at < $1 \
                  ORDER BY touched_at LIMIT $2 FOR UPDATE SKIP LOCKED) RETURNING id";
    let delete = sqlx::query_scalar::<_, String>(delete)
        .bind(before.as_millisecond())
        .bind(i64::try_from(limit).unwrap_or(i64::MAX));
    let deleted = delete.fetch_all(pool).await?;
    Ok(deleted.into_iter().filter_map(|it| it.parse().ok()).collect())
}

pub(super) async fn keep_ticket(
    pool: &PgPool,
    digest: SecretDigest,
    ticket: &Ticket,
    (most, now): (u64, Timestamp),
) -> Result<bool, Fault> {
    let insert = "WITH old AS (DELETE FROM ticket WHERE room = $2 AND expires_at <= $7) \
                  INSERT INTO ticket (digest, room, role, name, expires_at, invitation) \
                  SELECT $1, id, $3, $4, $5, $8 FROM room WHERE id = $2 AND (SELECT count(*) \
                  FROM ticket WHERE room = $2 AND expires_at > $7) < $6 AND ($8::text IS NULL \
                  OR EXISTS (SELECT 1 FROM invitation WHERE id = $8 AND room = $2))";
    let insert = sqlx::query(insert)
        .bind(&digest.as_bytes()[..])
        .bind(ticket.room.as_str())
        .bind(ticket.role.as_str())
        .bind(&ticket.name)
        .bind(ticket.expires_at.as_millisecond())
        .bind(number(most))
        .bind(now.as_millisecond())
        .bind(ticket.invitation.as_ref().map(InvitationId::as_str));
    Ok(insert.execute(pool).await?.rows_affected() > 0)
}

pub(super) async fn take_ticket(
    pool: &PgPool,
    digest: SecretDigest,
    now: Timestamp,
) -> Result<Option<Ticket>, Fault> {
    let take = "DELETE FROM ticket WHERE digest = $1 \
                RETURNING room, role, name, expires_at, invitation";
    let taken = sqlx::query(take).bind(&digest.as_bytes()[..]).fetch_optional(pool).await?;
    let Some(row) = taken else { return Ok(None) };
    let row = TicketRow {
        room: row.try_get(0)?,
        role: row.try_get(1)?,
        name: row.try_get(2)?,
        expires_at: row.try_get(3)?,
        invitation: row.try_get(4)?,
    };
    Ok(row.ticket().filter(|it| it.expires_at > now))
}
