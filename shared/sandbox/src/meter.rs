//! What a run has spent so far: counted by its control group where it has one, sampled from its
//! process tree otherwise.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use rustix::fs::fstatvfs;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

use crate::cgroup::Directories;
use crate::sys::process::{ask_as_user, children_usage, processor_time_of};
use crate::tree::{Mappings, Processes, Sample};

/// What a run has spent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Spent {
    /// Memory in use when last looked at, in bytes; with a group, the most there ever was.
    pub(crate) memory_bytes: u64,
    /// Whether the kernel ended a process of it because its group's memory ran out.
    pub(crate) out_of_memory: bool,
    /// Processor time of the whole tree.
    pub(crate) cpu: Duration,
}

/// What a process has and has spent before its program is known, and is not that's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Baseline {
    /// As [`Spent::memory_bytes`].
    pub(crate) memory_bytes: u64,
    /// What it has mapped.
    pub(crate) mapped: Mappings,
    /// Its processor time.
    pub(crate) cpu: Duration,
}

impl Baseline {
    /// With the processor time that it has spent by now.
    pub(crate) fn now(self, process: Pid) -> Self {
        Self { cpu: processor_time_of(process), ..self }
    }
}

/// Measures one run after another in the same cell.
#[derive(Debug)]
pub(crate) struct Meter {
    processes: Processes,
    /// This process, as `processes` knows it.
    own: Option<Pid>,
    group: Option<Group>,
    /// What programs write to, where it is in memory.
    files: Option<OwnedFd>,
    before: Baseline,
    kills_before: u64,
    /// The user of programs, if that is not ours.
    user: Option<u32>,
    /// How often a process of ours as that user may still fail to answer.
    patience: Cell<u32>,
    /// Those that did not, and are no part of the run.
    silent: RefCell<Vec<Pid>>,
}

/// The open files of a control group, which stay readable in whatever file tree.
#[derive(Debug)]
struct Group {
    events: File,
    /// The most memory that there was; where nobody remembers that, what there is.
    memory: File,
    /// What there is.
    now: File,
    tells_peak: bool,
    cpu: File,
    pids: File,
}

impl Meter {
    /// Finds everything that it will look at, while that has names.
    /// `user` is whoever programs run as, if that is not us, and how often a process of ours as that
    /// user may fail to answer in a run.
    pub(crate) fn open(group: Option<&Directories>, user: Option<(u32, u32)>) -> io::Result<Self> {
        let processes = Processes::open()?;
        let own = processes.own();
        let group = group.map(Group::open).transpose()?;
        Ok(Self {
            processes,
            own,
            group,
            files: None,
            before: Baseline::default(),
            kills_before: 0,
            user: user.map(|(uid, _)| uid),
            patience: Cell::new(user.map_or(0, |(_, patience)| patience)),
            silent: RefCell::default(),
        })
    }

    /// From now on, what is in this file system counts too.
    pub(crate) fn count_files(&mut self, files: OwnedFd) {
        self.files = Some(files);
    }

    /// Has processes counted that are not seen. Only single-threaded processes may call it.
    pub(crate) fn find_unseen(&mut self) -> io::Result<()> {
        self.processes.find_unseen()
    }

    /// The processes of this machine.
    pub(crate) fn processes(&self) -> &Processes {
        &self.processes
    }

    /// Whether the kernel counts the whole run.
    pub(crate) fn is_exact(&self) -> bool {
        self.group.as_ref().is_some_and(|group| group.tells_peak)
    }

    /// What is used now by the one process of the cell that waits for its program.
    pub(crate) fn baseline(&self, process: Pid) -> Baseline {
        let there = self.own.map(|own| self.processes.below(own)).unwrap_or_default();
        let first = there.first().and_then(|it| self.processes.mappings(*it).ok());
        let memory_bytes = match &self.group {
            Some(group) => read_number(&group.now).unwrap_or_default(),
            None => self.processes.sample(&there).memory_bytes,
        };
        Baseline { memory_bytes, mapped: first.unwrap_or_default(), cpu: Duration::ZERO }
            .now(process)
    }

    /// A process of the cell, as [`Self::processes`] knows it, if it is this process's child.
    pub(crate) fn first_child(&self) -> Option<Pid> {
        self.processes.children(self.own?).first().copied()
    }

    /// Begins anew: what was spent before now is not the next run's, and neither is what a process
    /// that becomes part of it has and has spent, `ahead`.
    pub(crate) fn begin(&mut self, ahead: Baseline) {
        self.before = ahead;
        if let Some(group) = &self.group {
            self.before.cpu = group.cpu();
            self.kills_before = group.kills();
            // Kernels that cannot forget a peak were given a group that is new.
            group.memory.write_at(b"0", 0).unwrap_or_default();
        } else {
            self.before.cpu += children_usage().0;
        }
    }

