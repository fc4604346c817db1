//! The task that writes. Whatever comes while a transaction goes to the disk is one transaction
//! afterwards, and nobody is answered before that is durable.
//!
//! Those of several gateways come one after another, by a lock in the database that ends with the
//! transaction: what one has read stays so until it has written. Since each does the work of many, that
//! costs little, and caps, bounds and turns are exact however many gateways there are.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::{Connection as _, PgConnection, Row as _};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::batch::{self, Done, News, Work};
use super::bus::Bus;
use super::place::{Fault, Place, clock};
use super::sweep;
use crate::{Bounds, Clock, StoreError, Timestamp, Wakes};

/// Orders that may wait, and that are done in one transaction at most.
const WAITING_MAX: usize = 1024;
const BATCH_MAX: usize = 256;
/// Bytes that one transaction writes, about: with the order that reaches it, it is full.
const BATCH_BYTES: usize = 4 * 1024 * 1024;
/// How long a transaction may take, and how long anybody waits to be answered.
const BATCH: Duration = Duration::from_secs(4);
const ANSWER: Duration = Duration::from_millis(4_500);

/// By so much the server's clock may go otherwise than ours, in milliseconds; beyond it, it was set.
const DRIFT_MAX_MS: i64 = 2_000;

struct Order {
    work: Work,
    tell: oneshot::Sender<Result<Done, StoreError>>,
}

/// Where orders are given. The task ends when this is dropped and all of them are done.
#[derive(Debug)]
pub(super) struct Writer {
    orders: mpsc::Sender<Order>,
}

impl Writer {
    /// Starts to write on a connection.
    pub(super) async fn start(
        connection: PgConnection,
        (place, bounds, clock): (Place, Bounds, Clock),
        (wakes, bus): (Arc<Wakes>, Arc<Bus>),
    ) -> Result<Self, StoreError> {
        let mut task = Task { connection: None, place, bounds, clock, last: None, wakes, bus };
        let mut connection = connection;
        task.grant_grace(&mut connection).await.map_err(|it| task.place.told(&it))?;
        task.connection = Some(connection);
        let (orders, ordered) = mpsc::channel(WAITING_MAX);
        tokio::spawn(task.run(ordered));
        Ok(Self { orders })
    }

    /// Does something in the next transaction. If that does not end in time, nobody knows whether
    /// it was done.
    pub(super) async fn ask(&self, work: Work) -> Result<Done, StoreError> {
        let answer = async {
            let (tell, told) = oneshot::channel();
            self.orders.send(Order { work, tell }).await.map_err(|_ended| gone())?;
            told.await.map_err(|_ended| gone())?
        };
        timeout(ANSWER, answer).await.unwrap_or_else(|_| Err(Fault::Late.into()))
    }
}

fn gone() -> StoreError {
    StoreError::Unavailable("its task has ended".to_owned())
}

struct Task {
    connection: Option<PgConnection>,
    place: Place,
    bounds: Bounds,
    clock: Clock,
    /// The server's time in the transaction before, and when that was.
    last: Option<(Timestamp, Instant)>,
    wakes: Arc<Wakes>,
    bus: Arc<Bus>,
}

