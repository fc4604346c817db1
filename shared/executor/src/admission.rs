//! How many slots there are and what a run may ask for.
//!
//! All of them together, the server and a reserve fit the memory of the container: without that,
//! its kernel ends the server for what a run did. Runs that could reach each other run one after
//! the other. Pure, save for [`admission`], which reads the host.

use std::path::Path;

use host::{Memory, SERVER_MB, Whose};
use protocol::{Bounds, Guarantee, Strength};

use crate::settings::Settings;
use crate::spec::RuntimeSpec;

/// What was admitted.
#[derive(Debug, PartialEq)]
pub(crate) struct Admission {
    /// Runs at the same time.
    pub(crate) slots: usize,
    /// What may stand ready for the next ones.
    pub(crate) depth: usize,
    /// Whether there is room for interpreters among that.
    pub(crate) warm: bool,
    /// Whether there is room for a compiler that stays.
    pub(crate) resident: bool,
    /// What a submission may ask for.
    pub(crate) bounds: Bounds,
    /// What had to be lowered, for the operator.
    pub(crate) notes: Vec<String>,
}

/// The memory is too small for what was demanded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TooSmall {
    /// Slots were demanded that do not fit.
    #[error(
        "EXECUTOR_SLOTS is {slots}, but the {whose}'s memory of {has_mb} MB holds {fitting} runs \
         of {run_mb} MB (EXECUTOR_MEMORY_DEFAULT_MB) beside the server and a reserve of a fifth; \
         lower EXECUTOR_SLOTS, leave it 0, or grant more memory"
    )]
    Slots { slots: usize, whose: &'static str, has_mb: u64, fitting: u64, run_mb: u64 },
    /// Not even the smallest run fits.
    #[error(
        "the {whose}'s memory of {has_mb} MB holds no run beside the server and a reserve of a \
         fifth; grant at least {needed_mb} MB"
    )]
    Nothing { whose: &'static str, has_mb: u64, needed_mb: u64 },
}

/// What an operator wishes for.
#[derive(Debug, Clone)]
struct Wish {
    /// 0 leaves it to us.
    slots: usize,
    processors: usize,
    bounds: Bounds,
    /// What a compile may use; 0 if there is none.
    compile_mb: u64,
    /// How much is to stand ready; 0 leaves it to us.
    depth: usize,
    /// What takes memory while it waits; 0 if nothing does.
    waiting_mb: u64,
    /// What a compiler that stays may use; 0 if there is none.
    resident_mb: u64,
}

/// Fits the settings and the compile phase of `spec` to the memory of this host, and to what
/// keeps runs apart on it.
pub(crate) fn admission(
    settings: &Settings,
    spec: &mut RuntimeSpec,
    guarantees: &[Guarantee],
) -> Result<Admission, TooSmall> {
    let mut wish = Wish {
        slots: settings.slots,
        processors: host::processors(),
        bounds: settings.bounds(),
        compile_mb: spec.compile.as_ref().map_or(0, |it| it.memory_mb),
        depth: settings.warm_depth,
        waiting_mb: spec.warm.as_ref().filter(|_| settings.warm).map_or(0, |it| it.memory_mb),
        resident_mb: spec.resident().filter(|_| settings.warm).map_or(0, |it| it.memory_mb),
    };
    let note = one_after_the_other(&mut wish, guarantees);
    let (mut admission, compile_mb) = admit(wish, host::memory(Path::new("/")))?;
    admission.notes.extend(note);
    if let Some(compile) = &mut spec.compile {
        compile.memory_mb = compile_mb;
    }
    for note in &admission.notes {
        tracing::warn!("{note}");
    }
    Ok(admission)
}

/// Leaves one slot where runs could signal each other, and says so.
fn one_after_the_other(wish: &mut Wish, guarantees: &[Guarantee]) -> Option<String> {
    let is_separated =
        guarantees.iter().any(|it| it.name == "signals" && it.strength == Strength::Enforced);
    if is_separated || wish.slots == 1 {
        return None;
    }
    wish.slots = wish.slots.min(1);
    wish.processors = 1;
    Some("one slot, as nothing here keeps runs from reaching each other".to_owned())
}

