//! The store on a Redis or Valkey server, for any number of gateways. Every operation is one script
//! that runs there whole and alone, so there is never half of one to be seen.

mod board;
mod hear;
mod link;
mod list;
mod open;
mod pack;
mod scripts;
mod unpack;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ::redis::{Script, ScriptInvocation};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use uuid::Uuid;

use self::hear::Ear;
use self::link::Link;
use self::pack::millis;
use crate::{
    Attempt, Board, Bounds, Callback, CallbackOutcome, Cancelled, Claim, Clock, Completed,
    Completion, Counts, DueCallbacks, Durability, Enqueued, Extended, Failed, Failure, Filter,
    Gone, Grant, Held, Job, JobId, JobStore, Lease, NewJob, OpenCallback, Page, QueueStats,
    Released, StoreError, StoredResult, Swept, Wakes,
};

/// What the names of all keys begin with. What stands in braces has a cluster keep them together.
const PREFIX: &str = "{flotilla}:";
/// The version of what the keys hold.
const SCHEMA: i64 = 2;

/// Jobs on a server.
#[derive(Debug)]
pub struct RedisStore {
    link: Arc<Link>,
    /// Tells this store's own messages from those of others.
    id: Uuid,
    claims: AtomicU64,
    /// How often the server had been away when the last sweep was done.
    swept_after: AtomicU64,
    bounds: Bounds,
    clock: Clock,
    durability: Durability,
    wakes: Arc<Wakes>,
    _ear: Ear,
}

impl RedisStore {
    /// Opens the store of the server that `url` names. A server that could lose jobs by the way it
    /// is set up is refused.
    pub async fn open(url: &str, bounds: Bounds, clock: Clock) -> Result<Self, StoreError> {
        let link = Arc::new(Link::new(url)?);
        let durability = open::open(&link, bounds.patience, &clock).await?;
        let (id, wakes) = (Uuid::now_v7(), Arc::<Wakes>::default());
        Ok(Self {
            id,
            claims: AtomicU64::new(0),
            swept_after: AtomicU64::new(link.outages()),
            bounds,
            clock,
            durability,
            _ear: Ear::start(Arc::clone(&link), Arc::clone(&wakes), id),
            wakes,
            link,
        })
    }

    /// A script with what each of them is told.
    fn call(&self, script: &'static Script) -> ScriptInvocation<'static> {
        call(script, &self.clock, self.id)
    }

    /// The same about a job.
    fn call_of(&self, script: &'static Script, id: JobId) -> ScriptInvocation<'static> {
        let mut call = self.call(script);
        call.arg(&id.as_bytes()[..]);
        call
    }

    /// Does something to jobs, and tells who waits for them.
    async fn change<T: ::redis::FromRedisValue>(
        &self,
        call: &ScriptInvocation<'static>,
        ids: impl IntoIterator<Item = JobId>,
    ) -> Result<T, StoreError> {
        let done = self.link.run(call).await?;
        self.wakes.tell_of(ids);
        self.wakes.tell_of_work();
        Ok(done)
    }
}

/// A script with what each of them is told: the names' beginning, the time, and who asks.
fn call(script: &'static Script, clock: &Clock, id: Uuid) -> ScriptInvocation<'static> {
    let mut call = script.prepare_invoke();
    let now = clock.fixed().map(|it| it.0.to_string()).unwrap_or_default();
    call.key(PREFIX).arg(now).arg(&id.as_bytes()[..]);
    call
}

impl JobStore for RedisStore {
    fn enqueue(&self, jobs: Vec<NewJob>) -> BoxFuture<'_, Result<Vec<Enqueued>, StoreError>> {
        async move {
            let mut call = self.call(&scripts::ENQUEUE);
            call.arg(self.bounds.waiting_max).arg(self.bounds.waiting_per_caller_max);
            call.arg(millis(self.bounds.key_ttl)).arg(jobs.len());
            pack::each(&mut call, &jobs, pack::new_job);
            let answers = self.change(&call, jobs.iter().map(|it| it.id)).await?;
            unpack::each(answers, unpack::enqueued)
        }
        .boxed()
    }

    fn claim(&self, claim: Claim) -> BoxFuture<'_, Result<Vec<Grant>, StoreError>> {
        async move {
            let mut call = self.call(&scripts::CLAIM);
            pack::claim(&mut call, &claim, self.claims.fetch_add(1, Ordering::Relaxed))?;
            let granted = unpack::each(self.link.run(&call).await?, unpack::grant)?;
            self.wakes.tell_of(granted.iter().map(|it| it.lease.id));
            Ok(granted)
        }
        .boxed()
    }

    fn extend(
        &self,
        leases: Vec<Lease>,
        time: Duration,
    ) -> BoxFuture<'_, Result<Vec<Extended>, StoreError>> {
        async move {
            let mut call = self.call(&scripts::EXTEND);
            call.arg(millis(time));
            pack::each(&mut call, &leases, pack::lease);
            let answers: Vec<(i64, bool)> = self.link.run(&call).await?;
            Ok(answers.into_iter().map(unpack::extended).collect())
        }
        .boxed()
    }

