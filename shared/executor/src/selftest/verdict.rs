//! Pure: from what was seen of a hostile program to what became of each of its attempts.

use std::collections::BTreeSet;

use protocol::{Guarantee, SelfTestResult, Strength};

/// What was seen of one hostile program.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The language that it is written in.
    pub(super) language: String,
    /// The attempts that it says it made. Without its word nothing is proven.
    pub(super) tried: BTreeSet<String>,
    /// The attempts that got through, by what was seen from outside.
    pub(super) got_through: BTreeSet<&'static str>,
}

/// One attempt of one hostile program.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) result: SelfTestResult,
    pub(super) outcome: Outcome,
}

/// What became of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It was made, and led nowhere.
    Held,
    /// It got through.
    GotThrough,
    /// It was not made.
    NotMade,
}

impl Attempt {
    /// For people.
    pub(super) fn told(&self) -> String {
        let detail = self.result.detail.as_deref().unwrap_or("held");
        format!("{}: {detail}", self.result.name)
    }
}

/// Something that hostile programs attempt.
struct Kind {
    /// Its name, in the programs and in reports.
    name: &'static str,
    /// The guarantees that promise it to fail: one that is enforced is enough.
    guarantees: &'static [&'static str],
    /// What it is when it gets through.
    told: &'static str,
}

pub(super) const FILES: &str = "files";
pub(super) const PROCESS_SECRETS: &str = "process_secrets";
pub(super) const NETWORK: &str = "network";
pub(super) const SIGNALS: &str = "signals";
pub(super) const CLEAN_UP: &str = "clean_up";
pub(super) const MEMORY: &str = "memory";

const KINDS: &[Kind] = &[
    Kind {
        name: FILES,
        guarantees: &["files"],
        told: "it read a file that was planted out of its reach",
    },
    Kind {
        name: PROCESS_SECRETS,
        guarantees: &["process_secrets"],
        told: "it read what this server keeps to itself",
    },
    Kind { name: NETWORK, guarantees: &["network"], told: "it reached a listener on loopback" },
    Kind { name: SIGNALS, guarantees: &["signals"], told: "its signal reached this server" },
    Kind { name: CLEAN_UP, guarantees: &["clean_up"], told: "a process of it outlived its run" },
    Kind {
        name: MEMORY,
        guarantees: &["memory_per_process", "memory_total"],
        told: "it kept more memory than it may have",
    },
];

/// What became of each attempt of `who`, a language and its version.
pub(super) fn judge(who: &str, seen: &Seen, guarantees: &[Guarantee]) -> Vec<Attempt> {
    let is_enforced = |name: &&str| {
        guarantees.iter().any(|it| it.name == *name && it.strength == Strength::Enforced)
    };
    let judge = |kind: &Kind| {
        let promised = kind.guarantees.iter().any(is_enforced);
        let outcome = match (seen.got_through.contains(kind.name), seen.tried.contains(kind.name)) {
            (true, _) => Outcome::GotThrough,
            (false, true) => Outcome::Held,
            (false, false) => Outcome::NotMade,
        };
        let detail = match outcome {
            Outcome::Held => None,
            Outcome::GotThrough if promised => Some(kind.told.to_owned()),
            Outcome::GotThrough => Some(format!("{}; nothing here is said to stop it", kind.told)),
            Outcome::NotMade => Some("the attempt was not made".to_owned()),
        };
        let passed = outcome == Outcome::Held;
        let name = format!("{} ({who})", kind.name);
        Attempt { result: SelfTestResult { name, promised, passed, detail }, outcome }
    };
    KINDS.iter().map(judge).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What becomes of the attempt on files.
    #[track_caller]
    fn check(tried: bool, got_through: bool, strength: Strength, expected: (Outcome, bool, bool)) {
        let guarantee = Guarantee { name: FILES.to_owned(), strength, mechanism: String::new() };
        let seen = Seen {
            language: "x".to_owned(),
            tried: tried.then(|| FILES.to_owned()).into_iter().collect(),
            got_through: got_through.then_some(FILES).into_iter().collect(),
        };
        let attempts = judge("x 1", &seen, &[guarantee]);
        let attempt = attempts.iter().find(|it| it.result.name == "files (x 1)").unwrap();
        let result = &attempt.result;
        assert_eq!((attempt.outcome, result.promised, result.passed), expected);
        assert_eq!(result.detail.is_some(), !result.passed, "{result:?}");
    }

    #[test]
    fn an_attempt_holds_only_if_it_was_made() {
        check(true, false, Strength::Enforced, (Outcome::Held, true, true));
        check(false, false, Strength::Enforced, (Outcome::NotMade, true, false));
    }

    #[test]
    fn what_is_seen_outside_outweighs_what_the_program_says() {
        check(false, true, Strength::Enforced, (Outcome::GotThrough, true, false));
        check(true, true, Strength::Enforced, (Outcome::GotThrough, true, false));
    }

    #[test]
    fn only_what_is_enforced_is_promised_and_the_rest_is_told() {
        check(true, true, Strength::Watched, (Outcome::GotThrough, false, false));
        check(true, false, Strength::None, (Outcome::Held, false, true));
    }
}
