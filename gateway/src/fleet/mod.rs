//! The fleet: every executor that settings name, what it last said of itself, and whether it is
//! live. Probes and the breaker keep it true; `routing` chooses from its snapshots.

mod breaker;
mod endpoint;
pub(crate) mod history;
mod member;
mod probe;
#[cfg(test)]
pub(crate) mod sample;

use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use telemetry::metrics::{Counter, Family};
use tokio::sync::Notify;

pub(crate) use breaker::{Circuit, Fault};
pub(crate) use endpoint::InvalidFleet;
pub(crate) use member::{InFlight, Member, View};
pub(crate) use probe::{Prober, watch};

use crate::routing::{Remembered, Snapshot};
use endpoint::Endpoint;

/// Counts of one executor's label.
pub(crate) type PerExecutor = Family<[(&'static str, String); 1], Counter>;

/// Every executor.
#[derive(Debug)]
pub(crate) struct Fleet {
    endpoints: Vec<Endpoint>,
    members: ArcSwap<Vec<Arc<Member>>>,
    circuit_opens: PerExecutor,
    wake: Notify,
}

impl Fleet {
    /// The fleet that variables name: the part before `_EXECUTOR_URL`, and base URLs.
    pub(crate) fn new(
        variables: &[(String, String)],
        circuit_opens: PerExecutor,
    ) -> Result<Self, InvalidFleet> {
        let endpoints = endpoint::parse(variables)?;
        let fleet =
            Self { endpoints, members: ArcSwap::default(), circuit_opens, wake: Notify::new() };
        for index in 0..fleet.endpoints.len() {
            fleet.place(index, &[]);
        }
        Ok(fleet)
    }

    /// Whether any executor is reached over TLS.
    pub(crate) fn needs_tls(&self) -> bool {
        self.endpoints.iter().any(Endpoint::is_tls)
    }

    /// How many places settings name.
    pub(crate) fn places(&self) -> usize {
        self.endpoints.len()
    }

    /// Every executor now, in the order of settings.
    pub(crate) fn members(&self) -> Arc<Vec<Arc<Member>>> {
        self.members.load_full()
    }

    /// Every executor now, as shown.
    pub(crate) fn views(&self, now: Instant) -> Vec<View> {
        self.members().iter().map(|it| it.view(now)).collect()
    }

    /// What is known of every place that settings name.
    pub(crate) fn remembered(&self) -> Vec<Remembered> {
        self.endpoints.iter().map(Endpoint::remembered).collect()
    }

    /// What `routing` chooses from; candidates are in the order of `members`.
    pub(crate) fn snapshot(&self, members: &[Arc<Member>], now: Instant) -> Snapshot {
        Snapshot {
            candidates: members.iter().map(|it| it.candidate(now)).collect(),
            remembered: self.remembered(),
        }
    }

    /// Asks for a round of probes soon: a request met an executor that is not there.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Makes the members of one endpoint those at `addresses`; who stays keeps its state.
    fn place(&self, index: usize, addresses: &[std::net::SocketAddr]) {
        let Some(endpoint) = self.endpoints.get(index) else { return };
        let before = self.members();
        let (own, others): (Vec<_>, Vec<_>) =
            before.iter().cloned().partition(|it| it.endpoint() == index);
        let name = endpoint.name();
        let bases = endpoint.bases(addresses);
        let stays = |it: &&Arc<Member>| it.endpoint() != index || bases.contains(it.base());
        let used: Vec<&str> = before.iter().filter(stays).map(|it| it.label()).collect();
        let mut free = (1_usize..).map(|number| format!("{name}-{number}"));
        let mut placed: Vec<Arc<Member>> = Vec::new();
        for base in &bases {
            let kept = own.iter().find(|it| it.base() == base);
            placed.extend(kept.cloned().or_else(|| {
                let label = free.find(|label| !used.contains(&label.as_str()))?;
                let opens =
                    self.circuit_opens.get_or_create(&[("executor", label.clone())]).clone();
                Some(Arc::new(Member::new(index, name.to_owned(), label, base.clone(), opens)))
            }));
        }
        let is_same = own.len() == placed.len()
            && own.iter().zip(&placed).all(|(before, after)| Arc::ptr_eq(before, after));
        if !is_same {
            let mut members = others;
            members.extend(placed);
            members.sort_by_key(|it| it.endpoint());
            self.members.store(Arc::new(members));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(fleet: &Fleet, addresses: &[&str], labels: &[&str]) {
        let addresses: Vec<_> = addresses.iter().map(|it| it.parse().unwrap()).collect();
        fleet.place(0, &addresses);
        let members = fleet.members();
        let found: Vec<&str> = members.iter().map(|it| it.label()).collect();
        assert_eq!(found, labels);
    }

    #[test]
    fn who_stays_at_its_address_keeps_its_label_and_state() {
        let variables = [("ALPHA", "http://alpha.internal:1"), ("BETA", "http://10.0.0.9:1")];
        let variables = variables.map(|(name, url)| (name.to_owned(), url.to_owned()));
        let fleet = Fleet::new(&variables, PerExecutor::default()).unwrap();
        check(&fleet, &["10.0.0.1:1"], &["alpha-1", "beta-1"]);
        check(&fleet, &["10.0.0.1:1", "10.0.0.2:1"], &["alpha-1", "alpha-2", "beta-1"]);
        let before = fleet.members();
        check(&fleet, &["10.0.0.2:1", "10.0.0.3:1"], &["alpha-2", "alpha-1", "beta-1"]);
        let after = fleet.members();
        assert!(Arc::ptr_eq(&before[1], &after[0]) && Arc::ptr_eq(&before[2], &after[2]));
        assert!(!Arc::ptr_eq(&before[0], &after[1]), "another address is another executor");
        check(&fleet, &["10.0.0.2:1", "10.0.0.3:1"], &["alpha-2", "alpha-1", "beta-1"]);
        assert!(Arc::ptr_eq(&after, &fleet.members()), "nothing changed");
    }
}
