//! What may be done where. Unit tests may do more: they are not looked at.

use crate::repository::{files_ending, hold};
use crate::tokens::{self, Kind, Token};

/// What builds the console before anything runs.
const BUILD_STEP: &str = "gateway/console/build.rs";

/// Something that only some places do.
struct Boundary {
    patterns: &'static [&'static str],
    /// Prefixes of paths.
    allowed: &'static [&'static str],
}

#[track_caller]
fn check(rule: &str, boundary: &Boundary) {
    let mut faults = Vec::new();
    for path in outside(boundary.allowed) {
        faults.extend(found(path, &tokens::product(path), boundary.patterns));
    }
    hold(rule, faults);
}

fn found(path: &str, tokens: &[Token], patterns: &[&str]) -> Vec<String> {
    let lines = patterns.iter().flat_map(|pattern| {
        tokens::lines_of(pattern, tokens).into_iter().map(move |line| (line, pattern))
    });
    lines.map(|(line, pattern)| format!("{path}:{line}: {pattern}")).collect()
}

/// Sources of the product outside `allowed`; tests, the programs that they run, and those that the
/// self-test lets loose are none.
fn outside(allowed: &'static [&'static str]) -> impl Iterator<Item = &'static str> {
    files_ending(".rs")
        .filter(|path| !path.starts_with("tests/") && !path.contains("/tests/"))
        .filter(|path| !path.contains("/hostile/"))
        .filter(move |path| !allowed.iter().any(|it| path.starts_with(it)))
}

#[test]
fn unsafe_code_is_in_one_folder() {
    const RULE: &str =
        "`unsafe` stands only in shared/sandbox/src/sys/ and in the native half of a zygote";
    // What an interpreter loads speaks C with it; such a folder is a language's own.
    let is_native = |path: &str| {
        let mut folders = path.split('/');
        folders.next() == Some("executors") && folders.nth(1) == Some("warm")
    };
    let mut faults = Vec::new();
    for path in outside(&["shared/sandbox/src/sys/"]).filter(|it| !is_native(it)) {
        faults.extend(found(path, &tokens::product(path), &["unsafe"]));
    }
    hold(RULE, faults);
}

#[test]
fn environment_variables_are_read_in_one_place() {
    check(
        "environment variables are read only in `settings`",
        &Boundary {
            patterns: &[
                "env::var",
                "env::var_os",
                "env::vars",
                "env::vars_os",
                "env::set_var",
                "env::remove_var",
            ],
            // A build step has no settings but what cargo and whoever builds tell it.
            allowed: &["shared/settings/", BUILD_STEP],
        },
    );
}

#[test]
fn processes_are_started_in_few_places() {
    check(
        "processes are started only by the sandbox, a provider, what keeps documents in processes of \
         their own, the command line and tests",
        &Boundary {
            patterns: &["Command::new"],
            allowed: &[
                "shared/sandbox/",
                "shared/environments/",
                "shared/documents/src/process.rs",
                "cli/",
                BUILD_STEP,
            ],
        },
    );
}

#[test]
fn each_server_has_one_table_of_status_codes() {
    const TABLES: &[&str] = &["gateway/src/error.rs", "shared/executor/src/error.rs"];
    const PATTERNS: &[&str] = &[
        "StatusCode::",
        "HttpResponse::BadRequest",
        "HttpResponse::InternalServerError",
        "HttpResponse::NotFound",
        "HttpResponse::ServiceUnavailable",
    ];
    let mut faults = Vec::new();
    for path in outside(TABLES) {
        let tokens = tokens::product(path);
        // Who asks a server may look at the codes it gets; only who answers is meant.
        if tokens::lines_of("actix_web", &tokens).is_empty() {
            continue;
        }
        faults.extend(found(path, &tokens, PATTERNS));
    }
    hold("status codes stand only in the error table of their server", faults);
}

#[test]
fn exporters_are_known_to_telemetry_alone() {
    check(
        "only `telemetry` knows how logs and metrics leave",
        &Boundary {
            patterns: &["tracing_subscriber", "prometheus_client"],
            allowed: &["shared/telemetry/"],
        },
    );
}

#[test]
fn the_words_of_the_fleet_are_plain_data() {
    const PATTERNS: &[&str] = &[
        "std::env",
        "std::fs",
        "std::io",
        "std::net",
        "std::os",
        "std::process",
        "std::thread",
        "Instant",
        "SystemTime",
    ];
    let mut faults = Vec::new();
    for path in files_ending(".rs").filter(|it| it.starts_with("shared/protocol/")) {
        faults.extend(found(path, &tokens::product(path), PATTERNS));
    }
    hold("`protocol` does no I/O, reads no clock and does not know Linux", faults);
}

#[test]
fn sql_is_spoken_in_stores_only() {
    // Rooms and jobs have nothing in common that one store could do for both.
    const STORES: &[&str] = &["shared/queue/", "shared/environments/", "shared/documents/"];
    let mut faults = Vec::new();
    for path in outside(STORES) {
        let statements = tokens::product(path).into_iter().filter(is_sql);
        faults.extend(statements.map(|it| format!("{path}:{}: {}", it.line, it.text)));
    }
    hold("SQL stands only in `queue` and in the stores of `environments` and `documents`", faults);
}

fn is_sql(token: &Token) -> bool {
    const OPENINGS: &[&str] =
        &["SELECT ", "INSERT INTO ", "UPDATE ", "DELETE FROM ", "CREATE TABLE ", "PRAGMA "];
    token.kind == Kind::Text && OPENINGS.iter().any(|it| token.text.trim_start().starts_with(it))
}
