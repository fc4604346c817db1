//! Has a run run: finds an executor for it, writes what that says into the log, and passes on what
//! was typed. One task a run; when it is dropped, the executor stops the run.

use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::{Problem, RunEvent};
use reqwest::Client;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot, watch};

use super::gather::{Gather, Origin, Piece, Stream};
use super::inlet::Written;
use super::log::Event;
use super::message::Control;
use super::run::Run;
use crate::dispatch::{Answer, Call, DispatchError, Document};
use crate::error::ApiError;
use crate::events::Relay;
use crate::fleet::Member;
use crate::shared::Shared;

/// How long a run that is to stop may take to tell how it ended.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

/// How often it is looked whether anybody is still there.
const LOOK: Duration = Duration::from_millis(500);

/// Between two tries to pass something on.
const PAUSE: Duration = Duration::from_millis(100);

/// How often it is tried to pass on a signal or a size.
const TRIES_MAX: usize = 20;

/// One try to pass something on may take so long. Executors answer sooner.
const TELL_TIME_MAX: Duration = Duration::from_secs(8);

/// What became of the first step of a run.
#[derive(Debug)]
pub(crate) enum Begun {
    /// An executor has taken it.
    Taken,
    /// An executor refused it, in these words.
    Refused(Document),
    /// Nobody could take it.
    Failed(ApiError),
}

/// Sees a run from its dispatch to its end. How it begins is told to whoever waits for that.
pub(crate) async fn drive(
    run: Arc<Run>,
    shared: Arc<Shared>,
    client: Client,
    call: Call,
    (controls, begun): (mpsc::Receiver<Control>, oneshot::Sender<Begun>),
) {
    let request_id = call.context.request_id.clone();
    let fail = |error: &ApiError| {
        let problem = error.problem(&request_id);
        run.write(|log| log.fail(&problem, Instant::now()));
    };
    let sent = tokio::select! {
        sent = Box::pin(shared.dispatcher.send(&client, call)) => sent,
        () = unwanted(&run, &shared) => Err(ApiError::RunStopped),
    };
    let relay = match sent {
        Ok(Answer::Events(relay)) => relay,
        Ok(Answer::Whole(document, _)) => {
            let problem: Option<Problem> = serde_json::from_slice(&document.body).ok();
            let odd = || ApiError::from(ODD_ANSWER).problem(&request_id);
            let problem = problem.unwrap_or_else(odd);
            run.write(|log| log.fail(&problem, Instant::now()));
            return tell(begun, Begun::Refused(document));
        }
        Err(error) => {
            fail(&error);
            return tell(begun, Begun::Failed(error));
        }
    };
    tell(begun, Begun::Taken);
    let line = Line { run: &run, shared: &shared, client: &client, member: relay.member() };
    let followed = tokio::select! {
        followed = Box::pin(follow(&run, &shared, relay)) => followed,
        () = Box::pin(line.pass_input_on()) => Ok(()),
        () = Box::pin(line.pass_controls_on(controls)) => Ok(()),
    };
    if let Err(error) = followed {
        fail(&error);
    }
}

const ODD_ANSWER: DispatchError = DispatchError::BadAnswer("it tells of no run");

/// Perhaps nobody waits for it any more.
fn tell(begun: oneshot::Sender<Begun>, what: Begun) {
    begun.send(what).map_err(drop).unwrap_or_default();
}

/// Waits until a run must stop: somebody said so, nobody looks at it, or this process ends.
async fn unwanted(run: &Run, shared: &Shared) {
    let mut stops = run.stops();
    let mut look = tokio::time::interval(LOOK);
    loop {
        tokio::select! {
            () = is_true(&mut stops) => return,
            () = shared.drain.begun(), if run.new.interactive.is_some() => return,
            _ = look.tick() => {
                if run.is_abandoned(Instant::now()) {
                    return;
                }
            }
        }
    }
}

/// Nobody but the run itself has the other end.
async fn is_true(stops: &mut watch::Receiver<bool>) {
    drop(stops.wait_for(|it| *it).await);
}

/// Writes what an executor says into the log, to the end of the run.
async fn follow(run: &Run, shared: &Shared, mut relay: Relay) -> Result<(), ApiError> {
    let mut gather = Gather::default();
    let unwanted = unwanted(run, shared);
    tokio::pin!(unwanted);
    let mut give_up = None;
    loop {
        let due = gather.due();
        tokio::select! {
            events = relay.batch() => {
                let Some(events) = events else { return Err(DispatchError::Lost.into()) };
                for event in parse(&events) {
                    if note(run, &mut gather, event) {
                        // The executor has nothing more to say, and is to be known as well.
                        drop(tokio::time::timeout(LOOK, relay.batch()).await);
                        return Ok(());
                    }
                }
            }
            () = until(due), if due.is_some() => {
                let piece = gather.flush(Instant::now());
                run.write(|log| piece.into_iter().for_each(|it| log.add_output(it)));
            }
            () = &mut unwanted, if give_up.is_none() => {
                run.stop();
                give_up = Some(Instant::now() + STOP_PATIENCE);
            }
            () = until(give_up), if give_up.is_some() => return Err(ApiError::RunStopped),
        }
    }
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}

