//! The message queue over one WebSocket: a front-end leaves tasks and has their results pushed, a
//! machine has tasks pushed and brings results, and one connection may be both. Leases are those of
//! everybody: a socket that ends loses nothing, and what was accepted may be told over another one or
//! by `POST /results`.
//!
//! Every message is answered once. A socket is one task with one loop, which its connection, the end
//! of the process, a withdrawn key and silence end; whatever waits in it has a deadline.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_http::ws::CloseCode;
use actix_web::http::header::HeaderMap;
use actix_web::web;
use actix_web::{HttpMessage as _, HttpRequest, HttpResponse};
use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use queue::{JobId, Lease};
use serde_json::{Value, json};
use telemetry::RequestContext;
use tokio::time::{Interval, MissedTickBehavior};

use super::super::owner::Owner;
use super::hand::{Hand, until};
use super::messages;
use super::results::Results;
use super::{MessageQueue, Sender, parts, receipt, told};
use crate::auth::{Caller, Role, credentials};
use crate::error::ApiError;
use crate::gate;
use crate::handlers::execute::body_bytes_max;
use crate::handlers::worker::key;
use crate::jobs::Jobs;
use crate::rate_limit::{self, Subject};
use crate::settings::seconds;
use crate::shared::Shared;
use crate::socket::{Bounds, Fault, Incoming, Lost, Reader, Writer, accept};

/// What is spoken here.
const PROTOCOL: &str = "flotilla.queue.v1";
/// How often the other side is asked whether it is there.
const PING: Duration = Duration::from_secs(15);
/// Who has not been heard for so long is gone.
const SILENCE_MAX: Duration = Duration::from_secs(45);
/// Messages in a row that are none, until the socket ends.
pub(super) const STRIKES_MAX: u32 = 20;
/// Tasks of one socket that are being stored at a time.
const SUBMITTING_MAX: usize = 32;
/// How long those have once the socket ends.
const SUBMITTING_TIME_MAX: Duration = Duration::from_secs(5);

/// How a socket ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// There is nobody left to tell.
    Lost(Lost),
    /// The other side ended it.
    Answered,
    /// We do.
    Closed(CloseCode, &'static str),
}

impl Ending {
    fn why(self) -> &'static str {
        match self {
            Self::Lost(Lost::Gone) => "its connection is gone",
            Self::Lost(Lost::Stalled) => "it is not read",
            Self::Answered => "the other side ended it",
            Self::Closed(_, why) => why,
        }
    }
}

impl From<Lost> for Ending {
    fn from(lost: Lost) -> Self {
        Self::Lost(lost)
    }
}

impl From<Fault> for Ending {
    fn from(fault: Fault) -> Self {
        fault.ending().map_or(Self::Lost(Lost::Gone), |(code, why)| Self::Closed(code, why))
    }
}

/// A task that is being stored, and how that went.
pub(super) type Submitted = (Option<Value>, Result<(JobId, String), ApiError>);

/// An open socket.
pub(super) struct Socket {
    pub(super) shared: Arc<Shared>,
    /// What it was opened with.
    credentials: HeaderMap,
    pub(super) caller: Caller,
    pub(super) subject: Subject,
    /// Whence it was opened, and by which request.
    pub(super) origin: (Option<IpAddr>, String),
    pub(super) owner: Owner,
    /// The name of its key.
    pub(super) key: String,
    /// What the machine calls itself, once it has.
    pub(super) machine: Option<String>,
    reader: Reader,
    pub(super) writer: Writer,
    heard: Instant,
    /// Messages in a row that were none.
    pub(super) strikes: u32,
    pub(super) submitting: FuturesUnordered<BoxFuture<'static, Submitted>>,
    pub(super) results: Results,
    pub(super) hand: Hand,
}

/// What a socket waited for.
enum Event {
    Incoming(Result<Incoming, Fault>),
    Submitted(Submitted),
    Tick,
    Drain,
    Gone,
    /// There may be something to push.
    Push,
}

