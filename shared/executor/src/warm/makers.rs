//! The tasks that make things ready, and keep them fresh.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{AGE_MAX, RuntimeWarmth};
use crate::core::Core;
use crate::process::Fault;

/// How long a run has the processors to itself before the next one is made ready. Most are over
/// by then; while a process is forked, its brothers wait at every page that they share with it.
const HEAD_START: Duration = Duration::from_millis(15);

/// How long the answer of a run that is over has the processors to itself.
const ANSWER: Duration = Duration::from_millis(1);

/// How long after a failure nothing is made ready.
const PAUSE: Duration = Duration::from_secs(1);

/// The tasks that make things ready.
#[derive(Debug)]
pub(crate) struct Makers {
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Makers {
    /// Starts them.
    pub(crate) fn start(core: &Arc<Core>) -> Self {
        /// Forks are short, and one of them waits while another works.
        const MAKERS: usize = 2;
        core.pool.fill(core.likely_kind(0));
        let (stop, stopped) = watch::channel(false);
        let makers = (0..MAKERS).map(|_| tokio::spawn(make(Arc::clone(core), stopped.clone())));
        let mut tasks: Vec<JoinHandle<()>> = makers.collect();
        tasks.push(tokio::spawn(renew(Arc::clone(core), stopped.clone())));
        tasks.push(tokio::spawn(keep_resident(Arc::clone(core), stopped)));
        Self { stop, tasks }
    }

    /// Ends them, and drops what is ready.
    pub(crate) async fn stop(self, core: &Core) {
        self.stop.send_replace(true);
        for task in self.tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "a maker of what is ready ended before its time");
            }
        }
        core.pool.empty();
    }
}

/// Makes one thing after the other ready.
async fn make(core: Arc<Core>, mut stop: watch::Receiver<bool>) {
    loop {
        let (place, kind) = tokio::select! {
            next = core.pool.next_wanted() => next,
            _ = stop.changed() => return,
        };
        if core.forks(kind) {
            let over = core.slots.until_one_comes_free();
            if tokio::time::timeout(HEAD_START, over).await.is_ok() {
                tokio::time::sleep(ANSWER).await;
            }
        } else {
            // What takes a while to become ready must not take the processors from programs.
            tokio::select! {
                () = core.slots.until_one_is_free() => {}
                _ = stop.changed() => return,
            }
        }
        match core.make(kind, place.uid()).await {
            Ok(made) => core.pool.put(place, kind, made),
            Err(error) => {
                tracing::warn!(%error, "nothing could be made ready; the next runs start cold");
                drop(place);
                if tokio::time::timeout(PAUSE, stop.changed()).await.is_ok() {
                    return;
                }
            }
        }
    }
}

/// Keeps a compiler that stays, if the language has one.
async fn keep_resident(core: Arc<Core>, mut stop: watch::Receiver<bool>) {
    if let (Some(resident), Some(spec)) = (&core.resident, core.spec.resident()) {
        tokio::select! {
            () = resident.keep(&core, spec) => {}
            _ = stop.changed() => {}
        }
        resident.end().await;
    }
}

/// Replaces what has waited for too long, and zygotes that were used for long.
async fn renew(core: Arc<Core>, mut stop: watch::Receiver<bool>) {
    const LOOK: Duration = Duration::from_secs(1);
    while tokio::time::timeout(LOOK, stop.changed()).await.is_err() {
        let renewing = Arc::clone(&core);
        let renewed = tokio::task::spawn_blocking(move || {
            renewing.pool.renew(AGE_MAX);
            for warmth in &renewing.warm.runtimes {
                if let RuntimeWarmth::Zygotes(zygotes) = warmth {
                    zygotes.iter().try_for_each(|it| it.renew(&renewing.spawner))?;
                }
            }
            Ok::<_, Fault>(())
        });
        if let Ok(Err(error)) = renewed.await {
            tracing::warn!(%error, "a zygote could not be replaced");
        }
    }
}
