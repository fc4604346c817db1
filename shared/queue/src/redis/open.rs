//! Whether a server is fit to keep jobs, and whether its place is ours.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use redis::{FromRedisValue, RedisError, RedisResult, Value, cmd};
use tokio::time::sleep;
use uuid::Uuid;

use super::link::Link;
use super::{PREFIX, SCHEMA, call, scripts};
use crate::{Clock, Durability, StoreError};

/// The oldest version that has what the scripts need.
const OLDEST: u32 = 7;
/// How often a server that does not answer is asked.
const LOOK: Duration = Duration::from_millis(100);
/// What an operator sets about keeping and forgetting.
const SETTINGS: &[&str] =
    &["appendonly", "appendfsync", "no-appendfsync-on-rewrite", "maxmemory-policy"];

/// Waits for the server for as long as `patience`, and takes its place.
pub(super) async fn open(
    link: &Link,
    patience: Duration,
    clock: &Clock,
) -> Result<Durability, StoreError> {
    let until = Instant::now() + patience;
    let facts = loop {
        match link.with(async |mut connection| facts(&mut connection).await).await {
            Ok(facts) => break facts,
            Err(error) if Instant::now() >= until || is_for_good(&error) => return Err(error),
            Err(_) => sleep(LOOK).await,
        }
    };
    let durability = facts.judge().map_err(StoreError::Unavailable)?;
    take_place(link, clock).await?;
    Ok(durability)
}

/// Waiting does not help whom the server does not let in.
fn is_for_good(error: &StoreError) -> bool {
    const WORDS: &[&str] = &["AuthenticationFailed", "NOAUTH", "WRONGPASS", "NOPERM"];
    let error = error.to_string();
    WORDS.iter().any(|it| error.contains(it))
}

async fn take_place(link: &Link, clock: &Clock) -> Result<(), StoreError> {
    let mut take = call(&scripts::OPEN, clock, Uuid::nil());
    take.arg(SCHEMA);
    let version = async || {
        let found: String = link.run(&take).await?;
        found.parse::<i64>().map_err(|_foreign| {
            StoreError::Unavailable(format!("`{PREFIX}*` on the server belongs to another program"))
        })
    };
    let found = version().await?;
    if found > SCHEMA {
        let place = "the server".to_owned();
        return Err(StoreError::Newer { place, found, known: SCHEMA });
    }
    if found < SCHEMA {
        migrate(link, clock).await?;
        version().await?;
    }
    Ok(())
}

/// Brings the server's keys to the newest version, some jobs at a time: nobody else has to wait, and
/// who begins again, or at the same time, does no harm.
async fn migrate(link: &Link, clock: &Clock) -> Result<(), StoreError> {
    let mut last = "0".to_owned();
    while !last.is_empty() {
        let mut step = call(&scripts::MIGRATE, clock, Uuid::nil());
        step.arg(last).arg(SCHEMA);
        last = link.run(&step).await?;
    }
    Ok(())
}

/// What a server says of itself.
#[derive(Debug, Default)]
struct Facts {
    info: HashMap<String, String>,
    /// Empty where that is not told to us.
    settings: HashMap<String, String>,
}

async fn facts(connection: &mut redis::aio::MultiplexedConnection) -> RedisResult<Facts> {
    let info: String = cmd("INFO").query_async(connection).await?;
    if info.lines().any(|it| it == "loading:1") {
        let error = (redis::ErrorKind::Io, "the server still reads what it keeps");
        return Err(RedisError::from(error));
    }
    let told: RedisResult<Value> =
        cmd("CONFIG").arg("GET").arg(SETTINGS).query_async(connection).await;
    let settings = match told {
        Ok(told) => HashMap::from_redis_value(told)?,
        Err(error) if error.is_io_error() => return Err(error),
        // Who runs a server for others often does not let them ask.
        Err(_) => HashMap::new(),
    };
    Ok(Facts { info: parse(&info), settings })
}

fn parse(info: &str) -> HashMap<String, String> {
    let lines = info.lines().filter_map(|line| line.split_once(':'));
    lines.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect()
}

impl Facts {
    /// What the server keeps whatever happens, or what is to be set first.
    fn judge(&self) -> Result<Durability, String> {
        let told = |name| self.info.get(name).map_or("", String::as_str);
        let set = |name, otherwise| self.settings.get(name).map_or(otherwise, String::as_str);
        let version = told("redis_version");
        let major = version.split('.').next().and_then(|it| it.parse::<u32>().ok());
        if major.is_none_or(|it| it < OLDEST) {
            return Err(format!("the server has version {version}; run 7.0 or newer"));
        }
        if told("role") != "master" {
            return Err("the server is a replica; name the one that it follows".to_owned());
        }
        let is_kept = if told("aof_enabled") == "1" { "yes" } else { "no" };
        if set("appendonly", is_kept) != "yes" {
            return Err("the server forgets jobs when it ends; set `appendonly yes`".to_owned());
        }
        if set("maxmemory-policy", told("maxmemory_policy")) != "noeviction" {
            return Err("the server drops jobs when its memory is full; set `maxmemory-policy \
                        noeviction`"
                .to_owned());
        }
        if set("no-appendfsync-on-rewrite", "no") != "no" {
            return Err("the server does not flush while it tidies up; set \
                        `no-appendfsync-on-rewrite no`"
                .to_owned());
        }
        match set("appendfsync", "everysec") {
            "always" => Ok(Durability::PowerLoss),
            "everysec" => Ok(Durability::AboutASecond),
            _ => {
                Err("the server never flushes; set `appendfsync always` or `appendfsync everysec`"
                    .to_owned())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(info: &str, settings: &[(&str, &str)], expected: Result<Durability, &str>) {
        let pairs = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let facts = Facts { info: parse(info), settings: pairs.collect() };
        match (facts.judge(), expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected),
            (Err(found), Err(expected)) => assert!(found.contains(expected), "{found}"),
            (found, _) => panic!("{found:?}"),
        }
    }

    const FIT: &str = "redis_version:7.2.4\r\nrole:master\r\naof_enabled:1\r\n\
                       maxmemory_policy:noeviction\r\n";

    #[test]
    fn a_server_that_tells_nothing_of_its_flushes_is_trusted_with_least() {
        check(FIT, &[], Ok(Durability::AboutASecond));
        check(FIT, &[("appendfsync", "always")], Ok(Durability::PowerLoss));
    }

    #[test]
    fn a_server_that_could_lose_jobs_is_refused() {
        check(&FIT.replace("7.2", "6.2"), &[], Err("7.0 or newer"));
        check(&FIT.replace("master", "slave"), &[], Err("a replica"));
        check(&FIT.replace("aof_enabled:1", "aof_enabled:0"), &[], Err("`appendonly yes`"));
        check(&FIT.replace("noeviction", "allkeys-lru"), &[], Err("noeviction"));
        check(FIT, &[("appendfsync", "no")], Err("`appendfsync always`"));
        check(FIT, &[("no-appendfsync-on-rewrite", "yes")], Err("-on-rewrite no`"));
        check("", &[], Err("7.0 or newer"));
    }
}