/// `GET /ws`
pub(crate) async fn open(
    request: HttpRequest,
    payload: web::Payload,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    let (queue, _) = parts(&shared)?;
    crate::origin::check(request.headers(), &shared.settings.cors_origins)?;
    let caller = request.extensions().get::<Caller>().cloned().ok_or(ApiError::Internal)?;
    let key = key(&request);
    // Whoever brings results may bring large ones.
    let bytes_max = if caller.may(Role::Work) {
        shared.settings.answer_mb << 20
    } else {
        body_bytes_max(&shared.snapshot_for_jobs())
    };
    let bounds = Bounds { bytes_max, bodies: shared.bodies.clone() };
    let open = queue.sockets.enter(&key)?;
    let (response, reader, writer) = accept(&request, payload, PROTOCOL, bounds, open)?;
    let trusts = shared.settings.trust_forwarded_for;
    let peer = request.peer_addr().map(|it| it.ip());
    let context = request.extensions().get::<RequestContext>().map(|it| it.request_id.clone());
    let socket = Socket {
        origin: (peer, context.unwrap_or_default()),
        credentials: credentials(request.headers()),
        subject: rate_limit::subject(&caller, peer, request.headers(), trusts),
        owner: Owner::named(&caller),
        key,
        machine: None,
        caller,
        reader,
        writer,
        heard: Instant::now(),
        strikes: 0,
        submitting: FuturesUnordered::new(),
        results: Results::default(),
        hand: Hand::default(),
        shared: shared.into_inner(),
    };
    // Its connection owns it: the server waits for that when it drains, and it ends the socket.
    drop(actix_web::rt::spawn(Box::pin(socket.serve())));
    Ok(response)
}

impl Socket {
    async fn serve(mut self) {
        let shared = Arc::clone(&self.shared);
        let Ok((queue, jobs)) = parts(&shared) else { return };
        let Err(ending) = self.go_on(queue, jobs).await;
        tracing::info!(caller = self.key, "a socket ends: {}", ending.why());
        release(jobs, self.hand.rest()).await;
        match ending {
            Ending::Lost(_) => {}
            Ending::Answered => drop(self.writer.close(CloseCode::Normal, "").await),
            Ending::Closed(code, why) => {
                if self.finish(jobs).await.is_ok() && self.writer.close(code, why).await.is_ok() {
                    self.reader.linger().await;
                }
            }
        }
    }

    /// Answers what is still on its way to the store.
    async fn finish(&mut self, jobs: &Jobs) -> Result<(), Lost> {
        let until = tokio::time::Instant::now() + SUBMITTING_TIME_MAX;
        while !self.submitting.is_empty() {
            let next = tokio::time::timeout_at(until, self.submitting.next()).await;
            let Ok(Some(submitted)) = next else { return Ok(()) };
            self.submitted(jobs, submitted).await?;
        }
        Ok(())
    }

