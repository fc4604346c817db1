//! How gateways on one database wake each other. A message is a hint: it is sent after the
//! transaction that it tells of, many in one, and never within one, since transactions that notify wait
//! for each other. Whoever misses one looks again after a while.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::PgListener;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::batch::News;
use super::place::Place;
use crate::{JobId, Wakes};

const WORK: &str = "flotilla_work";
const JOBS: &str = "flotilla_jobs";
/// Between two messages there is so much time.
const PAUSE: Duration = Duration::from_millis(5);
/// Jobs in a message: it may have 8000 bytes, and a name takes 37.
const NAMED_MAX: usize = 200;
/// Jobs that wait to be told of. Beyond, everybody is told to look.
const WAITING_MAX: usize = 4_000;
/// What stands for all jobs.
const ALL: &str = "*";
/// After so long without any, a message is sent for its own sake; who hears none for longer, and of its
/// own neither, listens anew.
const QUIET: Duration = Duration::from_secs(20);
const DEAF: Duration = Duration::from_mins(1);
/// Before somebody who could not listen tries again.
const AGAIN: Duration = Duration::from_secs(1);
/// How long sending may take.
const SEND: Duration = Duration::from_secs(4);

/// What is to be told.
#[derive(Debug)]
pub(super) struct Bus {
    own: String,
    waiting: Mutex<Waiting>,
    something: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    has_work: bool,
    jobs: HashSet<JobId>,
    is_all: bool,
}

/// Messages of one moment.
struct Messages {
    work: Option<String>,
    jobs: Option<String>,
}

impl Bus {
    pub(super) fn new() -> Self {
        let own = JobId::random().to_string();
        Self { own, waiting: Mutex::default(), something: Notify::new() }
    }

    /// Has the other gateways told.
    pub(super) fn tell(&self, news: &News) {
        if news.changed.is_empty() && !news.has_work {
            return;
        }
        let mut waiting = self.lock();
        waiting.has_work |= news.has_work;
        if waiting.jobs.len() + news.changed.len() > WAITING_MAX {
            waiting.is_all = true;
            waiting.jobs.clear();
        } else if !waiting.is_all {
            waiting.jobs.extend(&news.changed);
        }
        drop(waiting);
        self.something.notify_one();
    }

    /// Starts to tell and to listen, as long as the tasks are kept.
    pub(super) fn start(self: &Arc<Self>, place: &Place, wakes: &Arc<Wakes>) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        tasks.spawn(speak(Arc::clone(self), place.readers()));
        tasks.spawn(listen(Arc::clone(self), place.ear(), Arc::clone(wakes)));
        tasks
    }

    /// Takes what fits into a message of each kind.
    fn take(&self) -> Messages {
        let mut waiting = self.lock();
        let work = std::mem::take(&mut waiting.has_work).then(|| self.own.clone());
        if std::mem::take(&mut waiting.is_all) {
            return Messages { work, jobs: Some(format!("{} {ALL}", self.own)) };
        }
        let named: Vec<JobId> = waiting.jobs.iter().take(NAMED_MAX).copied().collect();
        let mut jobs = self.own.clone();
        for id in &named {
            waiting.jobs.remove(id);
            jobs.push(' ');
            jobs.push_str(&id.to_string());
        }
        if !waiting.jobs.is_empty() {
            self.something.notify_one();
        }
        // Without any work, a message without jobs says that we are there.
        let is_said = !named.is_empty() || work.is_none();
        Messages { work, jobs: is_said.then_some(jobs) }
    }

    fn hear(&self, channel: &str, message: &str, wakes: &Wakes) {
        let mut words = message.split(' ');
        if words.next() == Some(self.own.as_str()) {
            return;
        }
        if channel == WORK {
            return wakes.tell_of_work();
        }
        let words: Vec<&str> = words.collect();
        if words.contains(&ALL) {
            return wakes.tell_everybody();
        }
        wakes.tell_of(words.iter().filter_map(|it| it.parse().ok()));
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn speak(bus: Arc<Bus>, pool: PgPool) {
    loop {
        drop(timeout(QUIET, bus.something.notified()).await);
        let Messages { work, jobs } = bus.take();
        let send = sqlx::query(
            "SELECT pg_notify(channel, message) FROM unnest($1::text[], $2::text[]) \
             AS m (channel, message) WHERE message IS NOT NULL",
        );
        let send = send.bind(vec![WORK, JOBS]).bind(vec![work, jobs]).execute(&pool);
        if !matches!(timeout(SEND, send).await, Ok(Ok(_))) {
            tracing::debug!("other gateways could not be told of jobs; they look by themselves");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn listen(bus: Arc<Bus>, pool: PgPool, wakes: Arc<Wakes>) {
    loop {
        if let Err(error) = listen_once(&bus, &pool, &wakes).await {
            tracing::debug!("other gateways cannot be heard: {error}");
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Listens until the connection ends, or seems to.
async fn listen_once(bus: &Bus, pool: &PgPool, wakes: &Wakes) -> sqlx::Result<()> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.eager_reconnect(false);
    listener.listen_all([WORK, JOBS]).await?;
    // Something may have happened before this was heard.
    wakes.tell_everybody();
    loop {
        match timeout(DEAF, listener.try_recv()).await {
            Ok(heard) => match heard? {
                Some(it) => bus.hear(it.channel(), it.payload(), wakes),
                None => return Ok(()),
            },
            Err(_deaf) => return Ok(()),
        }
    }
}
