//! Says that jobs go on, and stops those of which nobody hears that.

use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::worker::{Beat, Beaten, LeaseState};

use super::Pull;
use crate::gateway::CallError;
use crate::held::Stop;

/// What part of the time between two beats passes after one that did not come through.
const LATE_PART: u32 = 5;

impl Pull {
    /// Says again and again what we have.
    pub(super) async fn beats(self: Arc<Self>) {
        let mut pause = self.session.periods().0;
        loop {
            tokio::time::sleep(pause).await;
            let (beat, lease) = self.session.periods();
            pause = beat;
            if self.held.all().is_empty() {
                continue;
            }
            // One that takes too long is no word of the gateway's: the next may come through.
            let late = || CallError::Again("the gateway is slow to answer".to_owned());
            let beaten = tokio::time::timeout(lease / 3, self.beat()).await;
            let trouble = match beaten.unwrap_or_else(|_| Err(late())) {
                Ok(()) => continue,
                Err(CallError::Unknown) => self.session.register_again().await.err(),
                Err(error) => Some(error),
            };
            // A lease outlasts few beats: one that did not come through is made up for soon.
            if !matches!(trouble, Some(CallError::Refused(_) | CallError::Unfit(_))) {
                pause = beat / LATE_PART;
            }
            if let Some(error) = trouble {
                self.session.note(&error);
            }
        }
    }

    /// Stops what no beat has confirmed in time, whatever the beats wait for.
    pub(super) async fn fence(self: Arc<Self>) {
        self.held.fence(|| self.session.periods().1).await;
    }

    pub(super) async fn beat(&self) -> Result<(), CallError> {
        let holding = self.held.all();
        let beat = Beat {
            worker: self.session.name(),
            incarnation: self.session.incarnation.clone(),
            holding: holding.clone(),
            state: self.state(),
            host: None,
        };
        let began = Instant::now();
        let beaten = self.session.gateway.call::<Beaten>("beat", &beat, Duration::ZERO).await?;
        for (lease, state) in holding.iter().zip(beaten.leases) {
            match state {
                LeaseState::Held => self.held.confirm(lease, began),
                LeaseState::Cancel => self.held.stop(lease, Stop::Cancelled),
                LeaseState::Lost => self.held.stop(lease, Stop::Lost),
            }
        }
        self.heed(beaten.action);
        Ok(())
    }
}
