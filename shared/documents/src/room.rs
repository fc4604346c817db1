//! Who is in a room, and what each of them is told: frames in, frames out. It waits for nothing and
//! reads no clock.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use crate::awareness::{self, Awareness, Heard, Speaker};
use crate::document::{Applied, Refused, RunNote};
use crate::home::Housed;
use crate::invitation::InvitationId;
use crate::limits::{Close, Limits};
use crate::outbox::Outbox;
use crate::wire::{self, Message};
use crate::words::Role;

/// What an answer with a document costs more than another message.
const STEP_1_COST: f64 = 10.0;
/// What it costs to repeat what others said: every client does so with all that it hears.
const REPEATED_COST: f64 = 1.0 / 16.0;

/// Somebody who comes into a room.
#[derive(Debug)]
pub(crate) struct Newcomer {
    /// As what.
    pub(crate) role: Role,
    /// By which invitation, if it was one.
    pub(crate) invitation: Option<InvitationId>,
    /// What is for it.
    pub(crate) outbox: Arc<Outbox>,
}

/// Somebody in a room.
#[derive(Debug)]
struct Connection {
    role: Role,
    invitation: Option<InvitationId>,
    outbox: Arc<Outbox>,
    /// The client that it speaks for, once it is known.
    own: Option<u64>,
    /// Messages that it may send now.
    tokens: f64,
    heard_at: Instant,
}

/// What came of a frame.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It was dealt with.
    Well,
    /// Its sender has to go.
    Closed,
    /// Its sender has to go, and the document is to be made anew.
    Broken,
    /// Nothing came of it: the document is to be made anew, and may take it then.
    Lost,
}

/// What others than the clients here are to know.
#[derive(Debug, Default)]
pub(crate) struct News {
    /// Changes, to be kept.
    pub(crate) updates: Vec<Bytes>,
    /// Clients of which something else is known.
    pub(crate) clients: Vec<u64>,
}

/// A room.
#[derive(Debug)]
pub(crate) struct Room {
    limits: Limits,
    document: Housed,
    awareness: Awareness,
    connections: BTreeMap<u64, Connection>,
    news: News,
}

impl Room {
    pub(crate) fn new(limits: Limits, document: Housed) -> Self {
        Self {
            limits,
            document,
            awareness: Awareness::default(),
            connections: BTreeMap::new(),
            news: News::default(),
        }
    }

    /// Lets somebody in, who is told what there is.
    pub(crate) fn join(
        &mut self,
        connection: u64,
        newcomer: Newcomer,
        now: Instant,
    ) -> Result<(), Close> {
        if self.connections.len() >= self.limits.clients {
            return Err(Close::Full);
        }
        let Newcomer { role, invitation, outbox } = newcomer;
        // Whoever only looks would answer with changes that nobody wants.
        if role.may_edit() {
            let state = self.document.state_vector().or(Err(Close::Resync))?;
            outbox.push(wire::step_1(&state));
        }
        let all = self.awareness.all();
        if !all.is_empty() {
            outbox.push(wire::awareness(&self.awareness.tell_of(&all)));
        }
        let tokens = f64::from(self.limits.messages_burst);
        let (own, heard_at) = (None, now);
        let known = Connection { role, invitation, outbox, own, tokens, heard_at };
        self.connections.insert(connection, known);
        Ok(())
    }

    /// Lets somebody go: whom it spoke for has left.
    pub(crate) fn leave(&mut self, connection: u64) {
        self.connections.remove(&connection);
        self.end_of(Speaker::Here(connection));
    }

    /// Has everybody leave whom `speaker` spoke for.
    pub(crate) fn end_of(&mut self, speaker: Speaker) {
        let left = self.awareness.leave(speaker);
        self.tell_of(left);
    }

