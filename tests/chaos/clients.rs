//! Clients that leave jobs, over HTTP, and try again for as long as that may help.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use reqwest::header::RETRY_AFTER;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tests::client;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::chance::Chance;
use crate::history::{Recorder, View, Wanted, What};

/// Whose jobs there are: name, key, and how many may run at a time.
pub(crate) const CALLERS: [(&str, &str, usize); 3] = [
    ("ann", "ann-0123456789abcdef", 2),
    ("bob", "bob-0123456789abcdef", 1000),
    ("cid", "cid-0123456789abcdef", 3),
];

/// Nothing that is done to a fleet keeps it from answering for so long.
const PATIENCE: Duration = Duration::from_mins(3);
/// The longest wait before a call is made again, whatever a gateway proposes.
const AGAIN_MAX: Duration = Duration::from_millis(500);

/// What clients share.
#[derive(Debug)]
pub(crate) struct Load {
    /// The gateways' base URLs.
    gateways: Vec<String>,
    pub(crate) recorder: Recorder,
    next: AtomicUsize,
    ends: AtomicBool,
    acknowledged: Mutex<BTreeSet<(String, &'static str)>>,
}

/// A whole answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

impl Load {
    pub(crate) fn new(gateways: Vec<String>) -> Arc<Self> {
        Arc::new(Self {
            gateways,
            recorder: Recorder::new(),
            next: AtomicUsize::new(1),
            ends: AtomicBool::new(false),
            acknowledged: Mutex::default(),
        })
    }

    /// Starts so many clients.
    pub(crate) fn start(self: &Arc<Self>, clients: usize, chance: &mut Chance) -> JoinSet<()> {
        let mut running = JoinSet::new();
        for _ in 0..clients {
            running.spawn(Arc::clone(self).leave_jobs(chance.split()));
        }
        running
    }

    /// No more jobs are left.
    pub(crate) fn end(&self) {
        self.ends.store(true, Ordering::Release);
    }

    /// Every job that was acknowledged, with its caller's key.
    pub(crate) fn acknowledged(&self) -> Vec<(String, &'static str)> {
        let all = self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().cloned().collect()
    }

    async fn leave_jobs(self: Arc<Self>, mut chance: Chance) {
        while !self.ends.load(Ordering::Acquire) {
            let (caller, key, _) = CALLERS[chance.below(CALLERS.len())];
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let wanted = Wanted { caller, number, at_most_once: chance.is_one_in(10) };
            let body = submission(&wanted, &mut chance);
            // The same again, at the same time or later, is the same job.
            let times = if chance.is_one_in(6) { 3 } else { 1 };
            let mut seeds: Vec<Chance> = (0..times).map(|_| chance.split()).collect();
            let mut same = Vec::new();
            for chance in &mut seeds {
                same.push(self.submit(&wanted, key, &body, chance));
            }
            let ids = futures::future::join_all(same).await;
            let Some(Some(id)) = ids.into_iter().next() else { continue };
            if chance.is_one_in(7) {
                sleep(chance.millis(0, 400)).await;
                self.cancel(&id, key, &mut chance).await;
            }
            if !chance.is_one_in(4) {
                self.look(&id, key, "?wait=2s", &mut chance).await;
            }
            sleep(chance.millis(0, 400)).await;
        }
    }

    /// Leaves a job; its id, unless it is refused.
    pub(crate) async fn submit(
        &self,
        wanted: &Wanted,
        key: &str,
        body: &Value,
        chance: &mut Chance,
    ) -> Option<String> {
        let began = self.recorder.now();
        let text = body.to_string();
        let make = |url: &str| {
            let request = client().post(format!("{url}/v1/jobs")).body(text.clone());
            request.header("content-type", "application/json").bearer_auth(key)
        };
        let answer = self.answered("submit", make, chance).await;
        if answer.status != 202 {
            self.refused("submit", began, &answer);
            return None;
        }
        let id = answer.body["id"].as_str().unwrap().to_owned();
        let key = CALLERS.iter().find(|it| it.0 == wanted.caller).unwrap().1;
        let mut all = self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert((id.clone(), key));
        drop(all);
        self.recorder.note(began, What::Acknowledged(wanted.clone(), id.clone()));
        Some(id)
    }

