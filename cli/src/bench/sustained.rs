//! Runs side by side, one client a processor, for a while: how many a second, and what each
//! costs in processor time.
//!
//! The cost is that of the executor's whole process tree from rest to rest, so what was made
//! ready before and is made ready again afterwards is in it.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::bare::Site;
use super::processes;
use super::session::{Session, Subject};
use super::statistics::{rate, share};

/// Sustained runs of one side.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Sustained {
    /// How many were made.
    pub(crate) runs: usize,
    /// How many a second.
    pub(crate) runs_per_second: f64,
    /// Processor time of one of them, in milliseconds, of the system included.
    pub(crate) cpu_ms: f64,
    /// How many of them were served by a warm process; none of what runs without us.
    pub(crate) warm_share: Option<f64>,
}

/// Runs in a time.
#[derive(Debug, Default, PartialEq)]
struct Tally {
    runs: usize,
    /// Runs of ours, and whether each was warm.
    warm: Vec<bool>,
    wall: Duration,
    processor: Duration,
}

/// Measures both sides in slices that alternate; bare is as many sites as there are clients.
pub(crate) async fn measure(
    session: &Session<'_>,
    subject: &Subject<'_>,
    sites: &[Site<'_>],
    slice: Duration,
) -> anyhow::Result<(Option<Sustained>, Option<Sustained>)> {
    let (mut ours, mut bare) = (Tally::default(), Tally::default());
    for _ in 0..session.pace.slices {
        ours.add(&fleet(session, subject, slice).await?);
        if !sites.is_empty() {
            bare.add(&without(session, sites, slice).await?);
        }
    }
    Ok((ours.finish(), bare.finish()))
}

async fn fleet(
    session: &Session<'_>,
    subject: &Subject<'_>,
    slice: Duration,
) -> anyhow::Result<Tally> {
    let root = subject.executor.pid;
    let before = processes::rest(&subject.roots()).await?.processor_time(root);
    let began = Instant::now();
    let clients = (0..session.processors).map(|_| async move {
        let mut warm = Vec::new();
        while warm.is_empty() || began.elapsed() < slice {
            let request = subject.program.request(session.unique());
            warm.push(session.warm.run(subject.program, &request).await?.is_warm);
        }
        anyhow::Ok(warm)
    });
    let warm = futures::future::try_join_all(clients).await?.concat();
    let wall = began.elapsed();
    let after = processes::rest(&subject.roots()).await?.processor_time(root);
    Ok(Tally { runs: warm.len(), warm, wall, processor: after.saturating_sub(before) })
}

async fn without(
    session: &Session<'_>,
    sites: &[Site<'_>],
    slice: Duration,
) -> anyhow::Result<Tally> {
    let before = processes::waited_time()?;
    let began = Instant::now();
    let clients = sites.iter().map(|site| async move {
        let mut runs = 0;
        while runs == 0 || began.elapsed() < slice {
            session.workshop.run(site, session.unique()).await?;
            runs += 1;
        }
        anyhow::Ok(runs)
    });
    let runs = futures::future::try_join_all(clients).await?.into_iter().sum();
    let wall = began.elapsed();
    Ok(Tally {
        runs,
        warm: Vec::new(),
        wall,
        processor: processes::waited_time()?.saturating_sub(before),
    })
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.runs += other.runs;
        self.warm.extend(&other.warm);
        self.wall += other.wall;
        self.processor += other.processor;
    }

    fn finish(&self) -> Option<Sustained> {
        (self.runs > 0).then(|| Sustained {
            runs: self.runs,
            runs_per_second: rate(self.runs, self.wall.as_secs_f64()),
            cpu_ms: 1000.0 * self.processor.as_secs_f64() / rate(self.runs, 1.0),
            warm_share: share(&self.warm, |it| *it),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_add_up() {
        let mut tally = Tally::default();
        assert_eq!(tally.finish(), None);
        for (runs, wall, processor) in [(10, 100, 150), (30, 300, 250)] {
            let (wall, processor) = (Duration::from_millis(wall), Duration::from_millis(processor));
            tally.add(&Tally { runs, warm: vec![runs == 10; runs], wall, processor });
        }
        let sustained = tally.finish().unwrap();
        assert_eq!((sustained.runs, sustained.warm_share), (40, Some(0.25)));
        assert!((sustained.runs_per_second - 100.0).abs() < 1e-9);
        assert!((sustained.cpu_ms - 10.0).abs() < 1e-9);
    }
}