    async fn go_on(&mut self, queue: &MessageQueue, jobs: &Jobs) -> Result<Infallible, Ending> {
        let mut ticks = tokio::time::interval(PING);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.give_back(jobs).await?;
            self.push(queue, jobs).await?;
            match self.next(&mut ticks).await {
                Event::Incoming(incoming) => self.hear(queue, jobs, incoming?).await?,
                Event::Submitted(submitted) => self.submitted(jobs, submitted).await?,
                Event::Tick => self.tick(queue).await?,
                Event::Drain => {
                    return Err(Ending::Closed(CloseCode::Away, "this gateway stops; come back"));
                }
                Event::Gone => return Err(Lost::Gone.into()),
                Event::Push => {}
            }
        }
    }

    async fn next(&mut self, ticks: &mut Interval) -> Event {
        let Self { shared, reader, writer, submitting, results, hand, .. } = self;
        let (has_room, ends) = (writer.has_room(), hand.ends());
        tokio::select! {
            () = writer.gone() => Event::Gone,
            () = shared.drain.begun() => Event::Drain,
            _ = ticks.tick() => Event::Tick,
            Some(submitted) = submitting.next() => Event::Submitted(submitted),
            () = writer.room(), if !has_room => Event::Push,
            incoming = reader.next(), if submitting.len() < SUBMITTING_MAX => {
                Event::Incoming(incoming)
            }
            () = results.changed() => Event::Push,
            () = hand.woken(), if has_room => Event::Push,
            () = until(ends) => Event::Push,
        }
    }

    /// Gives tasks back that were not accepted in time.
    async fn give_back(&mut self, jobs: &Jobs) -> Result<(), Ending> {
        let late = self.hand.late(Instant::now());
        for lease in &late {
            let detail = "it was not accepted in time; say `ready` again for others";
            let fields = json!({ "task_id": receipt(*lease), "detail": detail });
            self.writer.send(&messages::push("released", fields)).await?;
        }
        release(jobs, late).await;
        Ok(())
    }

    /// Pushes what there is, one of each kind in turn, as long as the other side takes it.
    async fn push(&mut self, queue: &MessageQueue, jobs: &Jobs) -> Result<(), Ending> {
        while self.writer.has_room() {
            let is_work = self.hand.is_due(Instant::now());
            if is_work {
                self.push_tasks(queue, jobs).await?;
            }
            if self.results.is_due() {
                if let Some(result) = self.results.look(jobs, &self.owner).await {
                    self.writer.send(&result).await?;
                }
            } else if !is_work {
                return Ok(());
            }
        }
        Ok(())
    }

    async fn push_tasks(&mut self, queue: &MessageQueue, jobs: &Jobs) -> Result<(), Ending> {
        match self.hand.claim(&self.shared, jobs, queue.terms()).await {
            Ok(granted) => {
                for task in granted {
                    self.writer.send(&messages::push("task", told(&task))).await?;
                }
            }
            // It is asked again after a while.
            Err(error) => tracing::warn!("no tasks can be claimed for a socket: {error}"),
        }
        Ok(())
    }

    /// Looks whether both sides are what they were.
    async fn tick(&mut self, queue: &MessageQueue) -> Result<(), Ending> {
        let now = Instant::now();
        self.recognize()?;
        if now.saturating_duration_since(self.heard) > SILENCE_MAX {
            return Err(Ending::Closed(CloseCode::Policy, "nothing was heard for too long"));
        }
        let time_max = seconds(self.shared.settings.body_seconds);
        if self.reader.since().is_some_and(|it| now.saturating_duration_since(it) > time_max) {
            return Err(Ending::Closed(CloseCode::Policy, "the message took too long to arrive"));
        }
        self.touch(queue);
        Ok(self.writer.ping().await?)
    }

    /// Whoever opened the socket may be nobody by now, or somebody who may do less.
    pub(super) fn recognize(&mut self) -> Result<(), Ending> {
        match self.shared.keys.authenticate(&self.credentials) {
            Ok(caller) if caller.id() == self.caller.id() => {
                self.owner = Owner::named(&caller);
                self.caller = caller;
                Ok(())
            }
            _ => Err(Ending::Closed(CloseCode::Policy, "the API key is not good any more")),
        }
    }

    async fn hear(
        &mut self,
        queue: &MessageQueue,
        jobs: &Jobs,
        incoming: Incoming,
    ) -> Result<(), Ending> {
        self.heard = Instant::now();
        match incoming {
            Incoming::Text(text, memory) => {
                let heard = messages::parse(&text);
                drop(text);
                self.answer(queue, jobs, heard, memory).await
            }
            Incoming::Ping(payload) => {
                match gate::take(&self.shared, &self.caller, &self.subject) {
                    Ok(_) => Ok(self.writer.pong(&payload).await?),
                    Err(_) => Ok(()),
                }
            }
            Incoming::Pong => Ok(()),
            Incoming::Close => Err(Ending::Answered),
        }
    }

    /// A machine whose socket is alive is there.
    fn touch(&self, queue: &MessageQueue) {
        let Some(name) = self.machine.clone() else { return };
        let sender = Sender { vm_id: Some(name), ..Sender::default() };
        if let Err(error) = queue.hear(&self.key, sender, self.heard) {
            tracing::debug!("a machine is not remembered: {error}");
        }
    }
}

async fn release(jobs: &Jobs, leases: Vec<Lease>) {
    if leases.is_empty() {
        return;
    }
    if let Err(error) = jobs.store.release(leases).await {
        tracing::warn!("tasks that nobody accepted go back when their leases end: {error}");
    }
}
