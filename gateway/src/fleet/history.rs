//! What an executor did lately, coarser with age: 10 s by 10 s for an hour, minute by minute for a
//! day, and by quarters of an hour for a week. It lives in memory and ends with the gateway.
//! Pure: the time comes in as seconds since 1970.

use std::collections::VecDeque;

use protocol::{HealthStatus, Status};
use serde::Serialize;

/// Seconds of a step, and how many steps are kept.
const TIERS: [(u64, usize); 3] = [(10, 360), (60, 1440), (900, 672)];

/// A stretch of time to look at: at most 96 points of it are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Window {
    /// The last ten minutes.
    Minutes,
    /// The last hour.
    Hour,
    /// The last day.
    Day,
    /// The last week.
    Week,
}

impl Window {
    /// Each by its name in a request.
    pub(crate) const ALL: [(&'static str, Self); 4] =
        [("10m", Self::Minutes), ("1h", Self::Hour), ("24h", Self::Day), ("7d", Self::Week)];

    /// The tier it is read from, seconds of a point, and how many points there are.
    fn row(self) -> (usize, u64, u64) {
        match self {
            Self::Minutes => (0, 10, 60),
            Self::Hour => (0, 60, 60),
            Self::Day => (1, 900, 96),
            Self::Week => (2, 7200, 84),
        }
    }

    /// Seconds of a point.
    pub(crate) fn step(self) -> u64 {
        self.row().1
    }

    /// Where its first point begins.
    pub(crate) fn from(self, now: u64) -> u64 {
        let (_, step, count) = self.row();
        (now - now % step).saturating_sub((count - 1) * step)
    }
}

/// What came of one run, as far as it is told.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Run {
    /// How it ended.
    pub(crate) status: Status,
    /// What the gateway waited for it, in milliseconds.
    pub(crate) total_ms: f64,
    /// What it waited for a slot, in milliseconds.
    pub(crate) queue_ms: f64,
    /// What the program itself took, in milliseconds.
    pub(crate) program_ms: f64,
}

/// Everything that is kept of one executor.
#[derive(Debug, Default)]
pub(crate) struct History {
    tiers: [VecDeque<Step>; 3],
}

/// One stretch of one tier.
#[derive(Debug, Clone, Default)]
struct Step {
    /// When it begins.
    at: u64,
    beats: Beats,
    /// Most steps have none.
    runs: Option<Box<Runs>>,
}

/// How many probes found what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Beats {
    pass: u32,
    warn: u32,
    fail: u32,
}

#[derive(Debug, Clone, Default)]
struct Runs {
    statuses: Vec<(Status, u32)>,
    total: Spread,
    queue: Spread,
    run: Spread,
}

/// How often which time was taken: counts by the logarithm, so that a quantile is right within an
/// eighth, and only those that are not 0.
#[derive(Debug, Clone, Default, PartialEq)]
struct Spread(Vec<(u8, u32)>);

/// The quantiles of some times, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Quantiles {
    p50: f64,
    p95: f64,
    p99: f64,
}

/// One point of a window.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Point {
    /// When it begins, in seconds since 1970.
    at: u64,
    beats: Beats,
    runs: u64,
    /// Those that did not end as a program should.
    #[serde(skip_serializing_if = "is_zero")]
    unsuccessful: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_ms: Option<Quantiles>,
}

/// A window in a few numbers.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Summary {
    beats: Beats,
    /// Runs by how they ended.
    statuses: Vec<StatusCount>,
    /// From the gateway's request to the executor's answer.
    latency_ms: Option<Quantiles>,
    /// Waiting for a slot.
    queue_ms: Option<Quantiles>,
    /// The program itself.
    run_ms: Option<Quantiles>,
    /// Empty unless they are asked for; those where nothing was seen are left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    points: Vec<Point>,
}

