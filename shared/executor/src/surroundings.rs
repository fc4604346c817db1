//! What is seen around this executor: the walls that stand beside ours. Best effort, and never a
//! reason to do anything differently.

use std::fs;
use std::path::Path;

/// Files that engines put into their containers.
const MARKS: &[&str] = &["/.dockerenv", "/run/.containerenv"];

/// Words in the names of control groups that engines make.
const GROUPS: &[&str] = &["docker", "kubepods", "containerd", "libpod", "lxc", "garden", "ecs"];

/// The version that gVisor gives for the kernel it is in place of, whatever is below it.
const GVISOR_BUILD: &str = "#1 SMP Sun Jan 10 15:06:54 PST 2016";

/// What there is to see.
#[derive(Debug, Default)]
struct Signs {
    kernel: String,
    processor: String,
    groups: String,
    has_mark: bool,
    has_orchestrator: bool,
}

/// The walls around this process, outermost last.
pub(crate) fn walls() -> Vec<String> {
    let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let signs = Signs {
        kernel: text("/proc/version"),
        processor: text("/proc/cpuinfo"),
        groups: text("/proc/1/cgroup") + &text("/proc/self/cgroup"),
        has_mark: MARKS.iter().any(|it| Path::new(it).exists()),
        has_orchestrator: ::settings::variable("KUBERNETES_SERVICE_HOST").is_some(),
    };
    told_by(&signs).into_iter().map(str::to_owned).collect()
}

fn told_by(signs: &Signs) -> Vec<&'static str> {
    let is_grouped = GROUPS.iter().any(|it| signs.groups.contains(it));
    let is_gvisor =
        signs.kernel.to_lowercase().contains("gvisor") || signs.kernel.contains(GVISOR_BUILD);
    let flags = signs.processor.lines().filter(|line| line.starts_with("flags"));
    let is_virtual = flags.flat_map(str::split_whitespace).any(|it| it == "hypervisor");
    [
        ("container", signs.has_mark || signs.has_orchestrator || is_grouped),
        ("kubernetes", signs.has_orchestrator),
        ("gvisor", is_gvisor),
        ("virtual machine", is_virtual),
    ]
    .into_iter()
    .filter(|(_, is_seen)| *is_seen)
    .map(|(name, _)| name)
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(signs: &Signs, expected: &[&str]) {
        assert_eq!(told_by(signs), expected, "{signs:?}");
    }

    #[test]
    fn each_wall_has_its_signs() {
        check(&Signs::default(), &[]);
        check(&Signs { has_mark: true, ..Signs::default() }, &["container"]);
        let groups = "0::/system.slice/docker-5f1d.scope".to_owned();
        check(&Signs { groups, ..Signs::default() }, &["container"]);
        check(&Signs { has_orchestrator: true, ..Signs::default() }, &["container", "kubernetes"]);
        let kernel = format!("Linux version 4.4.0 {GVISOR_BUILD}");
        check(&Signs { kernel, ..Signs::default() }, &["gvisor"]);
        let processor = "model name: x\nflags\t\t: fpu hypervisor avx".to_owned();
        check(&Signs { processor, ..Signs::default() }, &["virtual machine"]);
    }
}