    /// Takes a frame of somebody who is here.
    pub(crate) fn frame(&mut self, connection: u64, frame: &[u8], now: Instant) -> Taken {
        let taken = match self.message(connection, frame, now) {
            Ok(()) => return Taken::Well,
            Err(Refused::Lost) => return Taken::Lost,
            Err(Refused::Broken) => (Close::Malformed, Taken::Broken),
            Err(Refused::TooLarge) => (Close::TooLarge, Taken::Closed),
            Err(Refused::Malformed(why)) => {
                tracing::debug!("a client sent what is no message: {why}");
                (Close::Malformed, Taken::Closed)
            }
        };
        self.close(connection, taken.0);
        taken.1
    }

    fn message(&mut self, connection: u64, frame: &[u8], now: Instant) -> Result<(), Refused> {
        let Some(sender) = self.connections.get_mut(&connection) else { return Ok(()) };
        if sender.outbox.is_closed() {
            return Ok(());
        }
        if frame.len() > self.limits.frame_bytes {
            return Err(Refused::TooLarge);
        }
        sender.refill(now, &self.limits);
        let (role, outbox) = (sender.role, Arc::clone(&sender.outbox));
        let mut cost = 1.0;
        let message = Message::parse(frame)?;
        match message {
            Message::Step1(state) => {
                cost = STEP_1_COST;
                outbox.push(wire::step_2(&self.document.diff(state)?));
            }
            Message::Step2(update) | Message::Update(update) if role.may_edit() => {
                let Applied { emitted, is_whole } = self.document.apply(update, &self.limits)?;
                // Who said it knows it, unless more came of it.
                let is_known = matches!(&*emitted, [one] if one == update);
                self.tell(emitted, is_known.then_some(connection));
                if !is_whole && matches!(message, Message::Update(_)) {
                    // Whoever has not all of it either does not get to be asked again.
                    outbox.push(wire::step_1(&self.document.state_vector()?));
                }
            }
            Message::Step2(_) | Message::Update(_) | Message::Auth => {}
            Message::QueryAwareness => {
                let all = self.awareness.all();
                outbox.push(wire::awareness(&self.awareness.tell_of(&all)));
            }
            Message::Awareness(update) => cost = self.hear(connection, update, now)?,
        }
        let Some(sender) = self.connections.get_mut(&connection) else { return Ok(()) };
        sender.tokens -= cost;
        if sender.tokens < 0.0 {
            self.close(connection, Close::RateLimited);
        }
        Ok(())
    }

    /// Hears what a connection says of its client, and tells it what is known of it: a client that
    /// hears nothing of itself takes its connection for lost. Says what that costs.
    fn hear(&mut self, connection: u64, update: &[u8], now: Instant) -> Result<f64, Refused> {
        let all = awareness::parse(update)?;
        let Some(own) = self.connections.get(&connection).map(|it| it.own) else { return Ok(0.0) };
        let (mut own, mut changed) = (own, Vec::new());
        for said in &all {
            let speaker = Speaker::Here(connection);
            // Others' states have been measured when they said them.
            let is_large = said.state.is_some_and(|it| it.len() > self.limits.awareness_bytes);
            if is_large && own.is_none_or(|it| it == said.client) {
                return Err(Refused::TooLarge);
            }
            let mut heard = self.awareness.hear(speaker, own, said);
            if let (Heard::Foreign(Speaker::Here(other)), None) = (heard, own)
                && self.is_silent(other, now)
            {
                // It came back before its old connection was seen to be lost.
                self.close(other, Close::Resync);
                self.end_of(Speaker::Here(other));
                heard = self.awareness.hear(speaker, own, said);
            }
            if heard == Heard::New {
                own.get_or_insert(said.client);
                changed.push(said.client);
            }
        }
        let is_own = own.is_none_or(|own| all.iter().any(|it| it.client == own));
        let Some(sender) = self.connections.get_mut(&connection) else { return Ok(0.0) };
        sender.own = own;
        if is_own && changed.is_empty() {
            let clients: Vec<u64> = all.iter().map(|it| it.client).collect();
            sender.outbox.push(wire::awareness(&self.awareness.tell_of(&clients)));
        }
        self.tell_of(changed);
        Ok(if is_own { 1.0 } else { REPEATED_COST })
    }

