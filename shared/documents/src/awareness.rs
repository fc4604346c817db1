//! Who is in a room and where their cursors are: what each client says of itself, and nobody else.
//! None of it is kept.
//!
//! A client counts what it says with a clock, and believes of others only what has a later one than
//! it knows. What it hears of others it sends on, so most of what comes here is not new.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::guard::is_json;
use crate::wire::{Malformed, Reader, write_buffer, write_number};

/// Clients that left and whose last clock is still known.
const LEFT_MAX: usize = 256;

/// Somebody who speaks: a connection here, or another server for one of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Speaker {
    /// A connection of this room.
    Here(u64),
    /// Another server.
    There(u128),
}

/// What one client says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Said<'a> {
    pub(crate) client: u64,
    pub(crate) clock: u64,
    /// None of who has left.
    pub(crate) state: Option<&'a str>,
}

#[derive(Debug)]
struct Known {
    clock: u64,
    state: Option<Box<str>>,
    speaker: Speaker,
}

/// Everybody in a room.
#[derive(Debug, Default)]
pub(crate) struct Awareness {
    clients: HashMap<u64, Known>,
}

/// What came of something that was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    /// It is new: everybody is to be told.
    New,
    /// It was known.
    Known,
    /// It is another's to say.
    Foreign(Speaker),
}

/// Reads what a message says of clients.
pub(crate) fn parse(update: &[u8]) -> Result<Vec<Said<'_>>, Malformed> {
    let mut reader = Reader::new(update);
    let (mut all, mut seen) = (Vec::new(), HashSet::new());
    for _ in 0..reader.count(3)? {
        let (client, clock, state) = (reader.number()?, reader.number()?, reader.text()?);
        // Clients parse it, and stop if they cannot.
        if !is_json(state) {
            return Err(Malformed("what a client says of itself is not JSON"));
        }
        // Everybody is told of each.
        if !seen.insert(client) {
            return Err(Malformed("a client comes twice"));
        }
        all.push(Said { client, clock, state: (state.trim() != "null").then_some(state) });
    }
    if reader.is_at_end() { Ok(all) } else { Err(Malformed("it goes on after its end")) }
}

impl Awareness {
    /// Hears what `speaker` says of a client. `own` is the client that it speaks for already.
    pub(crate) fn hear(&mut self, speaker: Speaker, own: Option<u64>, said: &Said<'_>) -> Heard {
        let state = said.state.map(Box::from);
        let Some(known) = self.clients.get_mut(&said.client) else {
            // A connection speaks for one client, and nobody comes to leave.
            if state.is_none() || own.is_some_and(|it| it != said.client) {
                return Heard::Known;
            }
            self.clients.insert(said.client, Known { clock: said.clock, state, speaker });
            self.forget();
            return Heard::New;
        };
        if known.state.is_none() {
            if state.is_none() || own.is_some_and(|it| it != said.client) {
                return Heard::Known;
            }
            // It is back: others know it to have left at this clock, and would not believe it.
            let clock = said.clock.max(known.clock + 1);
            *known = Known { clock, state, speaker };
            return Heard::New;
        }
        if known.speaker != speaker {
            let is_news = said.clock > known.clock;
            return if is_news { Heard::Foreign(known.speaker) } else { Heard::Known };
        }
        let leaves = said.clock == known.clock && state.is_none();
        if said.clock <= known.clock && !leaves {
            return Heard::Known;
        }
        *known = Known { clock: said.clock, state, speaker };
        Heard::New
    }

    /// Has everybody leave that `speaker` speaks for; says who that was.
    pub(crate) fn leave(&mut self, speaker: Speaker) -> Vec<u64> {
        let mut left = Vec::new();
        for (client, known) in &mut self.clients {
            if known.speaker == speaker && known.state.is_some() {
                known.state = None;
                left.push(*client);
            }
        }
        self.forget();
        left
    }

    /// Everybody who is there.
    pub(crate) fn all(&self) -> Vec<u64> {
        let there = self.clients.iter().filter(|(_, it)| it.state.is_some());
        there.map(|(client, _)| *client).collect()
    }

    /// Those who are there by way of connections of ours.
    pub(crate) fn all_here(&self) -> Vec<u64> {
        let there = self.clients.iter().filter(|(_, it)| it.state.is_some());
        let here = there.filter(|(_, it)| matches!(it.speaker, Speaker::Here(_)));
        here.map(|(client, _)| *client).collect()
    }

