//! Holds a history against what was promised: a pure function, whose tests plant each violation.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use crate::history::{Attempt, Event, History, View, Wanted, What};

/// What must not be, and of which job.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Violation {
    /// It was acknowledged, and is gone.
    Lost(String),
    /// It is not over though everything has come to rest.
    Stuck(String),
    /// Two results were recorded or shown.
    TwoResults(String),
    /// Its result is not what its program says.
    WrongResult(String),
    /// It was final, and then it was not, or in another way.
    Changed(String),
    /// It was shown as it had been before.
    WentBack(String),
    /// One key names two jobs, or one job has two keys.
    TwoNames(String),
    /// It is kept, and nobody asked for it.
    Unasked(String),
    /// It had more attempts than it may have.
    TooManyAttempts(String),
    /// It was to be started at most once.
    RanTwice(String),
    /// One attempt began before the one before it had ended, or one never ended.
    Overlap(String),
    /// It is dead, and has no reason to be.
    DeadTooSoon(String),
    /// It was cancelled, and nobody asked for that; or it expired.
    EndedUnasked(String),
    /// Its caller had more running than it may have.
    OverCap(String),
    /// The store counts other jobs than there are.
    Miscounted(String),
    /// A client was answered with an error that no retry cures.
    Refused(String),
}

impl Violation {
    /// The job, or what stands for it.
    pub(crate) fn subject(&self) -> &str {
        match self {
            Self::Lost(it)
            | Self::Stuck(it)
            | Self::TwoResults(it)
            | Self::WrongResult(it)
            | Self::Changed(it)
            | Self::WentBack(it)
            | Self::TwoNames(it)
            | Self::Unasked(it)
            | Self::TooManyAttempts(it)
            | Self::RanTwice(it)
            | Self::Overlap(it)
            | Self::DeadTooSoon(it)
            | Self::EndedUnasked(it)
            | Self::OverCap(it)
            | Self::Miscounted(it)
            | Self::Refused(it) => it,
        }
    }
}

/// How far what is written down may be from when it was done, in milliseconds.
const SLACK: i64 = 1000;

/// Everything that is wrong, each thing once.
pub(crate) fn check(history: &History) -> BTreeSet<Violation> {
    let mut found = names(history);
    let (jobs, hits) = (jobs(history), hits(history));
    for (id, job) in &jobs {
        found.extend(job.faults(&hits).into_iter().map(|of| of(id.clone())));
    }
    found.extend(caps(history, &jobs));
    found.extend(counts(history));
    let refused = history.events.iter().filter_map(|it| match &it.what {
        What::Refused { call, answer } => Some(Violation::Refused(format!("{call}: {answer}"))),
        _ => None,
    });
    found.extend(refused);
    found
}

/// The events of one job, and everything that was done to the fleet meanwhile.
pub(crate) fn story<'a>(history: &'a History, subject: &str) -> Vec<&'a Event> {
    let is_its = |it: &&Event| it.what.job() == Some(subject);
    let first = history.events.iter().filter(is_its).map(|it| it.began).min();
    let last = history.events.iter().filter(is_its).map(|it| it.ended).max();
    let (first, last) = (first.unwrap_or(Duration::ZERO), last.unwrap_or(Duration::MAX));
    let is_done = |it: &What| matches!(it, What::Done(_) | What::Hit(..));
    let around = |it: &&Event| is_done(&it.what) && it.ended >= first && it.began <= last;
    history.events.iter().filter(|it| is_its(it) || around(it)).collect()
}

/// What is known of one job.
#[derive(Default)]
struct Job<'a> {
    wanted: Option<&'a Wanted>,
    is_cancelled: bool,
    is_missing: bool,
    /// As it was shown, and when.
    seen: Vec<(&'a Event, &'a View)>,
    last: Vec<&'a View>,
}

fn jobs(history: &History) -> BTreeMap<String, Job<'_>> {
    let mut jobs: BTreeMap<String, Job<'_>> = BTreeMap::new();
    for event in &history.events {
        let Some(id) = event.what.job() else { continue };
        let job = jobs.entry(id.to_owned()).or_default();
        match &event.what {
            What::Acknowledged(wanted, _) => job.wanted = Some(wanted),
            What::Cancel(_) => job.is_cancelled = true,
            What::Missing(_) => job.is_missing = true,
            What::Seen(view) => job.seen.push((event, view)),
            What::Refused { .. } | What::Done(_) | What::Hit(..) => {}
        }
    }
    for view in &history.last {
        jobs.entry(view.id.clone()).or_default().last.push(view);
    }
    jobs
}

