//! What is done in one transaction: everything that came while the one before was written.

use std::collections::HashMap;
use std::time::Duration;

use sqlx::PgConnection;

use super::claim::Claims;
use super::enqueue::Admission;
use super::place::Fault;
use super::shares::Shares;
use super::sweep::Due;
use super::table::Table;
use super::{callbacks, finish, purge, sweep};
use crate::{
    Bounds, Callback, CallbackOutcome, Cancelled, Claim, Completed, Completion, DueCallbacks,
    Enqueued, Extended, Failed, Failure, Gone, Grant, JobId, Lease, NewJob, Released, State, Swept,
    Timestamp,
};

/// What somebody asks for.
#[derive(Debug)]
pub(super) enum Work {
    Enqueue(Vec<NewJob>),
    /// With the number of claims before it.
    Claim(Claim, u64),
    Extend(Vec<Lease>, Duration),
    Complete(Vec<Completion>),
    Fail(Vec<Failure>),
    Release(Vec<Lease>),
    Abandon(String, Gone),
    Cancel(JobId),
    Sweep(usize),
    Redrive(JobId),
    Purge(usize),
    TakeCallbacks(DueCallbacks),
    NoteCallback(i64, CallbackOutcome),
}

/// What came of it.
#[derive(Debug)]
pub(super) enum Done {
    Enqueued(Vec<Enqueued>),
    Granted(Vec<Grant>),
    Extended(Vec<Extended>),
    Completed(Vec<Completed>),
    Failed(Vec<Failed>),
    Released(Vec<Released>),
    Abandoned(usize),
    Cancelled(Cancelled),
    Swept(Swept),
    Redriven(bool),
    Purged(usize),
    Callbacks(Vec<Callback>),
    Noted,
}

impl Work {
    /// How many bytes it writes, about.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Enqueue(jobs) => jobs.iter().map(|it| it.body.len()).sum(),
            Self::Complete(completions) => completions.iter().map(|it| it.body.len()).sum(),
            _ => 0,
        }
    }

    /// The jobs that it names.
    fn ids(&self) -> Vec<JobId> {
        match self {
            Self::Extend(leases, _) | Self::Release(leases) => {
                leases.iter().map(|it| it.id).collect()
            }
            Self::Complete(completions) => completions.iter().map(|it| it.lease.id).collect(),
            Self::Fail(failures) => failures.iter().map(|it| it.lease.id).collect(),
            Self::Cancel(id) | Self::Redrive(id) => vec![*id],
            _ => Vec::new(),
        }
    }
}

/// Whom a transaction concerns.
#[derive(Debug, Default)]
pub(super) struct News {
    pub(super) changed: Vec<JobId>,
    pub(super) has_work: bool,
}

/// What jobs are found by that nobody named.
enum Found {
    Due(Due),
    OfWorker(Vec<JobId>),
}

/// Does all of it: first what ends or comes in, then what goes out.
pub(super) async fn run(
    connection: &mut PgConnection,
    works: &[&Work],
    bounds: &Bounds,
    now: Timestamp,
) -> Result<(Vec<Done>, News), Fault> {
    let found = find(connection, works, now).await?;
    let named = works.iter().flat_map(|it| it.ids());
    let unnamed = found.values().flat_map(|it| match it {
        Found::Due(due) => due.ids().collect::<Vec<_>>(),
        Found::OfWorker(ids) => ids.clone(),
    });
    let mut table = Table::load(connection, named.chain(unnamed)).await?;
    let coming = works.iter().filter_map(|it| match it {
        Work::Enqueue(jobs) => Some(jobs),
        _ => None,
    });
    let coming: Vec<&NewJob> = coming.flatten().collect();
    let pairs = coming.iter().map(|it| (it.caller.as_str(), &*it.lane));
    let mut shares = Shares::load(connection, pairs.chain(table.pairs())).await?;
    let mut admission = Admission::load(connection, &coming, bounds, now).await?;
    let mut done: Vec<Option<Done>> = Vec::with_capacity(works.len());
    for (index, work) in works.iter().enumerate() {
        let found = found.get(&index);
        done.push(decide(work, found, (&mut table, &mut shares, &mut admission), now)?);
    }
    table.write(connection, now).await?;
    admission.write(connection).await?;
    shares.write(connection).await?;
    let mut news = News {
        changed: table.news().chain(admission.news()).collect(),
        has_work: table.has_work() || admission.has_work(),
    };
    claim(connection, works, (&mut done, &mut news), now).await?;
    for (work, done) in works.iter().zip(&mut done).filter(|(_, done)| done.is_none()) {
        *done = Some(match work {
            Work::Purge(limit) => {
                Done::Purged(purge::purge(connection, *limit, bounds, now).await?)
            }
            Work::TakeCallbacks(wish) => {
                Done::Callbacks(callbacks::take(connection, wish, now).await?)
            }
            Work::NoteCallback(number, outcome) => {
                callbacks::note(connection, *number, outcome, now).await?;
                Done::Noted
            }
            _ => return Err(Fault::Changed),
        });
    }
    Ok((done.into_iter().flatten().collect(), news))
}

