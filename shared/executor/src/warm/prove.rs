//! Starts what is to stand ready, and proves with samples that programs can be served by it.

use std::sync::Arc;

use super::{RuntimeWarmth, Warm};
use crate::core::Core;
use crate::pool::Kind;
use crate::samples;
use crate::spec::{WarmBy, WarmSpec, whole_patterns};

impl Core {
    /// Starts what stands ready for each runtime, and proves it with the samples. A runtime of
    /// which something fails starts cold.
    pub(crate) async fn prove_warmth(self, is_wanted: bool) -> anyhow::Result<Arc<Self>> {
        let mut core = Arc::new(self);
        let count = core.runtimes.len();
        let reason = core.no_warmth(is_wanted);
        let mut warm = Warm::none(count, reason.as_deref().unwrap_or_default());
        if let (None, Some(spec)) = (reason, core.spec.warm.clone()) {
            warm.cold_env = whole_patterns(&spec.cold_env)?;
            for (index, place) in warm.runtimes.iter_mut().enumerate() {
                *place = match core.stand_ready(&spec, index).await {
                    Ok(warmth) => warmth,
                    Err(error) => RuntimeWarmth::Cold(error.to_string()),
                };
            }
        }
        replace(&mut core, |core| core.warm = warm)?;
        for runtime in 0..count {
            if let Err(error) = core.prove_one(runtime).await {
                tracing::error!(runtime, %error, "warm starts are off");
                replace(&mut core, |core| core.warm.chill(runtime, error.to_string()))?;
            }
        }
        Ok(core)
    }

    /// Why nothing can stand ready, if nothing can.
    fn no_warmth(&self, is_wanted: bool) -> Option<String> {
        let reason = if self.spec.warm.is_none() {
            "programs of this language start fast enough"
        } else if !is_wanted {
            "EXECUTOR_WARM is false"
        } else if !self.mechanisms.can_wait() {
            "nothing here keeps runs from reaching what waits for the next"
        } else if !self.has_room_to_wait {
            "the memory is too small for interpreters that wait"
        } else {
            return None;
        };
        Some(reason.to_owned())
    }

    async fn stand_ready(
        self: &Arc<Self>,
        spec: &WarmSpec,
        runtime: usize,
    ) -> anyhow::Result<RuntimeWarmth> {
        match spec.by {
            WarmBy::Process => Ok(RuntimeWarmth::Process),
            WarmBy::Zygote => {
                let mut zygotes = Vec::new();
                for modules in std::iter::once(&Vec::new()).chain(&spec.profiles) {
                    zygotes.extend(self.zygote(spec, runtime, modules).await?);
                }
                Ok(RuntimeWarmth::Zygotes(zygotes))
            }
        }
    }

    /// Runs every sample of the runtime on what stands ready.
    async fn prove_one(self: &Arc<Self>, runtime: usize) -> anyhow::Result<()> {
        let kind = self.likely_kind(runtime);
        if kind == Kind::Cell {
            return Ok(());
        }
        for sample in samples::all(&self.language)? {
            let place = self.place()?;
            let made = self.make(kind, place.uid()).await?;
            self.pool.put(place, kind, made);
            let result = sample.run(self, runtime).await;
            if let Some(detail) = result.detail {
                anyhow::bail!("the sample `{}` failed: {detail}", result.name);
            }
        }
        Ok(())
    }
}

fn replace(core: &mut Arc<Core>, change: impl FnOnce(&mut Core)) -> anyhow::Result<()> {
    let core = Arc::get_mut(core).ok_or_else(|| anyhow::anyhow!("a sample still runs"))?;
    change(core);
    Ok(())
}
