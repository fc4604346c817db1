//! What is said of many samples.

use serde::Serialize;

/// Latencies of one kind of run, in milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Summary {
    /// How many runs.
    pub(crate) samples: usize,
    /// Half of them were at most this slow.
    pub(crate) p50_ms: f64,
    /// Nine of ten were.
    pub(crate) p90_ms: f64,
    /// All but one of a hundred were; of fewer runs it is the slowest.
    pub(crate) p99_ms: f64,
}

impl Summary {
    /// Sums up; none of nothing.
    pub(crate) fn of(samples: &[f64]) -> Option<Self> {
        Some(Self {
            samples: samples.len(),
            p50_ms: percentile(samples, 50)?,
            p90_ms: percentile(samples, 90)?,
            p99_ms: percentile(samples, 99)?,
        })
    }
}

/// The smallest sample that is not exceeded by `percent` of a hundred samples (nearest rank).
pub(crate) fn percentile(samples: &[f64], percent: usize) -> Option<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

/// `count` in `seconds`, a second.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
pub(crate) fn rate(count: usize, seconds: f64) -> f64 {
    if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
}

/// How many of all are so, from 0 to 1; none of nothing.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
pub(crate) fn share<T>(all: &[T], is_so: impl Fn(&T) -> bool) -> Option<f64> {
    let so = all.iter().filter(|it| is_so(it)).count();
    (!all.is_empty()).then(|| so as f64 / all.len() as f64)
}

/// Ours over bare: below 1 we are faster.
pub(crate) fn ratio(ours: Option<f64>, bare: Option<f64>) -> Option<f64> {
    Some(ours? / bare.filter(|it| *it > 0.0)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(samples: &[f64], percent: usize, expected: Option<f64>) {
        assert_eq!(percentile(samples, percent), expected, "p{percent} of {samples:?}");
    }

    #[test]
    fn a_percentile_is_one_of_the_samples() {
        check(&[], 50, None);
        check(&[3.0], 50, Some(3.0));
        check(&[3.0], 90, Some(3.0));
        check(&[4.0, 1.0, 3.0, 2.0], 50, Some(2.0));
        check(&[4.0, 1.0, 3.0, 2.0], 90, Some(4.0));
        let ten: Vec<f64> = (1..=10).map(f64::from).collect();
        check(&ten, 50, Some(5.0));
        check(&ten, 90, Some(9.0));
        check(&ten, 0, Some(1.0));
        check(&ten, 100, Some(10.0));
    }

    #[test]
    fn the_slowest_of_a_hundred_is_beyond_the_99th_percentile() {
        let hundred: Vec<f64> = (1..=100).map(f64::from).collect();
        let summary = Summary::of(&hundred).unwrap();
        let told = (summary.p50_ms, summary.p90_ms, summary.p99_ms);
        assert_eq!(told, (50.0, 90.0, 99.0));
        assert_eq!(Summary::of(&hundred[..20]).map(|it| it.p99_ms), Some(20.0));
        assert_eq!(Summary::of(&[]), None);
    }

    #[test]
    fn a_share_is_of_all() {
        assert_eq!(share(&[1, 2, 3, 4], |it| *it > 3), Some(0.25));
        assert_eq!(share(&[1], |it| *it > 3), Some(0.0));
        assert_eq!(share(&[0; 0], |_| true), None);
    }

    #[test]
    fn a_ratio_needs_both_sides() {
        assert_eq!(ratio(Some(1.0), Some(2.0)), Some(0.5));
        assert_eq!(ratio(Some(1.0), Some(0.0)), None);
        assert_eq!(ratio(None, Some(1.0)), None);
        assert_eq!(ratio(Some(1.0), None), None);
    }
}