/// Looks for the jobs of works that name none.
async fn find(
    connection: &mut PgConnection,
    works: &[&Work],
    now: Timestamp,
) -> Result<HashMap<usize, Found>, Fault> {
    let mut found = HashMap::new();
    for (index, work) in works.iter().enumerate() {
        let jobs = match work {
            Work::Sweep(limit) => Found::Due(Due::find(connection, *limit, now).await?),
            Work::Abandon(worker, _) => {
                Found::OfWorker(sweep::of_worker(connection, worker).await?)
            }
            _ => continue,
        };
        found.insert(index, jobs);
    }
    Ok(found)
}

/// Does in memory what can be done with the jobs that are held.
fn decide<'a>(
    work: &'a Work,
    found: Option<&Found>,
    (table, shares, admission): (&mut Table, &mut Shares, &mut Admission<'a>),
    now: Timestamp,
) -> Result<Option<Done>, Fault> {
    Ok(Some(match (work, found) {
        (Work::Enqueue(jobs), _) => {
            Done::Enqueued(jobs.iter().map(|it| admission.admit(it, shares)).collect())
        }
        (Work::Extend(leases, time), _) => {
            let extend = |it| finish::extend(table, it, *time, now);
            Done::Extended(leases.iter().map(extend).collect())
        }
        (Work::Complete(completions), _) => {
            let complete = |it| finish::complete(table, shares, it, now);
            Done::Completed(completions.iter().map(complete).collect())
        }
        (Work::Fail(failures), _) => {
            let failed = failures.iter().map(|it| finish::fail(table, it, now));
            Done::Failed(failed.collect::<Result<_, _>>()?)
        }
        (Work::Release(leases), _) => {
            Done::Released(leases.iter().map(|it| finish::release(table, it, now)).collect())
        }
        (Work::Cancel(id), _) => Done::Cancelled(finish::cancel(table, *id, now)),
        (Work::Redrive(id), _) => Done::Redriven(finish::redrive(table, shares, *id, now)),
        (Work::Sweep(_), Some(Found::Due(due))) => {
            Done::Swept(sweep::sweep(table, shares, due, now)?)
        }
        (Work::Abandon(_, gone), Some(Found::OfWorker(ids))) => {
            Done::Abandoned(sweep::abandon(table, (ids.as_slice(), *gone), now))
        }
        _ => return Ok(None),
    }))
}

/// Grants leases to those who claim, and ends what they found too late.
async fn claim(
    connection: &mut PgConnection,
    works: &[&Work],
    (done, news): (&mut [Option<Done>], &mut News),
    now: Timestamp,
) -> Result<(), Fault> {
    let asked = works.iter().filter_map(|it| match it {
        Work::Claim(claim, turn) => Some((claim, *turn)),
        _ => None,
    });
    let asked: Vec<(&Claim, u64)> = asked.collect();
    if asked.is_empty() {
        return Ok(());
    }
    let mut claims = Claims::new(&asked, now);
    let mut granted = claims.grant(connection).await?.into_iter();
    for (work, done) in works.iter().zip(done) {
        if let Work::Claim(..) = work {
            let grants = granted.next().unwrap_or_default();
            news.changed.extend(grants.iter().map(|it| it.lease.id));
            *done = Some(Done::Granted(grants));
        }
    }
    let late = claims.late;
    let mut table = Table::load(connection, late.iter().copied()).await?;
    for id in late {
        if table.find(id).is_some_and(|it| it.state == State::Ready) {
            table.end(id, State::Expired, None, now);
        }
    }
    table.write(connection, now).await?;
    news.changed.extend(table.news());
    Ok(())
}
