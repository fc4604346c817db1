//! What a room tells other servers, and what it does about what they say.

use std::time::Instant;

use bytes::Bytes;
use jiff::Timestamp;

use super::Task;
use crate::awareness::Speaker;
use crate::bus::{ServerId, Word};
use crate::document::{NOTHING, Refused};
use crate::home::Housed;
use crate::limits::Close;

impl Task {
    /// Tells other servers of clients here, each by itself: a word has a bound.
    pub(super) fn say_clients(&self, clients: &[u64]) {
        for client in clients {
            let said = self.room.awareness().tell_of(&[*client]);
            self.say(Word::Awareness(said.into()));
        }
    }

    /// Asks other servers for what is not here.
    pub(super) fn ask(&mut self) {
        self.say(Word::WhoIsThere);
        self.ask_for_rest();
    }

    /// Asks other servers for changes that are not here.
    pub(super) fn ask_for_rest(&mut self) {
        if let Ok(state) = self.room.document().state_vector() {
            self.say(Word::Step1(state));
        }
    }

    /// Tells other servers, if there can be any.
    pub(super) fn say(&self, word: Word) {
        if let Some(bus) = &self.means.bus {
            bus.say(&self.id, word);
        }
    }

    /// Does what another server says.
    pub(super) async fn hear(&mut self, server: ServerId, word: &Word) -> Result<(), Close> {
        match word {
            Word::Written(number) if *number > self.number => self.note_behind(),
            Word::Written(_) => {}
            Word::Update(update) => {
                self.tellers.insert(server);
                if let Err(Refused::Broken | Refused::Lost) = self.room.merge(update) {
                    return self.mend().await;
                }
            }
            Word::Step1(state) => {
                if let Ok(Some(update)) = self.room.document().news_to(state) {
                    self.say(Word::Update(update));
                }
            }
            Word::Awareness(said) => self.room.hear_there(server.0, said),
            Word::WhoIsThere => self.say_clients(&self.room.awareness().all_here()),
            Word::ServerLeft => {
                self.room.end_of(Speaker::There(server.0));
                if self.tellers.remove(&server) {
                    self.keep_hearsay().await;
                }
            }
            Word::Deleted => return Err(Close::Deleted),
            Word::InvitationEnded(id) => self.room.end_invitation(id),
        }
        Ok(())
    }

    /// Has written what the store has not, if anything: a server told of it, and is gone.
    async fn keep_hearsay(&mut self) {
        let loaded = self.means.store.load(self.id.clone(), 0, Timestamp::now()).await;
        let kept = loaded.ok().flatten().and_then(|it| {
            let updates: Vec<Bytes> = it.snapshot.into_iter().chain(it.updates).collect();
            Housed::load(self.means.home, &updates).ok()?.0.state_vector().ok()
        });
        // All of it, if that cannot be known.
        let kept = kept.unwrap_or_else(|| Bytes::from_static(&NOTHING));
        if let Ok(Some(update)) = self.room.document().news_to(&kept) {
            self.saver.add(vec![update], Instant::now());
        }
    }

    /// Others may have written what is not here.
    pub(super) fn note_behind(&mut self) {
        self.behind_at.get_or_insert_with(Instant::now);
    }
}
