//! What gateways tell each other of workers.

use std::time::Duration;

use futures::future::BoxFuture;
use sqlx::postgres::PgRow;
use sqlx::{PgPool, Row as _};

use super::place::{Fault, clock, limit};
use super::{PostgresStore, look, plain};
use crate::board::{Board, FORGET, NOTICES_MAX, Noted, Notice};
use crate::{StoreError, Timestamp};

impl Board for PostgresStore {
    fn note(&self, notices: Vec<Notice>) -> BoxFuture<'_, Result<(), StoreError>> {
        look(note(&self.readers, notices, self.clock.fixed()))
    }

    fn noted(&self) -> BoxFuture<'_, Result<Vec<Noted>, StoreError>> {
        look(noted(&self.readers, self.clock.fixed()))
    }

    fn order(&self, worker: String, order: String) -> BoxFuture<'_, Result<bool, StoreError>> {
        look(async move {
            let told = sqlx::query("UPDATE workers SET told = $2 WHERE worker = $1");
            let told = told.bind(plain(worker)).bind(plain(order)).execute(&self.readers).await?;
            Ok(told.rows_affected() > 0)
        })
    }

    fn forget(&self, worker: String) -> BoxFuture<'_, Result<(), StoreError>> {
        look(async move {
            let forget = sqlx::query("DELETE FROM workers WHERE worker = $1").bind(plain(worker));
            forget.execute(&self.readers).await?;
            Ok(())
        })
    }
}

/// In the order of their names, so that two gateways never wait for each other.
async fn note(
    pool: &PgPool,
    mut notices: Vec<Notice>,
    now: Option<Timestamp>,
) -> Result<(), Fault> {
    notices.sort_by(|one, other| one.worker.cmp(&other.worker));
    let (workers, bodies): (Vec<String>, Vec<Vec<u8>>) =
        notices.into_iter().map(|it| (plain(it.worker), it.body)).unzip();
    let note = sqlx::query(concat!(
        "INSERT INTO workers (worker, body, noted_at) ",
        "SELECT worker, body, coalesce($3, ",
        clock!(),
        ") FROM unnest($1::text[], $2::bytea[]) AS n (worker, body) ",
        "ON CONFLICT (worker) DO UPDATE SET body = excluded.body, noted_at = excluded.noted_at",
    ));
    note.bind(workers).bind(bodies).bind(now.map(|it| it.0)).execute(pool).await?;
    let forget = sqlx::query(concat!(
        "DELETE FROM workers WHERE noted_at < coalesce($1, ",
        clock!(),
        ") - $2"
    ));
    let age = i64::try_from(FORGET.as_millis()).unwrap_or(i64::MAX);
    forget.bind(now.map(|it| it.0)).bind(age).execute(pool).await?;
    Ok(())
}

async fn noted(pool: &PgPool, now: Option<Timestamp>) -> Result<Vec<Noted>, Fault> {
    let find = sqlx::query(concat!(
        "SELECT worker, body, coalesce($1, ",
        clock!(),
        ") - noted_at, told FROM workers ORDER BY worker LIMIT $2"
    ));
    let found = find.bind(now.map(|it| it.0)).bind(limit(NOTICES_MAX)).fetch_all(pool).await?;
    let read = |row: &PgRow| {
        let age = u64::try_from(row.try_get::<i64, _>(2)?).unwrap_or_default();
        Ok(Noted {
            notice: Notice { worker: row.try_get(0)?, body: row.try_get(1)? },
            age: Duration::from_millis(age),
            order: row.try_get(3)?,
        })
    };
    let found: Vec<Noted> = found.iter().map(read).collect::<sqlx::Result<_>>()?;
    Ok(found.into_iter().filter(|it| it.age < FORGET).collect())
}
