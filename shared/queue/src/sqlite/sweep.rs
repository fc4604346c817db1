//! What time does to jobs.

use std::time::Duration;

use rusqlite::{Connection, params};

use super::Fault;
use super::enqueue::take_turn;
use super::finish::{Ending, Standing, end, give_back, make_ready, note_attempt, try_again, whose};
use crate::{Gone, JobId, State, Swept, Timestamp, retry};

/// Workers that die with a job in a row, until nobody gets it any more.
const DEATHS_MAX: u32 = 2;

/// What a sweep did, and the jobs that it changed.
pub(super) fn sweep(
    connection: &Connection,
    limit: usize,
    now: Timestamp,
) -> Result<(Swept, Vec<JobId>), Fault> {
    let mut changed = Vec::new();
    let late = due(connection, "lease_until < ?1 AND state = 'leased'", "lease_until", limit, now)?;
    for id in &late {
        end_lease(connection, *id, now)?;
    }
    let promoted = due(connection, "run_at <= ?1 AND state = 'scheduled'", "run_at", limit, now)?;
    for id in &promoted {
        promote(connection, *id, now)?;
    }
    let waits = "start_by < ?1 AND start_by IS NOT NULL AND state IN ('ready', 'scheduled')";
    let expired = due(connection, waits, "start_by", limit, now)?;
    for id in &expired {
        if let Some(standing) = Standing::find(connection, *id)? {
            end(connection, standing.number, Ending::new(State::Expired, None), now)?;
        }
    }
    let swept = Swept { leases: late.len(), promoted: promoted.len(), expired: expired.len() };
    changed.extend(late);
    changed.extend(promoted);
    changed.extend(expired);
    Ok((swept, changed))
}

/// Jobs for which it is time. All of them are changed, so the next sweep gets past them.
fn due(
    connection: &Connection,
    which: &str,
    order: &str,
    limit: usize,
    now: Timestamp,
) -> Result<Vec<JobId>, Fault> {
    let sql = format!("SELECT id FROM jobs WHERE {which} ORDER BY {order} LIMIT ?2");
    let mut find = connection.prepare_cached(&sql)?;
    let found = find.query_map(params![now.0, limit], |row| row.get(0).map(JobId::from_bytes))?;
    Ok(found.collect::<Result<_, _>>()?)
}

/// Ends a lease that nobody extended. This is one transaction with having seen that.
fn end_lease(connection: &Connection, id: JobId, now: Timestamp) -> Result<(), Fault> {
    let standing = Standing::find(connection, id)?.filter(|it| it.state == State::Leased);
    let Some(standing) = standing else { return Ok(()) };
    let number = standing.number;
    if !standing.is_accepted {
        // Its worker never heard of it.
        note_attempt(connection, number, "not accepted", now)?;
        return give_back(connection, &standing, now);
    }
    match died(connection, &standing, now)? {
        Some(ending) => end(connection, number, ending, now),
        None => try_again(connection, &standing, "lost", now).map(drop),
    }
}

/// Notes that a worker died with a job, which ends if that was its last attempt.
fn died(
    connection: &Connection,
    standing: &Standing,
    now: Timestamp,
) -> Result<Option<Ending<'static>>, Fault> {
    note_attempt(connection, standing.number, "lost", now)?;
    let mut note =
        connection.prepare_cached("UPDATE jobs SET deaths = deaths + 1 WHERE number = ?")?;
    note.execute([standing.number])?;
    let reason = match standing {
        Standing { cancel_requested: true, .. } => {
            return Ok(Some(Ending::new(State::Cancelled, None)));
        }
        Standing { at_most_once: true, .. } => "lost",
        Standing { deaths, .. } if deaths + 1 >= DEATHS_MAX => "poison",
        Standing { attempt, attempts_max, .. } if attempt >= attempts_max => "lost",
        _ => return Ok(None),
    };
    Ok(Some(Ending::new(State::Dead, Some(reason))))
}

/// Ends the leases of a worker that has none.
pub(super) fn abandon(
    connection: &Connection,
    (worker, gone): (&str, Gone),
    now: Timestamp,
) -> Result<Vec<JobId>, Fault> {
    let mut find =
        connection.prepare_cached("SELECT id FROM jobs WHERE state = 'leased' AND worker = ?")?;
    let found = find.query_map([worker], |row| row.get(0).map(JobId::from_bytes))?;
    let found = found.collect::<Result<Vec<_>, _>>()?;
    for id in &found {
        let Some(standing) = Standing::find(connection, *id)? else { continue };
        if standing.is_accepted && gone == Gone::Died {
            match died(connection, &standing, now)? {
                Some(ending) => end(connection, standing.number, ending, now)?,
                None => make_ready(connection, (standing.number, standing.attempt), now)?,
            }
            continue;
        }
        note_attempt(connection, standing.number, "abandoned", now)?;
        if standing.is_accepted && standing.at_most_once {
            end(connection, standing.number, Ending::new(State::Dead, Some("lost")), now)?;
        } else {
            give_back(connection, &standing, now)?;
        }
    }
    Ok(found)
}

/// Makes a job ready whose time has come.
fn promote(connection: &Connection, id: JobId, now: Timestamp) -> Result<(), Fault> {
    let standing = Standing::find(connection, id)?.filter(|it| it.state == State::Scheduled);
    let Some(Standing { number, .. }) = standing else { return Ok(()) };
    let (caller, language) = whose(connection, number)?;
    let (turn, cost) = take_turn(connection, &caller, &language)?;
    let mut promote = connection.prepare_cached(
        "UPDATE jobs SET state = 'ready', run_at = NULL, ready_at = ?2, turn = ?3, cost = ?4, \
         version = version + 1 WHERE number = ?1",
    )?;
    promote.execute(params![number, now.0, turn, cost])?;
    Ok(())
}

/// After a start: no lease ends within `grace`, as its worker may have run on meanwhile. Nor does any
/// last for longer than a whole attempt from now, or an attempt wait for longer than one ever does:
/// the system's clock may have been set back since.
pub(super) fn grant_grace(
    connection: &Connection,
    now: Timestamp,
    grace: Duration,
) -> Result<(), Fault> {
    let leases = "UPDATE jobs SET \
                  lease_until = max(?1, min(lease_until, ?2 + attempt_ms_max)), \
                  attempt_until = max(?1, min(attempt_until, ?2 + attempt_ms_max)) \
                  WHERE state = 'leased'";
    connection.execute(leases, [now.after(grace).0, now.0])?;
    let waits = "UPDATE jobs SET run_at = ?1 \
                 WHERE state = 'scheduled' AND run_at > ?1 AND attempt > 0";
    connection.execute(waits, [now.after(retry::WAIT_MAX).0])?;
    Ok(())
}
