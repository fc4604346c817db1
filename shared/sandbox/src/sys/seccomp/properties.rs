//! Properties of the compiled filter, run here as the kernel runs it: what is left to it is denied
//! whatever the arguments, and a filter that is left more allows nothing that another denies.

use std::sync::LazyLock;

use proptest::array::uniform6;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

/// A system call as the filter sees it.
#[derive(Debug, Clone, Copy)]
struct Call {
    number: u32,
    architecture: u32,
    arguments: [u64; 6],
}

/// What the kernel does with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Allow,
    Errno(u32),
    Kill,
}

/// `AUDIT_ARCH_X86_64` and `AUDIT_ARCH_AARCH64` of `audit.h`.
#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xC000_003E;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xC000_00B7;

/// Calls about whose arguments the filter says something.
const CONDITIONAL: &[i64] = &[
    libc::SYS_openat,
    libc::SYS_socketpair,
    libc::SYS_mmap,
    libc::SYS_clone,
    libc::SYS_prlimit64,
    libc::SYS_sched_setaffinity,
    libc::SYS_sched_setparam,
    libc::SYS_sched_setscheduler,
    libc::SYS_sched_setattr,
    libc::SYS_setpriority,
    libc::SYS_fcntl,
    libc::SYS_ioctl,
    libc::SYS_personality,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_open,
];

/// Values that some condition compares with.
const VALUES: &[i32] = &[
    0,
    1,
    2,
    3,
    -1,
    libc::O_TRUNC,
    libc::O_TRUNC | libc::O_WRONLY,
    libc::O_TRUNC | libc::O_CREAT,
    libc::SOCK_DGRAM | libc::SOCK_CLOEXEC,
    libc::SOCK_RAW | libc::SOCK_NONBLOCK,
    libc::MAP_SHARED | libc::MAP_ANONYMOUS,
    libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWNS | libc::CLONE_VM,
    libc::CLONE_VM | libc::CLONE_VFORK,
    libc::F_SETOWN,
    libc::F_SETPIPE_SZ,
    libc::F_SETLEASE,
    TIOCSTI,
    TIOCSETD,
    FIOSETOWN,
    0x0008,
    0x2_0000,
];

/// Every surface, with its compiled filter.
static FILTERS: LazyLock<Vec<(Surface, Vec<BpfProgram>)>> = LazyLock::new(|| {
    let surfaces = (0..16_u8).map(|bits| Surface {
        owns_more_than_its_run: bits & 1 != 0,
        memory_is_counted: bits & 2 == 0,
        can_truncate: bits & 4 != 0,
        keeps_its_group: bits & 8 != 0,
    });
    surfaces.map(|it| (it, programs(it).unwrap())).collect()
});

/// Runs one program on a call: the few instructions that filters here consist of.
fn run(program: &BpfProgram, call: &Call) -> u32 {
    let mut accumulator = 0;
    let mut at = 0;
    loop {
        let line = &program[at];
        at += 1;
        let jump = |yes| usize::from(if yes { line.jt } else { line.jf });
        match line.code {
            0x06 => return line.k,
            0x20 => accumulator = load(call, line.k),
            0x54 => accumulator &= line.k,
            0x05 => at += line.k as usize,
            0x15 => at += jump(accumulator == line.k),
            0x25 => at += jump(accumulator > line.k),
            0x35 => at += jump(accumulator >= line.k),
            code => panic!("nobody said what {code:#x} does"),
        }
    }
}

/// Reads from `struct seccomp_data` of `seccomp.h`, in an order of bytes with the low half first.
fn load(call: &Call, offset: u32) -> u32 {
    match offset {
        0 => return call.number,
        4 => return call.architecture,
        _ => assert!(offset >= 16 && offset.is_multiple_of(4), "nothing is read at {offset}"),
    }
    let argument = call.arguments[(offset as usize - 16) / 8];
    let half = if offset.is_multiple_of(8) { argument } else { argument >> 32 };
    u32::try_from(half & u64::from(u32::MAX)).unwrap()
}

/// What all programs together decide: the gravest action counts, and of equal ones that of the
/// program that was installed last.
fn verdict(programs: &[BpfProgram], call: &Call) -> Verdict {
    const ALLOW: u32 = 0x7fff_0000;
    const ERRNO: u32 = 0x0005_0000;
    const KILL_PROCESS: u32 = 0x8000_0000;
    let action = |it: &u32| (it & 0xffff_0000).cast_signed();
    let answers = programs.iter().rev().map(|it| run(it, call));
    let answer = answers.min_by_key(action).unwrap();
    match answer & 0xffff_0000 {
        ALLOW => Verdict::Allow,
        ERRNO => Verdict::Errno(answer & 0xffff),
        KILL_PROCESS => Verdict::Kill,
        other => panic!("nobody asked for the action {other:#x}"),
    }
}