/// When somebody was hit, by the store's clock, and how the name of whoever it was ends.
struct Hit<'a> {
    at: i64,
    whom: &'a str,
}

fn hits(history: &History) -> Vec<Hit<'_>> {
    let mut hits = Vec::new();
    for event in &history.events {
        if let What::Hit(_, whom) = &event.what {
            hits.push(Hit { at: history.began + millis(event.began), whom });
        }
    }
    hits
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap()
}

impl Hit<'_> {
    /// Whether an attempt may have been lost by it.
    fn is_of(&self, attempt: &Attempt) -> bool {
        // The name of a gateway goes on with which start of it that is.
        let worker = attempt.worker.split('/').next().unwrap_or_default();
        let until = attempt.ended.unwrap_or(i64::MAX - SLACK) + SLACK;
        worker.ends_with(self.whom) && (attempt.started - SLACK..=until).contains(&self.at)
    }
}

type Of = fn(String) -> Violation;

impl Job<'_> {
    fn faults(&self, hits: &[Hit<'_>]) -> Vec<Of> {
        let mut found: Vec<Of> = Vec::new();
        let mut add = |is_so: bool, of: Of| {
            if is_so {
                found.push(of);
            }
        };
        add(self.wanted.is_none(), Violation::Unasked);
        add(self.is_missing || self.last.is_empty(), Violation::Lost);
        add(self.last.iter().any(|it| !it.is_final()), Violation::Stuck);
        let results: BTreeSet<_> = self.views().filter_map(|it| it.result.as_ref()).collect();
        let completed = |it: &&View| {
            it.attempts.iter().filter(|it| it.reason.as_deref() == Some("completed")).count()
        };
        let is_twice = results.len() > 1 || self.views().any(|it| completed(&it) > 1);
        add(is_twice, Violation::TwoResults);
        add(self.views().any(|it| !self.is_right(it)), Violation::WrongResult);
        add(self.has_changed(), Violation::Changed);
        add(self.went_back(), Violation::WentBack);
        for view in &self.last {
            let spent = view.attempts.iter().filter(|it| it.is_spent()).count();
            let ran = view.attempts.iter().filter(|it| it.may_have_run()).count();
            let is_once = self.wanted.is_some_and(|it| it.at_most_once);
            add(spent > view.attempts_max, Violation::TooManyAttempts);
            add(is_once && ran > 1, Violation::RanTwice);
            add(overlap(&view.attempts), Violation::Overlap);
            add(view.state == "dead" && !is_due(view, is_once, hits), Violation::DeadTooSoon);
            let is_unasked = view.state == "cancelled" && !self.is_cancelled;
            add(is_unasked || view.state == "expired", Violation::EndedUnasked);
        }
        found
    }

    fn views(&self) -> impl Iterator<Item = &View> {
        self.seen.iter().map(|(_, view)| *view).chain(self.last.iter().copied())
    }

    /// Whether there is a result where there has to be one, of this job's program.
    fn is_right(&self, view: &View) -> bool {
        match (&view.result, view.state.as_str()) {
            (Some((status, output)), "succeeded") => {
                let number = self.wanted.map(|it| format!("{} ", it.number));
                status == "success" && number.is_none_or(|it| output.starts_with(&it))
            }
            (None, "succeeded") => false,
            (result, _) => result.is_none(),
        }
    }

    fn has_changed(&self) -> bool {
        let ends = self.views().filter(|it| it.is_final());
        let ends: BTreeSet<_> = ends.map(|it| (&it.state, it.version)).collect();
        let left = self.after(|before, after| before.is_final() && !after.is_final());
        ends.len() > 1 || left
    }

    fn went_back(&self) -> bool {
        self.after(|before, after| before.version > after.version)
    }

    /// Whether something holds of any view and one that was asked for after it had been shown.
    fn after(&self, is_so: impl Fn(&View, &View) -> bool) -> bool {
        self.seen.iter().any(|(before, early)| {
            let later = self.seen.iter().filter(|(event, _)| event.began >= before.ended);
            later.map(|(_, view)| *view).chain(self.last.iter().copied()).any(|it| is_so(early, it))
        })
    }
}

