//! Where attacks happen: executors with canaries, listeners and a victim around them, and the
//! look from outside at what an attack did.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::future::join_all;
use protocol::{Guarantee, Level, Strength};
use serde_json::{Value, json};
use tests::{Server, client};
use tokio::sync::OnceCell;

use crate::canaries::Canaries;
use crate::listeners::Listeners;
use crate::machine::{self, Users};
use crate::rights::{Rights, builder, is_root};
use crate::table::say;
use crate::victim::Victim;

/// What callers must send; no program may learn it.
pub(crate) const TOKEN: &str = "escape-token-5f1d07c2";

/// The executors that are attacked. The first also runs the victim.
const LANGUAGES: &[&str] = &["python", "javascript", "java", "cpp", "go", "rust"];

/// What is prepared once for each toolchain, which unprivileged executors share and cannot make.
static PREPARED: OnceCell<()> = OnceCell::const_new();

/// How long an executor without a jail may take to answer: it may have been stopped.
const PATIENCE: Duration = Duration::from_secs(15);

/// Users that the slots of one executor may have.
const USERS_OF_ONE: u32 = 8;

/// Executors of one user, and what attacks are after.
pub(crate) struct Ground {
    pub(crate) rights: Rights,
    pub(crate) users: Users,
    pub(crate) canaries: Canaries,
    pub(crate) listeners: Listeners,
    servers: BTreeMap<&'static str, Server>,
    guarantees: Vec<Guarantee>,
    level: Level,
    /// How each server, and its spawner, was when it had started.
    conditions: BTreeMap<i32, String>,
    /// The same of the directories of servers.
    possessions: BTreeMap<PathBuf, u32>,
    pub(crate) victim: Option<Victim>,
}

impl Ground {
    /// Starts every executor, with a victim that runs all the while where one may.
    pub(crate) async fn whole(rights: Rights) -> Self {
        if is_root() {
            PREPARED
                .get_or_init(|| async { drop(Self::start(Rights::Root, LANGUAGES).await) })
                .await;
        }
        let mut ground = Self::start(rights, LANGUAGES).await;
        if rights.bear_a_victim() {
            let victim = Victim::start(ground.server("python")).await;
            ground.victim = Some(victim);
        }
        ground
    }