impl Task {
    async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        while let Some(first) = orders.recv().await {
            let mut weight = first.work.weight();
            let mut batch = vec![first];
            while batch.len() < BATCH_MAX
                && weight < BATCH_BYTES
                && let Ok(next) = orders.try_recv()
            {
                weight += next.work.weight();
                batch.push(next);
            }
            // Who has stopped waiting was told that it was not done.
            batch.retain(|it| !it.tell.is_closed());
            self.write(batch).await;
        }
        if let Some(connection) = self.connection {
            drop(timeout(BATCH, connection.close()).await);
        }
    }

    /// Does everything in one transaction; or, if one of them cannot be done, each in its own.
    async fn write(&mut self, batch: Vec<Order>) {
        let works: Vec<&Work> = batch.iter().map(|it| &it.work).collect();
        match self.commit_in_time(&works).await {
            Err(fault) if fault.is_of_one() && batch.len() > 1 => {
                // Nor is what the session has kept to blame then.
                self.connection = None;
                for order in batch {
                    let done = self.commit_in_time(&[&order.work]).await;
                    let done = done.map(|mut it| it.pop());
                    answer(order, done.map_err(StoreError::from));
                }
            }
            Err(fault) => {
                let place = self.place.shown();
                tracing::error!("jobs could not be written to {place}: {fault}");
                let error = StoreError::from(fault);
                for order in batch {
                    answer(order, Err(error.clone()));
                }
            }
            Ok(done) => {
                for (order, done) in batch.into_iter().zip(done) {
                    answer(order, Ok(Some(done)));
                }
            }
        }
    }

    async fn commit_in_time(&mut self, works: &[&Work]) -> Result<Vec<Done>, Fault> {
        if works.is_empty() {
            return Ok(Vec::new());
        }
        // A connection that is given up in the middle of something is not used again.
        let (done, news) = timeout(BATCH, self.commit(works)).await.unwrap_or(Err(Fault::Late))?;
        self.bus.tell(&news);
        self.wakes.tell_of(news.changed);
        if news.has_work {
            self.wakes.tell_of_work();
        }
        Ok(done)
    }

    async fn commit(&mut self, works: &[&Work]) -> Result<(Vec<Done>, News), Fault> {
        let (mut connection, now) = self.begin().await?;
        if let Some(step) = self.step(now) {
            sweep::clock_was_set(&mut connection, step, now).await?;
        }
        let done = batch::run(&mut connection, works, &self.bounds, now).await;
        let done = match done {
            Ok(done) => {
                sqlx::raw_sql("COMMIT").execute(&mut connection).await?;
                self.last = Some((now, Instant::now()));
                Ok(done)
            }
            Err(fault) => {
                sqlx::raw_sql("ROLLBACK").execute(&mut connection).await?;
                Err(fault)
            }
        };
        self.connection = Some(connection);
        done
    }

    /// By how much the server's clock was set since the transaction before, in milliseconds.
    fn step(&self, now: Timestamp) -> Option<i64> {
        let (last, since) = self.last.filter(|_| self.clock.fixed().is_none())?;
        let step = now.0.saturating_sub(last.after(since.elapsed()).0);
        (step.abs() > DRIFT_MAX_MS).then_some(step)
    }

    /// A transaction that no other is beside, and its time. Nothing was done yet, so a connection
    /// that has ended meanwhile is made again.
    async fn begin(&mut self) -> Result<(PgConnection, Timestamp), Fault> {
        if let Some(mut connection) = self.connection.take()
            && let Ok(now) = self.begin_on(&mut connection).await
        {
            return Ok((connection, now));
        }
        let mut connection = self.place.connect().await?;
        self.grant_grace(&mut connection).await?;
        let now = self.begin_on(&mut connection).await?;
        Ok((connection, now))
    }

    async fn begin_on(&self, connection: &mut PgConnection) -> Result<Timestamp, Fault> {
        // The clock is read when the lock is there.
        let lock = concat!(
            "BEGIN; SELECT CASE WHEN pg_advisory_xact_lock(1181511540, 1) IS NOT NULL THEN ",
            clock!(),
            " END"
        );
        let now: i64 = sqlx::raw_sql(lock).fetch_one(connection).await?.try_get(0)?;
        Ok(self.clock.fixed().unwrap_or(Timestamp(now)))
    }

    /// Nobody may have been able to extend a lease while the database was not there.
    async fn grant_grace(&self, connection: &mut PgConnection) -> Result<(), Fault> {
        let now = self.begin_on(connection).await?;
        sweep::grant_grace(connection, now).await?;
        sqlx::raw_sql("COMMIT").execute(connection).await?;
        Ok(())
    }
}

/// Answers who may have stopped waiting.
fn answer(order: Order, done: Result<Option<Done>, StoreError>) {
    let done = done.and_then(|it| it.ok_or_else(gone));
    drop(order.tell.send(done));
}
