//! How often one caller may ask: a bucket a key, or an address where there are no keys.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix_web::http::header::HeaderMap;
use governor::clock::{Clock as _, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::DefaultKeyedStateStore;
use governor::{Quota, RateLimiter};

use crate::auth::Caller;

/// Between two sweeps of buckets that are full again.
const SWEEP_PERIOD: Duration = Duration::from_secs(10);

/// Whose bucket it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Subject {
    /// The holder of a key.
    Key(String),
    /// An address; of IPv6 the network of one customer.
    Address(IpAddr),
}

/// What is left in a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Allowance {
    /// Requests that may come at once.
    pub limit: u32,
    /// Requests that may come now.
    pub remaining: u32,
    /// Seconds until the bucket is full again.
    pub reset_seconds: u64,
}

/// The bucket is empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many requests; send the next one in {retry_seconds} s")]
pub(crate) struct RateLimited {
    /// Requests that may come at once.
    pub limit: u32,
    /// Seconds until one may come.
    pub retry_seconds: u64,
}

type Limiter =
    RateLimiter<Subject, DefaultKeyedStateStore<Subject>, DefaultClock, StateInformationMiddleware>;

/// Every caller's bucket. Buckets that are full again are swept away.
#[derive(Debug)]
pub(crate) struct RateLimit {
    common: Buckets,
    /// Those of keys with a rate of their own, by the rate.
    own: Mutex<HashMap<u32, Arc<Buckets>>>,
    clock: DefaultClock,
}

/// Buckets of one rate.
#[derive(Debug)]
struct Buckets {
    limiter: Limiter,
    quota: Quota,
}

impl Buckets {
    /// `per_minute` requests in the long run, `burst` at once; 0 counts as 1.
    fn new(per_minute: u32, burst: u32) -> Self {
        let at_least_one = |it: u32| NonZeroU32::new(it).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::per_minute(at_least_one(per_minute)).allow_burst(at_least_one(burst));
        let limiter = RateLimiter::keyed(quota).with_middleware();
        Self { limiter, quota }
    }

    fn take(&self, subject: &Subject, clock: &DefaultClock) -> Result<Allowance, RateLimited> {
        let limit = self.quota.burst_size().get();
        match self.limiter.check_key(subject) {
            Ok(state) => {
                let remaining = state.remaining_burst_capacity().min(limit);
                let refill = self.quota.replenish_interval().saturating_mul(limit - remaining);
                Ok(Allowance { limit, remaining, reset_seconds: ceil_seconds(refill) })
            }
            Err(until) => {
                let wait = until.wait_time_from(clock.now());
                Err(RateLimited { limit, retry_seconds: ceil_seconds(wait).max(1) })
            }
        }
    }

    fn sweep(&self) {
        self.limiter.retain_recent();
        self.limiter.shrink_to_fit();
    }
}

impl RateLimit {
    /// `per_minute` requests in the long run, `burst` at once; 0 counts as 1.
    pub(crate) fn new(per_minute: u32, burst: u32) -> Self {
        let common = Buckets::new(per_minute, burst);
        Self { common, own: Mutex::default(), clock: DefaultClock::default() }
    }

    /// Takes one request out of a bucket.
    pub(crate) fn take(&self, subject: &Subject) -> Result<Allowance, RateLimited> {
        self.common.take(subject, &self.clock)
    }

    /// The same where the subject may come `per_minute` times, a sixth of that at once.
    pub(crate) fn take_of(
        &self,
        subject: &Subject,
        per_minute: u32,
    ) -> Result<Allowance, RateLimited> {
        let new = || Arc::new(Buckets::new(per_minute, per_minute.div_ceil(6)));
        let buckets = Arc::clone(self.lock().entry(per_minute).or_insert_with(new));
        buckets.take(subject, &self.clock)
    }

    /// Sweeps full buckets away until it is dropped.
    pub(crate) async fn sweep(self: Arc<Self>) {
        loop {
            tokio::time::sleep(SWEEP_PERIOD).await;
            self.common.sweep();
            let mut own = self.lock();
            own.values().for_each(|it| it.sweep());
            own.retain(|_, it| !it.limiter.is_empty());
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u32, Arc<Buckets>>> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whose bucket a request is taken from. A forwarded address is believed only if settings say
/// that a proxy writes it.
pub(crate) fn subject(
    caller: &Caller,
    peer: Option<IpAddr>,
    headers: &HeaderMap,
    trusts_forwarded: bool,
) -> Subject {
    if let Caller::Named(holder) = caller {
        return Subject::Key(holder.name.clone());
    }
    let address = address(peer, headers, trusts_forwarded);
    Subject::Address(network(address.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED))))
}

/// Where a request comes from.
pub(crate) fn address(
    peer: Option<IpAddr>,
    headers: &HeaderMap,
    trusts_forwarded: bool,
) -> Option<IpAddr> {
    trusts_forwarded.then(|| forwarded(headers)).flatten().or(peer)
}

fn forwarded(headers: &HeaderMap) -> Option<IpAddr> {
    let text = |name: &str| headers.get(name).and_then(|it| it.to_str().ok());
    let first = |list: &str| list.split(',').next().unwrap_or_default().trim().parse().ok();
    text("x-real-ip").and_then(first).or_else(|| text("x-forwarded-for").and_then(first))
}

/// An IPv6 customer has at least a /64 to take addresses from.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

fn ceil_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn a_bucket_empties_and_says_when_to_come_back() {
        let limit = RateLimit::new(1, 3);
        let alice = Subject::Key("alice".to_owned());
        for remaining in [2, 1, 0] {
            assert_eq!(limit.take(&alice).unwrap().remaining, remaining);
        }
        let limited = limit.take(&alice).unwrap_err();
        assert_eq!(limited.limit, 3);
        assert!((1..=60).contains(&limited.retry_seconds));
        let bob = Subject::Key("bob".to_owned());
        assert!(limit.take(&bob).is_ok(), "another's bucket is another's");
        assert_eq!(limit.take_of(&alice, 60).unwrap().limit, 10);
    }

    #[track_caller]
    fn check(trusts: bool, header: &'static str, value: &'static str, expected: &str) {
        let mut headers = HeaderMap::new();
        headers.insert(HeaderName::from_static(header), HeaderValue::from_static(value));
        let peer = Some("10.0.0.1".parse().unwrap());
        let expected = Subject::Address(expected.parse().unwrap());
        assert_eq!(subject(&Caller::Anonymous, peer, &headers, trusts), expected);
    }

    #[test]
    fn a_forwarded_address_counts_only_if_it_is_trusted() {
        check(false, "x-forwarded-for", "1.2.3.4", "10.0.0.1");
        check(true, "x-forwarded-for", "1.2.3.4, 5.6.7.8", "1.2.3.4");
        check(true, "x-real-ip", "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::");
        check(true, "x-real-ip", "nonsense", "10.0.0.1");
        check(true, "x-real-ip", "::ffff:1.2.3.4", "1.2.3.4");
    }
}
