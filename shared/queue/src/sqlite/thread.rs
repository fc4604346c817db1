//! The threads that the file is read and written on. One writes: whatever comes while a commit goes
//! to the disk is one transaction afterwards, and nobody is answered before that is durable.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use super::reserve::Reserve;
use super::{BUSY, Fault};
use crate::StoreError;

/// Work that may wait for a thread.
const WAITING_MAX: usize = 4096;
/// Work in one transaction at most.
const BATCH_MAX: usize = 256;
/// Pages that are given back in one go.
const VACUUMED_MAX: u64 = 1000;
/// Free pages that stay for what comes next.
const FREE_KEPT: u64 = 64;

/// Does its work with a connection, and says whether that went well, and later what came of it.
type Work = Box<dyn FnOnce(&Connection) -> (Result<(), StoreError>, Answer) + Send>;
/// Told once it is known whether the work is durable.
type Answer = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

enum Order {
    Work(Work),
    /// Gives back some of the room that is not used, and tells whether there is more.
    Tidy(oneshot::Sender<bool>),
}

/// A thread with a connection of its own. It ends when this is dropped and its work is done.
#[derive(Debug)]
pub(super) struct Thread {
    orders: mpsc::Sender<Order>,
}

impl Thread {
    /// Starts the one that writes. It holds `lock` until its last word is written.
    pub(super) fn writer(
        connection: Connection,
        lock: File,
        reserve: Arc<Reserve>,
    ) -> Result<Self, StoreError> {
        Self::start("jobs-writer", move |mut orders| {
            let mut connection = connection;
            while let Some(first) = orders.blocking_recv() {
                if !write(&mut connection, first, &mut orders) {
                    reserve.let_go();
                }
            }
            empty_log(&connection);
            drop((connection, lock));
        })
    }

    /// Starts one that reads.
    pub(super) fn reader(path: &Path) -> Result<Self, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(Fault::from)?;
        connection.busy_timeout(BUSY).map_err(Fault::from)?;
        Self::start("jobs-reader", move |mut orders| {
            while let Some(order) = orders.blocking_recv() {
                if let Order::Work(work) = order {
                    let (_, answer) = work(&connection);
                    answer(Ok(()));
                }
            }
        })
    }

    fn start(
        name: &str,
        body: impl FnOnce(mpsc::Receiver<Order>) + Send + 'static,
    ) -> Result<Self, StoreError> {
        let (orders, ordered) = mpsc::channel(WAITING_MAX);
        let thread = std::thread::Builder::new().name(name.to_owned());
        let started = thread.spawn(move || body(ordered));
        started.map_err(|it| StoreError::Unavailable(format!("no thread can be started: {it}")))?;
        Ok(Self { orders })
    }

    /// Has the thread do `work`, and waits until what it changed is durable. The work happens
    /// whether anybody still waits or not.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (tell, told) = oneshot::channel();
        let work: Work = Box::new(move |connection| {
            let done = work(connection).map_err(StoreError::from);
            let is_done = done.as_ref().map(drop).map_err(StoreError::clone);
            let answer: Answer = Box::new(move |committed| {
                drop(tell.send(committed.and(done)));
            });
            (is_done, answer)
        });
        self.orders.send(Order::Work(work)).await.map_err(|_ended| gone())?;
        told.await.map_err(|_ended| gone())?
    }

    /// Gives back some of the room that is not used, if the thread writes. Whether there is more.
    pub(super) async fn tidy(&self) -> bool {
        let (tell, told) = oneshot::channel();
        self.orders.send(Order::Tidy(tell)).await.is_ok() && told.await.unwrap_or(false)
    }
}

/// Does everything that waits in one transaction, and answers everybody when that is durable. False
/// if there was no room for it.
fn write(connection: &mut Connection, first: Order, orders: &mut mpsc::Receiver<Order>) -> bool {
    let mut answers = Vec::new();
    let mut tidied = None;
    let mut has_room = true;
    let committed = (|| {
        let batch = connection.transaction_with_behavior(TransactionBehavior::Immediate);
        let batch = batch.map_err(Fault::from)?;
        let mut next = Some(first);
        while let Some(order) = next {
            match order {
                Order::Work(work) => {
                    run(&batch, "SAVEPOINT work")?;
                    let (is_done, answer) = work(&batch);
                    answers.push(answer);
                    has_room &= !matches!(is_done, Err(StoreError::NoRoom));
                    // Nothing half done stays, and what others asked for does; unless it was such a
                    // fault that the whole transaction is undone already.
                    if is_done.is_err() && batch.is_autocommit() {
                        return is_done;
                    }
                    if is_done.is_err() {
                        run(&batch, "ROLLBACK TO work")?;
                    }
                    run(&batch, "RELEASE work")?;
                }
                Order::Tidy(tell) => tidied = Some(tell),
            }
            next = if answers.len() < BATCH_MAX { orders.try_recv().ok() } else { None };
        }
        Ok(batch.commit().map_err(Fault::from)?)
    })();
    has_room &= !matches!(committed, Err(StoreError::NoRoom));
    if let Err(error) = &committed {
        tracing::error!("jobs could not be written: {error}");
    }
    for answer in answers {
        answer(committed.clone());
    }
    if let Some(tell) = tidied {
        let has_more = vacuum(connection).unwrap_or_else(|error| {
            tracing::warn!("room of the store cannot be given back: {error}");
            false
        });
        empty_log(connection);
        tell.send(has_more).unwrap_or_default();
    }
    has_room
}

fn run(connection: &Connection, sql: &str) -> Result<(), Fault> {
    connection.prepare_cached(sql)?.execute([])?;
    Ok(())
}

/// Gives back pages that are not used: one with each step of the statement. Whether there are more.
fn vacuum(connection: &Connection) -> rusqlite::Result<bool> {
    let free: u64 = connection.pragma_query_value(None, "freelist_count", |row| row.get(0))?;
    let spare = free.saturating_sub(FREE_KEPT);
    if spare == 0 {
        return Ok(false);
    }
    let count = spare.min(VACUUMED_MAX);
    let mut vacuum = connection.prepare(&format!("PRAGMA incremental_vacuum({count})"))?;
    let mut pages = vacuum.query([])?;
    while pages.next()?.is_some() {}
    Ok(spare > count)
}

/// Writes changes from the log to where they belong, and leaves it empty. While somebody reads what was
/// before them, that is done as far as possible: nobody who writes waits for readers.
fn empty_log(connection: &Connection) {
    let empty = || {
        connection.busy_timeout(Duration::ZERO)?;
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        connection.busy_timeout(BUSY)
    };
    if let Err(error) = empty() {
        tracing::warn!("the store's log cannot be written back: {error}");
    }
}

fn gone() -> StoreError {
    StoreError::Unavailable("its thread has ended".to_owned())
}
