//! What workers of the queues of others are given: a poll is a claim by a worker's key. Only programs
//! that can be told whole go to them; others are passed over, and left to the fleet.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use queue::{Claim, DEFAULT_QUEUE, Extended, Grant, Lane, Lease};
use serde::Deserialize;

use super::tasks::{self, ATTEMPT_MAX};
use crate::error::ApiError;
use crate::handlers::worker::WAIT_MAX;
use crate::jobs::{GRANT, Jobs, LOOK};
use crate::shared::Shared;

/// Jobs that one look passes over at most.
const PASSED_MAX: usize = 100;
/// Jobs that are claimed at a time behind those.
const FURTHER: usize = 10;
/// How long nobody looks again where there was nothing but such jobs; twice as long each time, up to
/// the second.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(16));
/// Languages that are remembered at most.
const LANGUAGES_MAX: usize = 1000;

/// A worker's wish for tasks.
#[derive(Debug)]
pub(super) struct Wish {
    /// What the store knows it as.
    pub(super) worker: String,
    /// What it runs.
    pub(super) language: String,
    /// How many tasks it takes.
    pub(super) most: usize,
    /// How long there may be none.
    pub(super) wait: Duration,
}

impl Wish {
    /// Where its tasks wait.
    fn lane(&self) -> Lane {
        Lane::new(&self.language, DEFAULT_QUEUE)
    }

    fn claim(&self, shared: &Shared, most: usize) -> Claim {
        Claim {
            worker: self.worker.clone(),
            poll: None,
            lanes: vec![self.lane()],
            most,
            lease: GRANT,
            running_max: shared.settings.jobs_running_max,
            running_max_of: shared.running_max_of(),
        }
    }

    /// Refuses a time to wait that is none.
    pub(super) fn wait(seconds: Option<f64>) -> Result<Duration, ApiError> {
        let wait = Duration::try_from_secs_f64(seconds.unwrap_or_default()).ok();
        wait.filter(|it| *it <= WAIT_MAX).ok_or_else(|| {
            ApiError::invalid("/wait", format!("must be from 0 to {} seconds", WAIT_MAX.as_secs()))
        })
    }
}

/// A task that a worker has now.
#[derive(Debug)]
pub(super) struct Granted {
    pub(super) lease: Lease,
    /// Whose it is.
    pub(super) caller: String,
    pub(super) language: String,
    pub(super) attempt: u32,
    /// When its lease ends at the latest.
    pub(super) until: Instant,
    pub(super) plain: Plain,
}

impl Granted {
    /// None if it is no program that can be told whole.
    fn of(grant: Grant, named: &[&str]) -> Option<Self> {
        let plain = Plain::parse(&grant.body, named)?;
        let Grant { lease, caller, lane, attempt, .. } = grant;
        let (language, until) = (lane.language().to_owned(), Instant::now() + GRANT);
        Some(Self { lease, caller, language, attempt, until, plain })
    }
}

/// A program that can be told in these queues whole: a text, and nothing else that it needs.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Plain {
    #[serde(rename = "language")]
    _language: String,
    pub(super) code: String,
    pub(super) timeout: Option<f64>,
    /// What its task brought along; nothing else is ever in it.
    #[serde(default)]
    pub(super) env: BTreeMap<String, String>,
}

impl Plain {
    /// `named` are the variables that the queues themselves set.
    fn parse(body: &[u8], named: &[&str]) -> Option<Self> {
        let plain: Self = serde_json::from_slice(body).ok()?;
        plain.env.keys().all(|it| named.contains(&it.as_str())).then_some(plain)
    }
}

/// Where a look found nothing but jobs that are for others, by the language: each look hands them
/// back, which is written down in the store.
#[derive(Debug, Default)]
pub(super) struct PassedOver(Mutex<HashMap<String, Pause>>);

#[derive(Debug, Clone, Copy)]
struct Pause {
    until: Instant,
    length: Duration,
}

impl PassedOver {
    /// Whether it is too early to look again.
    fn is_paused(&self, language: &str, now: Instant) -> bool {
        self.lock().get(language).is_some_and(|it| it.until > now)
    }

    /// Notes that there was nothing else.
    fn note(&self, language: &str, now: Instant) {
        let (shortest, longest) = PAUSES;
        let mut pauses = self.lock();
        if pauses.len() >= LANGUAGES_MAX {
            pauses.retain(|_, it| it.until + longest > now);
        }
        let before = pauses.get(language).filter(|it| it.until + longest > now);
        let length = before.map_or(shortest, |it| longest.min(it.length * 2));
        if pauses.len() < LANGUAGES_MAX || pauses.contains_key(language) {
            pauses.insert(language.to_owned(), Pause { until: now + length, length });
        }
    }

    /// There may be something else by now.
    pub(super) fn clear(&self, language: &str) {
        self.lock().remove(language);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Pause>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a queue lets its workers have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms<'a> {
    pub(super) passed_over: &'a PassedOver,
    /// The variables that may be set in a task.
    pub(super) named: &'a [&'a str],
}

