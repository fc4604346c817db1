//! How much time a bench takes, and how many samples.

use std::time::Duration;

/// What one bench may take.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Pace {
    /// All measurements together, about.
    pub(crate) total: Duration,
    /// Samples of each kind that a program has whatever its share of time is; fewer say little.
    pub(crate) samples_min: usize,
    /// A program whose turns took this long has no more of them, however few they were.
    pub(crate) turns_max: Duration,
    /// More add nothing.
    pub(crate) samples_max: usize,
    /// Slices of sustained runs that each side gets.
    pub(crate) slices: u32,
    /// Bursts of each language, if there is time.
    pub(crate) bursts: usize,
    /// Pairs of runs that tell what the gateway adds, if there is time.
    pub(crate) pairs: usize,
}

/// The time of one program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Share {
    /// For runs one after the other.
    pub(crate) latency: Duration,
    /// For each slice of sustained runs.
    pub(crate) slice: Duration,
}

/// In seconds, by default and with `--quick`.
const SECONDS_DEFAULT: u64 = 270;
const SECONDS_QUICK: u64 = 40;

impl Pace {
    /// By what was asked for.
    pub(crate) fn of(is_quick: bool, seconds: Option<u64>) -> Self {
        let total = |otherwise| Duration::from_secs(seconds.unwrap_or(otherwise));
        if is_quick {
            Self {
                total: total(SECONDS_QUICK),
                samples_min: 3,
                turns_max: Duration::from_secs(12),
                samples_max: 25,
                slices: 1,
                bursts: 1,
                pairs: 40,
            }
        } else {
            Self {
                total: total(SECONDS_DEFAULT),
                samples_min: 5,
                turns_max: Duration::from_mins(1),
                samples_max: 120,
                slices: 2,
                bursts: 5,
                pairs: 200,
            }
        }
    }

    /// Whether a program has had its turns: as many as these, which took `elapsed` of `time`.
    pub(crate) fn is_enough(self, turns: usize, elapsed: Duration, time: Duration) -> bool {
        let is_due = turns >= self.samples_min && elapsed > time;
        turns >= self.samples_max || is_due || turns > 0 && elapsed > self.turns_max
    }

    /// When the programs are to be done: the bursts and the gateway have the rest.
    pub(crate) fn programs(self) -> Duration {
        self.total * 4 / 5
    }

    /// Time for the bursts of one of `languages`.
    pub(crate) fn burst(self, languages: usize) -> Duration {
        self.total / 8 / u32::try_from(languages.max(1)).unwrap_or(u32::MAX)
    }

    /// Time for the gateway's pairs.
    pub(crate) fn gateway(self) -> Duration {
        self.total / 20
    }

    /// An equal part of what is left for the programs that are still to come. The quick ones come
    /// first, and leave much of theirs to the slow ones.
    pub(crate) fn share(self, elapsed: Duration, programs_left: usize) -> Share {
        let left = self.programs().saturating_sub(elapsed);
        let share = left / u32::try_from(programs_left.max(1)).unwrap_or(u32::MAX);
        Share { latency: share * 7 / 10, slice: share * 3 / 10 / (2 * self.slices) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_quick_programs_leave_is_for_slow_ones() {
        let pace = Pace::of(false, Some(100));
        let ten = pace.share(Duration::ZERO, 10);
        assert_eq!(ten.latency, Duration::from_millis(5600));
        assert_eq!(ten.slice, Duration::from_millis(600));
        assert_eq!(pace.share(Duration::from_secs(40), 2).latency, Duration::from_secs(14));
        assert_eq!(pace.share(Duration::from_secs(500), 1).latency, Duration::ZERO);
    }

    #[test]
    fn slow_programs_have_few_turns_and_quick_ones_many() {
        let pace = Pace::of(true, None);
        let check = |turns, seconds, expected| {
            let (elapsed, time) = (Duration::from_secs(seconds), Duration::from_secs(2));
            assert_eq!(pace.is_enough(turns, elapsed, time), expected, "{turns} in {seconds} s");
        };
        check(0, 0, false);
        check(24, 1, false);
        check(25, 1, true);
        check(2, 3, false);
        check(3, 3, true);
        check(1, 13, true);
        check(0, 13, false);
    }

    #[test]
    fn all_parts_together_fit_the_time() {
        for is_quick in [true, false] {
            let pace = Pace::of(is_quick, None);
            assert!(pace.programs() + pace.burst(7) * 7 + pace.gateway() <= pace.total);
        }
    }
}
