//! What time does to jobs.

use sqlx::PgConnection;

use super::finish::{give_back, try_again};
use super::place::{Bytes, Fault, id, limit as bound};
use super::shares::Shares;
use super::table::{Standing, Table};
use crate::{JobId, State, Swept, Timestamp};

/// Workers that die with a job in a row, until nobody gets it any more.
const DEATHS_MAX: i32 = 2;
/// After nobody could sweep, leases of workers that ran on get so much more time.
const GRACE: std::time::Duration = std::time::Duration::from_secs(15);
/// How often it is noted that somebody sweeps.
const NOTED_EVERY_MS: i64 = 5_000;

/// The jobs for which it is time.
#[derive(Default)]
pub(super) struct Due {
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
    for id in &due.expired {
        let waits = |it: &mut Standing| {
            matches!(it.state, State::Ready | State::Scheduled)
                && it.start_by.is_some_and(|by| by < now.0)
        };
        if table.find(*id).is_some_and(waits) {
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
    standing.deaths += 1;
    let reason = match &*standing {
        Standing { cancel_requested: true, .. } => None,
        Standing { at_most_once: true, .. } => Some("lost"),
        Standing { deaths, .. } if *deaths >= DEATHS_MAX => Some("poison"),
        Standing { attempt, attempts_max, .. } if attempt >= attempts_max => Some("lost"),
        _ => {
            table.note_attempt(id, "lost");
            return try_again(table, id, "lost", now).map(drop);
        }
    };
    table.note_attempt(id, "lost");
    let state = if reason.is_some() { State::Dead } else { State::Cancelled };
    table.end(id, state, reason, now);
    Ok(())
}

/// Ends the leases of a worker that has none; says how many there were.
pub(super) fn abandon(table: &mut Table, ids: &[JobId], now: Timestamp) -> usize {
    let mut ended = 0;
    for id in ids {
        let standing = table.find(*id).filter(|it| it.state == State::Leased);
        let Some(standing) = standing else { continue };
        let is_lost = standing.is_accepted && standing.at_most_once;
        table.note_attempt(*id, "abandoned");
        if is_lost {
            table.end(*id, State::Dead, Some("lost"), now);
        } else {
            give_back(table, *id, now);
        }
        ended += 1;
    }
    ended
}

/// After nobody could sweep for longer than a lease: none ends before its worker, which may have run
/// on meanwhile, could extend it. While somebody else sweeps, this changes nothing.
pub(super) async fn grant_grace(
    connection: &mut PgConnection,
    now: Timestamp,
) -> Result<(), Fault> {
    let until = now.after(GRACE).0;
    let grace = "UPDATE jobs SET lease_until = greatest(lease_until, $1), \
                 attempt_until = greatest(attempt_until, $1) WHERE state = 'leased' \
                 AND (SELECT coalesce(last_sweep_at < $2, TRUE) FROM about)";
    let since = now.0.saturating_sub(super::place::millis(GRACE));
    sqlx::query(grace).bind(until).bind(since).execute(connection).await?;
    Ok(())
}
