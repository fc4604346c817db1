//! The result of a bench for people, in a terminal of 120 columns.

use super::burst::Burst;
use super::gateway::GatewayCost;
use super::memory::{Held, ServiceMemory, Waiting};
use super::report::{BenchReport, ProgramReport};
use super::statistics::Summary;
use crate::table::table;

const LATENCY: [&str; 11] = [
    "LANGUAGE", "PROGRAM", "P50", "P90", "WARM", "COLD", "CACHED", "BARE", "P90", "RATIO",
    "VALIDATE",
];
const SUSTAINED: [&str; 8] =
    ["LANGUAGE", "PROGRAM", "RUNS/S", "WARM", "BARE", "CPU MS", "BARE CPU", "RATIO"];
const BURST: [&str; 9] =
    ["LANGUAGE", "PROGRAM", "AT ONCE", "SLOTS", "P50", "P99", "WARM", "TIMEOUT", "REFUSED"];
const MEMORY: [&str; 7] =
    ["SERVICE", "ALL MB", "OWN MB", "WAITING", "PROCESSES", "MB EACH", "DIRTY EACH"];

/// All of it.
pub(crate) fn page(report: &BenchReport) -> String {
    let rows = |row: fn(&ProgramReport) -> Vec<String>| report.programs.iter().map(row).collect();
    let (latency, sustained): (Vec<_>, Vec<_>) = (rows(latency_row), rows(sustained_row));
    let bursts: Vec<Vec<String>> = report.bursts.iter().map(burst_row).collect();
    let memory: Vec<Vec<String>> = report.memory.iter().flat_map(memory_rows).collect();
    let notes = report.programs.iter().flat_map(|it| &it.notes);
    let notes: String = notes.map(|it| format!("{it}\n")).collect();
    format!(
        "\nOne run at a time, in milliseconds. RATIO: ours over bare, of p50; below 1 is faster than a shell.\n\
         {}{}{notes}\n\
         {} clients at once, one a processor. CPU: processor time of a run, warming up included.\n{}\n\
         Many runs at once, in milliseconds until each answer.\n{}\n\
         Memory at rest, in MB. MB EACH shares what processes share; DIRTY EACH is what one takes more.\n{}\n\
         {}The fleet was healthy after {:.1} s. Load average before: {}; after: {}.\n",
        table(&LATENCY, &latency),
        warm_starts(&report.without_warm_starts, report.memory.len()),
        report.processors,
        table(&SUSTAINED, &sustained),
        table(&BURST, &bursts),
        table(&MEMORY, &memory),
        report.gateway.as_ref().map(gateway_line).unwrap_or_default(),
        report.start_seconds,
        load(report.load_before),
        load(report.load_after),
    )
}

/// A program's result in a line, told while the bench goes on.
pub(crate) fn line(report: &ProgramReport) -> String {
    let line = format!(
        "{} {}: {} ms ({} warm), cold {} ms, cached {} ms, bare {} ms, ratio {}",
        report.language,
        report.name,
        p50(report.fleet.as_ref()),
        percent(report.warm_share),
        p50(report.cold.as_ref()),
        p50(report.cached.as_ref()),
        p50(report.bare.as_ref()),
        number(report.ratio, 2),
    );
    std::iter::once(line).chain(report.notes.iter().cloned()).collect::<Vec<_>>().join("\n  ")
}

/// A burst in a line, told while the bench goes on.
pub(crate) fn burst_line(burst: &Burst) -> String {
    let latency = burst.latency.as_ref();
    format!(
        "{} {}: {} at once: p50 {} ms, p99 {} ms, {} warm, {} timed out, {} refused",
        burst.language,
        burst.program,
        burst.requests,
        p50(latency),
        number(latency.map(|it| it.p99_ms), 1),
        percent(burst.warm_share),
        burst.timed_out,
        burst.refused,
    )
}