    /// Starts the executors of `languages`. One whose toolchain only root can reach, because it
    /// is below root's home, is left out for other users.
    pub(crate) async fn start(rights: Rights, languages: &[&'static str]) -> Self {
        let users = Users::claim(rights);
        let canaries = Canaries::lay_out(users.server());
        let listeners = Listeners::open(canaries.path());
        let slots = users.slots().step_by(USERS_OF_ONE as usize);
        let starts = languages.iter().zip(slots).map(|(language, first_user)| {
            let builder = builder(rights, &users, language, first_user);
            async move { (*language, builder.try_start().await) }
        });
        let mut servers = BTreeMap::new();
        for (language, started) in join_all(starts).await {
            match started {
                Ok(server) => drop(servers.insert(language, server)),
                Err(log) if rights.share_a_user() && log.contains("no toolchain was found") => {
                    say(&format!("{rights:?}: {language} is out of the user's reach"));
                }
                Err(log) => panic!("the executor of {language} did not start:\n{log}"),
            }
        }
        let isolation = info(servers.get("python").expect("it is always there")).await;
        let isolation = &isolation["isolation"];
        let pids = servers.values().map(|it| process_of(it, rights));
        let pids = pids.flat_map(|it| [it, machine::spawner_of(it)]);
        let conditions = pids.map(|pid| (pid, machine::condition(pid))).collect();
        let possessions = servers.values().flat_map(possessions).collect();
        Self {
            rights,
            users,
            canaries,
            listeners,
            servers,
            guarantees: serde_json::from_value(isolation["guarantees"].clone()).unwrap(),
            level: serde_json::from_value(isolation["level"].clone()).unwrap(),
            conditions,
            possessions,
            victim: None,
        }
    }

    /// Whether there is an executor of `language`.
    pub(crate) fn has(&self, language: &str) -> bool {
        self.servers.contains_key(language)
    }

    pub(crate) fn server(&self, language: &str) -> &Server {
        self.servers.get(language).expect("the executor was started")
    }

    pub(crate) fn guarantees(&self) -> &[Guarantee] {
        &self.guarantees
    }

    /// Whether the kernel counts all memory of a run against it.
    fn counts_memory(&self) -> bool {
        self.guarantees
            .iter()
            .any(|it| it.name == "memory_total" && it.strength == Strength::Enforced)
    }

    pub(crate) fn level(&self) -> Level {
        self.level
    }

    /// Sends a program to an executor. `more` holds further fields of the request; where files are
    /// among them, the program is the one without content.
    pub(crate) async fn run(&self, language: &str, code: &str, more: &Value) -> Value {
        self.send(language, &body(code, more)).await
    }

    /// Sends a request as it is.
    pub(crate) async fn send(&self, language: &str, body: &str) -> Value {
        let text = self.try_send(language, body).await.expect("the executor answers");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    async fn try_send(&self, language: &str, body: &str) -> reqwest::Result<String> {
        let request = client()
            .post(self.server(language).url("/execute"))
            .header("content-type", "application/json")
            .bearer_auth(TOKEN)
            .body(body.to_owned());
        request.send().await?.text().await
    }

    /// As [`Self::run`], where the server may not live to answer: none if it does not.
    pub(crate) async fn try_run(&self, language: &str, code: &str, more: &Value) -> Option<String> {
        let body = body(code, more);
        let answer = self.try_send(language, &body);
        tokio::time::timeout(PATIENCE, answer).await.ok()?.ok()
    }

    /// What an attacker is told, by name. It would have to find out, and here it need not.
    pub(crate) fn facts(&self, language: &str) -> Vec<(&'static str, Fact)> {
        let server = self.server(language);
        let path = |path: PathBuf| Fact::Text(path.to_string_lossy().into_owned());
        let mut facts = vec![
            ("SERVER", self.number_of(self.process(server))),
            ("SPAWNER", self.number_of(machine::spawner_of(self.process(server)))),
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
            ("STATE", path(state_directory(server))),
            ("PREPARED", path(tests::prepared_directory())),
            ("COUNTED", Fact::Number(self.counts_memory().into())),
            ("NAMESPACED", Fact::Number((self.level >= Level::Namespaced).into())),
        ];
        // Where no victim may be, the spawner stands in.
        let victim = self.victim.as_ref();
        let instead = || machine::spawner_of(self.process(server));
        facts.push(("VICTIM", self.number_of(victim.map_or_else(instead, Victim::pid))));
        facts.push(("REAPER", self.number_of(victim.map_or_else(instead, Victim::reaper))));
        let nowhere = || self.canaries.path().join("nowhere");
        let directory = victim.map_or_else(nowhere, |it| it.directory().to_owned());
        facts.push(("VICTIM_DIR", path(directory)));
        facts
    }

    /// The server itself, below the processes of its box.
    fn process(&self, server: &Server) -> i32 {
        process_of(server, self.rights)
    }

    /// What a program calls a process.
    fn number_of(&self, pid: i32) -> Fact {
        let boxed = self.rights.processes_around() > 0;
        Fact::Number(if boxed { machine::number_within(pid) } else { pid }.into())
    }

    /// `text` with each `@NAME@` replaced by what an attacker on `language` is told.
    pub(crate) fn told(&self, language: &str, text: &str) -> String {
        let facts = self.facts(language).into_iter();
        facts.fold(text.to_owned(), |text, (name, fact)| {
            text.replace(&format!("@{name}@"), &fact.to_string())
        })
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
        let possessions: BTreeMap<_, _> = self.servers.values().flat_map(possessions).collect();
        if possessions != self.possessions {
            damage.push(format!("{:?} became {possessions:?}", self.possessions));
            self.possessions = possessions;
        }
        if let Some(victim) = &mut self.victim {
            damage.extend(victim.harm().await);
        }
        damage
    }

    /// Whether an attack on an executor without a jail did something outside of it.
    pub(crate) fn is_changed(&mut self, language: &str) -> bool {
        let litter = machine::litter(&self.users);
        !self.canaries.changed().is_empty()
            || !self.listeners.reached().is_empty()
            || !litter.is_empty()
            || !self.is_as_started(language)
    }

    /// Whether an executor lives with its spawner, and nothing else of it does.
    pub(crate) fn is_as_started(&self, language: &str) -> bool {
        let server = below(self.server(language), self.rights);
        let server = server.filter(|it| !machine::children(*it).is_empty());
        server.is_some_and(|it| machine::left_over(it, &self.users, &[]).is_empty())
    }

    /// Whether an executor says that it is well.
    pub(crate) async fn is_healthy(&self, language: &str) -> bool {
        let asked = client().get(self.server(language).url("/health")).send().await;
        asked.is_ok_and(|it| it.status().is_success())
    }

    /// Kills what is left of an executor and starts another in its place.
    pub(crate) async fn replace(&mut self, language: &'static str) {
        self.servers.remove(language).expect("the executor was started").abandon();
        let index = LANGUAGES.iter().position(|it| *it == language).expect("it is one of them");
        let first_user = self.users.slots().nth(index * USERS_OF_ONE as usize).expect("users");
        let server = builder(self.rights, &self.users, language, first_user).start().await;
        self.servers.insert(language, server);
    }

    /// Kills every executor.
    pub(crate) fn abandon(mut self) {
        std::mem::take(&mut self.servers).into_values().for_each(Server::abandon);
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

/// A request of a program and further fields.
fn body(code: &str, more: &Value) -> String {
    let mut body = json!({ "code": code });
    let fields = more.as_object().into_iter().flatten();
    body.as_object_mut().unwrap().extend(fields.map(|(name, it)| (name.clone(), it.clone())));
    if let Some(files) = body.get_mut("files").and_then(Value::as_array_mut) {
        if let Some(program) = files.iter_mut().find(|it| it.get("content").is_none()) {
            program["content"] = code.into();
        }
        body.as_object_mut().unwrap().remove("code");
    }
    body.to_string()
}

/// A server itself, below the processes of its box.
fn process_of(server: &Server, rights: Rights) -> i32 {
    below(server, rights).expect("a box has its processes")
}

fn below(server: &Server, rights: Rights) -> Option<i32> {
    let mut around = 0..rights.processes_around();
    around.try_fold(server.pid(), |pid, _| Some(machine::children(pid).first()?.pid))
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

/// What a server says of itself.
pub(crate) async fn info(server: &Server) -> Value {
    let request = client().get(server.url("/info")).bearer_auth(TOKEN);
    let text = request.send().await.unwrap().text().await.unwrap();
    serde_json::from_str(&text).unwrap()
}

/// The one directory that a server made below its state directory.
pub(crate) fn state_directory(server: &Server) -> PathBuf {
    let entries = std::fs::read_dir(server.state()).expect("the state directory is there");
    let mut names = entries.map(|it| it.unwrap().path());
    names.next().expect("the server made its directory")
}

/// The directories and files of the server that a run could name, with their modes.
fn possessions(server: &Server) -> Vec<(PathBuf, u32)> {
    use std::os::unix::fs::PermissionsExt as _;
    let state = state_directory(server);
    let names = [".", "work", "cache", "support", "lock"].map(|it| state.join(it));
    let found = names.into_iter().filter_map(|path| {
        let mode = path.metadata().ok()?.permissions().mode();
        Some((path, mode))
    });
    found.collect()
}

/// What is left in the directory of runs. The victim's is expected, and those in which nothing is
/// yet: they wait for runs.
async fn left_in_work(server: &Server, victim: Option<&Victim>) -> Option<String> {
    let work = state_directory(server).join("work");
    let is_used = |run: &String| {
        ["work", "tmp", "out"].iter().any(|it| !names_in(&work.join(run).join(it)).is_empty())
    };
    let others = || names_in(&work).into_iter().filter(is_used);
    let left = || others().filter(|it| !victim.is_some_and(|v| v.lives_in(it)));
    let empty = machine::soon(|| left().next().is_none()).await;
    (!empty).then(|| format!("left in the directory of runs: {:?}", left().collect::<Vec<_>>()))
}

fn names_in(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|it| it.file_name().to_string_lossy().into_owned()).collect()
}
