//! What the self-tests so far say of this executor: whether it may take runs, and why not.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use protocol::SelfTestReport;

use super::{Round, Verdict};

/// How long self-tests may fail to come to an end before that deserves a look. A busy machine
/// makes them wait.
const UNPROVEN_MAX: Duration = Duration::from_mins(10);

/// What the self-tests so far say.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The last self-test that came to an end.
    report: Option<SelfTestReport>,
    /// The promise that was broken; only a later test that passes takes it back.
    broken: Option<String>,
    /// Since when, and why, no self-test came to an end.
    unproven: Option<(Instant, String)>,
}

impl Standing {
    /// Notes what a round showed.
    pub(super) fn note(&self, round: Round, now: Instant) {
        let Round { report, verdict } = round;
        let mut state = self.lock();
        match verdict {
            Verdict::Held => {
                if state.broken.take().is_some() {
                    tracing::warn!("a self-test passed again; runs are taken");
                }
                state.unproven = None;
                state.report = Some(report);
            }
            Verdict::Broken(what) => {
                tracing::error!(%what, "a self-test failed; no runs are taken until one passes");
                state.broken = Some(what);
                state.unproven = None;
                state.report = Some(report);
            }
            Verdict::Unproven(why) => {
                tracing::warn!(%why, "a self-test did not come to an end");
                let since = state.unproven.take().map_or(now, |(since, _)| since);
                state.unproven = Some((since, why));
            }
        }
    }

    /// Why no runs may be taken, if so.
    pub(crate) fn broken(&self) -> Option<String> {
        self.lock().broken.as_ref().map(|what| format!("the self-test failed: {what}"))
    }

    /// What deserves a look, if anything.
    pub(crate) fn complaint(&self, now: Instant) -> Option<String> {
        let state = self.lock();
        let (since, why) = state.unproven.as_ref()?;
        let waited = now.saturating_duration_since(*since);
        (waited >= UNPROVEN_MAX).then(|| {
            format!("no self-test came to an end for {} min: {why}", waited.as_secs() / 60)
        })
    }

    /// The last self-test that came to an end.
    pub(crate) fn report(&self) -> Option<SelfTestReport> {
        self.lock().report.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(verdict: Verdict) -> Round {
        let report = SelfTestReport {
            passed: verdict == Verdict::Held,
            time: String::new(),
            duration_ms: 0.0,
            results: Vec::new(),
        };
        Round { report, verdict }
    }

    fn broken() -> Round {
        round(Verdict::Broken("it got out".to_owned()))
    }

    fn unproven() -> Round {
        round(Verdict::Unproven("no slot".to_owned()))
    }

    #[test]
    fn a_broken_promise_stands_until_a_later_test_passes() {
        let (standing, now) = (Standing::default(), Instant::now());
        assert_eq!(standing.broken(), None);
        standing.note(broken(), now);
        assert_eq!(standing.broken().unwrap(), "the self-test failed: it got out");
        assert!(!standing.report().unwrap().passed);
        standing.note(unproven(), now);
        assert!(standing.broken().is_some());
        standing.note(round(Verdict::Held), now);
        assert_eq!(standing.broken(), None);
        assert!(standing.report().unwrap().passed);
    }

    #[test]
    fn a_test_that_cannot_be_made_stops_nothing_and_is_told_in_the_end() {
        let (standing, now) = (Standing::default(), Instant::now());
        standing.note(round(Verdict::Held), now);
        standing.note(unproven(), now);
        standing.note(unproven(), now + UNPROVEN_MAX / 2);
        assert_eq!(standing.complaint(now + UNPROVEN_MAX / 2), None);
        let complaint = standing.complaint(now + UNPROVEN_MAX).unwrap();
        assert_eq!(complaint, "no self-test came to an end for 10 min: no slot");
        assert_eq!(standing.broken(), None);
        assert!(standing.report().unwrap().passed);
        standing.note(round(Verdict::Held), now);
        assert_eq!(standing.complaint(now + 2 * UNPROVEN_MAX), None);
    }
}