fn latency_row(report: &ProgramReport) -> Vec<String> {
    vec![
        report.language.clone(),
        report.name.clone(),
        p50(report.fleet.as_ref()),
        p90(report.fleet.as_ref()),
        percent(report.warm_share),
        p50(report.cold.as_ref()),
        p50(report.cached.as_ref()),
        p50(report.bare.as_ref()),
        p90(report.bare.as_ref()),
        number(report.ratio, 2),
        p50(report.validated.as_ref()),
    ]
}

fn sustained_row(report: &ProgramReport) -> Vec<String> {
    let (ours, bare) = (report.sustained, report.bare_sustained);
    vec![
        report.language.clone(),
        report.name.clone(),
        number(ours.map(|it| it.runs_per_second), 1),
        percent(ours.and_then(|it| it.warm_share)),
        number(bare.map(|it| it.runs_per_second), 1),
        number(ours.map(|it| it.cpu_ms), 1),
        number(bare.map(|it| it.cpu_ms), 1),
        number(report.cpu_ratio, 2),
    ]
}

fn burst_row(burst: &Burst) -> Vec<String> {
    let latency = burst.latency.as_ref();
    vec![
        burst.language.clone(),
        burst.program.clone(),
        format!("{}x{}", burst.bursts, burst.requests),
        burst.slots.to_string(),
        number(latency.map(|it| it.p50_ms), 1),
        number(latency.map(|it| it.p99_ms), 1),
        percent(burst.warm_share),
        burst.timed_out.to_string(),
        burst.refused.to_string(),
    ]
}

/// A row for the service, and one for each kind of process that waits below it.
fn memory_rows(memory: &ServiceMemory) -> Vec<Vec<String>> {
    let mut head =
        vec![memory.service.clone(), megabytes(memory.bytes()), megabytes(memory.own.bytes)];
    let mut rows = Vec::new();
    for waiting in &memory.waiting {
        let head = std::mem::replace(&mut head, vec![String::new(); 3]);
        rows.push(head.into_iter().chain(waiting_cells(waiting)).collect());
    }
    if rows.is_empty() {
        rows.push(head);
    }
    rows
}

fn waiting_cells(waiting: &Waiting) -> [String; 4] {
    let Held { processes, bytes, private_dirty_bytes } = waiting.held;
    let each = |all: u64| megabytes(all / u64::try_from(processes.max(1)).unwrap_or(u64::MAX));
    let parent = if waiting.is_parent { " (parent)" } else { "" };
    let command = format!("{}{parent}", waiting.command);
    [command, processes.to_string(), each(bytes), each(private_dirty_bytes)]
}

fn gateway_line(cost: &GatewayCost) -> String {
    format!(
        "The gateway adds {:.2} ms ({}: {:.2} ms straight to the executor, {:.2} ms through it).\n",
        cost.added_p50_ms, cost.program, cost.direct.p50_ms, cost.through.p50_ms,
    )
}

/// What the empty cells of WARM and COLD mean.
fn warm_starts(without: &[String], services: usize) -> String {
    match without.len() {
        0 => String::new(),
        // One service is the gateway.
        all if all + 1 >= services => "No warm starts here.\n".to_owned(),
        _ => format!("No warm starts: {}.\n", without.join(", ")),
    }
}

fn load(load: [f64; 3]) -> String {
    load.map(|it| format!("{it:.2}")).join(" ")
}

#[expect(clippy::cast_precision_loss, reason = "memory is far below 2^52 bytes")]
fn megabytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / (1024.0 * 1024.0))
}

fn p50(summary: Option<&Summary>) -> String {
    number(summary.map(|it| it.p50_ms), 1)
}

fn p90(summary: Option<&Summary>) -> String {
    number(summary.map(|it| it.p90_ms), 1)
}

/// A number, or a dash for none.
fn number(number: Option<f64>, digits: usize) -> String {
    number.map_or_else(|| "-".to_owned(), |it| format!("{it:.digits$}"))
}

fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "-".to_owned(), |it| format!("{:.0}%", 100.0 * it))
}

#[cfg(test)]
mod tests {
    use super::super::sustained::Sustained;
    use super::*;

