//! What time does to jobs.

use sqlx::PgConnection;

use super::finish::{give_back, make_ready, try_again};
use super::place::{Bytes, Fault, id, limit as bound, millis};
use super::shares::Shares;
use super::table::{Standing, Table};
use crate::{Gone, JobId, State, Swept, Timestamp, retry};

/// Workers that die with a job in a row, until nobody gets it any more.
const DEATHS_MAX: i32 = 2;
/// After nobody could sweep, leases of workers that ran on get so much more time.
const GRACE: std::time::Duration = std::time::Duration::from_secs(15);
/// How often it is noted that somebody sweeps.
const NOTED_EVERY_MS: i64 = 5_000;

/// The jobs for which it is time.
pub(super) struct Due {
    limit: usize,
    late: Vec<JobId>,
    promoted: Vec<JobId>,
    expired: Vec<JobId>,
}

impl Due {
    /// At most `limit` of each kind. All of them are changed, so the next sweep gets past them.
    pub(super) async fn find(
        connection: &mut PgConnection,
        limit: usize,
        now: Timestamp,
    ) -> Result<Self, Fault> {
        let late = "SELECT id FROM jobs WHERE lease_until < $1 AND state = 'leased' \
                    ORDER BY lease_until LIMIT $2";
        let promoted = "SELECT id FROM jobs WHERE run_at <= $1 AND state = 'scheduled' \
                        ORDER BY run_at LIMIT $2";
        let expired = "SELECT id FROM jobs WHERE start_by < $1 AND start_by IS NOT NULL \
                       AND state IN ('ready', 'scheduled') ORDER BY start_by LIMIT $2";
        let note = "UPDATE about SET last_sweep_at = $1 \
                    WHERE last_sweep_at IS NULL OR abs($1 - last_sweep_at) >= $2";
        sqlx::query(note).bind(now.0).bind(NOTED_EVERY_MS).execute(&mut *connection).await?;
        Ok(Self {
            limit,
            late: ids(connection, late, limit, now).await?,
            promoted: ids(connection, promoted, limit, now).await?,
            expired: ids(connection, expired, limit, now).await?,
        })
    }

    /// All of them.
    pub(super) fn ids(&self) -> impl Iterator<Item = JobId> {
        self.late.iter().chain(&self.promoted).chain(&self.expired).copied()
    }
}

async fn ids(
    connection: &mut PgConnection,
    find: &'static str,
    limit: usize,
    now: Timestamp,
) -> Result<Vec<JobId>, Fault> {
    let find = sqlx::query_scalar::<_, Bytes>(find).bind(now.0).bind(bound(limit));
    Ok(find.fetch_all(connection).await?.into_iter().map(id).collect())
}

/// The jobs that a worker has.
pub(super) async fn of_worker(
    connection: &mut PgConnection,
    worker: &str,
) -> Result<Vec<JobId>, Fault> {
    let find = "SELECT id FROM jobs WHERE state = 'leased' AND worker = $1";
    let find = sqlx::query_scalar::<_, Bytes>(find).bind(worker);
    Ok(find.fetch_all(connection).await?.into_iter().map(id).collect())
}

/// Does to jobs what is due, if it still is.
pub(super) fn sweep(
    table: &mut Table,
    shares: &mut Shares,
    due: &Due,
    now: Timestamp,
) -> Result<Swept, Fault> {
    let mut swept = Swept::default();
    for id in &due.late {
        let is_late = |it: &mut Standing| {
            it.state == State::Leased && it.lease_until.is_some_and(|until| until < now.0)
        };
        if table.find(*id).is_some_and(is_late) {
            end_lease(table, *id, now)?;
            swept.leases += 1;
        }
    }
    for id in &due.promoted {
        let Some(standing) = table.find(*id).filter(|it| it.state == State::Scheduled) else {
            continue;
        };
        standing.become_state(State::Ready);
        standing.run_at = None;
        standing.ready_at = Some(now.0);
        (standing.turn, standing.cost) = shares.take_turn(&standing.caller, &standing.language);
        swept.promoted += 1;
    }
    // What was given back may have to be started sooner.
    for id in due.expired.iter().chain(&due.late) {
        let waits = |it: &mut Standing| {
            matches!(it.state, State::Ready | State::Scheduled)
                && it.start_by.is_some_and(|by| by < now.0)
        };
        if swept.expired < due.limit && table.find(*id).is_some_and(waits) {
            table.end(*id, State::Expired, None, now);
            swept.expired += 1;
        }
    }
    Ok(swept)
}

/// Ends a lease that nobody extended.
fn end_lease(table: &mut Table, id: JobId, now: Timestamp) -> Result<(), Fault> {
    let Some(standing) = table.find(id) else { return Ok(()) };
    if !standing.is_accepted {
        // Its worker never heard of it.
        table.note_attempt(id, "not accepted");
        give_back(table, id, now);
        return Ok(());
    }
    if died(table, id, now) {
        return Ok(());
    }
    try_again(table, id, "lost", now).map(drop)
}

