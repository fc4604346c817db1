//! Runs that people take part in. They are kept here, in memory, while they go on and for a while
//! after: a gateway that ends takes them with it.
//!
//! Invariant: how many runs there are, how much memory their logs take and how long they are kept
//! after their end are bounded.

mod driver;
mod gather;
pub(crate) mod inlet;
pub(crate) mod log;
pub(crate) mod message;
mod run;
mod ticket;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use documents::RoomId;
use secrecy::SecretString;
use tokio::sync::mpsc;

use crate::error::ApiError;
use crate::peers::OwnName;
use crate::settings::{Settings, seconds};

pub(crate) use driver::{Begun, drive};
use run::Secrets;
pub(crate) use run::{NewRun, Run, Viewer};
pub(crate) use ticket::{Access, Holder, Tickets};

/// What is kept.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    runs: usize,
    bytes: usize,
    age: Duration,
}

/// Every run that is kept.
#[derive(Debug)]
pub(crate) struct Runs {
    bounds: Bounds,
    /// Whose they are.
    gateway: OwnName,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    runs: HashMap<String, Arc<Run>>,
    /// Callers' own keys for them.
    keys: HashMap<OwnKey, String>,
}

/// A key of its caller's own for a run: those of a room are known in that alone, as whoever takes part
/// there runs as its owner.
type OwnKey = (Option<String>, Option<RoomId>, String);

/// What came of a wish for a run.
#[derive(Debug)]
pub(crate) enum Created {
    /// There is a new one, for which this is to be passed on.
    Fresh(Arc<Run>, mpsc::Receiver<message::Control>),
    /// There was one by this key already.
    Known(Arc<Run>),
}

impl Runs {
    /// No run yet.
    pub(crate) fn new(settings: &Settings, gateway: OwnName) -> Self {
        let bounds = Bounds {
            runs: settings.runs_kept_max,
            bytes: settings.runs_mb << 20,
            age: seconds(settings.runs_kept_seconds),
        };
        Self { bounds, gateway, state: Mutex::default() }
    }

    /// Makes a run known, if there is room.
    pub(crate) fn create(&self, new: NewRun, now: Instant) -> Result<Created, ApiError> {
        let own = |key: &String| (new.caller.clone(), new.room.clone(), key.clone());
        let key = new.idempotency.as_ref().map(|(key, _)| own(key));
        let tickets = Tickets { full: secret()?, view: secret()? };
        let secrets = Secrets { tickets, key: secret()? };
        let mut state = self.lock();
        state.forget_old(self.bounds.age, now);
        if let Some(known) = key.as_ref().and_then(|it| state.by_key(it)) {
            let is_same = known.new.idempotency == new.idempotency;
            return if is_same { Ok(Created::Known(known)) } else { Err(ApiError::KeyConflict) };
        }
        state.make_room(self.bounds, now)?;
        let id = self.gateway.run();
        let (run, controls) = Run::new(id.clone(), new, secrets, now);
        let run = Arc::new(run);
        state.runs.insert(id.clone(), Arc::clone(&run));
        state.keys.extend(key.map(|it| (it, id)));
        Ok(Created::Fresh(run, controls))
    }

    /// The run of this id.
    pub(crate) fn find(&self, id: &str) -> Option<Arc<Run>> {
        let mut state = self.lock();
        state.forget_old(self.bounds.age, Instant::now());
        state.runs.get(id).cloned()
    }

    /// The run of this id, if it is one of this room.
    pub(crate) fn find_in(&self, room: &RoomId, id: &str) -> Option<Arc<Run>> {
        self.find(id).filter(|it| it.new.room.as_ref() == Some(room))
    }

    /// Has everything stopped that runs in a room.
    pub(crate) fn stop_in(&self, room: &RoomId) {
        let state = self.lock();
        let of_room = state.runs.values().filter(|it| it.new.room.as_ref() == Some(room));
        of_room.for_each(|it| it.stop());
    }

    /// Forgets a run that never began.
    pub(crate) fn forget(&self, run: &Run) {
        self.lock().forget(&run.id);
    }

