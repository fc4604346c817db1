//! What the store knows this gateway as when it runs jobs, and what becomes of the jobs of an earlier
//! start. No two starts that are there at a time have one name: what one is given back is not
//! another's.

use std::time::Duration;

use queue::{Board, Gone, JobStore, Noted, Notice, StoreError};
use uuid::Uuid;

/// How often a start says that it is there.
const NOTE: Duration = Duration::from_secs(1);
/// Whoever has not for so long, while this one could, is gone. A lease lives longer.
const SILENCE_MAX: Duration = Duration::from_secs(5);
/// How many times in a row this one has to have said it, until silence of another means anything.
const ROUNDS: u32 = 6;
/// How many times it looks for others: who is there then is not an earlier start.
const LOOKS_MAX: u32 = 30;

/// One start of a gateway.
#[derive(Debug)]
pub(super) struct Own {
    /// What the store knows it as.
    pub(super) name: String,
    /// What is the same after a restart.
    place: String,
}

impl Own {
    /// The gateway of a machine that listens at `port`. Its name is its own where others may share the
    /// store: containers can have one name and one port as well.
    pub(super) fn new(store: &dyn JobStore, port: u16) -> Self {
        let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let place = format!("gateway:{}:{port}", machine.trim());
        let name = match store.board() {
            Some(_) => format!("{place}/{}", Uuid::now_v7().simple()),
            None => place.clone(),
        };
        Self { name, place }
    }

    /// Gives back what ran when this gateway was last seen, where it is the only one: none of that
    /// runs any more.
    pub(super) async fn begin(&self, store: &dyn JobStore) -> Result<(), StoreError> {
        if store.board().is_none() {
            store.abandon(self.name.clone(), Gone::Cut).await?;
        }
        Ok(())
    }

    /// Says that it is there for as long as it is polled, where others share the store, and gives back
    /// what earlier starts of this gateway had that are not.
    pub(super) async fn keep(&self, store: &dyn JobStore) {
        let Some(board) = store.board() else { return };
        let (mut rounds, mut looks) = (0, 0);
        loop {
            rounds = match self.note(store, board, rounds, looks < LOOKS_MAX).await {
                Ok(()) => rounds + 1,
                Err(error) => {
                    tracing::warn!("other gateways do not hear of this one: {error}");
                    0
                }
            };
            looks += 1;
            tokio::time::sleep(NOTE).await;
        }
    }

    async fn note(
        &self,
        store: &dyn JobStore,
        board: &dyn Board,
        rounds: u32,
        looks: bool,
    ) -> Result<(), StoreError> {
        // It is no worker that others could show.
        board.note(vec![Notice { worker: self.name.clone(), body: b"{}".to_vec() }]).await?;
        if !looks || rounds + 1 < ROUNDS {
            return Ok(());
        }
        for gone in self.gone(&board.noted().await?) {
            let jobs = store.abandon(gone.clone(), Gone::Cut).await?;
            tracing::info!(jobs, "{gone} is gone, and its jobs are given back");
            board.forget(gone).await?;
        }
        Ok(())
    }

    /// Earlier starts of this gateway that are not there any more.
    fn gone(&self, noted: &[Noted]) -> Vec<String> {
        let is_ours = |name: &str| {
            name != self.name
                && name.strip_prefix(&self.place).is_some_and(|it| it.starts_with('/'))
        };
        let gone = noted.iter().filter(|it| it.age > SILENCE_MAX && is_ours(&it.notice.worker));
        gone.map(|it| it.notice.worker.clone()).collect()
    }

    /// Has nothing any more.
    pub(super) async fn leave(&self, store: &dyn JobStore) {
        let Some(board) = store.board() else { return };
        if let Err(error) = board.forget(self.name.clone()).await {
            tracing::warn!("other gateways do not hear that this one ends: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_earlier_starts_of_the_same_gateway_that_are_silent_are_gone() {
        let own = Own { name: "gateway:a:80/own".to_owned(), place: "gateway:a:80".to_owned() };
        let noted = |name: &str, seconds: u64| Noted {
            notice: Notice { worker: name.to_owned(), body: Vec::new() },
            age: Duration::from_secs(seconds),
            order: None,
        };
        let all = [
            noted("gateway:a:80/own", 60),
            noted("gateway:a:80/old", 7),
            noted("gateway:a:80/live", 3),
            noted("gateway:a:8000/other", 60),
            noted("gateway:a:80", 60),
            noted("vm:worker", 60),
        ];
        assert_eq!(own.gone(&all), ["gateway:a:80/old"]);
    }
}