/// Whether `more` leaves the filter everything that `less` does.
fn is_within(less: Surface, more: Surface) -> bool {
    less.owns_more_than_its_run <= more.owns_more_than_its_run
        && less.memory_is_counted >= more.memory_is_counted
        && less.can_truncate <= more.can_truncate
        && less.keeps_its_group <= more.keeps_its_group
}

fn check(call: &Call) {
    let verdicts: Vec<_> =
        FILTERS.iter().map(|(it, filter)| (*it, verdict(filter, call))).collect();
    for (less, before) in &verdicts {
        for (more, after) in verdicts.iter().filter(|(it, _)| is_within(*less, *it)) {
            let is_denied = *after != Verdict::Allow || *before == Verdict::Allow;
            assert!(is_denied, "{call:?} is denied with {less:?} and allowed with {more:?}");
        }
    }
    for ((surface, verdict_now), (_, filter)) in verdicts.iter().zip(FILTERS.iter()) {
        check_alone(call, *surface, *verdict_now);
        // The kernel looks at half of each argument that is compared; so must the filter.
        let arguments = call.arguments.map(|it| it ^ 0xffff_ffff_0000_0000);
        let other_halves = Call { arguments, ..*call };
        assert_eq!(verdict(filter, &other_halves), *verdict_now, "{call:?}");
    }
}

/// What one filter must say of a call.
fn check_alone(call: &Call, surface: Surface, verdict: Verdict) {
    let listed = |list: &[(i64, &str)]| list.iter().any(|(it, _)| *it == i64::from(call.number));
    let named = |list: &[i64]| list.contains(&i64::from(call.number));
    let refused = libc::EPERM.cast_unsigned();
    let absent = libc::ENOSYS.cast_unsigned();
    let expected = if call.architecture != ARCHITECTURE || call.number >= X32_BIT {
        Verdict::Kill
    } else if call.number > NEWEST_REVIEWED || listed(ABSENT) {
        Verdict::Errno(absent)
    } else if listed(DENIED) || listed(DENIED_HERE) || (surface.can_truncate && listed(TRUNCATES)) {
        Verdict::Errno(refused)
    } else if surface.owns_more_than_its_run
        && (named(WITHOUT_EFFECT) || named(WITHOUT_EFFECT_HERE))
        || surface.keeps_its_group && named(LEAVES_GROUP)
    {
        Verdict::Errno(0)
    } else if named(CONDITIONAL) || named(&[libc::SYS_memfd_create]) {
        assert!([Verdict::Allow, Verdict::Errno(refused)].contains(&verdict), "{call:?}");
        return;
    } else {
        Verdict::Allow
    };
    assert_eq!(verdict, expected, "{call:?} with {surface:?}");
}

fn argument() -> impl Strategy<Value = u64> {
    let near = select(VALUES).prop_map(|it| u64::from(it.cast_unsigned()));
    let both =
        (select(VALUES), select(VALUES)).prop_map(|(a, b)| u64::from((a | b).cast_unsigned()));
    prop_oneof![3 => near, 2 => both, 1 => any::<u64>()]
}

fn call() -> impl Strategy<Value = Call> {
    let number = prop_oneof![
        6 => select(CONDITIONAL).prop_map(|it| u32::try_from(it).unwrap()),
        3 => 0..600_u32,
        1 => any::<u32>(),
    ];
    let architecture = prop_oneof![20 => Just(ARCHITECTURE), 1 => any::<u32>()];
    (number, architecture, uniform6(argument()))
        .prop_map(|(number, architecture, arguments)| Call { number, architecture, arguments })
}

#[test]
fn every_call_has_the_verdict_that_its_table_says() {
    let numbers = (0..600).chain([X32_BIT - 1, X32_BIT, X32_BIT + 41, u32::MAX]);
    for number in numbers {
        for argument in [0, u64::MAX] {
            check(&Call { number, architecture: ARCHITECTURE, arguments: [argument; 6] });
        }
    }
}

#[test]
fn a_foreign_convention_ends_the_process() {
    // i386, ARM and none.
    for architecture in [0x4000_0003, 0x4000_0028, 0] {
        for number in 0..600 {
            check(&Call { number, architecture, arguments: [0; 6] });
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn a_filter_that_is_left_more_denies_no_less(call in call()) {
        check(&call);
    }
}
