//! The end of this process, as those see it who wait for something else.

use tokio::sync::watch;

/// Whether the gateway takes nothing more on.
#[derive(Debug)]
pub(crate) struct Drain(watch::Sender<bool>);

impl Default for Drain {
    fn default() -> Self {
        Self(watch::Sender::new(false))
    }
}

impl Drain {
    /// From now on it takes nothing more on.
    pub(crate) fn begin(&self) {
        self.0.send_replace(true);
    }

    /// Whether that is so.
    pub(crate) fn is_draining(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until that is so.
    pub(crate) async fn begun(&self) {
        // It is gone only when nobody can wait any more.
        drop(self.0.subscribe().wait_for(|it| *it).await);
    }
}