    /// Looks at the run, below `memory_max` bytes as cheaply as can be.
    pub(crate) fn look(&self, memory_max: u64) -> Spent {
        if let Some(group) = &self.group {
            let memory_bytes = read_number(&group.memory).unwrap_or_default();
            return Spent {
                memory_bytes: memory_bytes.saturating_sub(self.before.memory_bytes),
                out_of_memory: group.kills() > self.kills_before,
                cpu: group.cpu().saturating_sub(self.before.cpu),
            };
        }
        let Some(own) = self.own else { return Spent::default() };
        let mut processes = self.processes.below(own);
        let mut silent = self.silent.borrow_mut();
        // One that is gone leaves its number to others.
        silent.retain(|it| matches!(waitpid(Some(*it), WaitOptions::NOHANG), Ok(None)));
        processes.retain(|it| !silent.contains(it));
        drop(silent);
        let Sample { mut memory_bytes, cpu, processes: count } = self.processes.sample(&processes);
        let before = self.before.memory_bytes;
        let files = self.files_bytes();
        if memory_bytes + files > memory_max.saturating_add(before) && count > 1 {
            // Pages that a fork shares were counted for each process.
            let exact = self.processes.proportional_memory(&processes);
            memory_bytes = exact
                .or_else(|| self.as_user(&processes))
                .or_else(|| self.in_doubt(memory_bytes, memory_max.saturating_add(before)))
                .unwrap_or(memory_bytes);
        }
        let memory_bytes = memory_bytes.saturating_sub(before) + files;
        let cpu = (cpu + children_usage().0).saturating_sub(self.before.cpu);
        Spent { memory_bytes, out_of_memory: false, cpu }
    }

    /// How many processes the run has.
    pub(crate) fn count(&self) -> u64 {
        let mut processes = self.own.map(|own| self.processes.below(own)).unwrap_or_default();
        let silent = self.silent.borrow();
        processes.retain(|it| !silent.contains(it));
        processes.len() as u64
    }

    /// The memory of processes as their user sees it, where the kernel does not tell us.
    fn as_user(&self, processes: &[Pid]) -> Option<u64> {
        /// Most of what it takes is waiting for a processor that the run keeps busy.
        const TIME_MAX: Duration = Duration::from_millis(200);
        let user = self.user.filter(|_| self.patience.get() > 0)?;
        let told = ask_as_user(user, TIME_MAX, || self.processes.proportional_memory(processes));
        match told {
            Ok(Some(told)) if told > 0 => return Some(told),
            // A process that hides itself has nobody's doubt to its benefit.
            Ok(_) => self.patience.set(0),
            Err(silent) => {
                self.patience.set(self.patience.get() - 1);
                kill_process(silent, Signal::KILL).unwrap_or_default();
                self.silent.borrow_mut().push(silent);
            }
        }
        None
    }

    /// What a run may have that is beyond its bound only if nothing of it is shared: a few times, and
    /// within reason, it is given the benefit of the doubt.
    fn in_doubt(&self, counted_bytes: u64, memory_max: u64) -> Option<u64> {
        const REASON: u64 = 4;
        let may_be = self.patience.get() > 0 && counted_bytes / REASON < memory_max;
        may_be.then_some(memory_max.min(counted_bytes))
    }

    /// What the run spent, once all of it is dead.
    pub(crate) fn total(&self) -> Spent {
        if self.group.is_some() {
            return self.look(u64::MAX);
        }
        let (cpu, largest) = children_usage();
        let cpu = cpu.saturating_sub(self.before.cpu);
        let memory_bytes = largest.saturating_sub(self.before.mapped.resident_bytes);
        Spent { memory_bytes, out_of_memory: false, cpu }
    }

    /// Whether this process is alone, as far as the group knows.
    pub(crate) fn is_alone(&self) -> bool {
        self.group.as_ref().is_none_or(|group| read_number(&group.pids).is_none_or(|it| it <= 1))
    }

    fn files_bytes(&self) -> u64 {
        let Some(files) = &self.files else { return 0 };
        fstatvfs(files).map_or(0, |it| (it.f_blocks - it.f_bfree) * it.f_frsize)
    }
}

impl Group {
    fn open(directories: &Directories) -> io::Result<Self> {
        let [events, peak, cpu, pids] = directories.usage_files();
        // Kernels before 6.12 only let us read a peak, and those before 5.19 tell none.
        let forgetful = File::options().read(true).write(true).open(&peak);
        let tells_peak = peak.exists();
        // The second version calls it by the first name, and the first by the other.
        let now = File::open(peak.with_file_name("memory.current"))
            .or_else(|_| File::open(peak.with_file_name("memory.usage_in_bytes")))?;
        let peak = forgetful.or_else(|_| File::open(&peak));
        Ok(Self {
            events: File::open(events)?,
            memory: peak.or_else(|_| now.try_clone())?,
            now,
            tells_peak,
            cpu: File::open(cpu)?,
            pids: File::open(pids)?,
        })
    }

    fn kills(&self) -> u64 {
        let text = read(&self.events);
        number_behind(&text, "oom_kill ").unwrap_or_default()
    }

    fn cpu(&self) -> Duration {
        let text = read(&self.cpu);
        match number_behind(&text, "usage_usec ") {
            Some(micros) => Duration::from_micros(micros),
            None => Duration::from_nanos(text.trim().parse().unwrap_or_default()),
        }
    }
}

fn read(file: &File) -> String {
    let mut bytes = [0; 1024];
    let length = file.read_at(&mut bytes, 0).unwrap_or_default();
    String::from_utf8_lossy(bytes.get(..length).unwrap_or_default()).into_owned()
}

fn read_number(file: &File) -> Option<u64> {
    read(file).trim().parse().ok()
}

/// The number on the line that begins with `name`.
fn number_behind(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_found_by_its_whole_name() {
        let events = "low 0\nhigh 0\nmax 12\noom 2\noom_kill 1\noom_group_kill 0\n";
        assert_eq!(number_behind(events, "oom_kill "), Some(1));
        let control = "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n";
        assert_eq!(number_behind(control, "oom_kill "), Some(3));
        assert_eq!(number_behind("usage_usec 15\n", "usage_usec "), Some(15));
    }
}
