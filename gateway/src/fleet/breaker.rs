//! The circuit breaker of one executor, as a pure state machine: time comes in as an argument.
//!
//! Two kinds of fault are told apart. An executor that could not be reached is well again as
//! soon as a probe reaches it. One that answered badly is given one trial after a growing delay,
//! because its health says nothing about its answers.

use std::time::{Duration, Instant};

/// Faults in a row that open the circuit.
const FAULTS_MAX: u32 = 3;
/// The first delay before a trial; it doubles with each opening.
const DELAY_MIN: Duration = Duration::from_secs(1);
/// The longest delay before a trial.
const DELAY_MAX: Duration = Duration::from_secs(30);

/// What went wrong with an executor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// No connection, or no answer to a probe.
    Unreachable,
    /// It took a request and hung, went away, or answered garbage.
    Misbehaved,
}

/// The state of a circuit, as shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Circuit {
    /// Requests go through.
    Closed,
    /// No request goes through.
    Open,
    /// One trial request goes through.
    HalfOpen,
}

/// Counts faults in a row, and says whether a request may go through.
#[derive(Debug, Default)]
pub(crate) struct Breaker {
    state: State,
    unreachable: u32,
    misbehaved: u32,
    openings: u32,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Closed,
    Open {
        until: Instant,
    },
    Trial,
}

impl Breaker {
    /// Whether a request may go through at `now`.
    pub(crate) fn allows(&self, now: Instant) -> bool {
        match self.state {
            State::Closed => true,
            State::Open { until } => now >= until,
            State::Trial => false,
        }
    }

    /// Lets a request through, which is the trial if the circuit is open; false if it may not.
    pub(crate) fn enter(&mut self, now: Instant) -> bool {
        let allowed = self.allows(now);
        if allowed && matches!(self.state, State::Open { .. }) {
            self.state = State::Trial;
        }
        allowed
    }

    /// The trial ended without a result, so the next request may be one.
    pub(crate) fn abandon(&mut self, now: Instant) {
        if matches!(self.state, State::Trial) {
            self.state = State::Open { until: now };
        }
    }

    /// A request was answered well: all is forgotten.
    pub(crate) fn answered(&mut self) {
        *self = Self::default();
    }

    /// A probe was answered well.
    pub(crate) fn reached(&mut self, now: Instant) {
        self.unreachable = 0;
        let has_misbehaved = self.misbehaved >= FAULTS_MAX;
        match self.state {
            State::Open { until } if !has_misbehaved || now >= until => self.state = State::Closed,
            State::Open { .. } | State::Trial => return,
            State::Closed => {}
        }
        if has_misbehaved {
            // One more bad answer opens it again, for longer.
            self.misbehaved = FAULTS_MAX - 1;
        } else if self.misbehaved == 0 {
            self.openings = 0;
        }
    }

    /// Counts a fault; true if this one opened the circuit.
    pub(crate) fn failed(&mut self, fault: Fault, now: Instant) -> bool {
        let count = match fault {
            Fault::Unreachable => &mut self.unreachable,
            Fault::Misbehaved => &mut self.misbehaved,
        };
        *count = count.saturating_add(1);
        let (opens, was_closed) = match self.state {
            State::Closed => (*count >= FAULTS_MAX, true),
            State::Trial => (true, false),
            State::Open { until } => (now >= until, false),
        };
        if opens {
            self.openings = self.openings.saturating_add(1);
            self.state = State::Open { until: now + delay(self.openings) };
        }
        opens && was_closed
    }

    /// The state as shown.
    pub(crate) fn circuit(&self, now: Instant) -> Circuit {
        match self.state {
            State::Closed => Circuit::Closed,
            State::Open { until } if now < until => Circuit::Open,
            State::Open { .. } | State::Trial => Circuit::HalfOpen,
        }
    }
}

/// How long a circuit stays open at its `openings`-th opening in a row.
fn delay(openings: u32) -> Duration {
    let doubled = 2_u32.saturating_pow(openings.saturating_sub(1).min(16));
    DELAY_MIN.saturating_mul(doubled).min(DELAY_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(fault: Fault, now: Instant) -> Breaker {
        let mut breaker = Breaker::default();
        for count in 1..=FAULTS_MAX {
            assert_eq!(breaker.failed(fault, now), count == FAULTS_MAX);
        }
        breaker
    }

    #[test]
    fn it_opens_after_faults_in_a_row() {
        let now = Instant::now();
        let breaker = opened(Fault::Unreachable, now);
        assert_eq!(breaker.circuit(now), Circuit::Open);
        assert!(!breaker.allows(now));
    }

    #[test]
    fn a_good_answer_between_faults_keeps_it_closed() {
        let now = Instant::now();
        let mut breaker = Breaker::default();
        for _ in 0..10 {
            breaker.failed(Fault::Misbehaved, now);
            breaker.failed(Fault::Misbehaved, now);
            breaker.answered();
        }
        assert_eq!(breaker.circuit(now), Circuit::Closed);
    }

    #[test]
    fn an_unreachable_one_is_well_as_soon_as_a_probe_reaches_it() {
        let now = Instant::now();
        let mut breaker = opened(Fault::Unreachable, now);
        breaker.reached(now);
        assert_eq!(breaker.circuit(now), Circuit::Closed);
    }

    #[test]
    fn a_probe_does_not_excuse_bad_answers_before_the_delay() {
        let now = Instant::now();
        let mut breaker = opened(Fault::Misbehaved, now);
        breaker.reached(now);
        assert_eq!(breaker.circuit(now), Circuit::Open);
        let later = now + DELAY_MIN;
        breaker.reached(later);
        assert_eq!(breaker.circuit(later), Circuit::Closed);
        assert!(breaker.failed(Fault::Misbehaved, later), "one more opens it again");
        assert!(!breaker.allows(later + DELAY_MIN), "and for longer");
        assert!(breaker.allows(later + 2 * DELAY_MIN));
    }

    #[test]
    fn half_open_lets_one_trial_through() {
        let now = Instant::now();
        let mut breaker = opened(Fault::Misbehaved, now);
        let later = now + DELAY_MIN;
        assert!(breaker.enter(later));
        assert!(!breaker.enter(later), "only one");
        breaker.answered();
        assert!(breaker.enter(later));
    }

    #[test]
    fn a_failed_trial_opens_it_and_an_abandoned_one_leaves_room_for_the_next() {
        let now = Instant::now();
        let mut breaker = opened(Fault::Misbehaved, now);
        let later = now + DELAY_MIN;
        assert!(breaker.enter(later));
        breaker.abandon(later);
        assert!(breaker.enter(later));
        breaker.failed(Fault::Misbehaved, later);
        assert_eq!(breaker.circuit(later), Circuit::Open);
    }

    #[test]
    fn the_delay_is_bounded() {
        assert_eq!(delay(1), DELAY_MIN);
        assert_eq!(delay(2), 2 * DELAY_MIN);
        assert_eq!(delay(u32::MAX), DELAY_MAX);
    }
}
