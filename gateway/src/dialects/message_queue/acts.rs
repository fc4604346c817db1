//! What each message of the message queue's socket does.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::super::tasks::{self, Wish};
use super::messages::{self, Named, Ready};
use super::socket::{Socket, Submitted};
use super::{Asked, MessageQueue, Sender, Told, language, lease, leave, record};
use crate::error::ApiError;
use crate::handlers::worker::JOBS_MAX;
use crate::jobs::Jobs;
use crate::socket::{Lost, Memory};

/// The kind of an answer, and what it says.
type Answer = (&'static str, Value);

impl Socket {
    /// Begins to store a task. Its result is waited for from then on.
    pub(super) fn submit(
        &self,
        id: Option<Value>,
        memory: Memory,
        asked: Asked,
    ) -> Result<(), ApiError> {
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
    pub(super) async fn subscribe(
        &mut self,
        jobs: &Jobs,
        Named { task_id }: Named,
    ) -> Result<Answer, ApiError> {
        self.results.has_room(self.submitting.len())?;
        let job = tasks::find(jobs, &self.owner, &task_id).await?;
        let fields = json!({ "task_id": task_id });
        self.results.follow(jobs.store.wakes(), job.id, task_id);
        Ok(("subscribed", fields))
    }

    /// A machine takes so many tasks.
    pub(super) fn ready(
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
    pub(super) async fn accepted(
        &mut self,
        jobs: &Jobs,
        Named { task_id }: &Named,
    ) -> Result<Answer, ApiError> {
        let time = self.hand.accept(jobs, lease(task_id)?).await?;
        Ok(("accepted", json!({ "task_id": task_id, "seconds": time.as_secs_f64() })))
    }

    /// A machine tells what came of a task.
    pub(super) async fn result(
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
    pub(super) fn beat(
        &mut self,
        queue: &MessageQueue,
        sender: Sender,
    ) -> Result<Answer, ApiError> {
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
