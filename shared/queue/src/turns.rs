//! Whose turn it is among the lanes and the priorities that a claim may take from.

/// One claim in so many takes from a lower priority first.
const LOWER_FIRST_EVERY: u64 = 10;

/// What a claim begins with. Those that begin with a lower priority are counted apart from the others,
/// so that each lane comes first as often as any other among both, and each priority in each lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Turn {
    /// Which of its lanes comes first.
    pub(crate) lane: u64,
    /// Which of the lower priorities comes first, if any does: round and round.
    pub(crate) lower: Option<u64>,
}

impl Turn {
    /// That of the claim that so many were before.
    pub(crate) fn of(claims: u64, lanes: usize) -> Self {
        let lanes = u64::try_from(lanes).unwrap_or(u64::MAX).max(1);
        let round = claims / LOWER_FIRST_EVERY;
        if claims % LOWER_FIRST_EVERY == LOWER_FIRST_EVERY - 1 {
            return Self { lane: round % lanes, lower: Some(round / lanes) };
        }
        Self { lane: (claims - round) % lanes, lower: None }
    }
}

/// All of `items`, from the one whose turn it is.
pub(crate) fn in_turn<T>(items: &[T], turn: u64) -> impl Iterator<Item = &T> {
    let count = u64::try_from(items.len()).unwrap_or(u64::MAX).max(1);
    let first = usize::try_from(turn % count).unwrap_or_default();
    items.iter().cycle().skip(first).take(items.len())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn every_lane_comes_first_and_every_lower_priority_in_each() {
        for lanes in 1..=12 {
            let mut firsts: HashMap<u64, u64> = HashMap::new();
            let mut lower: HashMap<(u64, i32), u64> = HashMap::new();
            for claims in 0..10 * 3 * 12 * 11 * 7 * 5 {
                let turn = Turn::of(claims, lanes);
                match turn.lower {
                    None => *firsts.entry(turn.lane).or_default() += 1,
                    Some(round) => {
                        let first = in_turn(&[0, 4, 5], round).next().copied();
                        *lower.entry((turn.lane, first.unwrap_or(9))).or_default() += 1;
                    }
                }
            }
            let spread = |counts: Vec<&u64>| {
                counts.iter().max().map_or(0, |it| **it) - counts.iter().min().map_or(0, |it| **it)
            };
            assert_eq!((firsts.len(), lower.len()), (lanes, 3 * lanes));
            assert!(spread(firsts.values().collect()) <= 1, "{firsts:?}");
            assert!(spread(lower.values().collect()) <= 1, "{lower:?}");
        }
    }

    #[test]
    fn all_come_once_from_whose_turn_it_is() {
        assert_eq!(in_turn(&[1, 2, 3], 4).copied().collect::<Vec<_>>(), [2, 3, 1]);
        assert_eq!(in_turn::<u8>(&[], 4).count(), 0);
    }
}