    /// Forgets what is over for long enough, now and then, until it is dropped.
    pub(crate) async fn sweep(self: Arc<Self>) {
        const PERIOD: Duration = Duration::from_secs(15);
        loop {
            tokio::time::sleep(PERIOD).await;
            self.lock().forget_old(self.bounds.age, Instant::now());
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn by_key(&self, key: &OwnKey) -> Option<Arc<Run>> {
        self.runs.get(self.keys.get(key)?).cloned()
    }

    fn forget(&mut self, id: &str) {
        self.runs.remove(id);
        self.keys.retain(|_, it| it != id);
    }

    fn forget_old(&mut self, age: Duration, now: Instant) {
        let is_old = |it: &Run| it.ended_for(now).is_some_and(|it| it > age);
        let count = self.runs.len();
        self.runs.retain(|_, it| !is_old(it));
        if self.runs.len() < count {
            let runs = &self.runs;
            self.keys.retain(|_, it| runs.contains_key(it));
        }
    }

    /// Forgets runs that are over, those first that have been for longest, until there is room for
    /// another.
    fn make_room(&mut self, bounds: Bounds, now: Instant) -> Result<(), ApiError> {
        let mut bytes: usize = self.runs.values().map(|it| it.read(log::Log::size)).sum();
        while self.runs.len() >= bounds.runs || bytes >= bounds.bytes {
            let over = self.runs.values().filter_map(|it| Some((it.ended_for(now)?, it)));
            let Some((_, oldest)) = over.max_by_key(|(age, _)| *age) else {
                return Err(ApiError::TooManyRuns);
            };
            bytes = bytes.saturating_sub(oldest.read(log::Log::size));
            let id = oldest.id.clone();
            self.forget(&id);
        }
        Ok(())
    }
}

/// 256 bits that nobody guesses, as hexadecimal digits.
fn secret() -> Result<SecretString, ApiError> {
    let mut random = [0_u8; 32];
    if let Err(error) = getrandom::fill(&mut random) {
        tracing::error!("no random numbers: {error}");
        return Err(ApiError::Internal);
    }
    let mut text = String::with_capacity(64);
    for byte in random {
        write!(text, "{byte:02x}").unwrap_or_default();
    }
    Ok(text.into())
}

#[cfg(test)]
mod tests {
    use protocol::Problem;

    use super::*;
    use crate::peers::Identity;

    fn runs(most: usize) -> Runs {
        let settings = Settings { runs_kept_max: most, ..Settings::default() };
        Runs::new(&settings, Identity::random().unwrap().name)
    }

    fn new(key: Option<(&str, u8)>) -> NewRun {
        NewRun {
            caller: Some("ann".to_owned()),
            idempotency: key.map(|(key, digest)| (key.to_owned(), [digest; 32])),
            room: None,
            language: "alpha".to_owned(),
            interactive: None,
        }
    }

    fn fresh(runs: &Runs) -> Result<Arc<Run>, ApiError> {
        match runs.create(new(None), Instant::now())? {
            Created::Fresh(run, _) => Ok(run),
            Created::Known(run) => panic!("{} was known", run.id),
        }
    }

    fn end(run: &Run, now: Instant) {
        run.write(|log| log.fail(&Problem::new(500, "internal", "x", "r"), now));
    }

    #[test]
    fn a_key_gives_the_same_run_and_stands_for_one_thing() {
        let runs = runs(9);
        let create = |digest| runs.create(new(Some(("k", digest))), Instant::now());
        let Ok(Created::Fresh(first, _)) = create(1) else { panic!("it is not new") };
        let Ok(Created::Known(same)) = create(1) else { panic!("it is not known") };
        assert_eq!(first.id, same.id);
        assert!(matches!(create(2), Err(ApiError::KeyConflict)));
        runs.forget(&first);
        assert!(matches!(create(2), Ok(Created::Fresh(..))));
    }

    #[test]
    fn a_run_of_a_room_is_known_in_that_room_alone() {
        let runs = runs(9);
        let (here, there) = (RoomId::random(), RoomId::random());
        let create = |room: Option<&RoomId>| {
            let new = NewRun { room: room.cloned(), ..new(Some(("k", 1))) };
            runs.create(new, Instant::now())
        };
        let Ok(Created::Fresh(own, _)) = create(None) else { panic!("it is not new") };
        let Ok(Created::Fresh(run, _)) = create(Some(&here)) else { panic!("it is the caller's") };
        assert!(matches!(create(Some(&there)), Ok(Created::Fresh(..))), "it is another room's");
        assert!(matches!(create(Some(&here)), Ok(Created::Known(_))));
        assert!(runs.find_in(&here, &run.id).is_some());
        assert!(runs.find_in(&there, &run.id).is_none() && runs.find_in(&here, &own.id).is_none());
        runs.stop_in(&here);
        assert_eq!((*run.stops().borrow(), *own.stops().borrow()), (true, false));
    }

    #[test]
    fn what_is_over_for_longest_makes_room_and_what_goes_on_does_not() {
        let runs = runs(2);
        let (one, two) = (fresh(&runs).unwrap(), fresh(&runs).unwrap());
        assert!(matches!(fresh(&runs), Err(ApiError::TooManyRuns)));
        let now = Instant::now();
        end(&two, now);
        end(&one, now + Duration::from_secs(1));
        fresh(&runs).unwrap();
        assert!(runs.find(&two.id).is_none() && runs.find(&one.id).is_some());
    }

    #[test]
    fn what_is_over_is_kept_for_a_while() {
        let runs = runs(2);
        let run = fresh(&runs).unwrap();
        end(&run, Instant::now());
        assert!(runs.find(&run.id).is_some());
        let later = Instant::now() + Duration::from_hours(1);
        runs.lock().forget_old(runs.bounds.age, later);
        assert!(runs.find(&run.id).is_none());
    }
}
