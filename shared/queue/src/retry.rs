//! How long to wait before another attempt.

use std::time::Duration;

/// The wait before the first retry.
const BASE: Duration = Duration::from_secs(1);
/// The longest wait.
pub(crate) const WAIT_MAX: Duration = Duration::from_mins(1);

/// The wait after the `attempt`-th attempt came to nothing, from 1: doubled each time, up to a
/// bound, and a random part of that (full jitter), as `chance` of 0 to [`u32::MAX`] says.
pub(crate) fn wait(attempt: u32, chance: u32) -> Duration {
    let doubled = BASE.saturating_mul(1 << attempt.saturating_sub(1).min(16));
    doubled.min(WAIT_MAX).mul_f64(f64::from(chance) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_minute() {
        let longest = |attempt| wait(attempt, u32::MAX).as_secs();
        assert_eq!([1, 2, 3, 6, 7, 100].map(longest), [1, 2, 4, 32, 60, 60]);
        assert_eq!(wait(3, 0), Duration::ZERO);
    }
}