    async fn cancel(&self, id: &str, key: &str, chance: &mut Chance) {
        let began = self.recorder.now();
        let make = |url: &str| {
            client().request(Method::DELETE, format!("{url}/v1/jobs/{id}")).bearer_auth(key)
        };
        let answer = self.answered("cancel", make, chance).await;
        // It may have been over, by an earlier try if by nothing else.
        if ![202, 409].contains(&answer.status) {
            self.refused("cancel", began, &answer);
        }
        self.recorder.note(began, What::Cancel(id.to_owned()));
    }

    /// Looks at a job, and returns what is shown, if it is there.
    pub(crate) async fn look(
        &self,
        id: &str,
        key: &str,
        query: &str,
        chance: &mut Chance,
    ) -> Option<View> {
        let began = self.recorder.now();
        let make = |url: &str| client().get(format!("{url}/v1/jobs/{id}{query}")).bearer_auth(key);
        let answer = self.answered("look", make, chance).await;
        match answer.status {
            200 => {
                let view = View::read(&answer.body);
                self.recorder.note(began, What::Seen(view.clone()));
                Some(view)
            }
            404 if answer.body["code"] == "no_job" => {
                self.recorder.note(began, What::Missing(id.to_owned()));
                None
            }
            _ => {
                self.refused("look", began, &answer);
                None
            }
        }
    }

    fn refused(&self, call: &str, began: Duration, answer: &Answer) {
        let (call, answer) = (call.to_owned(), format!("{} {}", answer.status, answer.body));
        self.recorder.note(began, What::Refused { call, answer });
    }

    /// What a call is answered once it is not an answer that says to call again. Each try goes to a
    /// gateway by chance, as through a balancer.
    async fn answered(
        &self,
        name: &str,
        make: impl Fn(&str) -> RequestBuilder,
        chance: &mut Chance,
    ) -> Answer {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let gateway = &self.gateways[chance.below(self.gateways.len())];
            let told = match whole(make(gateway)).await {
                Ok((answer, None)) => return answer,
                Ok((answer, Some(wait))) => {
                    sleep(wait.min(AGAIN_MAX)).await;
                    format!("{} {}", answer.status, answer.body)
                }
                Err(error) => {
                    sleep(chance.millis(20, 200)).await;
                    format!("{error:?}")
                }
            };
            if Instant::now() > deadline {
                return Answer {
                    status: 0,
                    body: json!(format!("{name} does not go through: {told}")),
                };
            }
        }
    }
}

/// Sends a request; its answer, and after what time to try again, if that may help.
async fn whole(request: RequestBuilder) -> reqwest::Result<(Answer, Option<Duration>)> {
    let response = request.send().await?;
    let status = response.status().as_u16();
    let seconds = response.headers().get(RETRY_AFTER).and_then(|it| it.to_str().ok()?.parse().ok());
    let wait = seconds.filter(|_| [429, 502, 503].contains(&status)).map(Duration::from_secs);
    let text = response.text().await?;
    let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
    Ok((Answer { status, body }, wait))
}

/// What a gateway answers, with a key of somebody's.
pub(crate) async fn shown(url: &str, key: &str) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match whole(client().get(url).bearer_auth(key)).await {
            Ok((answer, None)) => {
                assert_eq!(answer.status, 200, "{url}: {}", answer.body);
                return answer.body;
            }
            Ok((_, Some(wait))) => sleep(wait.min(AGAIN_MAX)).await,
            Err(error) => {
                assert!(Instant::now() < deadline, "{url}: {error:?}");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// A program that says which it is, and a word that no other run of it says, and takes a while.
pub(crate) fn program(number: usize, time: Duration) -> String {
    let seconds = time.as_secs_f64();
    format!("import os, time\nprint({number}, os.urandom(8).hex())\ntime.sleep({seconds})")
}

fn submission(wanted: &Wanted, chance: &mut Chance) -> Value {
    // Somebody who may have many at a time has some that take longer than a lease.
    let time = match chance.below(24) {
        0 if wanted.caller == CALLERS[1].0 => chance.millis(18_000, 22_000),
        0 | 1 => chance.millis(2000, 5000),
        _ => chance.millis(0, 300),
    };
    let delivery = if wanted.at_most_once { "at_most_once" } else { "at_least_once" };
    json!({
        "language": "python",
        "code": program(wanted.number, time),
        "priority": chance.below(10),
        "maxAttempts": 2 + chance.below(3),
        "delivery": delivery,
        "idempotencyKey": format!("{}-{}", wanted.caller, wanted.number),
    })
}
