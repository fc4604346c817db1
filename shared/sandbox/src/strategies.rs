//! Strategies that several properties share: hosts, policies and cells of every kind, with numbers
//! and paths that no honest server would send.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

use proptest::array::uniform9;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::{CellSpec, EndReason, Ended, Exit, Limits, Mechanisms, Message, Policy, Usage};

/// How many mechanisms there are, a bit for each.
pub(crate) const MECHANISMS: u16 = 9;

/// Paths that are odd, and all of which can be written as text.
const PATHS: &[&str] = &[
    "",
    "/",
    ".",
    "..",
    "/work",
    "/work/../etc",
    "//etc//passwd",
    "relative/path",
    "/proc/self/root",
    "/a\nb",
    "/a\0b",
    "/\u{202e}a",
    "/\u{1f980}",
    "\"\\\u{7f}",
];

/// The mechanisms whose bits are set.
pub(crate) fn mechanisms(bits: u16) -> Mechanisms {
    let has = |bit: u16| bits & (1 << bit) != 0;
    Mechanisms {
        seccomp: has(0),
        landlock_files: has(1),
        landlock_truncate: has(2),
        landlock_scope: has(3),
        user_switch: has(4),
        data_limit: has(5),
        namespaces: has(6),
        own_proc: has(7),
        cgroup: has(8),
    }
}

/// Every number, those at the edges often.
pub(crate) fn number() -> impl Strategy<Value = u64> {
    let edges = [0, 1, 999, 1000, 1001, u64::MAX / 1000, u64::MAX - 1, u64::MAX];
    prop_oneof![proptest::sample::select(edges.to_vec()), 0..100_000_u64, any::<u64>()]
}

/// Any path that can be written as text.
pub(crate) fn text_path() -> impl Strategy<Value = PathBuf> {
    let odd = proptest::sample::select(PATHS).prop_map(PathBuf::from);
    prop_oneof![odd, any::<String>().prop_map(PathBuf::from)]
}

/// Any path at all; now and then one that is no text.
pub(crate) fn path() -> impl Strategy<Value = PathBuf> {
    let bytes = vec(any::<u8>(), 0..16).prop_map(|it| PathBuf::from(OsString::from_vec(it)));
    prop_oneof![30 => text_path(), 1 => bytes]
}

/// Any policy, some with a path that is no text.
pub(crate) fn policy() -> impl Strategy<Value = Policy> {
    let argv = vec(any::<String>(), 0..4);
    let env = vec((any::<String>(), any::<String>()), 0..4);
    let paths = || vec(path(), 0..4);
    let numbers = uniform9(number());
    (path(), argv, env, path(), paths(), paths(), numbers).prop_map(
        |(program, argv, env, work_dir, readable, writable, numbers)| {
            let limits = limits(numbers);
            Policy { program, argv, env, work_dir, readable, writable, limits }
        },
    )
}

fn limits(numbers: [u64; 9]) -> Limits {
    let [wall_ms, cpu_ms, memory_bytes, data_bytes, processes, processors, rest @ ..] = numbers;
    let [open_files, file_bytes, stack_bytes] = rest;
    Limits {
        wall_ms,
        cpu_ms,
        memory_bytes,
        data_bytes,
        address_space_bytes: (data_bytes % 2 == 0).then_some(data_bytes),
        processes,
        processors,
        open_files,
        file_bytes,
        stack_bytes,
    }
}

/// Any cell on any host.
pub(crate) fn cell() -> impl Strategy<Value = CellSpec> {
    let bits = 0..1_u16 << MECHANISMS;
    let paths = || vec(path(), 0..3);
    (bits, option::of(any::<u32>()), number(), paths(), paths(), number()).prop_map(
        |(bits, uid, files_bytes, readable, writable, neighbours)| {
            let mechanisms = mechanisms(bits);
            CellSpec { mechanisms, uid, files_bytes, readable, writable, neighbours }
        },
    )
}

/// Anything that a reaper says.
pub(crate) fn message() -> impl Strategy<Value = Message> {
    prop_oneof![
        any::<i32>().prop_map(|pid| Message::Hello { pid }),
        any::<u64>().prop_map(|baseline_bytes| Message::Ready { baseline_bytes }),
        Just(Message::Gone),
        Just(Message::Accepted),
        Just(Message::Started),
        any::<[u64; 4]>().prop_map(|[wall_us, cpu_us, memory_bytes, processes]| {
            Message::Usage(Usage { wall_us, cpu_us, memory_bytes, processes })
        }),
        (any::<String>(), any::<i32>()).prop_map(|(step, errno)| Message::Failed { step, errno }),
        ended().prop_map(Message::Ended),
    ]
}

fn exit() -> impl Strategy<Value = Exit> {
    prop_oneof![any::<i32>().prop_map(Exit::Code), any::<i32>().prop_map(Exit::Signal)]
}

fn ended() -> impl Strategy<Value = Ended> {
    let reasons = [
        EndReason::Exited,
        EndReason::WallTime,
        EndReason::CpuTime,
        EndReason::Memory,
        EndReason::Output,
        EndReason::Cancelled,
    ];
    let numbers = any::<[u64; 3]>();
    (exit(), proptest::sample::select(reasons.to_vec()), numbers, any::<[bool; 2]>()).prop_map(
        |(exit, reason, [wall_us, cpu_us, memory_bytes], [exact, clean])| Ended {
            exit,
            reason,
            wall_us,
            cpu_us,
            memory_bytes,
            exact,
            clean,
        },
    )
}
