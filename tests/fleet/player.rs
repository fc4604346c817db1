//! A worker that is played by the test, so that a test decides what it says and when.

use reqwest::RequestBuilder;
use serde_json::{Value, json};
use tests::{Server, client};

use crate::target::{Answer, try_whole, whole};

/// A worker that is played by the test.
pub(crate) struct Player<'a> {
    gateway: &'a Server,
    incarnation: &'static str,
    polls: u32,
}

impl<'a> Player<'a> {
    /// One that has not registered.
    pub(crate) fn new(gateway: &'a Server, incarnation: &'static str) -> Self {
        Self { gateway, incarnation, polls: 0 }
    }

    /// One that has registered, as a fresh start of the worker. `info` is what an executor says.
    pub(crate) async fn register(
        gateway: &'a Server,
        info: &Value,
        incarnation: &'static str,
    ) -> Self {
        let player = Self::new(gateway, incarnation);
        let answer = player.call("register", &player.registration(info)).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        player
    }

    /// What it says of itself.
    pub(crate) fn registration(&self, info: &Value) -> Value {
        json!({"worker": "played", "incarnation": self.incarnation, "isFresh": true,
            "version": "1", "protocol": [1, 1], "info": info, "somethingNew": 1})
    }

    /// What the gateway answers.
    pub(crate) async fn call(&self, name: &str, body: &Value) -> Answer {
        whole(self.request(name, body)).await
    }

    /// The same of a gateway that may be gone.
    pub(crate) async fn try_call(&self, name: &str, body: &Value) -> Option<Answer> {
        try_whole(self.request(name, body)).await.ok()
    }

    fn request(&self, name: &str, body: &Value) -> RequestBuilder {
        let request = client().post(self.gateway.url(&format!("/v1/worker/{name}")));
        request.header("content-type", "application/json").body(body.to_string())
    }

    /// A poll of this name.
    pub(crate) fn poll_named(&self, poll: &str, free: usize, holding: &[Value]) -> Value {
        json!({"worker": "played", "incarnation": self.incarnation, "free": free, "poll": poll,
            "waitMs": 100, "holding": holding})
    }

    /// The jobs that a new poll gives.
    pub(crate) async fn poll(&mut self, free: usize, holding: &[Value]) -> Vec<Value> {
        self.polls += 1;
        self.poll_again(free, holding).await
    }

    /// Those that the last poll gives when it comes again.
    pub(crate) async fn poll_again(&self, free: usize, holding: &[Value]) -> Vec<Value> {
        let body = self.poll_named(&self.polls.to_string(), free, holding);
        let answer = self.call("poll", &body).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        leases(&answer)
    }

    /// Says that it has leases.
    pub(crate) fn beat_of(&self, holding: &[Value]) -> Value {
        json!({"worker": "played", "incarnation": self.incarnation, "holding": holding})
    }

    /// What becomes of leases that it says to have.
    pub(crate) async fn beat(&self, holding: &[Value]) -> Value {
        self.call("beat", &self.beat_of(holding)).await.body["leases"].clone()
    }

    /// What becomes of a result.
    pub(crate) async fn complete(&self, lease: &Value, output: &str) -> Value {
        let answer = self.call("complete", &completion(lease, output)).await;
        answer.body["results"][0].clone()
    }
}

/// The leases that an answer gives.
pub(crate) fn leases(answer: &Answer) -> Vec<Value> {
    let jobs = answer.body["jobs"].as_array().cloned().unwrap_or_default();
    jobs.iter().map(|it| json!({"id": it["id"], "token": it["token"]})).collect()
}

/// A result under a lease.
pub(crate) fn completion(lease: &Value, output: &str) -> Value {
    let result = json!({"id": lease["id"], "token": lease["token"], "runMs": 5,
        "report": {"status": "success", "output": output}});
    json!({ "results": [result] })
}
