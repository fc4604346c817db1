//! What time does to jobs is done twice a second.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use queue::{JobStore, StoreError};

/// How often the store is swept: a grant that nobody accepts is offered again so soon after its end.
const SWEEP: Duration = Duration::from_millis(500);
/// Jobs that one step changes: others must not wait for long.
const STEP: usize = 500;
/// Steps in one go.
const STEPS_MAX: usize = 100;
/// Steps in which old jobs are deleted, until the store is swept again.
const PURGE_STEPS_MAX: usize = 10;
/// How long others have the store to themselves between two goes, while there is more to delete.
const BREATH: Duration = Duration::from_millis(20);

/// How a store was when it was last swept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Condition {
    /// It takes jobs.
    Well,
    /// It has room only for what is there.
    Full,
    /// It does not answer.
    Away,
}

/// The same, for whoever asks.
#[derive(Debug, Clone, Default)]
pub(crate) struct Noted(Arc<AtomicU8>);

impl Noted {
    pub(crate) fn condition(&self) -> Condition {
        match self.0.load(Ordering::Acquire) {
            0 => Condition::Well,
            1 => Condition::Full,
            _ => Condition::Away,
        }
    }

    /// Notes it, and says whether it is another one than before.
    fn note(&self, condition: Condition) -> bool {
        let number = match condition {
            Condition::Well => 0,
            Condition::Full => 1,
            Condition::Away => 2,
        };
        self.0.swap(number, Ordering::AcqRel) != number
    }
}

/// Keeps a store clean until it is dropped, and notes how it is. What has been kept for long enough is
/// deleted each `cleanup`, and at once for as long as there is more than one go deletes: jobs may end
/// faster than that.
pub(crate) async fn keep(store: Arc<dyn JobStore>, cleanup: Duration, noted: Noted) {
    let mut due = Instant::now();
    loop {
        let swept = match sweep(&*store).await {
            Ok(()) => store.has_room().await,
            Err(error) => Err(error),
        };
        let condition = match &swept {
            Ok(true) => Condition::Well,
            Ok(false) | Err(StoreError::NoRoom) => Condition::Full,
            Err(_) => Condition::Away,
        };
        if noted.note(condition) && condition == Condition::Full {
            tracing::error!("no jobs are taken: {}", StoreError::NoRoom);
        }
        if let Err(error) = swept {
            tracing::error!("the jobs cannot be swept: {error}");
        }
        if Instant::now() >= due {
            let has_more = purge(&*store).await.unwrap_or_else(|error| {
                tracing::error!("old jobs cannot be deleted: {error}");
                false
            });
            let (rest, next) = rest(has_more, cleanup);
            due = Instant::now() + next;
            tokio::time::sleep(rest).await;
            continue;
        }
        tokio::time::sleep(SWEEP).await;
    }
}

async fn sweep(store: &dyn JobStore) -> Result<(), StoreError> {
    for _ in 0..STEPS_MAX {
        let swept = store.sweep(STEP).await?;
        if swept.leases > 0 {
            tracing::warn!(leases = swept.leases, "leases ended whose workers are gone");
        }
        if [swept.leases, swept.promoted, swept.expired].iter().all(|it| *it < STEP) {
            break;
        }
    }
    Ok(())
}

/// After a go of deleting: how long until the store is swept again, and until more is deleted.
fn rest(has_more: bool, cleanup: Duration) -> (Duration, Duration) {
    if has_more { (BREATH, Duration::ZERO) } else { (SWEEP, cleanup) }
}

/// Deletes what was kept for long enough; says whether there may be more.
async fn purge(store: &dyn JobStore) -> Result<bool, StoreError> {
    for _ in 0..PURGE_STEPS_MAX {
        if store.purge(STEP).await? < STEP {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_go_does_not_delete_is_deleted_at_once() {
        let cleanup = Duration::from_mins(1);
        assert_eq!(rest(false, cleanup), (SWEEP, cleanup));
        let (pause, next) = rest(true, cleanup);
        assert!(pause < SWEEP && next <= pause, "{pause:?} {next:?}");
    }
}
