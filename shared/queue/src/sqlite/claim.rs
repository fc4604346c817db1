//! Jobs go out, and leases go on.

use std::collections::HashMap;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::Fault;
use super::finish::{Ending, end};
use crate::{Claim, Extended, Grant, JobId, Lane, Lease, State, Timestamp, Token};

/// One claim in so many takes the lowest priority first: nobody waits for ever.
const LOWEST_FIRST_EVERY: u64 = 10;
/// Jobs that one claim looks at, in each lane.
const LOOKED_AT_MAX: usize = 10_000;

/// A job that may be granted.
struct Candidate {
    number: i64,
    caller: String,
    turn: f64,
    start_by: Option<i64>,
}

/// Grants leases; `turn` counts claims.
pub(super) fn claim(
    connection: &Connection,
    claim: &Claim,
    turn: u64,
    now: Timestamp,
) -> Result<Vec<Grant>, Fault> {
    if let Some(poll) = &claim.poll {
        let same = granted_before(connection, claim, poll)?;
        if !same.is_empty() {
            return Ok(same);
        }
    }
    let mut running = running(connection)?;
    let mut grants = Vec::new();
    // Each lane comes first in its turn.
    let count = claim.lanes.len().max(1);
    let first = usize::try_from(turn).unwrap_or_default() % count;
    for lane in claim.lanes.iter().cycle().skip(first).take(claim.lanes.len()) {
        if turn % LOWEST_FIRST_EVERY == LOWEST_FIRST_EVERY - 1 {
            let left = (claim.most - grants.len()).min(1);
            let lowest = lowest_priority(connection, lane)?;
            grants.extend(take(connection, claim, (lane, left, lowest), &mut running, now)?);
        }
        let left = claim.most - grants.len();
        grants.extend(take(connection, claim, (lane, left, None), &mut running, now)?);
    }
    Ok(grants)
}

/// Grants at most so many jobs of a lane, of one priority or of all.
fn take(
    connection: &Connection,
    claim: &Claim,
    (lane, free, priority): (&str, usize, Option<u8>),
    running: &mut HashMap<String, u64>,
    now: Timestamp,
) -> Result<Vec<Grant>, Fault> {
    let mut grants = Vec::new();
    for candidate in choose(connection, claim, (lane, free, priority), running, now)? {
        if candidate.is_late(now) {
            end(connection, candidate.number, Ending::new(State::Expired, None), now)?;
        } else {
            grants.push(grant(connection, claim, lane, &candidate, now)?);
        }
    }
    Ok(grants)
}

/// The first `free` jobs whose callers may have one more running, and those among them that are
/// late. Nothing is changed while they are read.
fn choose(
    connection: &Connection,
    claim: &Claim,
    (lane, free, priority): (&str, usize, Option<u8>),
    running: &mut HashMap<String, u64>,
    now: Timestamp,
) -> Result<Vec<Candidate>, Fault> {
    let (mut chosen, mut left) = (Vec::new(), free);
    let mut find = connection.prepare_cached(
        "SELECT number, caller, turn, start_by FROM jobs WHERE state = 'ready' \
         AND language = ?1 AND priority BETWEEN ?2 AND ?3 \
         ORDER BY priority DESC, turn, number LIMIT ?4",
    )?;
    let (least, most) = priority.map_or((0, u8::MAX), |it| (it, it));
    let mut rows = find.query(params![lane, least, most, LOOKED_AT_MAX])?;
    while left > 0 {
        let Some(row) = rows.next()? else { break };
        let candidate = Candidate::read(row)?;
        if !candidate.is_late(now) {
            let runs = running.entry(candidate.caller.clone()).or_default();
            if *runs >= claim.running_max_of(&candidate.caller) {
                continue;
            }
            *runs += 1;
            left -= 1;
        }
        chosen.push(candidate);
    }
    Ok(chosen)
}

impl Candidate {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            number: row.get(0)?,
            caller: row.get(1)?,
            turn: row.get(2)?,
            start_by: row.get(3)?,
        })
    }

    fn is_late(&self, now: Timestamp) -> bool {
        self.start_by.is_some_and(|it| it < now.0)
    }
}