/// How many runs ended so.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct StatusCount {
    status: Status,
    count: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl History {
    /// A probe found this.
    pub(crate) fn beat(&mut self, status: HealthStatus, now: u64) {
        for step in self.steps(now) {
            let count = match status {
                HealthStatus::Pass => &mut step.beats.pass,
                HealthStatus::Warn => &mut step.beats.warn,
                HealthStatus::Fail => &mut step.beats.fail,
            };
            *count = count.saturating_add(1);
        }
    }

    /// A run ended.
    pub(crate) fn note(&mut self, run: &Run, now: u64) {
        for step in self.steps(now) {
            step.runs.get_or_insert_default().note(run);
        }
    }

    /// What a window holds, with its points if they are wanted.
    pub(crate) fn summary(&self, window: Window, now: u64, has_points: bool) -> Summary {
        let (tier, seconds, _) = window.row();
        let from = window.from(now);
        let steps = self.tiers.get(tier).into_iter().flatten().filter(|it| it.at >= from);
        let mut all = Step::default();
        let mut points: Vec<Step> = Vec::new();
        for step in steps {
            all.add(step);
            let at = step.at - step.at % seconds;
            match points.last_mut() {
                Some(point) if point.at == at => point.add(step),
                _ => points.push(Step { at, ..step.clone() }),
            }
        }
        let runs = all.runs.unwrap_or_default();
        Summary {
            beats: all.beats,
            statuses: runs.counts(),
            latency_ms: runs.total.quantiles(),
            queue_ms: runs.queue.quantiles(),
            run_ms: runs.run.quantiles(),
            points: if has_points { points.iter().map(Step::point).collect() } else { Vec::new() },
        }
    }

    /// The step of each tier that `now` is in. A clock that was put back goes on with the last one.
    fn steps(&mut self, now: u64) -> impl Iterator<Item = &mut Step> {
        self.tiers.iter_mut().zip(TIERS).filter_map(move |(steps, (seconds, most))| {
            let at = now - now % seconds;
            if steps.back().is_none_or(|last| last.at < at) {
                steps.push_back(Step { at, ..Step::default() });
                while steps.len() > most {
                    steps.pop_front();
                }
            }
            steps.back_mut()
        })
    }
}

impl Step {
    fn add(&mut self, other: &Self) {
        self.beats.pass = self.beats.pass.saturating_add(other.beats.pass);
        self.beats.warn = self.beats.warn.saturating_add(other.beats.warn);
        self.beats.fail = self.beats.fail.saturating_add(other.beats.fail);
        if let Some(runs) = &other.runs {
            self.runs.get_or_insert_default().add(runs);
        }
    }

    fn point(&self) -> Point {
        let counts = self.runs.as_ref().map(|it| it.counts()).unwrap_or_default();
        let sum = |of: &dyn Fn(Status) -> bool| -> u64 {
            counts.iter().filter(|it| of(it.status)).map(|it| it.count).sum()
        };
        Point {
            at: self.at,
            beats: self.beats,
            runs: sum(&|_| true),
            unsuccessful: sum(&|it| !it.is_pass()),
            latency_ms: self.runs.as_ref().and_then(|it| it.total.quantiles()),
        }
    }
}

impl Runs {
    fn note(&mut self, run: &Run) {
        count(&mut self.statuses, run.status, 1);
        self.total.note(run.total_ms);
        self.queue.note(run.queue_ms);
        self.run.note(run.program_ms);
    }

    fn add(&mut self, other: &Self) {
        for (status, times) in &other.statuses {
            count(&mut self.statuses, *status, *times);
        }
        self.total.add(&other.total);
        self.queue.add(&other.queue);
        self.run.add(&other.run);
    }

    fn counts(&self) -> Vec<StatusCount> {
        let counts = self.statuses.iter();
        counts
            .map(|(status, count)| StatusCount { status: *status, count: (*count).into() })
            .collect()
    }
}

fn count<K: PartialEq>(counts: &mut Vec<(K, u32)>, key: K, times: u32) {
    match counts.iter_mut().find(|it| it.0 == key) {
        Some((_, count)) => *count = count.saturating_add(times),
        None => counts.push((key, times)),
    }
}

/// The shortest time that is told from shorter ones, in milliseconds.
const SHORTEST_MS: f64 = 0.25;
/// From one row of a spread to the next.
const FACTOR: f64 = 1.25;
/// Rows of a spread: the last is about 20 minutes, beyond which nothing runs.
const ROWS: u8 = 70;

impl Spread {
    fn note(&mut self, ms: f64) {
        count(&mut self.0, row(ms), 1);
    }

    fn add(&mut self, other: &Self) {
        for (row, times) in &other.0 {
            count(&mut self.0, *row, *times);
        }
    }

    /// None of nothing.
    fn quantiles(&self) -> Option<Quantiles> {
        let mut rows = self.0.clone();
        rows.sort_unstable();
        let all: f64 = rows.iter().map(|it| f64::from(it.1)).sum();
        let quantile = |share: f64| {
            let mut left = (share * all).ceil().max(1.0);
            rows.iter().find_map(|(row, count)| {
                left -= f64::from(*count);
                (left <= 0.0).then(|| middle(*row))
            })
        };
        Some(Quantiles { p50: quantile(0.5)?, p95: quantile(0.95)?, p99: quantile(0.99)? })
    }
}

