//! Chance that is the same again from the same seed.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

/// The seed that the test is told, or another one each time.
pub(crate) fn seed() -> u64 {
    match std::env::var("CHAOS_SEED") {
        Ok(text) => text.parse().expect("CHAOS_SEED is a number"),
        Err(_) => RandomState::new().hash_one("seed") >> 32,
    }
}

/// How often something is done to the fleet.
pub(crate) fn rounds() -> usize {
    match std::env::var("CHAOS_ROUNDS") {
        Ok(text) => text.parse().expect("CHAOS_ROUNDS is a number"),
        Err(_) => 7,
    }
}

/// `SplitMix64` (Steele, Lea and Flood, 2014): small, and good enough to choose with.
#[derive(Debug, Clone)]
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Another one, whose choices have nothing to do with those of this.
    pub(crate) fn split(&mut self) -> Self {
        Self(self.next())
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `count`.
    pub(crate) fn below(&mut self, count: usize) -> usize {
        let number = self.next() % u64::try_from(count).unwrap();
        usize::try_from(number).unwrap()
    }

    /// Whether it is one time in so many.
    pub(crate) fn is_one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    /// A time between two, in milliseconds.
    pub(crate) fn millis(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_millis(least + self.next() % (most - least))
    }
}

#[test]
fn the_same_seed_chooses_the_same() {
    let draw = |seed| {
        let mut chance = Chance::new(seed);
        (0..20).map(|_| chance.below(1000)).collect::<Vec<_>>()
    };
    assert_eq!(draw(1), draw(1));
    assert_ne!(draw(1), draw(2));
}