/// Decides; beside the admission, what a compile may use.
fn admit(wish: Wish, memory: Option<Memory>) -> Result<(Admission, u64), TooSmall> {
    let Wish { slots: demanded, processors, mut bounds, compile_mb, .. } = wish;
    let Wish { depth, waiting_mb, resident_mb, .. } = wish;
    let wished = if demanded == 0 { processors.max(1) } else { demanded };
    let Some(memory) = memory else {
        let notes = vec!["this host does not say how much memory it has".to_owned()];
        let depth = if depth == 0 { 2 * wished } else { depth };
        return Ok((
            Admission { slots: wished, depth, warm: true, resident: true, bounds, notes },
            compile_mb,
        ));
    };
    let (whose, has_mb, budget) = (owner(memory), memory.mb(), memory.for_runs_mb());
    let least_mb = bounds.memory_default_mb;
    let resident = has_room(budget, resident_mb, wished, least_mb.max(resident_mb));
    let budget_mb = if resident { budget - resident_mb } else { budget };
    let each = bounds.memory_max_mb.max(compile_mb);
    let mut notes = Vec::new();
    let slots = if demanded == 0 {
        let fitting = usize::try_from(budget_mb / each).unwrap_or(usize::MAX);
        wished.min(fitting.max(1))
    } else {
        demanded
    };
    // A slot's interpreter, and one that waits for it.
    let kept_mb = 2 * waiting_mb * slots as u64;
    let keeps = has_room(budget_mb, kept_mb, slots, least_mb);
    let budget = if keeps { budget_mb - kept_mb } else { budget_mb };
    if slots < wished {
        notes.push(format!(
            "{slots} of {wished} slots: the {whose}'s memory of {has_mb} MB holds no more runs of \
             {each} MB"
        ));
    }
    let share = budget / u64::try_from(slots).unwrap_or(u64::MAX);
    let least = if demanded == 0 { bounds.memory_min_mb } else { bounds.memory_default_mb };
    if share < least {
        let run_mb = bounds.memory_default_mb;
        let fitting = budget / run_mb;
        let needed_mb = (bounds.memory_min_mb + SERVER_MB + 1) * 6 / 5;
        return Err(if demanded == 0 || budget < bounds.memory_min_mb {
            TooSmall::Nothing { whose, has_mb, needed_mb }
        } else {
            TooSmall::Slots { slots, whose, has_mb, fitting, run_mb }
        });
    }
    if share < bounds.memory_max_mb {
        bounds.memory_max_mb = share;
        bounds.memory_default_mb = bounds.memory_default_mb.min(share);
        notes.push(format!(
            "a run may ask for {share} MB at most, as the {whose} has {has_mb} MB for all"
        ));
    }
    if share < compile_mb {
        notes.push(format!("a compile gets {share} MB, as the {whose} has {has_mb} MB for all"));
    }
    let compile_mb = compile_mb.min(share);
    let runs_mb = slots as u64 * bounds.memory_max_mb.max(compile_mb);
    let left_mb = budget_mb.saturating_sub(runs_mb);
    let (depth, warm) = Waiting { wished: depth, each_mb: waiting_mb, left_mb }.admit(slots);
    if !warm {
        notes.push(format!(
            "programs start cold, as the {whose}'s memory of {has_mb} MB has no room for \
             interpreters of {waiting_mb} MB that wait"
        ));
    }
    Ok((Admission { slots, depth, warm, resident, bounds, notes }, compile_mb))
}

/// Whether something that takes `wanted_mb` leaves each slot `least_mb`.
fn has_room(budget_mb: u64, wanted_mb: u64, slots: usize, least_mb: u64) -> bool {
    budget_mb.saturating_sub(wanted_mb) / slots as u64 >= least_mb
}

/// What is to stand ready, and what memory is left for it.
struct Waiting {
    /// 0 leaves it to us.
    wished: usize,
    /// 0 if it takes none.
    each_mb: u64,
    left_mb: u64,
}

impl Waiting {
    /// How much stands ready beside `slots` runs, and whether interpreters may be among it: what one
    /// took to become ready, it keeps while its program runs.
    fn admit(&self, slots: usize) -> (usize, bool) {
        let wished = if self.wished == 0 { 2 * slots } else { self.wished };
        let Some(fitting) = self.left_mb.checked_div(self.each_mb) else { return (wished, true) };
        let fitting = usize::try_from(fitting).unwrap_or(usize::MAX).saturating_sub(slots);
        if fitting == 0 { (wished, false) } else { (wished.min(fitting), true) }
    }
}

