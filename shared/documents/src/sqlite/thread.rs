//! The thread that the file is read and written on. Whatever comes while a commit goes to the disk is
//! one transaction afterwards, and nobody is answered before that is durable.

use std::fs::File;

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use super::Fault;
use crate::StoreError;

/// Work that may wait.
const WAITING_MAX: usize = 1024;
/// Work in one transaction at most.
const BATCH_MAX: usize = 128;
/// Pages that are given back in one go.
const VACUUMED_MAX: u32 = 1000;

/// Does its work with a connection, and says whether that went well, and later what came of it.
type Work = Box<dyn FnOnce(&Connection) -> (bool, Answer) + Send>;
/// Told once it is known whether the work is durable.
type Answer = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

enum Order {
    Work(Work),
    /// Gives back room that is not used.
    Tidy,
}

/// A thread with a connection. It ends when this is dropped and its work is done.
#[derive(Debug)]
pub(super) struct Thread {
    orders: mpsc::Sender<Order>,
}

impl Thread {
    /// Starts it. It holds `lock` until its last word is written.
    pub(super) fn start(connection: Connection, lock: File) -> Result<Self, StoreError> {
        let (orders, mut ordered) = mpsc::channel(WAITING_MAX);
        let body = move || {
            let mut connection = connection;
            while let Some(first) = ordered.blocking_recv() {
                work(&mut connection, first, &mut ordered);
            }
            empty_log(&connection);
            drop((connection, lock));
        };
        let started = std::thread::Builder::new().name("rooms-writer".to_owned()).spawn(body);
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
            let done = work(connection);
            let is_done = done.is_ok();
            let answer: Answer = Box::new(move |committed| {
                let answer = committed.and_then(|()| done.map_err(StoreError::from));
                drop(tell.send(answer));
            });
            (is_done, answer)
        });
        self.orders.send(Order::Work(work)).await.map_err(|_ended| gone())?;
        told.await.map_err(|_ended| gone())?
    }

    /// Gives back room that is not used, some time.
    pub(super) fn tidy(&self) {
        // A full queue is a sign that there is no time for it.
        drop(self.orders.try_send(Order::Tidy));
    }
}

/// Does everything that waits in one transaction, and answers everybody when that is durable.
fn work(connection: &mut Connection, first: Order, orders: &mut mpsc::Receiver<Order>) {
    let mut answers = Vec::new();
    let mut is_to_tidy = false;
    let committed = (|| {
        let batch = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut next = Some(first);
        while let Some(order) = next {
            match order {
                Order::Work(work) => {
                    batch.prepare_cached("SAVEPOINT work")?.execute([])?;
                    let (is_done, answer) = work(&batch);
                    answers.push(answer);
                    // Nothing half done stays, and what others asked for does.
                    if !is_done {
                        batch.prepare_cached("ROLLBACK TO work")?.execute([])?;
                    }
                    batch.prepare_cached("RELEASE work")?.execute([])?;
                }
                Order::Tidy => is_to_tidy = true,
            }
            next = if answers.len() < BATCH_MAX { orders.try_recv().ok() } else { None };
        }
        batch.commit()
    })();
    let committed = committed.map_err(|it| StoreError::from(Fault::from(it)));
    if let Err(error) = &committed {
        tracing::error!("rooms could not be written: {error}");
    }
    for answer in answers {
        answer(committed.clone());
    }
    if is_to_tidy {
        if let Err(error) = vacuum(connection) {
            tracing::warn!("room of the rooms' store cannot be given back: {error}");
        }
        empty_log(connection);
    }
}

/// Gives back pages that are not used: one with each step of the statement.
fn vacuum(connection: &Connection) -> rusqlite::Result<()> {
    let mut vacuum = connection.prepare(&format!("PRAGMA incremental_vacuum({VACUUMED_MAX})"))?;
    let mut pages = vacuum.query([])?;
    while pages.next()?.is_some() {}
    Ok(())
}

/// Writes changes from the log to where they belong, and leaves it empty.
fn empty_log(connection: &Connection) {
    let done = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    if let Err(error) = done {
        tracing::warn!("the log of the rooms' store cannot be written back: {error}");
    }
}

fn gone() -> StoreError {
    StoreError::Unavailable("its thread has ended".to_owned())
}
