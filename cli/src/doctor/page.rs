//! The doctor's findings for people: tables of 80 columns that need no colour to be read.

use host::{Memory, Whose};
use protocol::{Bounds, Guarantee, Level, Strength};

use super::report::{DoctorReport, HostReport, Mechanism};
use crate::table::table;

/// Terminals are at least so wide.
const COLUMNS: usize = 80;
/// Between two columns.
const GAP: usize = 2;

/// Processes and threads that a run may have in most languages, and that a server takes.
const OF_A_RUN: u64 = 64;
const OF_A_SERVER: u64 = 64;

/// Below so much room, work directories and compiled programs may fill it.
const ROOM_MB: u64 = 1024;

/// Everything, without colour.
pub(super) fn page(report: &DoctorReport) -> String {
    let isolation = &report.isolation;
    let level = isolation.level;
    let guarantees: Vec<_> = isolation.guarantees.iter().map(of_guarantee).collect();
    let mechanisms: Vec<_> = report.mechanisms.iter().map(of_mechanism).collect();
    let mut parts = vec![
        verdict(report),
        columns(["GUARANTEE", "HOLDS", "BY"], &guarantees),
        columns(["MECHANISM", "OUTCOME"], &mechanisms),
    ];
    let grants: Vec<_> = report.mechanisms.iter().filter_map(|it| of_grant(it, level)).collect();
    if !grants.is_empty() {
        let grants = columns(["", ""], &grants);
        parts.push(format!("WHAT WOULD RAISE IT{grants}"));
    }
    parts.push(columns(["THIS HOST", ""], &of_host(&report.host)));
    if let Some(worker) = &report.worker {
        let trouble = worker.trouble.as_deref().unwrap_or("gives jobs to this key");
        parts.push(columns(["GATEWAY", ""], &[[worker.gateway.clone(), trouble.to_owned()]]));
    }
    parts.join("\n")
}

/// The words of strength in colours, for a terminal.
pub(super) fn coloured(page: &str) -> String {
    const COLOURS: [(&str, &str); 3] =
        [("  enforced  ", "32"), ("  watched   ", "33"), ("  none      ", "31")];
    let paint = |line: &str| {
        let word = COLOURS.iter().find(|(word, _)| line.contains(word));
        let Some((word, colour)) = word else { return format!("{line}\n") };
        let bare = word.trim();
        let painted = word.replace(bare, &format!("\u{1b}[{colour}m{bare}\u{1b}[0m"));
        format!("{}\n", line.replacen(word, &painted, 1))
    };
    page.lines().map(paint).collect()
}

fn verdict(report: &DoctorReport) -> String {
    let (level, minimum) = (report.isolation.level, report.isolation.minimum);
    let meaning = if report.sufficient {
        format!("the minimum is {minimum}, so an executor starts.")
    } else {
        format!("the minimum is {minimum}, so an executor refuses to start.")
    };
    format!("Isolation here, as this user: {level}\n{meaning}\n")
}

fn of_guarantee(guarantee: &Guarantee) -> [String; 3] {
    let strength = match guarantee.strength {
        Strength::Enforced => "enforced",
        Strength::Watched => "watched",
        Strength::None => "none",
    };
    let mechanism = if guarantee.mechanism == "none" { "nothing" } else { &guarantee.mechanism };
    [guarantee.name.clone(), strength.to_owned(), mechanism.to_owned()]
}

fn of_mechanism(mechanism: &Mechanism) -> [String; 2] {
    let outcome = match &mechanism.fault {
        None => "proven".to_owned(),
        Some(fault) => format!("not here: {fault}"),
    };
    [mechanism.name.clone(), outcome]
}