/// Notes an event. Returns whether it is the last one.
fn note(run: &Run, gather: &mut Gather, event: RunEvent) -> bool {
    let now = Instant::now();
    let (stream, case, data, b64) = match event {
        RunEvent::Stdout { data, b64, case } => (Stream::Stdout, case, data, b64),
        RunEvent::Stderr { data, b64, case } => (Stream::Stderr, case, data, b64),
        RunEvent::Stats { stats, case } => {
            run.write(|log| log.note_spent(stats, case));
            return false;
        }
        other => {
            let piece = gather.flush(now);
            run.write(|log| {
                if let Some(piece) = piece {
                    log.add_output(piece);
                }
                match other {
                    RunEvent::Stage { stage, case } => log.add(&Event::Stage(stage, case)),
                    RunEvent::Diagnostic { severity, diagnostic } => {
                        log.add(&Event::Diagnostic(severity, diagnostic));
                    }
                    RunEvent::Exit { report } => log.end(*report, now),
                    RunEvent::Fault { problem } => log.fail(&problem, now),
                    RunEvent::Stdout { .. } | RunEvent::Stderr { .. } | RunEvent::Stats { .. } => {}
                }
            });
            return run.is_over();
        }
    };
    let origin = Origin { stream, case, is_text: b64.is_none() };
    let bytes = match b64 {
        Some(text) => decoded(&text),
        None => data.into_bytes(),
    };
    let pieces = gather.push(Piece { origin, bytes }, now);
    if !pieces.is_empty() {
        run.write(|log| pieces.into_iter().for_each(|it| log.add_output(it)));
    }
    false
}

fn decoded(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(text).unwrap_or_default()
}

/// The events of a stream's text; comments are none.
fn parse(text: &[u8]) -> Vec<RunEvent> {
    let lines = text.split(|byte| *byte == b'\n').filter_map(|it| it.strip_prefix(b"data: "));
    lines.filter_map(|it| serde_json::from_slice(it).ok()).collect()
}

/// The way to the executor of a run.
struct Line<'a> {
    run: &'a Run,
    shared: &'a Shared,
    client: &'a Client,
    member: Arc<Member>,
}

impl Line<'_> {
    /// Passes on what was typed, for as long as it is polled.
    async fn pass_input_on(&self) {
        loop {
            let piece = self.run.inlet.next().await;
            let place = format!("stdin?from={}&ends={}", piece.from, piece.ends);
            match self.post::<Written>(&place, piece.bytes.to_vec()).await {
                Some(written) => self.run.inlet.note(written),
                // What got through is not known, and it may come twice.
                None => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    /// Passes signals and sizes on, and that the run is to stop, for as long as it is polled.
    async fn pass_controls_on(&self, mut controls: mpsc::Receiver<Control>) {
        let mut stops = self.run.stops();
        let mut is_stopped = false;
        for serial in 1_u64.. {
            let mut wish = tokio::select! {
                biased;
                () = is_true(&mut stops), if !is_stopped => {
                    is_stopped = true;
                    json!({ "stop": true })
                }
                Some(control) = controls.recv() => json!(control),
                else => return std::future::pending().await,
            };
            if let Some(wish) = wish.as_object_mut() {
                wish.insert("serial".to_owned(), json!(serial));
            }
            for _ in 0..TRIES_MAX {
                if self.post::<Value>("control", wish.to_string().into_bytes()).await.is_some() {
                    break;
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// Tells the executor something. None if it did not take it, or did not answer.
    async fn post<T: DeserializeOwned>(&self, what: &str, body: Vec<u8>) -> Option<T> {
        let dispatcher = &self.shared.dispatcher;
        let request = dispatcher.tell(self.client, &self.member, &self.run.secrets.key, what)?;
        let response = request.timeout(TELL_TIME_MAX).body(body).send().await.ok()?;
        let response = response.error_for_status().ok()?;
        // A few numbers, or nothing at all.
        let answer = response.bytes().await.ok()?;
        if answer.is_empty() {
            return serde_json::from_slice(b"null").ok();
        }
        serde_json::from_slice(&answer).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_and_comments_are_not() {
        let text =
            b": keep-alive\n\nevent: stage\ndata: {\"type\":\"stage\",\"stage\":\"run\"}\n\n\
            event: stdout\ndata: {\"type\":\"stdout\",\"data\":\"\",\"b64\":\"/w==\"}\n\n";
        let events = parse(text);
        assert_eq!(events.len(), 2);
        assert!(matches!(&events[1], RunEvent::Stdout { b64: Some(it), .. } if it == "/w=="));
        assert_eq!(decoded("/w=="), [255]);
    }
}