/// Claims tasks for a worker that does not beat: it has each for as long as an attempt may take.
pub(super) async fn claim(
    shared: &Shared,
    wish: &Wish,
    terms: Terms<'_>,
) -> Result<Vec<Granted>, ApiError> {
    let jobs = shared.jobs()?;
    let until = Instant::now() + wish.wait;
    let waiter = jobs.store.wakes().waiter(vec![wish.lane()]);
    loop {
        let (granted, is_passed_over) = claim_now(shared, jobs, wish, terms).await?;
        let left = until.saturating_duration_since(Instant::now());
        if !granted.is_empty() || left.is_zero() || shared.drain.is_draining() {
            return Ok(granted);
        }
        let look = tokio::time::sleep(left.min(LOOK));
        tokio::select! {
            // What it cannot take waits again, and would wake it at once.
            () = waiter.work(), if !is_passed_over => {}
            () = shared.drain.begun() => {}
            () = look => {}
        }
    }
}

/// What there is now, and whether some jobs were passed over. A worker that does not beat has each
/// from now on.
async fn claim_now(
    shared: &Shared,
    jobs: &Jobs,
    wish: &Wish,
    terms: Terms<'_>,
) -> Result<(Vec<Granted>, bool), ApiError> {
    let (offered, is_passed_over) = offer(shared, jobs, wish, terms).await?;
    let leases: Vec<Lease> = offered.iter().map(|it| it.lease).collect();
    if leases.is_empty() {
        return Ok((Vec::new(), is_passed_over));
    }
    let accepted = accept(jobs, leases).await?;
    let granted = offered
        .into_iter()
        .zip(accepted)
        .filter_map(|(task, time)| Some(Granted { until: Instant::now() + time?, ..task }));
    Ok((granted.collect(), is_passed_over))
}

/// Has a worker that does not beat have tasks from now on: for how long each, if it may start it. What
/// is not wanted any more ends here.
pub(super) async fn accept(
    jobs: &Jobs,
    leases: Vec<Lease>,
) -> Result<Vec<Option<Duration>>, ApiError> {
    let extended = jobs.store.extend(leases.clone(), ATTEMPT_MAX).await?;
    let mut times = Vec::with_capacity(leases.len());
    for (lease, extended) in leases.into_iter().zip(extended) {
        times.push(match extended {
            Extended::Held { cancel: false, time } => Some(time),
            Extended::Held { cancel: true, .. } => {
                tasks::fail(jobs, lease, "cancelled").await?;
                None
            }
            Extended::Lost => None,
        });
    }
    Ok(times)
}

/// Tasks for a worker that has yet to accept them, and whether there was nothing but jobs that cannot
/// be told here whole. Those are held while it is looked behind them, and then left to the fleet.
pub(super) async fn offer(
    shared: &Shared,
    jobs: &Jobs,
    wish: &Wish,
    Terms { passed_over, named }: Terms<'_>,
) -> Result<(Vec<Granted>, bool), ApiError> {
    if shared.drain.is_draining() {
        return Ok((Vec::new(), false));
    }
    if passed_over.is_paused(&wish.language, Instant::now()) {
        return Ok((Vec::new(), true));
    }
    let (mut offered, mut others): (Vec<Granted>, Vec<Lease>) = Default::default();
    let mut most = wish.most;
    let looked = loop {
        let grants = match jobs.store.claim(wish.claim(shared, most)).await {
            Ok(grants) => grants,
            Err(error) => break Err(error),
        };
        let is_all = grants.len() < most;
        for grant in grants {
            let lease = grant.lease;
            match Granted::of(grant, named).filter(|_| offered.len() < wish.most) {
                Some(task) => offered.push(task),
                None => others.push(lease),
            }
        }
        if is_all || offered.len() >= wish.most || others.len() >= PASSED_MAX {
            break Ok(());
        }
        most = FURTHER.max(wish.most - offered.len());
    };
    let is_passed_over = !others.is_empty() && offered.is_empty();
    if is_passed_over {
        passed_over.note(&wish.language, Instant::now());
    } else if !offered.is_empty() {
        passed_over.clear(&wish.language);
    }
    if !others.is_empty() {
        jobs.store.release(others).await?;
    }
    // What was found before the store was lost goes to others when its leases end.
    looked?;
    Ok((offered, is_passed_over))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn only_what_can_be_told_whole_goes_to_a_foreign_worker() {
        let is_plain = |body: Value| Plain::parse(body.to_string().as_bytes(), &["A"]).is_some();
        assert!(is_plain(json!({"language": "alpha", "code": "1", "timeout": 5})));
        assert!(is_plain(json!({"language": "alpha", "code": "1", "env": {"A": "1"}})));
        assert!(!is_plain(json!({"language": "alpha", "code": "1", "env": {"B": "1"}})));
        assert!(!is_plain(json!({"language": "alpha", "code": "1", "inputData": "1"})));
        assert!(!is_plain(json!({"language": "alpha", "files": []})));
    }

    #[test]
    fn where_there_is_nothing_for_it_a_worker_looks_ever_less_until_there_may_be() {
        let passed_over = PassedOver::default();
        let mut now = Instant::now();
        for seconds in [1, 2, 4, 8, 16, 16] {
            assert!(!passed_over.is_paused("alpha", now));
            passed_over.note("alpha", now);
            assert!(
                passed_over.is_paused("alpha", now + Duration::from_millis(seconds * 1000 - 1))
            );
            now += Duration::from_secs(seconds);
            assert!(!passed_over.is_paused("beta", now));
        }
        passed_over.note("alpha", now);
        passed_over.clear("alpha");
        assert!(!passed_over.is_paused("alpha", now));
        for number in 0..2 * LANGUAGES_MAX {
            passed_over.note(&number.to_string(), now);
        }
        assert_eq!(passed_over.lock().len(), LANGUAGES_MAX);
    }
}
