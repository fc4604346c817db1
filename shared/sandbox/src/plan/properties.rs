//! Properties of plans: whatever a host grants and a policy says, each step stands where it takes
//! hold, what was proven is used, and what one mechanism does not take away another does.

use proptest::prelude::*;
use protocol::Strength;

use super::*;
use crate::strategies::{self, MECHANISMS, mechanisms};
use crate::{Mechanisms, guarantees};

/// Every resource that always has a limit.
const RESOURCES: &[Resource] = &[
    Resource::Core,
    Resource::Cpu,
    Resource::Data,
    Resource::FileSize,
    Resource::LockedMemory,
    Resource::MessageQueues,
    Resource::OpenFiles,
    Resource::PendingSignals,
    Resource::Stack,
];

/// Where a step stands. What needs rights comes before the change of user; the filter and Landlock
/// need that no rights can be won; the count of processes is the new user's; what needs names of
/// files comes before they are taken away.
fn place(step: &Step) -> u8 {
    match step {
        Step::NewSession | Step::Umask => 0,
        Step::Limit { resource, .. } if FIXED.contains(resource) => 1,
        Step::Identity(_) | Step::Capabilities => 2,
        Step::NoNewPrivileges => 3,
        Step::Files { .. } => 4,
        Step::Seccomp(_) => 5,
        Step::OomScore | Step::WorkDir(_) => 6,
        Step::Limit { .. } => 7,
        Step::Processes { .. } => 8,
        Step::Landlock { .. } => 9,
    }
}

/// Resources whose limit no policy says.
const FIXED: &[Resource] =
    &[Resource::Core, Resource::LockedMemory, Resource::MessageQueues, Resource::PendingSignals];

/// All steps, those taken ahead first.
fn whole(policy: &Policy, cell: &CellSpec) -> Vec<Step> {
    [ahead(cell), plan(policy, cell)].concat()
}

fn check_order(steps: &[Step], cell: &CellSpec) {
    let places: Vec<u8> = steps.iter().map(place).collect();
    assert!(places.is_sorted(), "{steps:?}");
    let count = |number| steps.iter().filter(|it| place(it) == number).count();
    assert_eq!([count(0), count(1), count(2), count(3)], [2, FIXED.len(), 1, 1]);
    let limits = RESOURCES.len() - FIXED.len() + usize::from(has_address_space_limit(steps));
    assert_eq!([count(6), count(7), count(8)], [2, limits, 1]);
    for step in [Step::NewSession, Step::OomScore, Step::Umask] {
        assert!(steps.contains(&step), "{step:?}");
    }
    let files = usize::from(cell.mechanisms.landlock_files);
    assert_eq!([count(4), count(9)], [files, files]);
    assert_eq!(count(5), usize::from(cell.mechanisms.seccomp));
}

fn check_rights(steps: &[Step], policy: &Policy, cell: &CellSpec) {
    let proven = cell.mechanisms;
    for step in steps {
        match step {
            Step::WorkDir(directory) => assert_eq!(*directory, policy.work_dir),
            Step::Identity(uid) => assert!(proven.user_switch && cell.uid == Some(*uid)),
            Step::Capabilities => assert!(!proven.user_switch || cell.uid.is_none()),
            Step::Processes { limit, counted_with } => {
                assert_eq!(*limit, policy.limits.processes);
                let apart = has_own_user(cell) || proven.namespaces;
                let with_others = CountedWith::OthersOfItsUser { soon: cell.neighbours };
                assert_eq!(*counted_with != with_others, apart);
                assert_eq!(*counted_with == CountedWith::Nobody, has_own_user(cell));
            }
            // Not even what the cell may write is more than what the policy says.
            Step::Landlock { readable, writable } => {
                assert_eq!((readable, writable), (&policy.readable, &policy.writable));
            }
            Step::Files { readable, scope } => {
                assert_eq!(*readable, cell.readable);
                assert_eq!(*scope, proven.landlock_scope);
            }
            Step::Seccomp(planned) => assert_eq!(*planned, surface(cell)),
            _ => {}
        }
    }
}