fn overlap(attempts: &[Attempt]) -> bool {
    let is_open = attempts.iter().any(|it| it.ended.is_none_or(|ended| ended < it.started));
    let mut pairs = attempts.iter().zip(attempts.iter().skip(1));
    is_open || pairs.any(|(one, next)| one.ended.is_some_and(|ended| ended > next.started))
}

/// Whether a dead job has to be dead: two workers in a row died with it, or it has no attempt left, or
/// it must not be started again.
fn is_due(view: &View, is_once: bool, hits: &[Hit<'_>]) -> bool {
    let ran: Vec<&Attempt> = view.attempts.iter().filter(|it| it.is_spent()).collect();
    let is_used_up = ran.len() >= view.attempts_max;
    let has_started = view.attempts.iter().any(Attempt::may_have_run);
    match view.reason.as_deref() {
        Some("poison") => is_poison(&ran, hits),
        _ => is_used_up || (is_once && has_started),
    }
}

/// Whether the last two attempts were lost by whoever had them, each by a hit of its own.
fn is_poison(ran: &[&Attempt], hits: &[Hit<'_>]) -> bool {
    let [.., one, other] = ran else { return false };
    let is_lost = |it: &Attempt| it.reason.as_deref() == Some("lost");
    let of = |attempt: &Attempt| {
        let hits = hits.iter().enumerate();
        hits.filter(|(_, it)| it.is_of(attempt)).map(|(index, _)| index).collect::<BTreeSet<_>>()
    };
    let (first, second) = (of(one), of(other));
    let has_both = !first.is_empty() && !second.is_empty() && first.union(&second).count() > 1;
    is_lost(one) && is_lost(other) && has_both
}

/// Keys that name two jobs, and jobs that two keys name.
fn names(history: &History) -> BTreeSet<Violation> {
    let mut of_key: HashMap<(&str, usize), &str> = HashMap::new();
    let mut of_id: HashMap<&str, (&str, usize)> = HashMap::new();
    let mut found = BTreeSet::new();
    for event in &history.events {
        let What::Acknowledged(wanted, id) = &event.what else { continue };
        let key = (wanted.caller, wanted.number);
        let is_same =
            *of_key.entry(key).or_insert(id) == id && *of_id.entry(id).or_insert(key) == key;
        if !is_same {
            found.insert(Violation::TwoNames(id.clone()));
        }
    }
    found
}

/// Callers that had more running at a time than they may have.
fn caps(history: &History, jobs: &BTreeMap<String, Job<'_>>) -> Vec<Violation> {
    let over = history.caps.iter().filter(|(caller, most)| {
        let own = jobs.values().filter(|it| it.wanted.is_some_and(|it| it.caller == *caller));
        let views = own.filter_map(|it| it.last.first());
        let attempts = views.flat_map(|it| &it.attempts);
        let steps = attempts.flat_map(|it| [Some((it.started, 1)), it.ended.map(|at| (at, -1))]);
        // What ends at a time makes room for what begins then.
        let mut steps: Vec<(i64, i64)> = steps.flatten().collect();
        steps.sort_unstable();
        let running = steps.into_iter().scan(0, |running, (_, step)| {
            *running += step;
            Some(*running)
        });
        running.max().unwrap_or(0) > i64::try_from(*most).unwrap()
    });
    over.map(|(caller, _)| Violation::OverCap((*caller).to_owned())).collect()
}

fn counts(history: &History) -> Option<Violation> {
    let ids = |is_it: &dyn Fn(&View) -> bool| {
        let found: BTreeSet<&str> =
            history.last.iter().filter(|it| is_it(it)).map(|it| it.id.as_str()).collect();
        found.len() as u64
    };
    let found = (ids(&|it| !it.is_final()), ids(&|it| it.state == "dead"));
    let told = format!("{found:?} and counted {:?}", history.counted);
    (found != history.counted).then_some(Violation::Miscounted(told))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(number: usize) -> Wanted {
        Wanted { caller: "a", number, at_most_once: false }
    }

    fn attempt(started: i64, ended: i64, reason: &str) -> Attempt {
        let reason = Some(reason.to_owned());
        Attempt { worker: "wanda:w".to_owned(), started, ended: Some(ended), reason }
    }

    fn view(id: &str, state: &str, attempts: &[Attempt]) -> View {
        let result = (state == "succeeded").then(|| ("success".to_owned(), "1 word\n".to_owned()));
        View {
            id: id.to_owned(),
            state: state.to_owned(),
            reason: None,
            version: 3,
            attempts_max: 3,
            result,
            attempts: attempts.to_vec(),
        }
    }

    fn event(second: u64, what: What) -> Event {
        let began = Duration::from_secs(second);
        Event { began, ended: began, what }
    }

    /// One job that was lost by its first worker, and succeeded at its second.
    fn good() -> History {
        let attempts = [attempt(0, 10, "lost"), attempt(10, 20, "completed")];
        let done = view("one", "succeeded", &attempts);
        let running = View { version: 2, ..view("one", "leased", &[]) };
        let what = [
            What::Acknowledged(wanted(1), "one".to_owned()),
            What::Seen(running),
            What::Done("killed the worker".to_owned()),
            What::Seen(done.clone()),
            What::Acknowledged(wanted(1), "one".to_owned()),
        ];
        let events = (0..).zip(what).map(|(second, what)| event(second, what));
        let (events, last) = (events.collect(), vec![done.clone(), done]);
        History { began: 0, events, last, counted: (0, 0), caps: vec![("a", 1)] }
    }

    /// A job that two workers in a row died with, one hit each.
    fn poisoned(history: &mut History) {
        let attempts = [attempt(20_000, 36_000, "lost"), attempt(37_000, 53_000, "lost")];
        let dead = View { reason: Some("poison".to_owned()), ..view("two", "dead", &attempts) };
        ends(history, dead, wanted(2));
        history.counted = (0, 1);
        for second in [21, 38] {
            history.events.push(hit(second, ":w"));
        }
    }

    fn hit(second: u64, whom: &str) -> Event {
        event(second, What::Hit("kills it".to_owned(), whom.to_owned()))
    }

    #[track_caller]
    fn finds(plant: impl FnOnce(&mut History), expected: fn(String) -> Violation) {
        let mut history = good();
        plant(&mut history);
        let found = check(&history);
        let is_it = |it: &Violation| expected(it.subject().to_owned()) == *it;
        assert!(found.iter().any(is_it), "{found:?}");
    }

    /// Adds a job as it was at the end.
    fn ends(history: &mut History, last: View, wanted: Wanted) {
        history.events.push(event(9, What::Acknowledged(wanted, last.id.clone())));
        history.last.push(last);
    }

    #[test]
    fn nothing_is_wrong_where_all_went_well() {
        assert_eq!(check(&good()), BTreeSet::new());
        let mut history = good();
        poisoned(&mut history);
        let unstarted = view("three", "cancelled", &[attempt(50, 55, "not accepted")]);
        ends(&mut history, unstarted, wanted(3));
        history.events.push(event(9, What::Cancel("three".to_owned())));
        assert_eq!(check(&history), BTreeSet::new());
    }

    #[test]
    fn a_lost_job_is_found() {
        finds(|it| it.last.clear(), Violation::Lost);
        finds(|it| it.events.push(event(9, What::Missing("one".to_owned()))), Violation::Lost);
    }

    #[test]
    fn a_job_that_never_ends_is_found() {
        finds(|it| ends(it, view("two", "leased", &[]), wanted(2)), Violation::Stuck);
    }

    #[test]
    fn two_results_are_found() {
        let other = Some(("success".to_owned(), "1 other\n".to_owned()));
        finds(|it| it.last[1].result = other, Violation::TwoResults);
        let twice = vec![attempt(0, 10, "completed"), attempt(10, 20, "completed")];
        finds(|it| it.last[0].attempts = twice, Violation::TwoResults);
    }

    #[test]
    fn a_result_of_another_job_is_found() {
        let other = Some(("success".to_owned(), "17 word\n".to_owned()));
        finds(|it| it.last[0].result = other, Violation::WrongResult);
        finds(|it| it.last[0].result = None, Violation::WrongResult);
    }

    #[test]
    fn a_final_state_that_changed_is_found() {
        finds(|it| it.last[1].state = "dead".to_owned(), Violation::Changed);
        let again = View { version: 4, ..view("one", "leased", &[]) };
        finds(|it| it.events.push(event(9, What::Seen(again))), Violation::Changed);
        let older = View { version: 1, ..view("one", "ready", &[]) };
        finds(|it| it.events.push(event(9, What::Seen(older))), Violation::WentBack);
    }

    #[test]
    fn a_key_of_two_jobs_is_found() {
        let other = || What::Acknowledged(wanted(1), "two".to_owned());
        finds(|it| it.events.push(event(9, other())), Violation::TwoNames);
        let key = || What::Acknowledged(wanted(2), "one".to_owned());
        finds(|it| it.events.push(event(9, key())), Violation::TwoNames);
        finds(|it| it.last.push(view("two", "succeeded", &[])), Violation::Unasked);
    }

    #[test]
    fn more_attempts_than_allowed_are_found() {
        let many: Vec<_> = (0..4).map(|it| attempt(it, it + 1, "executor_lost")).collect();
        finds(|it| it.last[0].attempts = many.clone(), Violation::TooManyAttempts);
        let once = Wanted { at_most_once: true, ..wanted(2) };
        let twice = view("two", "succeeded", &[attempt(20, 21, "abandoned"), many[3].clone()]);
        finds(|it| ends(it, twice, once), Violation::RanTwice);
    }

    #[test]
    fn attempts_that_overlap_are_found() {
        finds(|it| it.last[0].attempts[1].started = 9, Violation::Overlap);
        finds(|it| it.last[0].attempts[0].ended = None, Violation::Overlap);
    }

    #[test]
    fn a_caller_above_its_cap_is_found() {
        let beside = view("two", "succeeded", &[attempt(19, 25, "completed")]);
        finds(|it| ends(it, beside, wanted(2)), Violation::OverCap);
    }

    #[test]
    fn an_end_without_a_reason_is_found() {
        let dead = view("two", "dead", &[attempt(20, 30, "lost")]);
        finds(|it| ends(it, dead.clone(), wanted(2)), Violation::DeadTooSoon);
        let poison = View { reason: Some("poison".to_owned()), ..dead };
        finds(|it| ends(it, poison, wanted(2)), Violation::DeadTooSoon);
        finds(|it| ends(it, view("two", "cancelled", &[]), wanted(2)), Violation::EndedUnasked);
        finds(|it| ends(it, view("two", "expired", &[]), wanted(2)), Violation::EndedUnasked);
    }

    #[test]
    fn poison_that_two_hits_do_not_account_for_is_found() {
        let with_hits = |hits: &[Event]| {
            let mut history = good();
            poisoned(&mut history);
            history.events.retain(|it| !matches!(it.what, What::Hit(..)));
            history.events.extend(hits.iter().cloned());
            check(&history)
        };
        let too_soon = BTreeSet::from([Violation::DeadTooSoon("two".to_owned())]);
        for hits in [
            &[][..],
            &[hit(21, ":w")],
            &[hit(21, ":w"), hit(22, ":w")],
            &[hit(21, ":w"), hit(38, ":v")],
            &[hit(21, ":w"), hit(60, ":w")],
            &[hit(36, ":w")],
        ] {
            assert_eq!(with_hits(hits), too_soon, "{hits:?}");
        }
        assert_eq!(with_hits(&[hit(35, ":w"), hit(37, ":w")]), BTreeSet::new());
    }

    #[test]
    fn wrong_counts_and_refused_calls_are_found() {
        finds(|it| it.counted = (1, 0), Violation::Miscounted);
        let (call, answer) = ("submit".to_owned(), "404".to_owned());
        finds(|it| it.events.push(event(9, What::Refused { call, answer })), Violation::Refused);
    }

    #[test]
    fn the_story_of_a_job_has_what_was_done_meanwhile() {
        let mut history = good();
        history.events.push(event(99, What::Done("later".to_owned())));
        assert_eq!(story(&history, "one").len(), 5);
    }
}
