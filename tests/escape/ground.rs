//! Where attacks happen: executors with canaries, listeners and a victim around them, and the
//! look from outside at what an attack did.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tests::{Server, ServerBuilder, binary, client};

use crate::canaries::Canaries;
use crate::listeners::Listeners;
use crate::machine::{self, Users};
use crate::victim::Victim;

/// With whose rights the servers run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rights {
    /// As a container's root: every slot has a user of its own, beside the Landlock domains.
    Root,
    /// As a container's unprivileged user: servers and runs share that user, and the Landlock
    /// domains alone stand between them.
    Shared,
    /// As a container's root on a host without Landlock.
    RootWithoutLandlock,
    /// As a container's unprivileged user on a host without Landlock: files are open to runs.
    SharedWithoutLandlock,
    /// As whoever runs the tests, where that is not root.
    Own,
}

impl Rights {
    /// Those that can be had here.
    pub(crate) fn all() -> &'static [Self] {
        if rustix::process::geteuid().is_root() {
            &[Self::Root, Self::Shared]
        } else {
            &[Self::Own]
        }
    }
}

/// What callers must send; no program may learn it.
pub(crate) const TOKEN: &str = "escape-token-5f1d07c2";

/// Executors of one user, and what attacks are after.
pub(crate) struct Ground {
    pub(crate) rights: Rights,
    pub(crate) users: Users,
    pub(crate) canaries: Canaries,
    pub(crate) listeners: Listeners,
    servers: BTreeMap<&'static str, Server>,
    /// How each server, and its spawner, was when it had started.
    conditions: BTreeMap<i32, String>,
    pub(crate) victim: Option<Victim>,
}