/// What is gained by granting a mechanism that is not here; none if it is here.
fn of_grant(mechanism: &Mechanism, level: Level) -> Option<[String; 2]> {
    let would = mechanism.would.as_ref()?;
    let names = would.enforce.join(", ");
    let enforce = match would.enforce.len() {
        0 => "one more wall behind others".to_owned(),
        1 => format!("{names} becomes enforced"),
        _ => format!("{names} become enforced"),
    };
    let reach = if would.reach > level {
        format!("; the level becomes {}", would.reach)
    } else {
        String::new()
    };
    let name = &mechanism.name;
    Some(["  -".to_owned(), format!("{name}: grant {}: {enforce}{reach}", mechanism.grant)])
}

/// Rows of a name and what is to be said of it, warnings included.
fn of_host(host: &HostReport) -> Vec<[String; 2]> {
    let mut rows: Vec<[String; 2]> = Vec::new();
    let mut say = |name: &str, text: String| rows.push([name.to_owned(), text]);
    let processors = host.processors;
    say("processors", format!("{processors}; an executor takes as many slots if memory allows"));
    match host.memory {
        None => say("memory", "unknown: slots are not held against it".to_owned()),
        Some(memory) => say("memory", of_memory(memory)),
    }
    if host.memory.is_some_and(|it| it.oom_kills_all) {
        let text = "when the container's memory is used up, the kernel kills all of it, the \
                    server too (memory.oom.group is 1)";
        say("", text.to_owned());
    }
    let needed = OF_A_RUN * u64::try_from(processors).unwrap_or(u64::MAX / OF_A_RUN) + OF_A_SERVER;
    let text = match host.processes.smallest() {
        None => "no bound around us".to_owned(),
        Some(bound) if bound < needed => format!(
            "{bound} together; {processors} slots may need {needed}: set EXECUTOR_SLOTS lower, or \
             runs may find that no process can be started"
        ),
        Some(bound) => format!("{bound} together"),
    };
    say("processes", text);
    let state = &host.state_directory;
    let free_mb = state.place.free_bytes >> 20;
    say("state directory", format!("{}, {free_mb} MB free", state.place.path.display()));
    if let Some(error) = &state.unwritable {
        say("", format!("cannot be written to ({error}): set EXECUTOR_STATE_DIR"));
    }
    if state.place.in_memory {
        say("", "it is in memory: files of runs count as memory".to_owned());
    }
    if !state.place.executable {
        say("", "programs cannot be run from there: mount it with `exec`".to_owned());
    }
    if free_mb < ROOM_MB {
        say("", "little room for work directories and compiled programs".to_owned());
    }
    rows
}

fn of_memory(memory: Memory) -> String {
    let (mb, for_runs) = (memory.mb(), memory.for_runs_mb());
    let largest = Bounds::default().memory_max_mb;
    let of = match memory.of {
        Whose::Container => "of the container",
        Whose::Machine => "of the machine; no smaller bound around us",
    };
    let fitting = for_runs / largest;
    if fitting == 0 {
        return format!("{mb} MB {of}: one slot, whose runs may ask for {for_runs} MB at most");
    }
    let runs = if fitting == 1 { "run" } else { "runs" };
    format!("{mb} MB {of}; holds {fitting} {runs} of {largest} MB at a time")
}

/// Rows under their headings, the last column wrapped at [`COLUMNS`].
fn columns<const N: usize>(headings: [&str; N], rows: &[[String; N]]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column).map(String::as_str));
        let heading = headings.get(column).copied();
        cells.chain(heading).map(|it| it.chars().count()).max().unwrap_or_default()
    };
    let before: usize = (0..N.saturating_sub(1)).map(|column| width(column) + GAP).sum();
    let room = COLUMNS.saturating_sub(before);
    let mut lines: Vec<Vec<String>> = Vec::new();
    for row in rows {
        let Some((last, first)) = row.split_last() else { continue };
        for (number, part) in wrapped(last, room).into_iter().enumerate() {
            let cell = |it: &String| if number == 0 { it.clone() } else { String::new() };
            lines.push(first.iter().map(cell).chain([part]).collect());
        }
    }
    table(&headings, &lines)
}

