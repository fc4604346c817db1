//! What each message of the message queue's socket does.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_http::ws::CloseCode;
use actix_web::ResponseError as _;
use serde_json::{Value, json};

use super::super::claims::Wish;
use super::super::tasks;
use super::messages::{self, Heard, Named, Ready, What};
use super::socket::{Ending, STRIKES_MAX, Socket, Submitted};
use super::{Asked, DIALECT, MessageQueue, Sender, Told, language, lease, leave, record};
use crate::audit::Act;
use crate::error::ApiError;
use crate::gate;
use crate::handlers::worker::JOBS_MAX;
use crate::jobs::Jobs;
use crate::socket::{Lost, Memory};

/// Where sockets are opened.
const PATH: &str = "/dialects/message-queue/ws";
/// The status that is written down of a message whose act is done.
const DONE: u16 = 200;

/// The kind of an answer, and what it says.
type Answer = (&'static str, Value);

impl Socket {
    /// Does what a message says, and answers it. A task is answered once it is stored.
    pub(super) async fn answer(
        &mut self,
        queue: &MessageQueue,
        jobs: &Jobs,
        heard: Heard,
        memory: Memory,
    ) -> Result<(), Ending> {
        let Heard { id, task_id, what } = heard;
        self.recognize()?;
        let taken = gate::take(&self.shared, &self.caller, &self.subject);
        let kind = what.as_ref().map_or("unknown", What::kind);
        let answered = match (taken, what) {
            (Err(error), _) => Err(error),
            (Ok(_), Err(error)) => {
                self.strikes += 1;
                Err(error)
            }
            (Ok(_), Ok(what)) => {
                self.strikes = 0;
                self.act(queue, jobs, (id.clone(), memory), what).await
            }
        };
        if !matches!(answered, Ok(None)) {
            self.write_down(kind, answered.as_ref().err());
        }
        match answered {
            Ok(None) => {}
            Ok(Some((kind, fields))) => {
                self.writer.send(&messages::answer(id.as_ref(), kind, fields)).await?;
            }
            Err(error) => {
                let told = messages::error(id.as_ref(), task_id.as_deref(), &error);
                self.writer.send(&told).await?;
            }
        }
        if self.strikes >= STRIKES_MAX {
            return Err(Ending::Closed(CloseCode::Policy, "these are no messages"));
        }
        Ok(())
    }

    async fn act(
        &mut self,
        queue: &MessageQueue,
        jobs: &Jobs,
        (id, memory): (Option<Value>, Memory),
        what: What,
    ) -> Result<Option<(&'static str, Value)>, ApiError> {
        let roles = what.roles();
        if !roles.iter().any(|it| self.caller.may(*it)) {
            return Err(ApiError::Forbidden(roles));
        }
        match what {
            What::Submit(asked) => self.submit(id, memory, asked).map(|()| None),
            What::Subscribe(named) => self.subscribe(jobs, named).await.map(Some),
            What::Ready(ready) => self.ready(queue, jobs, ready).map(Some),
            What::Accepted(named) => self.accepted(jobs, &named).await.map(Some),
            What::Result(told) => self.result(queue, jobs, *told).await.map(Some),
            What::Heartbeat(sender) => self.beat(queue, sender).map(Some),
        }
    }

    /// Writes down what its key was used for, as every request is.
    fn write_down(&self, kind: &str, error: Option<&ApiError>) {
        let (address, request_id) = &self.origin;
        let status = error.map_or(DONE, |it| it.status_code().as_u16());
        let act = Act { method: kind, path: PATH, status, request_id };
        self.shared.audit.write(&self.caller, *address, &act);
    }

    /// Begins to store a task. Its result is waited for from then on.
    fn submit(&self, id: Option<Value>, memory: Memory, asked: Asked) -> Result<(), ApiError> {
        self.results.has_room(self.submitting.len())?;
        let (shared, owner) = (Arc::clone(&self.shared), self.owner.clone());
        self.submitting.push(Box::pin(async move {
            let kept = leave(&shared, &owner, asked).await;
            drop(memory);
            (id, kept)
        }));
        Ok(())
    }

    /// Answers that a task is stored, or why it is not.
    pub(super) async fn submitted(
        &mut self,
        jobs: &Jobs,
        submitted: Submitted,
    ) -> Result<(), Lost> {
        let (id, kept) = submitted;
        self.write_down("submit", kept.as_ref().err());
        match kept {
            Ok((job, name)) => {
                let fields = json!({ "task_id": name });
                self.writer.send(&messages::answer(id.as_ref(), "queued", fields)).await?;
                self.results.follow(jobs.store.wakes(), job, name);
            }
            Err(error) => self.writer.send(&messages::error(id.as_ref(), None, &error)).await?,
        }
        Ok(())
    }

    /// Waits for the result of a task that was left before, over whatever.
    async fn subscribe(
        &mut self,
        jobs: &Jobs,
        Named { task_id }: Named,
    ) -> Result<Answer, ApiError> {
        self.results.has_room(self.submitting.len())?;
        let job = tasks::find(jobs, &self.owner, DIALECT, &task_id).await?;
        let fields = json!({ "task_id": task_id });
        self.results.follow(jobs.store.wakes(), job.id, task_id);
        Ok(("subscribed", fields))
    }

    /// A machine takes so many tasks.
    fn ready(
        &mut self,
        queue: &MessageQueue,
        jobs: &Jobs,
        Ready { limit, language: word, sender }: Ready,
    ) -> Result<Answer, ApiError> {
        if limit > JOBS_MAX {
            return Err(ApiError::invalid("/limit", format!("must be from 0 to {JOBS_MAX}")));
        }
        let language = language(&self.shared, word)?;
        let worker = self.machine(queue, sender)?;
        self.hand.ready(jobs, Wish { worker, language, most: limit, wait: Duration::ZERO });
        Ok(("ok", json!({})))
    }

    /// A machine has a task, and may start it.
    async fn accepted(
        &mut self,
        jobs: &Jobs,
        Named { task_id }: &Named,
    ) -> Result<Answer, ApiError> {
        let time = self.hand.accept(jobs, lease(task_id)?).await?;
        Ok(("accepted", json!({ "task_id": task_id, "seconds": time.as_secs_f64() })))
    }

    /// A machine tells what came of a task.
    async fn result(
        &mut self,
        queue: &MessageQueue,
        jobs: &Jobs,
        mut told: Told,
    ) -> Result<Answer, ApiError> {
        let (task_id, lease) = (told.task_id.clone(), lease(&told.task_id)?);
        told.sender.vm_id = told.sender.vm_id.or_else(|| self.machine.clone());
        record(queue, jobs, &self.key, told).await?;
        self.hand.end(lease.id);
        Ok(("recorded", json!({ "task_id": task_id })))
    }

    /// A machine is there.
    fn beat(&mut self, queue: &MessageQueue, sender: Sender) -> Result<Answer, ApiError> {
        self.machine(queue, sender)?;
        Ok(("ok", json!({})))
    }

    /// Notes which machine speaks, and says what the store knows it as.
    fn machine(&mut self, queue: &MessageQueue, mut sender: Sender) -> Result<String, ApiError> {
        let name = sender.vm_id.take().or_else(|| self.machine.clone());
        sender.vm_id.clone_from(&name);
        let id = queue.hear(&self.key, sender, Instant::now())?;
        self.machine = Some(name.unwrap_or_default());
        Ok(id)
    }
}