impl Ground {
    /// Starts the executors of `languages`. One whose toolchain only root can reach, because it
    /// is below root's home, is left out for other users.
    pub(crate) async fn start(rights: Rights, languages: &[&'static str]) -> Self {
        let users = Users::claim(rights);
        let canaries = Canaries::lay_out(users.server());
        let listeners = Listeners::open(canaries.path());
        let mut servers = BTreeMap::new();
        for language in languages {
            match builder(rights, &users, language).try_start().await {
                Ok(server) => drop(servers.insert(*language, server)),
                Err(log) if rights == Rights::Shared && log.contains("no toolchain was found") => {
                    println!("{language} is left out: its toolchain is out of the user's reach");
                }
                Err(log) => panic!("the executor of {language} did not start:\n{log}"),
            }
        }
        let pids = servers.values().flat_map(|it| [it.pid(), machine::spawner_of(it.pid())]);
        let conditions = pids.map(|pid| (pid, machine::condition(pid))).collect();
        Self { rights, users, canaries, listeners, servers, conditions, victim: None }
    }

    /// As [`Self::start`], with a victim that runs all the while.
    pub(crate) async fn with_victim(rights: Rights, languages: &[&'static str]) -> Self {
        let mut ground = Self::start(rights, languages).await;
        let victim = Victim::start(ground.server("python")).await;
        ground.victim = Some(victim);
        ground
    }

    /// Whether there is an executor of `language`.
    pub(crate) fn has(&self, language: &str) -> bool {
        self.servers.contains_key(language)
    }

    pub(crate) fn server(&self, language: &str) -> &Server {
        self.servers.get(language).expect("the table starts the executors that it needs")
    }

    /// Sends a program to an executor. `more` holds further fields of the request; where files are
    /// among them, the program is the one without content.
    pub(crate) async fn run(&self, language: &str, code: &str, more: &Value) -> Value {
        let mut body = json!({ "code": code });
        let fields = more.as_object().into_iter().flatten();
        body.as_object_mut().unwrap().extend(fields.map(|(name, it)| (name.clone(), it.clone())));
        if let Some(files) = body.get_mut("files").and_then(Value::as_array_mut) {
            let program = files.iter_mut().find(|it| it.get("content").is_none()).unwrap();
            program["content"] = code.into();
            body.as_object_mut().unwrap().remove("code");
        }
        let request = client()
            .post(self.server(language).url("/execute"))
            .header("content-type", "application/json")
            .bearer_auth(TOKEN)
            .body(body.to_string());
        let answer = request.send().await.expect("the executor answers");
        let text = answer.text().await.expect("the answer is whole");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// What an attacker is told, by name. It would have to find out, and here it need not.
    pub(crate) fn facts(&self, language: &str) -> Vec<(&'static str, Fact)> {
        let server = self.server(language);
        let state = state_directory(server);
        let path = |path: PathBuf| Fact::Text(path.to_string_lossy().into_owned());
        let mut facts = vec![
            ("SERVER", Fact::Number(server.pid().into())),
            ("SPAWNER", Fact::Number(machine::spawner_of(server.pid()).into())),
            ("PORT", Fact::Number(server.port().into())),
            ("PRIVATE", path(self.canaries.file("private"))),
            ("PUBLIC", path(self.canaries.file("public"))),
            ("OPEN", path(self.canaries.file("open"))),
            ("DROP", path(self.canaries.path().join("drop"))),
            ("TCP", Fact::Number(self.listeners.tcp_port().into())),
            ("UDP", Fact::Number(self.listeners.udp_port().into())),
            ("STREAM", path(self.listeners.stream_path())),
            ("DATAGRAM", path(self.listeners.datagram_path())),
            ("ABSTRACT", Fact::Text(self.listeners.abstract_name().to_owned())),
            ("STATE", path(state)),
            ("PREPARED", path(tests_prepared())),
        ];
        if let Some(victim) = &self.victim {
            facts.push(("VICTIM", Fact::Number(victim.pid().into())));
            facts.push(("REAPER", Fact::Number(victim.reaper().into())));
            facts.push(("VICTIM_DIR", path(victim.directory().to_owned())));
        }
        facts
    }

    /// Everything outside that has changed by an attack, or is left of it. Empty if all is well.
    pub(crate) async fn damage(&mut self) -> Vec<String> {
        let mut damage = self.canaries.changed();
        damage.extend(self.listeners.reached());
        damage.extend(machine::litter(&self.users));
        let expected: Vec<i32> = self.victim.iter().flat_map(Victim::processes).collect();
        for server in self.servers.values() {
            damage.extend(machine::survivors(server.pid(), &self.users, &expected).await);
            damage.extend(left_in_work(server, self.victim.as_ref()).await);
        }
        for (pid, before) in &mut self.conditions {
            let now = machine::condition(*pid);
            if now != *before {
                damage.push(format!("a server was changed from {before} to {now}"));
                *before = now;
            }
        }
        for server in self.servers.values() {
            damage.extend(changed_possessions(server));
        }
        if let Some(victim) = &mut self.victim {
            damage.extend(victim.harm().await);
        }
        damage
    }

    /// Ends the victim and says what it saw.
    pub(crate) async fn finish(mut self) -> Vec<String> {
        let mut damage = self.damage().await;
        if let Some(victim) = self.victim.take() {
            drop(victim);
            damage.extend(self.damage().await);
        }
        damage
    }
}

/// Something an attacker is told.
pub(crate) enum Fact {
    Number(i64),
    Text(String),
}

impl std::fmt::Display for Fact {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(number) => number.fmt(formatter),
            Self::Text(text) => formatter.write_str(text),
        }
    }
}

/// An executor with the rights wanted, two slots, and a secret.
pub(crate) fn builder(rights: Rights, users: &Users, language: &str) -> ServerBuilder {
    let container = binary("container");
    let user = users.server().to_string();
    let builder = ServerBuilder::new(&format!("executor-{language}"))
        .set("EXECUTOR_TOKEN", TOKEN)
        .set("EXECUTOR_SLOTS", "2")
        .set("EXECUTOR_TIMEOUT_MAX_SECONDS", "600")
        .set("EXECUTOR_UID_BASE", &users.slots().start.to_string());
    // One version is enough, and the system's own is within everybody's reach.
    let builder = match language {
        "python" => builder.set("PATH", "/usr/local/bin:/usr/bin:/bin"),
        _ => builder,
    };
    let builder = match rights {
        Rights::Root | Rights::Shared | Rights::Own => builder,
        Rights::RootWithoutLandlock | Rights::SharedWithoutLandlock => {
            builder.set("EXECUTOR_MIN_ISOLATION", "filtered")
        }
    };
    builder.wrapped(&wrapper(rights, &container.to_string_lossy(), &user))
}

/// What stands before a server's own command.
pub(crate) fn wrapper<'a>(rights: Rights, container: &'a str, user: &'a str) -> Vec<&'a str> {
    match rights {
        Rights::Own => Vec::new(),
        Rights::Root | Rights::Shared => vec![container, "--user", user, "--"],
        Rights::RootWithoutLandlock | Rights::SharedWithoutLandlock => {
            vec![container, "--user", user, "--deny-landlock", "--"]
        }
    }
}

/// The one directory that a server made below its state directory.
pub(crate) fn state_directory(server: &Server) -> PathBuf {
    let entries = std::fs::read_dir(server.state()).expect("the state directory is there");
    let mut names = entries.map(|it| it.unwrap().path());
    names.next().expect("the server made its directory")
}

/// Directories of the server whose rights are not as it made them.
fn changed_possessions(server: &Server) -> Vec<String> {
    use std::os::unix::fs::PermissionsExt as _;
    const MODES: &[(&str, u32)] = &[
        (".", 0o711),
        ("work", 0o711),
        ("cache", 0o755),
        ("mirror", 0o755),
        ("support", 0o755),
        ("lock", 0o600),
    ];
    let state = state_directory(server);
    let mode = |name: &str| state.join(name).metadata().map(|it| it.permissions().mode() & 0o7777);
    MODES
        .iter()
        .filter(|(name, expected)| !mode(name).is_ok_and(|it| it == *expected))
        .map(|(name, _)| format!("the server's `{name}` was changed to {:?}", mode(name)))
        .collect()
}

/// What is left in the directory of runs. The victim's is expected.
async fn left_in_work(server: &Server, victim: Option<&Victim>) -> Option<String> {
    let work = state_directory(server).join("work");
    let left = || names_in(&work).into_iter().filter(|it| !victim.is_some_and(|v| v.lives_in(it)));
    let empty = machine::soon(|| left().next().is_none()).await;
    (!empty).then(|| format!("left in the directory of runs: {:?}", left().collect::<Vec<_>>()))
}

fn names_in(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|it| it.file_name().to_string_lossy().into_owned()).collect()
}

fn tests_prepared() -> PathBuf {
    std::env::temp_dir().join(format!("flotilla-prepared-{}", rustix::process::getuid().as_raw()))
}
