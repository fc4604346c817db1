//! Runs one after the other: through the fleet, without us, and whatever else a program can be
//! asked for, in turns.
//!
//! Each kind has one sample in each turn, and every other turn goes backwards, so that whatever
//! else the machine does slows all kinds alike. Between two samples the fleet comes to rest: what
//! it makes ready for later costs processor time, which is told beside, and is no latency.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::bare::Site;
use super::client::Sample;
use super::processes;
use super::session::{Session, Subject};

/// What came of a program's turns.
#[derive(Debug, Clone, Default)]
pub(crate) struct Latencies {
    /// Through the fleet, each source new to it.
    pub(crate) fresh: Vec<Sample>,
    /// The same by a fleet that keeps nothing warm.
    pub(crate) cold: Vec<Sample>,
    /// Through the fleet, a source that it compiled before.
    pub(crate) cached: Vec<Sample>,
    /// Without us, in milliseconds.
    pub(crate) bare: Vec<f64>,
    /// Only looked at, in milliseconds.
    pub(crate) validated: Vec<f64>,
    /// What could not be measured, and why.
    pub(crate) notes: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Fresh,
    Bare,
    Cached,
    Cold,
    Validated,
}

/// Takes turns for about `time`.
pub(crate) async fn measure(
    session: &Session<'_>,
    subject: &Subject<'_>,
    site: Option<&Site<'_>>,
    time: Duration,
) -> anyhow::Result<Latencies> {
    let repeated = subject.program.request(session.unique());
    let turns = Turns { session, subject, site, repeated };
    let (mut latencies, mut kinds) = turns.warm_up().await?;
    let began = Instant::now();
    for turn in 0.. {
        if session.pace.is_enough(turn, began.elapsed(), time) {
            break;
        }
        for kind in order(&kinds, turn) {
            processes::rest(&subject.roots()).await?;
            if let Err(error) = turns.sample(kind, &mut latencies).await {
                turns.drop_kind(kind, &error, &mut kinds, &mut latencies);
            }
        }
    }
    Ok(latencies)
}

#[derive(Debug)]
struct Turns<'a> {
    session: &'a Session<'a>,
    subject: &'a Subject<'a>,
    site: Option<&'a Site<'a>>,
    repeated: Value,
}

impl Turns<'_> {
    /// One sample of each kind that counts nothing, and which kinds there are. The program itself
    /// has run before.
    async fn warm_up(&self) -> anyhow::Result<(Latencies, Vec<Kind>)> {
        let mut latencies = Latencies::default();
        let mut kinds = vec![Kind::Fresh];
        kinds.extend(self.site.map(|_| Kind::Bare));
        kinds.extend(self.subject.program.can_differ().then_some(Kind::Cached));
        kinds.extend(self.subject.cold.map(|_| Kind::Cold));
        kinds.push(Kind::Validated);
        processes::first_rest(&self.subject.roots()).await?;
        for kind in kinds.clone().into_iter().filter(|it| *it != Kind::Fresh) {
            if let Err(error) = self.sample(kind, &mut latencies).await {
                self.drop_kind(kind, &error, &mut kinds, &mut latencies);
            }
        }
        let notes = std::mem::take(&mut latencies.notes);
        Ok((Latencies { notes, ..Latencies::default() }, kinds))
    }

    async fn sample(&self, kind: Kind, latencies: &mut Latencies) -> anyhow::Result<()> {
        let Self { session, subject, .. } = self;
        let number = session.unique();
        let request = subject.program.request(number);
        match kind {
            Kind::Fresh => {
                latencies.fresh.push(session.warm.run(subject.program, &request).await?);
            }
            Kind::Cached => {
                latencies.cached.push(session.warm.run(subject.program, &self.repeated).await?);
            }
            Kind::Cold => {
                if let Some(cold) = &session.cold {
                    latencies.cold.push(cold.run(subject.program, &request).await?);
                }
            }
            Kind::Bare => {
                if let Some(site) = self.site {
                    latencies.bare.push(session.workshop.run(site, number).await?);
                }
            }
            Kind::Validated => {
                let request = subject.program.validation(number);
                latencies.validated.push(session.warm.validate(&request).await?);
            }
        }
        Ok(())
    }

    /// What fails once is measured no more, and said.
    fn drop_kind(
        &self,
        kind: Kind,
        error: &anyhow::Error,
        kinds: &mut Vec<Kind>,
        latencies: &mut Latencies,
    ) {
        kinds.retain(|it| *it != kind);
        latencies.notes.push(format!(
            "{}: {}: {error:#}",
            self.subject.program.title(),
            kind.name()
        ));
    }
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Fresh => "run",
            Self::Bare => "bare",
            Self::Cached => "cached",
            Self::Cold => "cold",
            Self::Validated => "validate",
        }
    }
}

/// The kinds of a turn; every other one goes backwards.
fn order(kinds: &[Kind], turn: usize) -> Vec<Kind> {
    let mut kinds = kinds.to_vec();
    if turn % 2 == 1 {
        kinds.reverse();
    }
    kinds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_other_turn_goes_backwards() {
        let kinds = [Kind::Fresh, Kind::Bare, Kind::Cached];
        assert_eq!(order(&kinds, 0), kinds);
        assert_eq!(order(&kinds, 1), [Kind::Cached, Kind::Bare, Kind::Fresh]);
        assert_eq!(order(&kinds, 2), kinds);
    }
}