fn grant(
    connection: &Connection,
    claim: &Claim,
    lane: &str,
    candidate: &Candidate,
    now: Timestamp,
) -> Result<Grant, Fault> {
    let token = Token::random().map_err(Fault::of_chance)?;
    let mut lease = connection.prepare_cached(
        "UPDATE jobs SET state = 'leased', token = ?2, leases = leases + 1, attempt = attempt + 1, \
         lease_until = min(?3, ?4 + attempt_ms_max), attempt_until = ?4 + attempt_ms_max, \
         is_accepted = 0, worker = ?5, poll = ?6, started_at = ?4, start_by = NULL, \
         ready_at = NULL, reason = NULL, version = version + 1 WHERE number = ?1",
    )?;
    let until = now.after(claim.lease);
    let number = candidate.number;
    lease.execute(params![number, token.as_bytes(), until.0, now.0, claim.worker, claim.poll])?;
    let mut note = connection.prepare_cached(
        "INSERT INTO attempts (number, lease, worker, started_at) \
         SELECT number, leases, worker, started_at FROM jobs WHERE number = ?",
    )?;
    note.execute([number])?;
    // The queue's clock is that of the last job that went out.
    let mut tick = connection.prepare_cached(
        "INSERT INTO languages (language, turn) VALUES (?1, ?2) \
         ON CONFLICT DO UPDATE SET turn = max(turn, excluded.turn)",
    )?;
    tick.execute(params![lane, candidate.turn])?;
    granted(connection, number)
}

/// A lease as its worker is told of it.
fn granted(connection: &Connection, number: i64) -> Result<Grant, Fault> {
    let mut find = connection.prepare_cached(
        "SELECT id, token, caller, language, body, attempt, attempt_ms_max \
         FROM jobs JOIN bodies USING (number) WHERE number = ?",
    )?;
    Ok(find.query_row([number], |row| {
        let lease =
            Lease { id: JobId::from_bytes(row.get(0)?), token: Token::from_bytes(row.get(1)?) };
        Ok(Grant {
            lease,
            caller: row.get(2)?,
            lane: Lane::from_text(row.get(3)?),
            body: row.get(4)?,
            attempt: row.get(5)?,
            attempt_max: Duration::from_millis(row.get(6)?),
        })
    })?)
}

/// What the same wish was granted before, as far as nobody has shown to have it.
fn granted_before(connection: &Connection, claim: &Claim, poll: &str) -> Result<Vec<Grant>, Fault> {
    let mut find = connection.prepare_cached(
        "SELECT number FROM jobs WHERE state = 'leased' AND worker = ? AND poll = ? \
         AND is_accepted = 0",
    )?;
    let numbers = find.query_map([claim.worker.as_str(), poll], |row| row.get(0))?;
    let numbers = numbers.collect::<Result<Vec<i64>, _>>()?;
    numbers.into_iter().map(|it| granted(connection, it)).collect()
}

/// How many jobs each caller has running. Left to itself, SQLite goes through all jobs in the order
/// of their callers.
fn running(connection: &Connection) -> Result<HashMap<String, u64>, Fault> {
    let mut count = connection.prepare_cached(
        "SELECT caller, count(*) FROM jobs INDEXED BY jobs_leased WHERE state = 'leased' \
         GROUP BY caller",
    )?;
    let counted = count.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(counted.collect::<Result<_, _>>()?)
}

fn lowest_priority(connection: &Connection, lane: &str) -> Result<Option<u8>, Fault> {
    let mut find = connection.prepare_cached(
        "SELECT priority FROM jobs WHERE state = 'ready' AND language = ? \
         ORDER BY priority LIMIT 1",
    )?;
    Ok(find.query_row([lane], |row| row.get(0)).optional()?)
}

/// Extends a lease to `time` from now, but not beyond its attempt's end.
pub(super) fn extend(
    connection: &Connection,
    lease: &Lease,
    time: Duration,
    now: Timestamp,
) -> Result<Extended, Fault> {
    let mut extend = connection.prepare_cached(
        "UPDATE jobs SET lease_until = min(?3, attempt_until), is_accepted = 1 \
         WHERE id = ?1 AND state = 'leased' AND token = ?2 AND attempt_until > ?4 \
         RETURNING lease_until, cancel_requested",
    )?;
    let until = now.after(time);
    let values = params![lease.id.as_bytes(), lease.token.as_bytes(), until.0, now.0];
    let extended = extend.query_row(values, |row| {
        let until = Timestamp(row.get(0)?);
        Ok(Extended::Held { time: now.until(until), cancel: row.get(1)? })
    });
    Ok(extended.optional()?.unwrap_or(Extended::Lost))
}