    fn summary(ms: f64) -> Option<Summary> {
        Summary::of(&[ms])
    }

    fn report() -> BenchReport {
        let sustained = Some(Sustained {
            runs: 12_345,
            runs_per_second: 12_345.6,
            cpu_ms: 12_345.6,
            warm_share: Some(0.5),
        });
        let program = ProgramReport {
            language: "a-long-language".to_owned(),
            name: "a-long-program".to_owned(),
            fleet: summary(12_345.6),
            warm_share: Some(1.0),
            cold: summary(12_345.6),
            cached: summary(12_345.6),
            bare: summary(12_345.6),
            ratio: Some(123.45),
            validated: summary(12_345.6),
            sustained,
            bare_sustained: sustained,
            cpu_ratio: Some(123.45),
            notes: vec!["a note".to_owned()],
            ..ProgramReport::default()
        };
        let held = Held { processes: 4, bytes: 40 << 20, private_dirty_bytes: 4 << 20 };
        let command = "a".repeat(20);
        let waiting =
            |is_parent| Waiting { command: format!("{command} {command}"), is_parent, held };
        let burst = Burst {
            language: "a-long-language".to_owned(),
            program: "a-long-program".to_owned(),
            requests: 640,
            slots: 64,
            bursts: 5,
            latency: summary(12_345.6),
            warm_share: Some(0.125),
            timed_out: 0,
            refused: 0,
        };
        let own = Held { processes: 3, bytes: 9 << 20, private_dirty_bytes: 1 << 20 };
        let service = |waiting| ServiceMemory {
            service: "a-long-service".to_owned(),
            own,
            waiting,
            approximate: false,
        };
        BenchReport {
            finished_at: 1,
            seconds: 1,
            processors: 2,
            load_before: [0.5, 1.0, 2.0],
            load_after: [12.5, 1.0, 2.0],
            start_seconds: 1.25,
            without_warm_starts: vec!["alpha".to_owned()],
            programs: vec![program.clone(), ProgramReport { name: "b".into(), ..program }],
            bursts: vec![burst],
            gateway: summary(1.0).zip(summary(1.5)).map(|(direct, through)| GatewayCost {
                program: "alpha hello".to_owned(),
                direct,
                through,
                added_p50_ms: 0.5,
            }),
            memory: vec![
                service(vec![]),
                service(vec![]),
                service(vec![waiting(false), waiting(true)]),
            ],
        }
    }

    #[test]
    fn a_page_fits_a_terminal() {
        let page = page(&report());
        for line in page.lines() {
            assert!(line.chars().count() <= 120, "{line}");
        }
    }

    #[test]
    fn a_page_says_all_that_was_measured() {
        let page = page(&report());
        for part in [
            "  100%  12345.6  12345.6  12345.6  12345.6  123.45   12345.6",
            "5x640",
            "12%",
            "10.0         1.0",
            "(parent)",
            "a note",
            "No warm starts: alpha.",
            "adds 0.50 ms",
            "healthy after 1.2 s",
            "before: 0.50 1.00 2.00; after: 12.50 1.00 2.00",
        ] {
            assert!(page.contains(part), "{part} is not in {page}");
        }
    }

    #[test]
    fn what_was_not_measured_is_a_dash() {
        assert_eq!((number(None, 1), number(Some(1.25), 1)), ("-".into(), "1.2".into()));
        assert_eq!((percent(None), percent(Some(0.999))), ("-".into(), "100%".into()));
        assert!(latency_row(&ProgramReport::default()).iter().skip(2).all(|it| it == "-"));
    }

    #[test]
    fn the_absence_of_warm_starts_is_said_of_all_or_of_some() {
        let names = ["a".to_owned(), "b".to_owned()];
        assert_eq!(warm_starts(&[], 3), "");
        assert_eq!(warm_starts(&names[..1], 3), "No warm starts: a.\n");
        assert_eq!(warm_starts(&names, 3), "No warm starts here.\n");
    }
}
