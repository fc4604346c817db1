//! What time does to jobs is done once a second.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use queue::{JobStore, StoreError};

/// How often the store is swept.
const SWEEP: Duration = Duration::from_secs(1);
/// Jobs that one step changes: others must not wait for long.
const STEP: usize = 500;
/// Steps in one go.
const STEPS_MAX: usize = 100;

/// Keeps a store clean until it is dropped, and notes whether it answers. What has been kept for long
/// enough is deleted each `cleanup`.
pub(crate) async fn keep(store: Arc<dyn JobStore>, cleanup: Duration, is_well: Arc<AtomicBool>) {
    let mut due = Instant::now();
    loop {
        let swept = sweep(&*store).await;
        is_well.store(swept.is_ok(), Ordering::Release);
        if let Err(error) = swept {
            tracing::error!("the jobs cannot be swept: {error}");
        }
        if Instant::now() >= due {
            due = Instant::now() + cleanup;
            if let Err(error) = purge(&*store).await {
                tracing::error!("old jobs cannot be deleted: {error}");
            }
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

async fn purge(store: &dyn JobStore) -> Result<(), StoreError> {
    for _ in 0..STEPS_MAX {
        if store.purge(STEP).await? < STEP {
            break;
        }
    }
    Ok(())
}