fn has_own_user(cell: &CellSpec) -> bool {
    cell.mechanisms.user_switch && cell.uid.is_some()
}

fn has_address_space_limit(steps: &[Step]) -> bool {
    steps.iter().any(|it| matches!(it, Step::Limit { resource: Resource::AddressSpace, .. }))
}

fn check_limits(steps: &[Step], policy: &Policy) {
    let asked = policy.limits;
    assert_eq!(has_address_space_limit(steps), asked.address_space_bytes.is_some());
    let optional = asked.address_space_bytes.map(|_| &Resource::AddressSpace);
    for resource in RESOURCES.iter().chain(optional) {
        let is_limit =
            |it: &&Step| matches!(it, Step::Limit { resource: of, .. } if of == resource);
        let Some(Step::Limit { soft, hard, .. }) = steps.iter().find(is_limit) else {
            panic!("{resource:?} has no limit");
        };
        assert!(soft <= hard, "{resource:?}");
        let most = match resource {
            Resource::Core | Resource::MessageQueues => 0,
            Resource::LockedMemory => 64 * 1024,
            Resource::PendingSignals => 256,
            Resource::Data => asked.data_bytes,
            Resource::FileSize => asked.file_bytes,
            Resource::OpenFiles => asked.open_files,
            Resource::Stack => asked.stack_bytes,
            Resource::AddressSpace => asked.address_space_bytes.unwrap(),
            // Rounded up, and a second for the watch to come first.
            Resource::Cpu => {
                assert!(u128::from(*soft) * 1000 > u128::from(asked.cpu_ms));
                asked.cpu_ms / 1000 + 3
            }
        };
        assert!(*hard <= most, "{resource:?}");
    }
}

fn check(policy: &Policy, cell: &CellSpec) {
    let steps = whole(policy, cell);
    check_order(&steps, cell);
    check_rights(&steps, policy, cell);
    check_limits(&steps, policy);
    assert_eq!(whole(policy, cell), steps, "the same is planned each time");
}

/// Every host, with and without a user for the slot.
fn cells() -> impl Iterator<Item = CellSpec> {
    (0..1 << MECHANISMS).flat_map(|bits| [None, Some(7)].map(|uid| cell(mechanisms(bits), uid)))
}

fn cell(mechanisms: Mechanisms, uid: Option<u32>) -> CellSpec {
    let (readable, writable) = (Vec::new(), Vec::new());
    CellSpec { mechanisms, uid, files_bytes: 0, readable, writable, neighbours: 2 }
}

/// Every host, with each that lacks one thing more than it. Those that lack several follow.
fn weakened() -> impl Iterator<Item = (CellSpec, CellSpec)> {
    let without_one = (0..1 << MECHANISMS).flat_map(|bits: u16| {
        let has = move |bit: &u16| bits & (1 << bit) != 0;
        (0..MECHANISMS)
            .filter(has)
            .map(move |bit| (mechanisms(bits), mechanisms(bits & !(1 << bit))))
    });
    let without_one = without_one.flat_map(|(strong, weak)| {
        [None, Some(7)].map(|uid| {
            let strong = cell(strong, uid);
            (strong.clone(), CellSpec { mechanisms: weak, ..strong })
        })
    });
    let without_user = cells().map(|it| (it.clone(), CellSpec { uid: None, ..it }));
    without_one.chain(without_user)
}

