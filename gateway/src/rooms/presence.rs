//! In how many rooms one address is at a time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use documents::RoomId;

use crate::rate_limit::Subject;

/// Rooms that one address may be in.
const ROOMS_MAX: usize = 8;

type Rooms = HashMap<RoomId, usize>;

/// Who is where.
#[derive(Debug, Clone, Default)]
pub(crate) struct Presence(Arc<Mutex<HashMap<Subject, Rooms>>>);

/// Somebody in a room, until this is dropped.
#[derive(Debug)]
pub(crate) struct Present {
    presence: Presence,
    subject: Subject,
    room: RoomId,
}

impl Presence {
    /// Notes that somebody enters a room. None if that would be one too many.
    pub(crate) fn enter(&self, subject: Subject, room: RoomId) -> Option<Present> {
        let mut all = self.lock();
        let rooms = all.entry(subject.clone()).or_default();
        if rooms.len() >= ROOMS_MAX && !rooms.contains_key(&room) {
            return None;
        }
        *rooms.entry(room.clone()).or_default() += 1;
        drop(all);
        Some(Present { presence: self.clone(), subject, room })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Subject, Rooms>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        let mut all = self.presence.lock();
        let Some(rooms) = all.get_mut(&self.subject) else { return };
        if let Some(count) = rooms.get_mut(&self.room) {
            *count -= 1;
            if *count == 0 {
                rooms.remove(&self.room);
            }
        }
        if rooms.is_empty() {
            all.remove(&self.subject);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_in_few_rooms_at_a_time() {
        let (presence, one) = (Presence::default(), Subject::Key("a".to_owned()));
        let rooms: Vec<RoomId> = (0..9).map(|_| RoomId::random()).collect();
        let mut present: Vec<Present> =
            rooms[..8].iter().map(|it| presence.enter(one.clone(), it.clone()).unwrap()).collect();
        let ninth = || presence.enter(one.clone(), rooms[8].clone());
        assert!(ninth().is_none());
        let twice = presence.enter(one.clone(), rooms[0].clone());
        assert!(twice.is_some(), "it is there already");
        assert!(presence.enter(Subject::Key("b".to_owned()), rooms[8].clone()).is_some());
        drop(present.remove(0));
        assert!(ninth().is_none(), "it is still there");
        drop(twice);
        assert!(ninth().is_some());
        drop(present);
        assert!(presence.lock().is_empty());
    }
}