    fn complete(
        &self,
        completions: Vec<Completion>,
    ) -> BoxFuture<'_, Result<Vec<Completed>, StoreError>> {
        async move {
            let mut call = self.call(&scripts::COMPLETE);
            pack::each(&mut call, &completions, pack::completion);
            let done = self.link.run(&call).await?;
            // Whoever completes a job asks for the next one by itself.
            self.wakes.tell_of(completions.iter().map(|it| it.lease.id));
            unpack::each(done, unpack::completed)
        }
        .boxed()
    }

    fn fail(&self, failures: Vec<Failure>) -> BoxFuture<'_, Result<Vec<Failed>, StoreError>> {
        async move {
            let mut call = self.call(&scripts::FAIL);
            pack::chance(&mut call)?;
            pack::each(&mut call, &failures, pack::failure);
            let ids = failures.iter().map(|it| it.lease.id);
            unpack::each(self.change(&call, ids).await?, unpack::failed)
        }
        .boxed()
    }

    fn release(&self, leases: Vec<Lease>) -> BoxFuture<'_, Result<Vec<Released>, StoreError>> {
        async move {
            let mut call = self.call(&scripts::RELEASE);
            pack::each(&mut call, &leases, pack::lease);
            let answers: Vec<bool> = self.change(&call, leases.iter().map(|it| it.id)).await?;
            let released = |it| if it { Released::Released } else { Released::Stale };
            Ok(answers.into_iter().map(released).collect())
        }
        .boxed()
    }

    fn abandon(&self, worker: String, gone: Gone) -> BoxFuture<'_, Result<usize, StoreError>> {
        async move {
            let mut call = self.call(&scripts::ABANDON);
            call.arg(worker).arg(gone == Gone::Died);
            let ended = unpack::each(self.link.run(&call).await?, unpack::id)?;
            self.wakes.tell_of(ended.iter().copied());
            Ok(ended.len())
        }
        .boxed()
    }

    fn cancel(&self, id: JobId) -> BoxFuture<'_, Result<Cancelled, StoreError>> {
        async move {
            let answer: String = self.link.run(&self.call_of(&scripts::CANCEL, id)).await?;
            self.wakes.tell_of([id]);
            unpack::cancelled(&answer)
        }
        .boxed()
    }

    fn sweep(&self, limit: usize) -> BoxFuture<'_, Result<Swept, StoreError>> {
        async move {
            let outages = self.link.outages();
            let mut call = self.call(&scripts::SWEEP);
            call.arg(limit).arg(outages != self.swept_after.load(Ordering::Acquire));
            pack::chance(&mut call)?;
            call.arg(SCHEMA);
            let (leases, promoted, expired, changed) = self.link.run(&call).await?;
            self.swept_after.store(outages, Ordering::Release);
            let changed = unpack::each(changed, unpack::id)?;
            if !changed.is_empty() {
                self.wakes.tell_of(changed);
                self.wakes.tell_of_work();
            }
            Ok(Swept { leases, promoted, expired })
        }
        .boxed()
    }

    fn has_room(&self) -> BoxFuture<'_, Result<bool, StoreError>> {
        async move {
            match self.link.run::<()>(&self.call(&scripts::ROOM)).await {
                Ok(()) => Ok(true),
                Err(StoreError::NoRoom) => Ok(false),
                Err(error) => Err(error),
            }
        }
        .boxed()
    }

    fn redrive(&self, id: JobId) -> BoxFuture<'_, Result<bool, StoreError>> {
        async move {
            let call = self.call_of(&scripts::REDRIVE, id);
            self.change(&call, [id]).await
        }
        .boxed()
    }

    fn purge(&self, limit: usize) -> BoxFuture<'_, Result<usize, StoreError>> {
        async move {
            let mut call = self.call(&scripts::PURGE);
            call.arg(limit).arg(self.bounds.kept_max).arg(self.bounds.callbacks_max());
            call.arg(self.bounds.keys_max()).arg(millis(self.bounds.key_ttl));
            let purged = self.link.run(&call).await?;
            self.wakes.tidy();
            Ok(purged)
        }
        .boxed()
    }

    fn held(&self, worker: String, limit: usize) -> BoxFuture<'_, Result<Vec<Held>, StoreError>> {
        async move {
            let mut call = self.call(&scripts::HELD);
            call.arg(worker).arg(limit);
            unpack::each(self.link.run(&call).await?, unpack::held)
        }
        .boxed()
    }

    fn job(&self, id: JobId) -> BoxFuture<'_, Result<Option<Job>, StoreError>> {
        async move {
            let found: Option<(unpack::Fields, i64)> =
                self.link.run(&self.call_of(&scripts::JOB, id)).await?;
            let position = |at: i64| u64::try_from(at).ok();
            found.map(|(job, at)| unpack::job(id.as_bytes(), job, position(at))).transpose()
        }
        .boxed()
    }

    fn versions(&self, ids: Vec<JobId>) -> BoxFuture<'_, Result<Vec<(JobId, u64)>, StoreError>> {
        async move {
            let mut call = self.call(&scripts::VERSIONS);
            for id in &ids {
                call.arg(&id.as_bytes()[..]);
            }
            let found: Vec<Option<u64>> = self.link.run(&call).await?;
            let known = ids.into_iter().zip(found);
            Ok(known.filter_map(|(id, version)| Some((id, version?))).collect())
        }
        .boxed()
    }

    fn body(&self, id: JobId) -> BoxFuture<'_, Result<Option<Vec<u8>>, StoreError>> {
        async move { self.link.run(&self.call_of(&scripts::BODY, id)).await }.boxed()
    }

    fn result(&self, id: JobId) -> BoxFuture<'_, Result<Option<StoredResult>, StoreError>> {
        async move {
            let found: Option<Vec<u8>> = self.link.run(&self.call_of(&scripts::RESULT, id)).await?;
            Ok(found.map(|body| StoredResult { body }))
        }
        .boxed()
    }

    fn attempts(&self, id: JobId) -> BoxFuture<'_, Result<Vec<Attempt>, StoreError>> {
        async move {
            let found: Vec<unpack::AttemptAnswer> =
                self.link.run(&self.call_of(&scripts::ATTEMPTS, id)).await?;
            Ok(found.into_iter().map(unpack::attempt).collect())
        }
        .boxed()
    }

    fn list(
        &self,
        filter: Filter,
        from: Option<i64>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Page, StoreError>> {
        async move { self.pages(&filter, from, limit).await }.boxed()
    }

    fn counts(&self, caller: Option<String>) -> BoxFuture<'_, Result<Counts, StoreError>> {
        async move {
            let mut call = self.call(&scripts::COUNTS);
            call.arg(caller.is_some()).arg(caller.unwrap_or_default());
            let found: Vec<(String, u64)> = self.link.run(&call).await?;
            Ok(Counts::of(found.iter().map(|(state, jobs)| (state.as_str(), *jobs))))
        }
        .boxed()
    }

    fn stats(&self) -> BoxFuture<'_, Result<QueueStats, StoreError>> {
        async move {
            let found: Vec<unpack::StatsAnswer> =
                self.link.run(&self.call(&scripts::STATS)).await?;
            let memory = async |mut connection| {
                redis::cmd("INFO").arg("memory").query_async::<String>(&mut connection).await
            };
            Ok(unpack::stats(found, &self.link.with(memory).await?))
        }
        .boxed()
    }

    fn due_callbacks(
        &self,
        wish: DueCallbacks,
    ) -> BoxFuture<'_, Result<Vec<Callback>, StoreError>> {
        async move {
            let mut call = self.call(&scripts::DUE_CALLBACKS);
            pack::due_callbacks(&mut call, &wish);
            unpack::each(self.link.run(&call).await?, unpack::callback)
        }
        .boxed()
    }

    fn note_callback(
        &self,
        number: i64,
        outcome: CallbackOutcome,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        async move {
            let mut call = self.call(&scripts::NOTE_CALLBACK);
            pack::outcome(&mut call, number, &outcome);
            self.link.run::<i64>(&call).await.map(drop)
        }
        .boxed()
    }

    fn callbacks(
        &self,
        caller: String,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<OpenCallback>, StoreError>> {
        async move {
            let mut call = self.call(&scripts::CALLBACKS);
            call.arg(caller).arg(limit);
            unpack::each(self.link.run(&call).await?, unpack::open_callback)
        }
        .boxed()
    }

    fn durability(&self) -> Durability {
        self.durability
    }

    fn board(&self) -> Option<&dyn Board> {
        Some(self)
    }

    fn wakes(&self) -> &Arc<Wakes> {
        &self.wakes
    }
}