/// The words of `text` in lines of at most `room` characters, or one word.
fn wrapped(text: &str, room: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let Some(line) = lines.last_mut() else { break };
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= room {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use host::{Place, Processes};
    use sandbox::Gain;

    use super::super::report::{Isolation, StateDirectory};
    use super::*;

    fn host() -> HostReport {
        HostReport {
            processors: 4,
            memory: Some(Memory { bytes: 1 << 30, of: Whose::Container, oom_kills_all: true }),
            processes: Processes { of_container: Some(128), of_user: None },
            state_directory: StateDirectory {
                place: Place {
                    path: "/var/lib/flotilla".into(),
                    free_bytes: 500 << 20,
                    in_memory: true,
                    executable: false,
                },
                unwritable: Some("Read-only file system".to_owned()),
            },
        }
    }

    /// A host of this level, on which one mechanism is missing.
    fn report(level: Level) -> DoctorReport {
        let minimum = Level::Separated;
        let guarantee = |name: &str, strength| Guarantee {
            name: name.to_owned(),
            strength,
            mechanism: "several mechanisms, one behind the other, ".repeat(3),
        };
        let guarantees = vec![
            guarantee("files", Strength::Enforced),
            guarantee("memory_per_process", Strength::Watched),
            guarantee("signals", Strength::None),
        ];
        let missing = Mechanism {
            name: "landlock_scope".to_owned(),
            proven: false,
            fault: Some("a reason ".repeat(20)),
            grant: "a grant that takes many words to be told ".repeat(3),
            would: Some(Gain { enforce: vec!["signals".to_owned()], reach: Level::Separated }),
        };
        DoctorReport {
            sufficient: level >= minimum,
            isolation: Isolation { level, minimum, guarantees, raise: Vec::new() },
            mechanisms: vec![missing],
            host: host(),
            worker: None,
        }
    }

    #[test]
    fn the_page_fits_a_terminal_of_eighty_columns() {
        let page = page(&report(Level::Confined));
        let wide = page.lines().find(|it| it.chars().count() > COLUMNS);
        assert_eq!(wide, None, "{page}");
    }

    #[test]
    fn it_says_whether_an_executor_starts() {
        let strong = page(&report(Level::Separated));
        assert!(strong.contains("this user: separated (L3)\n"), "{strong}");
        assert!(strong.contains("so an executor starts"), "{strong}");
        let weak = page(&report(Level::Filtered));
        assert!(weak.contains("this user: filtered (L1)\n"), "{weak}");
        assert!(weak.contains("so an executor refuses to start"), "{weak}");
    }

    #[test]
    fn it_says_what_a_grant_would_change() {
        let page = page(&report(Level::Confined));
        let words: String = page.split_whitespace().collect::<Vec<_>>().join(" ");
        let change = "signals becomes enforced; the level becomes separated (L3)";
        assert!(words.contains(change), "{page}");
    }

    #[test]
    fn it_warns_of_what_a_host_is_short_of() {
        let page = page(&report(Level::Bare));
        let words: String = page.split_whitespace().collect::<Vec<_>>().join(" ");
        for warning in [
            "1024 MB of the container; holds 1 run of 512 MB",
            "kills all of it, the server too",
            "128 together; 4 slots may need 320",
            "cannot be written to (Read-only file system)",
            "files of runs count as memory",
            "mount it with `exec`",
            "little room",
        ] {
            assert!(words.contains(warning), "`{warning}` is not in {page}");
        }
    }

    #[test]
    fn colours_change_nothing_but_the_strength() {
        let page = page(&report(Level::Confined));
        let coloured = coloured(&page);
        assert!(coloured.contains("  \u{1b}[32menforced\u{1b}[0m  "), "{coloured}");
        let plain = ["\u{1b}[31m", "\u{1b}[32m", "\u{1b}[33m", "\u{1b}[0m"]
            .into_iter()
            .fold(coloured, |text, code| text.replace(code, ""));
        assert_eq!(plain.trim_end(), page.trim_end());
    }
}
