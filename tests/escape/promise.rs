//! What an executor says that it keeps from runs. An attack on a guarantee is made where the
//! executor promises to hold against it, and left out, visibly, where it says that it does not.

use protocol::{Guarantee, Strength};

/// A guarantee, and how strong it must be for attacks on it to fail.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Promise {
    /// The guarantee's name on `/info`.
    name: &'static str,
    least: Strength,
}

pub(crate) const FILES: Promise = enforced("files");
pub(crate) const PROCESS_SECRETS: Promise = enforced("process_secrets");
pub(crate) const NETWORK: Promise = enforced("network");
pub(crate) const SIGNALS: Promise = enforced("signals");
pub(crate) const CLEAN_UP: Promise = enforced("clean_up");
pub(crate) const KERNEL_SURFACE: Promise = enforced("kernel_surface");
pub(crate) const MEMORY_PER_PROCESS: Promise = enforced("memory_per_process");
// What is watched ends as well, only later.
pub(crate) const MEMORY_TOTAL: Promise = watched("memory_total");
pub(crate) const PROCESSES: Promise = watched("processes");
pub(crate) const DISK: Promise = watched("disk");
pub(crate) const CPU: Promise = watched("cpu");

const fn enforced(name: &'static str) -> Promise {
    Promise { name, least: Strength::Enforced }
}

const fn watched(name: &'static str) -> Promise {
    Promise { name, least: Strength::Watched }
}

impl Promise {
    /// Whether the executor that says `guarantees` makes this promise.
    fn is_made(self, guarantees: &[Guarantee]) -> bool {
        let guarantee = guarantees.iter().find(|it| it.name == self.name);
        let strength = guarantee.unwrap_or_else(|| panic!("nothing is said of {}", self.name));
        match strength.strength {
            Strength::Enforced => true,
            Strength::Watched => self.least == Strength::Watched,
            Strength::None => false,
        }
    }
}

/// The names of those of `promises` that an executor does not make.
pub(crate) fn not_made(promises: &[Promise], guarantees: &[Guarantee]) -> Vec<&'static str> {
    let missing = promises.iter().filter(|it| !it.is_made(guarantees));
    missing.map(|it| it.name).collect()
}
