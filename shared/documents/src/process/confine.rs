//! What the process of a document may have and do: little memory, and nothing but to think and to
//! answer.

use std::collections::BTreeMap;
use std::fs;

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use seccompiler::{SeccompAction, SeccompFilter, apply_filter_all_threads};

/// All that it may have, its program and its stacks with it, in bytes.
const MEMORY_MAX: u64 = 512 << 20;

/// What is needed to compute, to speak and to end.
const CALLS: [libc::c_long; 27] = [
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_recvfrom,
    libc::SYS_sendto,
    libc::SYS_writev,
    libc::SYS_close,
    libc::SYS_futex,
    libc::SYS_brk,
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
    libc::SYS_getrandom,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_sched_yield,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// Bounds its memory, and has the kernel end it before others where memory is short.
pub(super) fn limit() {
    for (resource, most) in [(Resource::As, MEMORY_MAX), (Resource::Core, 0)] {
        let limit = Rlimit { current: Some(most), maximum: Some(most) };
        setrlimit(resource, limit).unwrap_or_default();
    }
    fs::write("/proc/self/oom_score_adj", "1000").unwrap_or_default();
    // From here on these files are root's.
    set_dumpable_behavior(DumpableBehavior::NotDumpable).unwrap_or_default();
}

/// Takes everything else from all of its threads, where the kernel can.
pub(super) fn confine() {
    let rules = CALLS.iter().map(|call| (*call, Vec::new())).collect::<BTreeMap<_, _>>();
    let refuse = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let Ok(arch) = std::env::consts::ARCH.try_into() else { return };
    let filter = SeccompFilter::new(rules, refuse, SeccompAction::Allow, arch);
    let program = filter.and_then(seccompiler::BpfProgram::try_from);
    if let Ok(program) = program {
        apply_filter_all_threads(&program).unwrap_or_default();
    }
}