/// Notes that a worker died with a job, and ends it if that was its last attempt. Whether it did.
fn died(table: &mut Table, id: JobId, now: Timestamp) -> bool {
    let Some(standing) = table.find(id) else { return false };
    standing.deaths += 1;
    let reason = match &*standing {
        Standing { cancel_requested: true, .. } => Some((State::Cancelled, None)),
        Standing { at_most_once: true, .. } => Some((State::Dead, Some("lost"))),
        Standing { deaths, .. } if *deaths >= DEATHS_MAX => Some((State::Dead, Some("poison"))),
        Standing { attempt, attempts_max, .. } if attempt >= attempts_max => {
            Some((State::Dead, Some("lost")))
        }
        _ => None,
    };
    table.note_attempt(id, "lost");
    if let Some((state, reason)) = reason {
        table.end(id, state, reason, now);
    }
    reason.is_some()
}

/// Ends the leases of a worker that has none; says how many there were.
pub(super) fn abandon(table: &mut Table, (ids, gone): (&[JobId], Gone), now: Timestamp) -> usize {
    let mut ended = 0;
    for id in ids {
        let standing = table.find(*id).filter(|it| it.state == State::Leased);
        let Some(standing) = standing else { continue };
        ended += 1;
        if standing.is_accepted && gone == Gone::Died {
            if !died(table, *id, now) {
                make_ready(table, *id, now);
            }
            continue;
        }
        let is_lost = standing.is_accepted && standing.at_most_once;
        table.note_attempt(*id, "abandoned");
        if is_lost {
            table.end(*id, State::Dead, Some("lost"), now);
        } else {
            give_back(table, *id, now);
        }
    }
    ended
}

/// After nobody could sweep for longer than a lease: none ends before its worker, which may have run
/// on meanwhile, could extend it. While somebody else sweeps, this changes nothing.
pub(super) async fn grant_grace(
    connection: &mut PgConnection,
    now: Timestamp,
) -> Result<(), Fault> {
    let last = last_sweep(connection).await?;
    match last {
        // Somebody set the server's clock back.
        Some(last) if last > now.0.saturating_add(NOTED_EVERY_MS) => {
            return shift(connection, now.0 - last, now).await;
        }
        Some(last) if last >= now.0.saturating_sub(millis(GRACE)) => return Ok(()),
        _ => {}
    }
    let grace = "UPDATE jobs SET lease_until = greatest(lease_until, $1), \
                 attempt_until = greatest(attempt_until, $1) WHERE state = 'leased'";
    sqlx::query(grace).bind(now.after(GRACE).0).execute(&mut *connection).await?;
    // Whoever finds now that the clock was set as well has nothing to do any more.
    match last {
        Some(_) => note_sweep(connection, now).await,
        None => Ok(()),
    }
}

/// The server's clock was set, by `step` milliseconds, and it is `now` since: leases end when they
/// would have ended. Every gateway finds out by itself, and the first one does it for all: what was
/// noted by the old clock is nearer to the time before than to the time now.
pub(super) async fn clock_was_set(
    connection: &mut PgConnection,
    step: i64,
    now: Timestamp,
) -> Result<(), Fault> {
    let before = now.0.saturating_sub(step);
    match last_sweep(connection).await? {
        Some(last) if last.abs_diff(now.0) < last.abs_diff(before) => Ok(()),
        _ => shift(connection, step, now).await,
    }
}

async fn shift(connection: &mut PgConnection, step: i64, now: Timestamp) -> Result<(), Fault> {
    let leases = "UPDATE jobs SET lease_until = lease_until + $1, \
                  attempt_until = attempt_until + $1 WHERE state = 'leased'";
    sqlx::query(leases).bind(step).execute(&mut *connection).await?;
    // Those that wait for another attempt; who named a time for the first one meant the clock's. If it
    // went ahead they are only tried sooner.
    let waits = "UPDATE jobs SET run_at = run_at + $1 WHERE state = 'scheduled' AND attempt > 0 \
                 AND run_at BETWEEN $2 AND $2 + $3";
    if step < 0 {
        let before = now.0.saturating_sub(step);
        let waits = sqlx::query(waits).bind(step).bind(before).bind(millis(retry::WAIT_MAX));
        waits.execute(&mut *connection).await?;
    }
    tracing::warn!(step_ms = step, "the clock of the store's server was set");
    note_sweep(connection, now).await
}

async fn note_sweep(connection: &mut PgConnection, now: Timestamp) -> Result<(), Fault> {
    let note = "UPDATE about SET last_sweep_at = $1";
    sqlx::query(note).bind(now.0).execute(connection).await?;
    Ok(())
}

async fn last_sweep(connection: &mut PgConnection) -> Result<Option<i64>, Fault> {
    let find = sqlx::query_scalar::<_, Option<i64>>("SELECT last_sweep_at FROM about");
    Ok(find.fetch_optional(connection).await?.flatten())
}
