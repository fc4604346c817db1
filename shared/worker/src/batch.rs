//! How many results go out in one call: many over a good line, fewer after one that took too long, and
//! each alone after some were refused together, so that one of them holds up no other. Pure.

use crate::gateway::CallError;

/// Results in one call.
const RESULTS_MAX: usize = 100;
/// All of them in one call, in bytes, but for a single one.
const BYTES_MAX: usize = 16 << 20;
/// Over the slowest line they are still so many bytes together.
const BYTES_MIN: usize = 64 << 10;
/// A result of at least so many bytes may be what a call broke off or took too long for.
const LARGE: usize = 1 << 20;
/// How often a large one is sent that did not get through, until it is given up.
const TRIES_MAX: usize = 6;

/// What becomes of results that were not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// They are sent again after a while.
    Waits,
    /// They are sent again in smaller parts, at once.
    GoesAgain,
    /// It was a single one, and its job fails for this reason.
    Fails(&'static str),
}

/// The bounds of the next call.
#[derive(Debug)]
pub(crate) struct Batch {
    bytes_max: usize,
    /// So many that come next go out alone.
    alone: usize,
    /// How often the first of them did not get through by itself.
    tries: usize,
}

impl Default for Batch {
    fn default() -> Self {
        Self { bytes_max: BYTES_MAX, alone: 0, tries: 0 }
    }
}

impl Batch {
    /// How many of those that wait go out next, by their sizes; one at least.
    pub(crate) fn count(&self, sizes: impl Iterator<Item = usize>) -> usize {
        let most = if self.alone > 0 { 1 } else { RESULTS_MAX };
        let mut bytes = 0_usize;
        let fits = |size: &usize| {
            bytes = bytes.saturating_add(*size);
            bytes <= self.bytes_max
        };
        sizes.take(most).take_while(fits).count().max(1)
    }

    /// So many are done with.
    pub(crate) fn went(&mut self, count: usize) {
        self.tries = 0;
        self.alone = self.alone.saturating_sub(count);
        // Lines get better as well.
        self.bytes_max = self.bytes_max.saturating_add(self.bytes_max / 8).min(BYTES_MAX);
    }

    /// So many, of that size together, were not taken.
    pub(crate) fn failed(&mut self, count: usize, bytes: usize, error: &CallError) -> Fate {
        match error {
            CallError::TooLarge(_) | CallError::Unfit(_) | CallError::Refused(_) if count > 1 => {
                self.alone = count;
                Fate::GoesAgain
            }
            CallError::TooLarge(_) => Fate::Fails("result_too_large"),
            CallError::Unfit(_) => Fate::Fails("result_refused"),
            CallError::Cut(_) => {
                self.bytes_max = (bytes / 2).clamp(BYTES_MIN, self.bytes_max);
                if count == 1 && bytes >= LARGE {
                    self.tries += 1;
                }
                if self.tries < TRIES_MAX {
                    Fate::Waits
                } else {
                    Fate::Fails("result_undeliverable")
                }
            }
            CallError::Away(_)
            | CallError::Again(_)
            | CallError::Unknown
            | CallError::Refused(_) => Fate::Waits,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(make: fn(String) -> CallError) -> CallError {
        make("no".to_owned())
    }

    #[test]
    fn results_go_out_together_as_far_as_that_is_good() {
        let batch = Batch::default();
        assert_eq!(batch.count([1000; 300].into_iter()), RESULTS_MAX);
        assert_eq!(batch.count([6 << 20; 9].into_iter()), 2);
        assert_eq!(batch.count([60 << 20, 1].into_iter()), 1, "one goes out whatever its size");
    }

    #[test]
    fn what_is_refused_together_goes_out_one_by_one_and_then_together_again() {
        let mut batch = Batch::default();
        let refused = error(CallError::TooLarge);
        assert_eq!(batch.failed(3, 5000, &refused), Fate::GoesAgain);
        for _ in 0..2 {
            assert_eq!(batch.count([1000; 9].into_iter()), 1);
            batch.went(1);
        }
        assert_eq!(batch.failed(1, 1000, &refused), Fate::Fails("result_too_large"));
        assert_eq!(batch.failed(1, 1000, &error(CallError::Unfit)), Fate::Fails("result_refused"));
        batch.went(1);
        assert_eq!(batch.count([1000; 9].into_iter()), 9);
    }

    #[test]
    fn a_slow_line_gets_less_at_a_time_and_later_more() {
        let mut batch = Batch::default();
        let cut = error(CallError::Cut);
        assert_eq!(batch.failed(16, 16 << 20, &cut), Fate::Waits);
        assert_eq!(batch.count([1 << 20; 16].into_iter()), 8);
        assert_eq!(batch.failed(8, 8 << 20, &cut), Fate::Waits);
        assert_eq!(batch.count([1 << 20; 16].into_iter()), 4);
        for _ in 0..20 {
            batch.went(4);
        }
        assert_eq!(batch.count([1 << 20; 16].into_iter()), 16);
        for _ in 0..20 {
            batch.failed(2, 2000, &cut);
        }
        assert_eq!(batch.count([1000; 200].into_iter()), 65, "never less than that");
    }

    #[test]
    fn a_large_one_that_never_gets_through_is_given_up_and_no_other_is() {
        let mut batch = Batch::default();
        let cut = error(CallError::Cut);
        for _ in 1..TRIES_MAX {
            assert_eq!(batch.failed(1, 2 << 20, &cut), Fate::Waits);
        }
        assert_eq!(batch.failed(1, 2 << 20, &cut), Fate::Fails("result_undeliverable"));
        batch.went(1);
        assert_eq!(batch.failed(2, 2 << 20, &error(CallError::Refused)), Fate::GoesAgain);
        for make in [CallError::Away, CallError::Again, CallError::Refused] {
            for _ in 0..=TRIES_MAX {
                assert_eq!(batch.failed(1, 2 << 20, &error(make)), Fate::Waits);
            }
        }
        for _ in 0..=TRIES_MAX {
            assert_eq!(batch.failed(1, 1000, &cut), Fate::Waits);
        }
    }
}
