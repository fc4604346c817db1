//! Which executor runs a language: a pure choice from a snapshot of the fleet.

use std::collections::BTreeSet;
use std::sync::Arc;

use protocol::{ExecutorInfo, LanguageInfo};

/// One executor as far as the choice is concerned.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    /// What it says of itself; `None` if it never did.
    pub info: Option<Arc<ExecutorInfo>>,
    /// Whether it takes runs and its circuit lets one through.
    pub is_live: bool,
    /// Requests of ours that it works on now.
    pub in_flight: usize,
    /// Runs at the same time.
    pub slots: usize,
    /// Requests that waited there when it was last asked.
    pub waiting: usize,
}

/// What is known of one configured place, whether or not it is up.
#[derive(Debug, Clone)]
pub(crate) struct Remembered {
    /// The names that settings give it.
    pub names: Vec<String>,
    /// What it said of itself when it was last seen.
    pub info: Option<Arc<ExecutorInfo>>,
}

/// The fleet at one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Snapshot {
    /// Every executor.
    pub candidates: Vec<Candidate>,
    /// Every configured place.
    pub remembered: Vec<Remembered>,
}

/// Why no executor was chosen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoChoice {
    /// Nobody ever ran this language.
    #[error("there is no language `{language}`; there are: {}", .known.join(", "))]
    UnknownLanguage {
        /// What was asked for.
        language: String,
        /// What there is.
        known: Vec<String>,
    },
    /// Those who run it cannot be reached, and only take jobs.
    #[error("only workers run `{language}`, and they take jobs; send it to `/v1/jobs`")]
    OnlyWorkers {
        /// What was asked for.
        language: String,
    },
    /// Somebody runs it, and nobody who does is live.
    #[error("no executor for `{language}` is live now; try again")]
    NoLiveExecutor {
        /// What was asked for.
        language: String,
    },
}

/// The index of the executor for `language`: of two at random, the one with less to do. Those in
/// `skip` were tried before.
pub(crate) fn choose(
    snapshot: &Snapshot,
    language: &str,
    skip: &[usize],
    random: (u64, u64),
) -> Result<usize, NoChoice> {
    let live: Vec<(usize, &Candidate)> = snapshot
        .candidates
        .iter()
        .enumerate()
        .filter(|(index, it)| it.is_live && !skip.contains(index))
        .filter(|(_, it)| it.info.as_ref().is_some_and(|info| find(info, language).is_some()))
        .collect();
    let (first, second) = pair(live.len(), random);
    match (live.get(first), live.get(second)) {
        (Some((_, first)), Some((index, second))) if is_less_busy(second, first) => Ok(*index),
        (Some((index, _)), _) => Ok(*index),
        (None, _) => Err(why_none(snapshot, language)),
    }
}

/// The language that `word` names, by id or alias, in any case, as executors take it.
pub(crate) fn find<'a>(info: &'a ExecutorInfo, word: &str) -> Option<&'a LanguageInfo> {
    info.languages.iter().find(|it| is_named(&it.id, &it.aliases, word))
}

/// Whether `word` is a language's id or one of its aliases.
pub(crate) fn is_named(id: &str, aliases: &[String], word: &str) -> bool {
    id.eq_ignore_ascii_case(word) || aliases.iter().any(|it| it.eq_ignore_ascii_case(word))
}

/// What is known of the executors for `language`: live ones first, else as remembered.
pub(crate) fn known_info(snapshot: &Snapshot, language: &str) -> Option<Arc<ExecutorInfo>> {
    let live = snapshot.candidates.iter().filter(|it| it.is_live).map(|it| &it.info);
    let infos = live.chain(snapshot.remembered.iter().map(|it| &it.info)).flatten();
    infos.into_iter().find(|info| find(info, language).is_some()).cloned()
}

/// Two different indices below `count`, as far as there are two.
fn pair(count: usize, random: (u64, u64)) -> (usize, usize) {
    let below = |random: u64, bound: usize| {
        let bound = u64::try_from(bound).unwrap_or(u64::MAX).max(1);
        usize::try_from(random % bound).unwrap_or_default()
    };
    let first = below(random.0, count);
    let second = below(random.1, count.saturating_sub(1));
    (first, if second >= first { second + 1 } else { second })
}

/// Whether `one` has less to do for its size than `other`.
fn is_less_busy(one: &Candidate, other: &Candidate) -> bool {
    let load = |it: &Candidate, of: &Candidate| it.in_flight.saturating_mul(of.slots.max(1));
    (load(one, other), one.waiting) < (load(other, one), other.waiting)
}

