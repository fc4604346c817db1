//! Looks at jobs for all who wait for them here. What happens elsewhere is told by a hint, which may be
//! lost: they would wait for ever, or each ask the store by themselves.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use queue::{JobId, JobStore, StoreError};

/// How often jobs are looked at.
const PERIOD: Duration = Duration::from_secs(2);
/// Jobs of one look: others must not wait for long.
const STEP: usize = 500;

/// Wakes whoever waits for a job that has changed since the last look, or is gone, until it is dropped.
pub(crate) async fn keep(store: Arc<dyn JobStore>) {
    let mut known = HashMap::new();
    loop {
        tokio::time::sleep(PERIOD).await;
        let watched = store.wakes().watched();
        match versions(&*store, &watched).await {
            Ok(found) => {
                store.wakes().tell_of(changed(&watched, &known, &found));
                known = found;
            }
            Err(error) => tracing::warn!("jobs that are waited for cannot be looked at: {error}"),
        }
    }
}

/// Those that have another version than at the last look. Of one that was not looked at then nobody
/// knows what was missed.
fn changed<'a>(
    watched: &'a [JobId],
    known: &'a HashMap<JobId, u64>,
    found: &'a HashMap<JobId, u64>,
) -> impl Iterator<Item = JobId> {
    let is_changed = |id: &&JobId| match (known.get(id), found.get(id)) {
        (Some(before), Some(now)) => before != now,
        _ => true,
    };
    watched.iter().filter(is_changed).copied()
}

async fn versions(store: &dyn JobStore, ids: &[JobId]) -> Result<HashMap<JobId, u64>, StoreError> {
    let mut found = HashMap::with_capacity(ids.len());
    for step in ids.chunks(STEP) {
        found.extend(store.versions(step.to_vec()).await?);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_hears_of_what_changed_and_of_nothing_else() {
        let jobs: Vec<JobId> = (1..=4).map(|it| JobId::of_digest([it; 16])).collect();
        let [same, changed_one, gone, new] = jobs[..] else { unreachable!() };
        let known = HashMap::from([(same, 1), (changed_one, 1), (gone, 1)]);
        let found = HashMap::from([(same, 1), (changed_one, 2), (new, 1)]);
        let told: Vec<JobId> = changed(&jobs, &known, &found).collect();
        assert_eq!(told, [changed_one, gone, new]);
    }
}