/// What the filter must deny, field by field.
fn left_to_the_filter(surface: Surface) -> [(&'static str, bool); 4] {
    let Surface { owns_more_than_its_run, memory_is_counted, can_truncate, keeps_its_group } =
        surface;
    [
        ("changes of what the user owns", owns_more_than_its_run),
        ("memory that nobody counts", !memory_is_counted),
        ("truncation", can_truncate),
        ("leaving the group", keeps_its_group),
    ]
}

fn check_more_is_left(less: Surface, more: Surface, of: &dyn std::fmt::Debug) {
    for ((what, before), (_, after)) in
        left_to_the_filter(less).into_iter().zip(left_to_the_filter(more))
    {
        assert!(after || !before, "the filter stops denying {what}: {of:?}");
    }
}

#[test]
fn a_missing_mechanism_leaves_the_filter_more_and_never_less() {
    for (strong, weak) in weakened() {
        check_more_is_left(surface(&strong), surface(&weak), &(&strong, &weak));
        check_more_is_left(surface(&weak), Surface::WHOLE, &weak);
    }
    let nothing = cells().find(|it| it.mechanisms == Mechanisms::default()).unwrap();
    assert_eq!(surface(&nothing), Surface::WHOLE);
}

#[test]
fn the_filter_leaves_out_only_what_another_step_takes_away() {
    for cell in cells() {
        let proven = cell.mechanisms;
        let left = surface(&cell);
        let truncation_is_covered = proven.landlock_files && proven.landlock_truncate;
        let own_user = has_own_user(&cell);
        assert!(left.can_truncate || truncation_is_covered || proven.namespaces, "{cell:?}");
        assert!(left.owns_more_than_its_run || own_user || proven.namespaces, "{cell:?}");
        assert!(!left.memory_is_counted || proven.cgroup, "{cell:?}");
        // These are the ways in which a supervisor finds a run that left its group.
        let is_found = proven.landlock_scope || own_user || proven.namespaces;
        assert!(left.keeps_its_group || is_found, "{cell:?}");
    }
}

#[test]
fn a_missing_mechanism_never_raises_what_is_reported() {
    let rank = |strength| match strength {
        Strength::None => 0,
        Strength::Watched => 1,
        Strength::Enforced => 2,
    };
    for (strong, weak) in weakened().map(|(strong, weak)| (strong.mechanisms, weak.mechanisms)) {
        assert!(weak.level() <= strong.level(), "{weak:?}");
        for (before, after) in guarantees(&strong).into_iter().zip(guarantees(&weak)) {
            assert_eq!(before.name, after.name);
            assert!(rank(after.strength) <= rank(before.strength), "{weak:?}: {after:?}");
        }
    }
}

#[test]
fn what_is_reported_is_planned() {
    let policy = tests::policy();
    // A host that lets us switch users has one for each slot.
    for cell in cells().filter(|it| it.uid.is_some() || !it.mechanisms.user_switch) {
        let proven = cell.mechanisms;
        let steps = whole(&policy, &cell);
        let has = |is: fn(&Step) -> bool| steps.iter().any(is);
        let filter = has(|it| matches!(it, Step::Seccomp(_)));
        let files = has(|it| matches!(it, Step::Landlock { .. })) || proven.namespaces;
        let user = has(|it| matches!(it, Step::Identity(_)));
        let shared = CountedWith::OthersOfItsUser { soon: cell.neighbours };
        let counted = !steps
            .contains(&Step::Processes { limit: policy.limits.processes, counted_with: shared });
        let apart = user || proven.landlock_scope || proven.namespaces;
        for guarantee in guarantees(&proven) {
            let planned = match guarantee.name.as_str() {
                "files" => files,
                "process_secrets" => filter && (files || user),
                "network" => filter || proven.namespaces,
                "signals" | "clean_up" => filter && apart,
                "kernel_surface" => filter,
                "processes" => counted || proven.cgroup,
                "memory_per_process" => proven.data_limit || proven.cgroup,
                "memory_total" | "cpu" => proven.cgroup,
                "disk" => proven.namespaces,
                name => panic!("nobody says what holds {name}"),
            };
            let enforced = guarantee.strength == Strength::Enforced;
            assert_eq!(enforced, planned, "{guarantee:?} with {proven:?}");
        }
    }
}

#[test]
fn every_host_gets_the_steps_that_it_grants() {
    for cell in cells() {
        check(&tests::policy(), &cell);
    }
}

proptest! {
    #[test]
    fn any_policy_becomes_steps_in_order(
        policy in strategies::policy(),
        cell in strategies::cell(),
    ) {
        check(&policy, &cell);
    }
}