fn why_none(snapshot: &Snapshot, language: &str) -> NoChoice {
    let language = language.to_owned();
    let infos = || {
        let candidates = snapshot.candidates.iter().map(|it| &it.info);
        candidates.chain(snapshot.remembered.iter().map(|it| &it.info)).flatten()
    };
    // A place that was never seen live can only be known by the name that settings give it.
    let unseen =
        || snapshot.remembered.iter().filter(|it| it.info.is_none()).flat_map(|it| &it.names);
    if infos().any(|info| find(info, &language).is_some())
        || unseen().any(|it| it.eq_ignore_ascii_case(&language))
    {
        return NoChoice::NoLiveExecutor { language };
    }
    let ids = infos().flat_map(|info| info.languages.iter().map(|it| &it.id));
    let known: BTreeSet<String> = ids.chain(unseen()).cloned().collect();
    if known.is_empty() {
        // Nobody has said yet what it runs, as after the start of a gateway that has only workers.
        return NoChoice::NoLiveExecutor { language };
    }
    NoChoice::UnknownLanguage { language, known: known.into_iter().collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::sample::info;

    fn candidate(language: &str, in_flight: usize) -> Candidate {
        let info = Some(Arc::new(info(language)));
        Candidate { info, is_live: true, in_flight, slots: 2, waiting: 0 }
    }

    fn snapshot(candidates: Vec<Candidate>) -> Snapshot {
        Snapshot { candidates, remembered: Vec::new() }
    }

    #[track_caller]
    fn check(snapshot: &Snapshot, language: &str, expected: &Result<usize, NoChoice>) {
        for random in [(0, 0), (1, 0), (2, 1), (u64::MAX, u64::MAX)] {
            assert_eq!(&choose(snapshot, language, &[], random), expected);
        }
    }

    #[test]
    fn the_less_busy_of_two_is_chosen() {
        let fleet =
            snapshot(vec![candidate("alpha", 2), candidate("beta", 0), candidate("alpha", 1)]);
        check(&fleet, "alpha", &Ok(2));
        check(&fleet, "beta", &Ok(1));
    }

    #[test]
    fn a_larger_executor_may_have_more_to_do() {
        let mut large = candidate("alpha", 3);
        large.slots = 8;
        check(&snapshot(vec![candidate("alpha", 1), large]), "alpha", &Ok(1));
    }

    #[test]
    fn an_alias_is_as_good_as_the_name() {
        let fleet = snapshot(vec![candidate("alpha", 0)]);
        for word in ["alpha-alias", "Alpha", "ALPHA-alias"] {
            check(&fleet, word, &Ok(0));
        }
    }

    #[test]
    fn one_that_is_not_live_or_was_tried_is_skipped() {
        let mut down = candidate("alpha", 0);
        down.is_live = false;
        let fleet = snapshot(vec![down, candidate("alpha", 9)]);
        check(&fleet, "alpha", &Ok(1));
        let none = NoChoice::NoLiveExecutor { language: "alpha".to_owned() };
        assert_eq!(choose(&fleet, "alpha", &[1], (0, 0)), Err(none));
    }

    #[test]
    fn a_language_whose_executors_are_gone_is_not_unknown() {
        let remembered = vec![
            Remembered { names: vec!["x".to_owned()], info: Some(Arc::new(info("alpha"))) },
            Remembered { names: vec!["beta".to_owned()], info: None },
        ];
        let fleet = Snapshot { candidates: Vec::new(), remembered };
        for language in ["alpha", "alpha-alias", "beta"] {
            let language = language.to_owned();
            check(&fleet, &language.clone(), &Err(NoChoice::NoLiveExecutor { language }));
        }
        let known = vec!["alpha".to_owned(), "beta".to_owned()];
        let unknown = NoChoice::UnknownLanguage { language: "x".to_owned(), known };
        check(&fleet, "x", &Err(unknown));
    }

    #[test]
    fn no_language_is_unknown_to_who_knows_none() {
        let none = NoChoice::NoLiveExecutor { language: "alpha".to_owned() };
        check(&snapshot(Vec::new()), "alpha", &Err(none));
    }

    #[test]
    fn every_pair_is_two_different_ones() {
        for count in 2..6 {
            for random in (0..20).flat_map(|first| (0..20).map(move |second| (first, second))) {
                let (first, second) = pair(count, random);
                assert!(first != second && first < count && second < count);
            }
        }
    }
}
