//! Jobs go out, and leases go on.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::Fault;
use super::finish::{Ending, end};
use crate::lease::ATTEMPTS_KEPT;
use crate::turns::{Turn, in_turn};
use crate::{Claim, Extended, Grant, JobId, Lane, Lease, Priority, State, Timestamp, Token};

/// Jobs that a claim passes over one by one, in each lane, as their callers have enough running or it
/// is too late for them. Beyond it, it asks for those of other callers.
const PASSED_MAX: usize = 100;
/// Callers that a claim asks after then.
const CALLERS_MAX: usize = 10_000;

/// A job that may be granted.
struct Candidate {
    number: i64,
    caller: String,
    priority: u8,
    turn: f64,
    start_by: Option<i64>,
}

/// The ready jobs of a lane, of one priority or of all, and how many of them are wanted.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    lane: &'a str,
    priority: Option<u8>,
    most: usize,
}

impl Wanted<'_> {
    /// The least and the highest priority.
    fn priorities(&self) -> (u8, u8) {
        self.priority.map_or((0, Priority::MAX), |it| (it, it))
    }
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
    let turn = Turn::of(turn, claim.lanes.len());
    for lane in in_turn(&claim.lanes, turn.lane) {
        let wanted = Wanted { lane, priority: None, most: claim.most - grants.len() };
        if let Some(round) = turn.lower {
            grants.extend(take_lower(connection, claim, (wanted, round), &mut running, now)?);
        }
        let wanted = Wanted { most: claim.most - grants.len(), ..wanted };
        grants.extend(take(connection, claim, wanted, &mut running, now)?);
    }
    Ok(grants)
}