    fn is_silent(&self, connection: u64, now: Instant) -> bool {
        let known = self.connections.get(&connection);
        known.is_none_or(|it| now.saturating_duration_since(it.heard_at) > self.limits.silence_time)
    }

    /// Takes changes that others have kept or sent.
    pub(crate) fn merge(&mut self, update: &[u8]) -> Result<(), Refused> {
        let emitted = self.document.merge(update)?;
        for update in emitted {
            self.send(&wire::update(&update), None);
        }
        Ok(())
    }

    /// Hears what another server says of its clients.
    pub(crate) fn hear_there(&mut self, server: u128, update: &[u8]) {
        let Ok(all) = awareness::parse(update) else { return };
        let speaker = Speaker::There(server);
        let heard = all.iter().filter(|it| self.awareness.hear(speaker, None, it) == Heard::New);
        let changed: Vec<u64> = heard.map(|it| it.client).collect();
        if !changed.is_empty() {
            self.send(&wire::awareness(&self.awareness.tell_of(&changed)), None);
        }
    }

    /// Tells of a run.
    pub(crate) fn note_run(&mut self, note: &RunNote) -> Result<(), Refused> {
        let emitted = self.document.note_run(note)?;
        self.tell(emitted, None);
        Ok(())
    }

    /// The document is this from now on.
    pub(crate) fn replace(&mut self, document: Housed) {
        self.document = document;
    }

    pub(crate) fn document(&mut self) -> &mut Housed {
        &mut self.document
    }

    pub(crate) fn awareness(&self) -> &Awareness {
        &self.awareness
    }

    /// Connections that are not to be closed.
    pub(crate) fn clients(&self) -> usize {
        self.connections.len()
    }

    /// What came to be known since this was last asked.
    pub(crate) fn take_news(&mut self) -> News {
        std::mem::take(&mut self.news)
    }

    /// Ends the connections of those who came by this invitation. Nothing is heard of them any more.
    pub(crate) fn end_invitation(&self, id: &InvitationId) {
        let all = self.connections.values().filter(|it| it.invitation.as_ref() == Some(id));
        all.for_each(|it| it.outbox.close(Close::Unauthorized));
    }

    /// Ends every connection.
    pub(crate) fn close_all(&self, close: Close) {
        self.connections.values().for_each(|it| it.outbox.close(close));
    }

    pub(crate) fn close(&self, connection: u64, close: Close) {
        if let Some(connection) = self.connections.get(&connection) {
            connection.outbox.close(close);
        }
    }

    /// Tells everybody of changes, except who made them.
    fn tell(&mut self, updates: Vec<Bytes>, except: Option<u64>) {
        for update in updates {
            self.send(&wire::update(&update), except);
            self.news.updates.push(update);
        }
    }

    /// Tells everybody of clients, also whoever said it of itself.
    fn tell_of(&mut self, clients: Vec<u64>) {
        if clients.is_empty() {
            return;
        }
        self.send(&wire::awareness(&self.awareness.tell_of(&clients)), None);
        self.news.clients.extend(clients);
    }

    fn send(&self, frame: &Bytes, except: Option<u64>) {
        for (id, connection) in &self.connections {
            if except != Some(*id) {
                connection.outbox.push(frame.clone());
            }
        }
    }
}

impl Drop for Room {
    /// Whoever is here must not wait for a room that is no more.
    fn drop(&mut self) {
        self.close_all(Close::Resync);
    }
}

impl Connection {
    fn refill(&mut self, now: Instant, limits: &Limits) {
        let since = now.saturating_duration_since(self.heard_at).as_secs_f64();
        let tokens = self.tokens + since * f64::from(limits.messages_per_second);
        self.tokens = tokens.min(f64::from(limits.messages_burst));
        self.heard_at = now;
    }
}

#[cfg(test)]
mod tests;