fn owner(memory: Memory) -> &'static str {
    match memory.of {
        Whose::Container => "container",
        Whose::Machine => "machine",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(slots: usize, compile_mb: u64) -> Wish {
        let bounds = Bounds::default();
        Wish { slots, processors: 4, bounds, compile_mb, depth: 0, waiting_mb: 0, resident_mb: 0 }
    }

    fn memory(mb: u64) -> Memory {
        Memory { bytes: mb << 20, of: Whose::Container, oom_kills_all: false }
    }

    /// What comes of `slots` and a compile in so many megabytes: slots, the largest and the
    /// default run, and the compile.
    #[track_caller]
    fn check(slots: usize, compile_mb: u64, mb: u64, expected: (usize, u64, u64, u64)) {
        let (admission, compile) = admit(wish(slots, compile_mb), Some(memory(mb))).unwrap();
        let Bounds { memory_max_mb, memory_default_mb, .. } = admission.bounds;
        let found = (admission.slots, memory_max_mb, memory_default_mb, compile);
        assert_eq!(found, expected, "{slots} slots in {mb} MB");
        let used = u64::try_from(found.0).unwrap() * found.1.max(compile) + SERVER_MB;
        assert!(used * 6 / 5 <= mb, "{found:?} do not fit {mb} MB");
        let is_lowered = found != (if slots == 0 { 4 } else { slots }, 512, 128, compile_mb);
        assert_eq!(is_lowered, !admission.notes.is_empty(), "{:?}", admission.notes);
    }

    #[track_caller]
    fn refused(slots: usize, mb: u64, words: &[&str]) {
        let error = admit(wish(slots, 0), Some(memory(mb))).unwrap_err().to_string();
        assert!(words.iter().all(|it| error.contains(it)), "{error}");
    }

    #[test]
    fn where_there_is_room_nothing_is_lowered() {
        check(0, 1024, 8192, (4, 512, 128, 1024));
        check(2, 0, 2048, (2, 512, 128, 0));
    }

    #[test]
    fn automatic_slots_are_as_many_as_fit() {
        check(0, 0, 2048, (3, 512, 128, 0));
        check(0, 1024, 4096, (3, 512, 128, 1024));
    }

    #[test]
    fn demanded_slots_stay_and_each_gets_less() {
        check(2, 1024, 2048, (2, 512, 128, 821));
        check(2, 0, 1024, (2, 394, 128, 0));
    }

    #[test]
    fn a_small_machine_still_has_a_slot() {
        check(0, 1024, 512, (1, 362, 128, 362));
        check(0, 0, 256, (1, 149, 128, 0));
        check(0, 0, 128, (1, 42, 42, 0));
    }

    #[test]
    fn slots_that_cannot_fit_are_refused_with_a_way_out() {
        refused(8, 1024, &["EXECUTOR_SLOTS is 8", "holds 6 runs of 128 MB", "lower"]);
        refused(1, 128, &["holds 0 runs", "grant more memory"]);
        refused(0, 64, &["holds no run", "grant at least 97 MB"]);
        let enough = admit(wish(0, 0), Some(memory(97))).unwrap().0;
        assert_eq!(enough.bounds.memory_max_mb, 16);
    }

    #[test]
    fn runs_that_could_reach_each_other_run_one_after_the_other() {
        let check = |strength, demanded, expected: (usize, bool)| {
            let mut wish = wish(demanded, 0);
            let guarantee =
                Guarantee { name: "signals".to_owned(), strength, mechanism: String::new() };
            let note = one_after_the_other(&mut wish, &[guarantee]);
            let (admission, _) = admit(wish, Some(memory(8192))).unwrap();
            assert_eq!((admission.slots, note.is_some()), expected, "{strength:?} {demanded}");
        };
        check(Strength::Enforced, 0, (4, false));
        check(Strength::Enforced, 3, (3, false));
        check(Strength::None, 0, (1, true));
        check(Strength::None, 3, (1, true));
        check(Strength::None, 1, (1, false));
    }

    #[test]
    fn what_waits_gets_what_runs_leave() {
        let check = |mb, waiting_mb, depth, expected: (usize, bool)| {
            let wish = Wish { depth, waiting_mb, ..wish(1, 0) };
            let (admission, _) = admit(wish, Some(memory(mb))).unwrap();
            assert_eq!((admission.depth, admission.warm), expected, "{mb} MB");
        };
        check(8192, 50, 0, (2, true));
        check(8192, 50, 7, (7, true));
        // 512 MB of a run are lowered until one interpreter can wait.
        check(512, 50, 0, (1, true));
        check(256, 50, 0, (2, false));
        check(256, 0, 0, (2, true));
    }

    #[test]
    fn where_memory_is_unknown_the_wish_stands_and_is_noted() {
        let (admission, compile) = admit(wish(0, 1024), None).unwrap();
        assert_eq!((admission.slots, compile, admission.notes.len()), (4, 1024, 1));
    }
}