    /// Other servers that speak for somebody.
    pub(crate) fn servers(&self) -> BTreeSet<u128> {
        let there = self.clients.values().filter(|it| it.state.is_some());
        let server = |it: &Known| match it.speaker {
            Speaker::There(server) => Some(server),
            Speaker::Here(_) => None,
        };
        there.filter_map(server).collect()
    }

    /// What is known of these clients, to be sent. Nobody is told of whom we know nothing.
    pub(crate) fn tell_of(&self, clients: &[u64]) -> Vec<u8> {
        let known = clients.iter().filter_map(|client| Some((client, self.clients.get(client)?)));
        let known: Vec<_> = known.collect();
        let mut update = Vec::new();
        write_number(&mut update, known.len() as u64);
        for (client, known) in known {
            write_number(&mut update, *client);
            write_number(&mut update, known.clock);
            write_buffer(&mut update, known.state.as_deref().unwrap_or("null").as_bytes());
        }
        update
    }

    /// Forgets those who left first by their number: there is no better order, and it costs nothing
    /// but that who comes back at once is seen a little later.
    fn forget(&mut self) {
        let left = self.clients.iter().filter(|(_, it)| it.state.is_none());
        let mut left: Vec<u64> = left.map(|(client, _)| *client).collect();
        if left.len() > LEFT_MAX {
            left.sort_unstable();
            for client in left.iter().take(left.len() - LEFT_MAX / 2) {
                self.clients.remove(client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: Speaker = Speaker::Here(1);
    const BEN: Speaker = Speaker::Here(2);

    fn said(client: u64, clock: u64, state: Option<&str>) -> Said<'_> {
        Said { client, clock, state }
    }

    #[test]
    fn a_client_is_spoken_for_by_one_connection() {
        let mut awareness = Awareness::default();
        assert_eq!(awareness.hear(ANN, None, &said(7, 1, Some("{}"))), Heard::New);
        assert_eq!(awareness.hear(BEN, None, &said(7, 1, Some("{}"))), Heard::Known);
        assert_eq!(awareness.hear(BEN, None, &said(7, 2, Some("{}"))), Heard::Foreign(ANN));
        assert_eq!(awareness.hear(BEN, None, &said(7, 2, None)), Heard::Foreign(ANN));
        assert_eq!(awareness.hear(ANN, Some(7), &said(8, 1, Some("{}"))), Heard::Known);
        assert_eq!(awareness.all(), [7]);
        assert_eq!(awareness.hear(ANN, Some(7), &said(7, 1, None)), Heard::New);
        assert_eq!(awareness.all(), [0; 0]);
    }

    #[test]
    fn who_comes_back_at_the_same_clock_is_believed() {
        let mut awareness = Awareness::default();
        awareness.hear(ANN, None, &said(7, 5, Some("1")));
        assert_eq!(awareness.leave(ANN), [7]);
        assert_eq!(parse(&awareness.tell_of(&[7])).unwrap(), [said(7, 5, None)]);
        assert_eq!(awareness.hear(BEN, None, &said(7, 5, Some("1"))), Heard::New);
        assert_eq!(parse(&awareness.tell_of(&[7])).unwrap(), [said(7, 6, Some("1"))]);
        assert_eq!(awareness.hear(ANN, None, &said(7, 9, None)), Heard::Foreign(BEN));
    }

    #[test]
    fn those_who_left_are_forgotten_in_the_end() {
        let mut awareness = Awareness::default();
        for client in 0..2000 {
            awareness.hear(ANN, None, &said(client, 1, Some("1")));
            awareness.leave(ANN);
        }
        assert!(awareness.clients.len() <= LEFT_MAX);
    }

    /// Or a frame of a few bytes a client would have everybody told of each as often as it comes.
    #[test]
    fn a_client_comes_once() {
        let of_two = |other| [2, 7, 1, 1, b'1', other, 1, 1, b'1'];
        assert_eq!(parse(&of_two(8)).unwrap().len(), 2);
        assert_eq!(parse(&of_two(7)), Err(Malformed("a client comes twice")));
    }

    #[test]
    fn what_clients_could_not_parse_is_refused() {
        let mut update = vec![1, 7, 1];
        write_buffer(&mut update, b"{");
        assert!(parse(&update).is_err());
        assert!(parse(&[0xff, 0xff, 0x7f]).is_err());
        assert_eq!(parse(&[0]).unwrap(), []);
    }
}