/// Grants one job of a priority that is not the highest: those take turns, and one is passed over whose
/// callers all have enough running.
fn take_lower(
    connection: &Connection,
    claim: &Claim,
    (wanted, round): (Wanted<'_>, u64),
    running: &mut HashMap<String, u64>,
    now: Timestamp,
) -> Result<Vec<Grant>, Fault> {
    if wanted.most == 0 {
        return Ok(Vec::new());
    }
    for priority in in_turn(&lower_priorities(connection, wanted.lane)?, round) {
        let wanted = Wanted { priority: Some(*priority), most: 1, ..wanted };
        let granted = take(connection, claim, wanted, running, now)?;
        if !granted.is_empty() {
            return Ok(granted);
        }
    }
    Ok(Vec::new())
}

/// Grants as many jobs as are wanted, as far as there are so many.
fn take(
    connection: &Connection,
    claim: &Claim,
    wanted: Wanted<'_>,
    running: &mut HashMap<String, u64>,
    now: Timestamp,
) -> Result<Vec<Grant>, Fault> {
    let mut grants = Vec::new();
    for candidate in choose(connection, claim, wanted, running, now)? {
        if candidate.is_late(now) {
            end(connection, candidate.number, Ending::new(State::Expired, None), now)?;
        } else {
            grants.push(grant(connection, claim, wanted.lane, &candidate, now)?);
        }
    }
    Ok(grants)
}

/// The first jobs whose callers may have one more running, and those among them that are late. Nothing
/// is changed while they are read.
fn choose(
    connection: &Connection,
    claim: &Claim,
    wanted: Wanted<'_>,
    running: &mut HashMap<String, u64>,
    now: Timestamp,
) -> Result<Vec<Candidate>, Fault> {
    let (mut chosen, mut left, mut passed) = (Vec::new(), wanted.most, 0);
    let mut find = connection.prepare_cached(
        "SELECT number, caller, priority, turn, start_by FROM jobs INDEXED BY jobs_ready \
         WHERE state = 'ready' AND language = ?1 AND priority BETWEEN ?2 AND ?3 \
         ORDER BY priority DESC, turn, number",
    )?;
    let (least, most) = wanted.priorities();
    let mut rows = find.query(params![wanted.lane, least, most])?;
    while left > 0 {
        let Some(row) = rows.next()? else { return Ok(chosen) };
        if passed == PASSED_MAX {
            let wanted = Wanted { most: left, ..wanted };
            chosen.extend(choose_by_caller(connection, claim, wanted, (&chosen, running), now)?);
            return Ok(chosen);
        }
        let candidate = Candidate::read(row)?;
        if candidate.is_late(now) {
            passed += 1;
        } else {
            let runs = running.entry(candidate.caller.clone()).or_default();
            if *runs >= claim.running_max_of(&candidate.caller) {
                passed += 1;
                continue;
            }
            *runs += 1;
            left -= 1;
        }
        chosen.push(candidate);
    }
    Ok(chosen)
}

/// The first jobs of those callers that may have more running, but for those that are chosen already:
/// however many jobs of others are before them.
fn choose_by_caller(
    connection: &Connection,
    claim: &Claim,
    wanted: Wanted<'_>,
    (chosen, running): (&[Candidate], &mut HashMap<String, u64>),
    now: Timestamp,
) -> Result<Vec<Candidate>, Fault> {
    let mut find = connection.prepare_cached(
        "SELECT number, caller, priority, turn, start_by FROM jobs INDEXED BY jobs_ready_of_caller \
         WHERE state = 'ready' AND language = ?1 AND caller = ?2 AND priority BETWEEN ?3 AND ?4 \
         AND (start_by IS NULL OR start_by >= ?5) ORDER BY priority DESC, turn, number LIMIT ?6",
    )?;
    let (least, most) = wanted.priorities();
    let mut found = Vec::new();
    for caller in waiting_callers(connection, wanted.lane)? {
        let runs = running.get(&caller).copied().unwrap_or_default();
        let free = claim.running_max_of(&caller).saturating_sub(runs);
        let free = usize::try_from(free).unwrap_or(usize::MAX).min(wanted.most);
        if free == 0 {
            continue;
        }
        let values =
            params![wanted.lane, caller, least, most, now.0, free.saturating_add(chosen.len())];
        let rows = find.query_map(values, Candidate::read)?;
        let rows = rows.collect::<Result<Vec<_>, _>>()?;
        let is_new = |it: &Candidate| chosen.iter().all(|other| other.number != it.number);
        found.extend(rows.into_iter().filter(is_new).take(free));
    }
    found.sort_by(Candidate::compare);
    found.truncate(wanted.most);
    for candidate in &found {
        *running.entry(candidate.caller.clone()).or_default() += 1;
    }
    Ok(found)
}

/// Those who have ready jobs in a lane: found one after another, and not by going through their jobs.
fn waiting_callers(connection: &Connection, lane: &str) -> Result<Vec<String>, Fault> {
    let mut find = connection.prepare_cached(
        "WITH RECURSIVE waits (caller) AS (SELECT (SELECT caller FROM jobs \
         INDEXED BY jobs_ready_of_caller WHERE state = 'ready' AND language = ?1 \
         ORDER BY caller LIMIT 1) UNION ALL SELECT (SELECT caller FROM jobs \
         INDEXED BY jobs_ready_of_caller WHERE state = 'ready' AND language = ?1 \
         AND caller > waits.caller ORDER BY caller LIMIT 1) FROM waits WHERE caller IS NOT NULL) \
         SELECT caller FROM waits WHERE caller IS NOT NULL LIMIT ?2",
    )?;
    let found = find.query_map(params![lane, CALLERS_MAX], |row| row.get(0))?;
    Ok(found.collect::<Result<_, _>>()?)
}

impl Candidate {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            number: row.get(0)?,
            caller: row.get(1)?,
            priority: row.get(2)?,
            turn: row.get(3)?,
            start_by: row.get(4)?,
        })
    }

    /// Which of two goes first.
    fn compare(&self, other: &Self) -> Ordering {
        let by_priority = other.priority.cmp(&self.priority);
        by_priority.then(self.turn.total_cmp(&other.turn)).then(self.number.cmp(&other.number))
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
         is_accepted = 0, worker = ?5, poll = ?6, started_at = ?4, ready_at = NULL, \
          reason = NULL, version = version + 1 WHERE number = ?1 RETURNING leases",
    )?;
    let until = now.after(claim.lease);
    let number = candidate.number;
    let values = params![number, token.as_bytes(), until.0, now.0, claim.worker, claim.poll];
    let leases: u32 = lease.query_row(values, |row| row.get(0))?;
    let mut note = connection.prepare_cached(
        "INSERT INTO attempts (number, lease, worker, started_at) \
         SELECT number, leases, worker, started_at FROM jobs WHERE number = ?",
    )?;
    note.execute([number])?;
    if leases > ATTEMPTS_KEPT {
        let sql = "DELETE FROM attempts WHERE number = ? AND lease <= ?";
        connection.prepare_cached(sql)?.execute(params![number, leases - ATTEMPTS_KEPT])?;
    }
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

/// The priorities of ready jobs in a lane, the lowest first, without the highest.
fn lower_priorities(connection: &Connection, lane: &str) -> Result<Vec<u8>, Fault> {
    let mut find = connection.prepare_cached(
        "SELECT 1 FROM jobs INDEXED BY jobs_ready WHERE state = 'ready' AND language = ? \
         AND priority = ? LIMIT 1",
    )?;
    let mut found = Vec::new();
    for priority in 0..=Priority::MAX {
        if find.exists(params![lane, priority])? {
            found.push(priority);
        }
    }
    found.pop();
    Ok(found)
}

/// Extends a lease to `time` from now, but not beyond its attempt's end. By that, the job is started.
pub(super) fn extend(
    connection: &Connection,
    lease: &Lease,
    time: Duration,
    now: Timestamp,
) -> Result<Extended, Fault> {
    let mut extend = connection.prepare_cached(
        "UPDATE jobs SET lease_until = min(?3, attempt_until), is_accepted = 1, \
         start_by = NULL \
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