/// Which row a time is in. What is no time counts as none.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the number is from 0 to ROWS"
)]
fn row(ms: f64) -> u8 {
    let row = (ms.max(SHORTEST_MS) / SHORTEST_MS).ln() / FACTOR.ln();
    row.clamp(0.0, f64::from(ROWS)) as u8
}

/// What is told of a row, with three digits.
fn middle(row: u8) -> f64 {
    let ms = SHORTEST_MS * FACTOR.powf(f64::from(row) + 0.5);
    let unit = 10_f64.powf(ms.log10().floor() - 2.0);
    let rounded = (ms / unit).round() * unit;
    (rounded * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn run(total_ms: f64, status: Status) -> Run {
        Run { status, total_ms, queue_ms: 0.0, program_ms: total_ms / 2.0 }
    }

    #[test]
    fn every_tier_is_bounded() {
        let mut history = History::default();
        for second in (0..30 * 24 * 3600).step_by(10) {
            history.beat(HealthStatus::Pass, NOW + second);
            history.note(&run(5.0, Status::Success), NOW + second);
        }
        let lengths: Vec<usize> = history.tiers.iter().map(VecDeque::len).collect();
        assert_eq!(lengths, TIERS.map(|it| it.1));
    }

    #[test]
    fn every_window_is_within_what_is_kept_and_has_few_points() {
        for (name, window) in Window::ALL {
            let (tier, step, count) = window.row();
            let (seconds, most) = TIERS[tier];
            assert_eq!(step % seconds, 0, "{name}");
            assert!(step * count <= seconds * u64::try_from(most).unwrap(), "{name}");
            assert!(count <= 96, "{name}");
        }
    }

    #[track_caller]
    fn check(times: &[f64], expected: [f64; 3]) {
        let mut spread = Spread::default();
        for time in times {
            spread.note(*time);
        }
        let found = spread.quantiles().unwrap();
        for (found, expected) in [found.p50, found.p95, found.p99].into_iter().zip(expected) {
            assert!((found / expected - 1.0).abs() < 0.13, "{found} is not about {expected}");
        }
    }

    #[test]
    fn quantiles_are_right_within_an_eighth() {
        check(&[7.0], [7.0; 3]);
        let times: Vec<f64> = (1..=1000).map(f64::from).collect();
        check(&times, [500.0, 950.0, 990.0]);
        check(&[1.0, 1.0, 1.0, 60_000.0], [1.0, 60_000.0, 60_000.0]);
        assert_eq!(Spread::default().quantiles(), None);
    }

    #[test]
    fn what_is_no_time_does_no_harm() {
        for wrong in [f64::NAN, f64::NEG_INFINITY, -1.0, 0.0] {
            assert_eq!(row(wrong), 0);
        }
        assert_eq!(row(f64::INFINITY), ROWS);
    }

    #[test]
    fn a_window_tells_what_was_in_it_and_nothing_older() {
        let mut history = History::default();
        history.note(&run(100.0, Status::Timeout), NOW - 3700);
        history.beat(HealthStatus::Fail, NOW - 3700);
        history.note(&run(5.0, Status::Success), NOW - 70);
        history.beat(HealthStatus::Pass, NOW - 70);
        history.note(&run(5.0, Status::RuntimeError), NOW);
        let hour = history.summary(Window::Hour, NOW, true);
        assert_eq!(hour.beats, Beats { pass: 1, warn: 0, fail: 0 });
        let statuses: Vec<Status> = hour.statuses.iter().map(|it| it.status).collect();
        assert_eq!(statuses, [Status::Success, Status::RuntimeError]);
        let points: Vec<(u64, u64)> =
            hour.points.iter().map(|it| (it.runs, it.unsuccessful)).collect();
        assert_eq!(points, [(1, 0), (1, 1)]);
        let day = history.summary(Window::Day, NOW, false);
        assert_eq!(day.statuses.len(), 3);
        assert!(day.points.is_empty());
    }

    #[test]
    fn a_clock_that_is_put_back_loses_nothing() {
        let mut history = History::default();
        history.beat(HealthStatus::Pass, NOW);
        history.beat(HealthStatus::Pass, NOW - 3600);
        assert_eq!(history.summary(Window::Hour, NOW, false).beats.pass, 2);
    }
}
