//! One attack: a program, the step of the sandbox that must stop it, and how its run must end.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};
use tests::client;

use crate::canaries;
use crate::ground::{Fact, Ground, TOKEN};
use crate::promise::Promise;
use crate::victim;

/// How often the server must say that it is well while it is attacked.
const HEALTH_INTERVAL: Duration = Duration::from_millis(50);

/// How long it may take to say so, on a busy machine.
const HEALTH_PATIENCE: Duration = Duration::from_secs(10);

/// How much of an answer is shown.
const ANSWER_SHOWN: usize = 4000;

/// What no answer may hold.
const SECRETS: [&str; 4] = [TOKEN, canaries::SECRET, victim::SECRET, "root:x:0:0"];

/// An attack.
pub(crate) struct Attack {
    /// What it tries.
    pub(crate) name: &'static str,
    /// The step of the plan, or the part of the executor, that must stop it.
    pub(crate) stopped_by: &'static str,
    pub(crate) language: &'static str,
    /// The program. It prints `ESCAPED` and what it reached, and `done` as its last line.
    code: &'static str,
    /// Further fields of the request, as JSON.
    fields: &'static str,
    /// How its run may end.
    ends: Ends,
    /// The guarantees that it attacks, if others than those of its table.
    pub(crate) against: Option<&'static [Promise]>,
    /// How often it is made, where what it leaves behind matters.
    rounds: u8,
}

/// How the run of an attack ends.
#[derive(Clone, Copy)]
pub(crate) enum Ends {
    /// By itself, after each try failed.
    Held,
    /// With one of these statuses, at whatever point.
    As(&'static [&'static str]),
    /// Before it began: the executor refuses the request as wrong.
    Refused,
    /// With this status, and as this function wants.
    Checked(&'static str, fn(&Value) -> bool),
}

/// An attack that runs to its end, and finds every way barred.
pub(crate) const fn attack(
    name: &'static str,
    stopped_by: &'static str,
    code: &'static str,
) -> Attack {
    Attack {
        name,
        stopped_by,
        language: "python",
        code,
        fields: "{}",
        ends: Ends::Held,
        against: None,
        rounds: 1,
    }
}

impl Attack {
    pub(crate) const fn in_language(self, language: &'static str) -> Self {
        Self { language, ..self }
    }

    pub(crate) const fn with(self, fields: &'static str) -> Self {
        Self { fields, ..self }
    }

    pub(crate) const fn ends(self, ends: Ends) -> Self {
        Self { ends, ..self }
    }

    pub(crate) const fn against(self, against: &'static [Promise]) -> Self {
        Self { against: Some(against), ..self }
    }

    pub(crate) const fn twice(self) -> Self {
        Self { rounds: 2, ..self }
    }

    /// Makes the attack and returns everything that is wrong after it.
    pub(crate) async fn faults(&self, ground: &mut Ground) -> Vec<String> {
        let mut faults = Vec::new();
        for _ in 0..self.rounds {
            faults.extend(self.faults_of_one(ground).await);
        }
        faults
    }

    async fn faults_of_one(&self, ground: &mut Ground) -> Vec<String> {
        let fields = ground.told(self.language, self.fields);
        let fields: Value = serde_json::from_str(&fields).expect("the table holds JSON");
        let code = self.told(ground);
        let server = ground.server(self.language).url("/health");
        let health = tokio::spawn(watch_health(server));
        let answer = ground.run(self.language, &code, &fields).await;
        let mut faults = self.faults_of(&answer);
        health.abort();
        match health.await {
            Ok(fault) => faults.push(fault),
            Err(ended) if ended.is_panic() => faults.push("the health check broke".to_owned()),
            Err(_) => {}
        }
        faults.extend(ground.damage().await);
        faults.extend(next_run(ground).await);
        if !faults.is_empty() {
            let answer: String = answer.to_string().chars().take(ANSWER_SHOWN).collect();
            faults.push(format!("the answer was {answer}"));
        }
        faults
    }

    fn faults_of(&self, answer: &Value) -> Vec<String> {
        let mut faults = Vec::new();
        let whole = answer.to_string();
        for secret in SECRETS {
            if whole.contains(secret) {
                faults.push(format!("the answer holds the secret {secret}"));
            }
        }
        let text = |name: &str| answer[name].as_str().unwrap_or_default();
        let output = text("output");
        faults.extend(output.lines().filter(|it| it.contains("ESCAPED")).map(str::to_owned));
        let status = text("status");
        let well = match self.ends {
            Ends::Held => status == "success" && output.trim_end().ends_with("done"),
            Ends::Refused => answer["status"] == 422,
            Ends::As(statuses) => statuses.contains(&status),
            Ends::Checked(expected, check) => status == expected && check(answer),
        };
        if !well {
            faults.push(format!("the run ended in another way than it must: {status}"));
        }
        faults
    }

    /// Whether the attack has an effect where nothing should stop it.
    pub(crate) async fn has_effect(&self, ground: &mut Ground) -> bool {
        let fields = ground.told(self.language, self.fields);
        let mut fields: Value = serde_json::from_str(&fields).expect("the table holds JSON");
        fields["timeout"] = 5.into();
        let code = self.told(ground);
        let Some(answer) = ground.try_run(self.language, &code, &fields).await else {
            return true;
        };
        answer.contains("ESCAPED")
            || SECRETS.iter().any(|it| answer.contains(it))
            || ground.is_changed(self.language)
    }

    /// The program with what an attacker would have to find out: as constants in front of it, and
    /// in place of `@NAME@`.
    fn told(&self, ground: &Ground) -> String {
        let mut prelude = String::new();
        let code = ground.told(self.language, self.code);
        for (name, fact) in ground.facts(self.language) {
            let quoted = match fact {
                Fact::Number(number) => number.to_string(),
                Fact::Text(text) => format!("{text:?}"),
            };
            match self.language {
                "python" => writeln!(prelude, "{name} = {quoted}").unwrap(),
                "cpp" => writeln!(prelude, "#define {name} {quoted}").unwrap(),
                _ => {}
            }
        }
        // Where imports must come first, functions come last.
        let (before, after) = match self.language {
            "python" => (include_str!("preludes/prelude.py"), ""),
            "cpp" => (include_str!("preludes/prelude.hpp"), ""),
            "javascript" => (include_str!("preludes/prelude.js"), ""),
            "java" => ("", include_str!("preludes/postlude.java")),
            "go" if code.contains("\tattempt(") => ("", include_str!("preludes/postlude.go")),
            "rust" => ("", include_str!("preludes/postlude.rust")),
            _ => ("", ""),
        };
        prelude + before + &code + after
    }
}

/// Asks the server how it is, over and over. Returns when it does not say that it is well.
async fn watch_health(url: String) -> String {
    loop {
        let asked = client().get(&url).timeout(HEALTH_PATIENCE).send().await;
        match asked {
            Ok(answer) if answer.status().is_success() => {}
            Ok(answer) => return format!("the server was not well: {}", answer.status()),
            Err(error) => return format!("the server did not say how it was: {error}"),
        }
        tokio::time::sleep(HEALTH_INTERVAL).await;
    }
}

/// What the next run on the same executor finds that it should not.
async fn next_run(ground: &Ground) -> Option<String> {
    const LOOK: &str = "import os\n\
        print(sorted(os.listdir()), os.listdir(os.environ['TMPDIR']), os.stat('.').st_uid == os.getuid())";
    let answer = ground.run("python", LOOK, &json!({})).await;
    let clean = answer["status"] == "success" && answer["output"] == "['main.py'] [] True\n";
    (!clean).then(|| format!("the next run was not clean: {answer}"))
}
