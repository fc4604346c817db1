//! Documents: updates in order, and what stands for those up to one. Whoever reads or writes a
//! document has its room's row locked meanwhile, so that nobody else does.

use bytes::Bytes;
use jiff::Timestamp;
use sqlx::{PgPool, Row as _};

use super::place::Fault;
use super::{count, number};
use crate::store::{Appended, Loaded};
use crate::words::RoomId;

pub(super) async fn load(
    pool: &PgPool,
    id: &RoomId,
    after: u64,
    now: Timestamp,
) -> Result<Option<Loaded>, Fault> {
    let mut step = pool.begin().await?;
    let touch = "UPDATE room SET touched_at = greatest(touched_at, $2) WHERE id = $1 \
                 RETURNING number, snapshot_number";
    let touch = sqlx::query(touch).bind(id.as_str()).bind(now.as_millisecond());
    let Some(row) = touch.fetch_optional(&mut *step).await? else { return Ok(None) };
    let (last, snapshot_number) = (count(row.try_get(0)?), count(row.try_get(1)?));
    let snapshot: Option<Vec<u8>> = if snapshot_number > after {
        let look = sqlx::query_scalar("SELECT state FROM room_snapshot WHERE room = $1");
        look.bind(id.as_str()).fetch_optional(&mut *step).await?
    } else {
        None
    };
    let look = "SELECT data FROM room_update WHERE room = $1 AND number > $2 ORDER BY number";
    let look = sqlx::query_scalar::<_, Vec<u8>>(look).bind(id.as_str()).bind(number(after));
    let updates = look.fetch_all(&mut *step).await?.into_iter().map(Bytes::from).collect();
    step.commit().await?;
    Ok(Some(Loaded { snapshot: snapshot.map(Bytes::from), updates, number: last }))
}

pub(super) async fn append(
    pool: &PgPool,
    id: &RoomId,
    updates: &[Bytes],
    (most, now): (u64, Timestamp),
) -> Result<Appended, Fault> {
    let bytes: u64 = updates.iter().map(|it| it.len() as u64).sum();
    let mut step = pool.begin().await?;
    let note = "UPDATE room SET number = number + $2, bytes = bytes + $3, \
                touched_at = greatest(touched_at, $4) WHERE id = $1 RETURNING number";
    let note = sqlx::query_scalar::<_, i64>(note)
        .bind(id.as_str())
        .bind(number(updates.len() as u64))
        .bind(number(bytes))
        .bind(now.as_millisecond());
    let Some(last) = note.fetch_optional(&mut *step).await? else { return Ok(Appended::NoRoom) };
    let total = sqlx::query_scalar::<_, i64>("SELECT coalesce(sum(bytes), 0)::bigint FROM room");
    if count(total.fetch_one(&mut *step).await?) > most {
        // What is not committed did not happen.
        return Ok(Appended::Full);
    }
    let last = count(last);
    let before = last.saturating_sub(updates.len() as u64);
    let insert = "INSERT INTO room_update (room, number, data) SELECT $1, $2 + place, data \
                  FROM unnest($3::bytea[]) WITH ORDINALITY AS u (data, place)";
    let data: Vec<&[u8]> = updates.iter().map(|it| &it[..]).collect();
    let insert = sqlx::query(insert).bind(id.as_str()).bind(number(before)).bind(data);
    insert.execute(&mut *step).await?;
    step.commit().await?;
    Ok(Appended::Written { before, number: last })
}

pub(super) async fn keep_snapshot(
    pool: &PgPool,
    id: &RoomId,
    last: u64,
    state: &[u8],
) -> Result<(), Fault> {
    let mut step = pool.begin().await?;
    let note = "UPDATE room SET snapshot_number = $2 WHERE id = $1 AND snapshot_number <= $2 \
                AND number >= $2";
    let note = sqlx::query(note).bind(id.as_str()).bind(number(last));
    if note.execute(&mut *step).await?.rows_affected() == 0 {
        return Ok(());
    }
    let keep = "INSERT INTO room_snapshot (room, state) VALUES ($1, $2) \
                ON CONFLICT (room) DO UPDATE SET state = excluded.state";
    sqlx::query(keep).bind(id.as_str()).bind(state).execute(&mut *step).await?;
    let forget = "DELETE FROM room_update WHERE room = $1 AND number <= $2";
    sqlx::query(forget).bind(id.as_str()).bind(number(last)).execute(&mut *step).await?;
    let measure = "UPDATE room SET bytes = \
         (SELECT coalesce(sum(length(state)), 0) FROM room_snapshot WHERE room = $1) + \
         (SELECT coalesce(sum(length(data)), 0) FROM room_update WHERE room = $1) WHERE id = $1";
    sqlx::query(measure).bind(id.as_str()).execute(&mut *step).await?;
    step.commit().await?;
    Ok(())
}
