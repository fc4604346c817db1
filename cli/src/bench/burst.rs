//! Many more runs at once than there is room for: none may be told `timeout` or be refused.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::client::{Outcome, Sample};
use super::processes;
use super::session::{Session, Subject};
use super::statistics::{Summary, share};

/// Requests of a burst for each slot of the executor.
const REQUESTS_PER_SLOT: usize = 10;

/// What came of a language's bursts.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Burst {
    /// The language.
    pub(crate) language: String,
    /// The program that was run.
    pub(crate) program: String,
    /// Requests at once.
    pub(crate) requests: usize,
    /// Runs at the same time that the executor has room for.
    pub(crate) slots: usize,
    /// How many bursts.
    pub(crate) bursts: usize,
    /// From the burst's start to each answer.
    pub(crate) latency: Option<Summary>,
    /// How many of those that ran were served by a warm process.
    pub(crate) warm_share: Option<f64>,
    /// How many were told `timeout`.
    pub(crate) timed_out: usize,
    /// How many were refused for want of room.
    pub(crate) refused: usize,
}

/// Sends bursts for about `time`, each after a rest, and one in any case.
pub(crate) async fn measure(
    session: &Session<'_>,
    subject: &Subject<'_>,
    time: Duration,
) -> anyhow::Result<Burst> {
    let slots = subject.executor.info.slots;
    let (requests, mut bursts, mut outcomes) = (slots * REQUESTS_PER_SLOT, 0, Vec::new());
    let began = Instant::now();
    while bursts == 0 || (bursts < session.pace.bursts && began.elapsed() < time) {
        processes::rest(&subject.roots()).await?;
        let bodies: Vec<_> =
            (0..requests).map(|_| subject.program.request(session.unique())).collect();
        let asked = bodies.iter().map(|it| session.warm.attempt(subject.program, it));
        outcomes.extend(futures::future::try_join_all(asked).await?);
        bursts += 1;
    }
    let mut burst = of(&outcomes);
    burst.language.clone_from(&subject.program.language);
    burst.program.clone_from(&subject.program.name);
    Ok(Burst { requests, slots, bursts, ..burst })
}

fn of(outcomes: &[Outcome]) -> Burst {
    let ran = outcomes.iter().filter_map(|it| match it {
        Outcome::Ran(sample) => Some(*sample),
        Outcome::TimedOut | Outcome::Refused => None,
    });
    let ran: Vec<Sample> = ran.collect();
    let count = |outcome: Outcome| outcomes.iter().filter(|it| **it == outcome).count();
    Burst {
        language: String::new(),
        program: String::new(),
        requests: 0,
        slots: 0,
        bursts: 0,
        latency: Summary::of(&ran.iter().map(|it| it.ms).collect::<Vec<_>>()),
        warm_share: share(&ran, |it| it.is_warm),
        timed_out: count(Outcome::TimedOut),
        refused: count(Outcome::Refused),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_tells_apart_what_came_of_its_requests() {
        let ran = |ms, is_warm| Outcome::Ran(Sample { ms, is_warm, is_cached: false });
        let outcomes = [
            ran(1.0, true),
            ran(2.0, false),
            Outcome::TimedOut,
            ran(3.0, false),
            Outcome::Refused,
            ran(4.0, false),
            Outcome::Refused,
        ];
        let burst = of(&outcomes);
        assert_eq!((burst.timed_out, burst.refused, burst.warm_share), (1, 2, Some(0.25)));
        assert_eq!(burst.latency.map(|it| (it.samples, it.p50_ms, it.p99_ms)), Some((4, 2.0, 4.0)));
        assert_eq!(of(&[Outcome::Refused]).latency, None);
    }
}
