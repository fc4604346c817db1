//! What gateways tell each other of workers.

use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::{RedisStore, millis, scripts};
use crate::StoreError;
use crate::board::{Board, FORGET, NOTICES_MAX, Noted, Notice};

/// A worker, what is known of it, for how many milliseconds, and what it is to be told.
type Answer = (String, Vec<u8>, i64, Vec<String>);

impl Board for RedisStore {
    fn note(&self, notices: Vec<Notice>) -> BoxFuture<'_, Result<(), StoreError>> {
        async move {
            let mut call = self.call(&scripts::NOTE_WORKERS);
            call.arg(millis(FORGET)).arg(notices.len());
            for notice in notices {
                call.arg(notice.worker).arg(notice.body);
            }
            self.link.run::<i64>(&call).await.map(drop)
        }
        .boxed()
    }

    fn noted(&self) -> BoxFuture<'_, Result<Vec<Noted>, StoreError>> {
        async move {
            let mut call = self.call(&scripts::NOTED_WORKERS);
            call.arg(millis(FORGET)).arg(NOTICES_MAX);
            let found: Vec<Answer> = self.link.run(&call).await?;
            let read = |(worker, body, age, told): Answer| Noted {
                notice: Notice { worker, body },
                age: Duration::from_millis(u64::try_from(age).unwrap_or_default()),
                order: told.into_iter().next(),
            };
            let mut found: Vec<Noted> = found.into_iter().map(read).collect();
            found.sort_by(|one, other| one.notice.worker.cmp(&other.notice.worker));
            Ok(found)
        }
        .boxed()
    }

    fn order(&self, worker: String, order: String) -> BoxFuture<'_, Result<bool, StoreError>> {
        async move {
            let mut call = self.call(&scripts::ORDER_WORKER);
            call.arg(worker).arg(order);
            self.link.run(&call).await
        }
        .boxed()
    }

    fn forget(&self, worker: String) -> BoxFuture<'_, Result<(), StoreError>> {
        async move {
            let mut call = self.call(&scripts::FORGET_WORKER);
            call.arg(worker);
            self.link.run::<i64>(&call).await.map(drop)
        }
        .boxed()
    }
}
