//! What is told of jobs.

use std::time::Duration;

use sqlx::postgres::PgRow;
use sqlx::{PgPool, Postgres, QueryBuilder, Row as _};

use super::place::{Bytes, Fault, bytes, clock, count, id, limit as bound, time, token};
use crate::lane;
use crate::{
    Attempt, Counts, Filter, Held, Job, JobId, Lane, LaneStats, Lease, Page, Priority, QueueStats,
    State, StoredResult, Timestamp,
};

macro_rules! columns {
    () => {
        "number, id, caller, language, state, reason, rank, attempt, attempts_max, \
         cancel_requested, created_at, run_at, started_at, finished_at, version"
    };
}

fn read(row: &PgRow) -> sqlx::Result<Job> {
    let state: String = row.try_get("state")?;
    let small =
        |name| Ok::<_, sqlx::Error>(u32::try_from(row.try_get::<i32, _>(name)?).unwrap_or(0));
    let at = |name| Ok::<_, sqlx::Error>(time(row.try_get(name)?));
    let level = i16::from(Priority::MAX) - row.try_get::<i16, _>("rank")?;
    Ok(Job {
        id: id(row.try_get::<Bytes, _>("id")?),
        caller: row.try_get("caller")?,
        lane: Lane::from_text(row.try_get("language")?),
        state: state.parse().or(Err(sqlx::Error::Protocol("an unknown state".to_owned())))?,
        reason: row.try_get("reason")?,
        priority: u8::try_from(level).ok().and_then(Priority::new).unwrap_or_default(),
        attempt: small("attempt")?,
        attempts_max: small("attempts_max")?,
        cancel_requested: row.try_get("cancel_requested")?,
        created_at: Timestamp(row.try_get("created_at")?),
        run_at: at("run_at")?,
        started_at: at("started_at")?,
        finished_at: at("finished_at")?,
        position: None,
        version: count(row.try_get("version")?),
    })
}

/// A job, and where it stands among those that are ready.
pub(super) async fn job(pool: &PgPool, id: JobId) -> Result<Option<Job>, Fault> {
    let find = concat!("SELECT ", columns!(), " FROM jobs WHERE id = $1");
    let found = sqlx::query(find).bind(bytes(id)).fetch_optional(pool).await?;
    let Some(mut job) = found.as_ref().map(read).transpose()? else { return Ok(None) };
    if job.state == State::Ready {
        job.position = Some(position(pool, id).await?);
    }
    Ok(Some(job))
}

/// The versions of those of these jobs that there are.
pub(super) async fn versions(pool: &PgPool, ids: Vec<JobId>) -> Result<Vec<(JobId, u64)>, Fault> {
    let ids: Vec<Bytes> = ids.into_iter().map(bytes).collect();
    let found = sqlx::query("SELECT id, version FROM jobs WHERE id = ANY($1)").bind(ids);
    let found = found.fetch_all(pool).await?;
    let read = |row: &PgRow| Ok((id(row.try_get("id")?), count(row.try_get("version")?)));
    found.iter().map(read).collect()
}

/// How many ready jobs are before one: counted as far as that is cheap, as every submission is told.
async fn position(pool: &PgPool, id: JobId) -> Result<u64, Fault> {
    let find = sqlx::query(
        "SELECT (SELECT count(*) FROM (SELECT 1 FROM jobs AS other WHERE other.state = 'ready' \
         AND other.language = own.language \
         AND (other.rank, other.turn, other.number) < (own.rank, own.turn, own.number) \
         ORDER BY other.rank, other.turn, other.number LIMIT $2) AS before), \
         (SELECT coalesce(sum(jobs), 1)::bigint - 1 FROM totals \
         WHERE totals.language = own.language AND totals.state = 'ready') \
         FROM jobs AS own WHERE id = $1",
    );
    let most = i64::try_from(Job::COUNTED_MAX).unwrap_or(i64::MAX);
    let Some(row) = find.bind(bytes(id)).bind(most).fetch_optional(pool).await? else {
        return Ok(0);
    };
    let (before, all): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
    Ok(count(if before < most { before } else { all.max(before) }))
}

/// The body of a job.
pub(super) async fn body(pool: &PgPool, id: JobId) -> Result<Option<Vec<u8>>, Fault> {
    let find = "SELECT body FROM bodies WHERE number = (SELECT number FROM jobs WHERE id = $1)";
    Ok(sqlx::query_scalar(find).bind(bytes(id)).fetch_optional(pool).await?)
}

/// The result of a job.
pub(super) async fn result(pool: &PgPool, id: JobId) -> Result<Option<StoredResult>, Fault> {
    let find = "SELECT body FROM results \
                WHERE number = (SELECT number FROM jobs WHERE id = $1)";
    let found = sqlx::query_scalar(find).bind(bytes(id)).fetch_optional(pool).await?;
    Ok(found.map(|body| StoredResult { body }))
}

/// The attempts of a job.
pub(super) async fn attempts(pool: &PgPool, id: JobId) -> Result<Vec<Attempt>, Fault> {
    let find = sqlx::query(
        "SELECT lease, worker, started_at, ended_at, reason FROM attempts \
         WHERE number = (SELECT number FROM jobs WHERE id = $1) ORDER BY number, lease",
    );
    let found = find.bind(bytes(id)).fetch_all(pool).await?;
    let read = |row: &PgRow| {
        Ok(Attempt {
            number: u32::try_from(row.try_get::<i32, _>(0)?).unwrap_or(0),
            worker: row.try_get(1)?,
            started_at: Timestamp(row.try_get(2)?),
            ended_at: time(row.try_get(3)?),
            reason: row.try_get(4)?,
        })
    };
    Ok(found.iter().map(read).collect::<sqlx::Result<_>>()?)
}

/// At most `limit` leases of a worker; by the database's clock, if there is no other.
pub(super) async fn held(
    pool: &PgPool,
    worker: &str,
    limit: usize,
    now: Option<Timestamp>,
) -> Result<Vec<Held>, Fault> {
    let find = sqlx::query(concat!(
        // Apart, so that they are found as leased jobs, and not by going through all numbers.
        "WITH held AS MATERIALIZED (SELECT number, id, token, caller, coalesce($1, ",
        clock!(),
        ") - started_at AS age FROM jobs WHERE state = 'leased' AND worker = $2) ",
        "SELECT * FROM held ORDER BY number LIMIT $3",
    ));
    let find = find.bind(now.map(|it| it.0)).bind(worker).bind(bound(limit));
    let read = |row: &PgRow| {
        let lease = Lease { id: id(row.try_get("id")?), token: token(row.try_get("token")?) };
        let age: i64 = row.try_get("age")?;
        let age = Duration::from_millis(u64::try_from(age).unwrap_or(0));
        Ok(Held { lease, caller: row.try_get("caller")?, age })
    };
    Ok(find.fetch_all(pool).await?.iter().map(read).collect::<sqlx::Result<_>>()?)
}

/// At most `limit` jobs, the newest first.
pub(super) async fn list(
    pool: &PgPool,
    filter: &Filter,
    from: Option<i64>,
    limit: usize,
) -> Result<Page, Fault> {
    let start = concat!("SELECT ", columns!(), " FROM jobs WHERE TRUE");
    // Apart, so that they are found by their state, and not by going through all numbers.
    let few = concat!("WITH few AS MATERIALIZED (SELECT ", columns!(), " FROM jobs WHERE TRUE");
    let are_few = are_few(pool, filter.state).await?;
    let mut find = QueryBuilder::<Postgres>::new(if are_few { few } else { start });
    if let Some(from) = from {
        find.push(" AND number < ").push_bind(from);
    }
    if let Some(before) = filter.before {
        find.push(" AND number < ").push_bind(first_at(pool, before).await?);
    }
    if let Some(since) = filter.since {
        find.push(" AND number >= ").push_bind(first_at(pool, since).await?);
    }
    if let Some(caller) = &filter.caller {
        find.push(" AND caller = ").push_bind(caller);
    }
    if let Some(state) = filter.state {
        // Said in so many words, so that an index of few jobs is found that fits.
        find.push(" AND state = '").push(state.as_str()).push("'");
    }
    if let Some(language) = &filter.language {
        // Those of the default queue, too.
        find.push(" AND starts_with(language || chr(31), ").push_bind(lane::prefix(language));
        find.push(")");
    }
    if let Some(queue) = &filter.queue {
        find.push(" AND coalesce(nullif(split_part(language, chr(31), 2), ''), 'default') = ");
        find.push_bind(queue);
    }
    if are_few {
        find.push(") SELECT * FROM few");
    }
    // One more tells whether there are more.
    find.push(" ORDER BY number DESC LIMIT ").push_bind(bound(limit.saturating_add(1)));
    let rows = find.build().fetch_all(pool).await?;
    let has_more = rows.len() > limit;
    let kept = rows.get(..limit).unwrap_or(&rows);
    let jobs = kept.iter().map(read).collect::<sqlx::Result<_>>()?;
    let last = kept.last().filter(|_| has_more);
    Ok(Page { jobs, next: last.map(|row| row.try_get("number")).transpose()? })
}

/// Whether jobs of a state are leased, which no more are than the fleet can run, or wait and are few.
/// Those of final states that few are in have an index in the order of their numbers.
async fn are_few(pool: &PgPool, state: Option<State>) -> Result<bool, Fault> {
    let Some(state @ (State::Ready | State::Scheduled)) = state else {
        return Ok(state == Some(State::Leased));
    };
    let find = "SELECT coalesce(sum(jobs), 0)::bigint FROM totals WHERE state = $1";
    let found = sqlx::query_scalar(find).bind(state.as_str()).fetch_one(pool).await?;
    Ok(count(found) <= State::FEW)
}

/// The number from which on jobs came at `time` or later: numbers grow with time, so this looks at few
/// of them.
async fn first_at(pool: &PgPool, time: Timestamp) -> Result<i64, Fault> {
    let find = "WITH RECURSIVE search (low, high) AS (SELECT \
                (SELECT number FROM jobs ORDER BY number LIMIT 1), \
                (SELECT number + 1 FROM jobs ORDER BY number DESC LIMIT 1) UNION ALL \
                SELECT CASE WHEN created_at < $1 THEN number + 1 ELSE low END, \
                CASE WHEN created_at < $1 THEN high ELSE (low + high) / 2 END \
                FROM search CROSS JOIN LATERAL (SELECT number, created_at FROM jobs \
                WHERE number >= (low + high) / 2 ORDER BY number LIMIT 1) AS middle \
                WHERE low < high) SELECT low FROM search WHERE low >= high";
    let found = sqlx::query_scalar(find).bind(time.0).fetch_optional(pool).await?;
    Ok(found.unwrap_or(0))
}

/// How many jobs there are in each state.
pub(super) async fn counts(pool: &PgPool, caller: Option<&str>) -> Result<Counts, Fault> {
    let find = match caller {
        Some(_) => "SELECT state, jobs FROM counts WHERE caller = $1",
        None => "SELECT state, sum(jobs)::bigint FROM totals GROUP BY state",
    };
    let mut find = sqlx::query_as(find);
    if let Some(caller) = caller {
        find = find.bind(caller);
    }
    let found: Vec<(String, i64)> = find.fetch_all(pool).await?;
    Ok(Counts::of(found.iter().map(|(state, jobs)| (state.as_str(), count(*jobs)))))
}

/// What waits and what goes on; by the database's clock, if there is no other.
pub(super) async fn stats(pool: &PgPool, now: Option<Timestamp>) -> Result<QueueStats, Fault> {
    let find = sqlx::query(concat!(
        "SELECT language, ",
        "(sum(jobs) FILTER (WHERE state = 'scheduled'))::bigint, ",
        "(sum(jobs) FILTER (WHERE state = 'ready'))::bigint, ",
        "(sum(jobs) FILTER (WHERE state = 'leased'))::bigint, ",
        "(sum(jobs) FILTER (WHERE state = 'dead'))::bigint, ",
        "coalesce($1, ",
        clock!(),
        ") - (SELECT min(ready_at) FROM jobs WHERE jobs.language = totals.language ",
        "AND jobs.state = 'ready'), ",
        "(SELECT average_ms FROM languages WHERE languages.language = totals.language) ",
        "FROM totals GROUP BY language ORDER BY language",
    ));
    let found = find.bind(now.map(|it| it.0)).fetch_all(pool).await?;
    let read = |row: &PgRow| {
        let number =
            |at| Ok::<_, sqlx::Error>(count(row.try_get::<Option<i64>, _>(at)?.unwrap_or(0)));
        let oldest: Option<i64> = row.try_get(5)?;
        let average: Option<f64> = row.try_get(6)?;
        let average = average.map(|it| Duration::from_secs_f64(it.max(0.0) / 1000.0).as_millis());
        Ok(LaneStats {
            lane: Lane::from_text(row.try_get(0)?),
            scheduled: number(1)?,
            ready: number(2)?,
            leased: number(3)?,
            dead: number(4)?,
            oldest_ready_ms: oldest.map(count),
            average_run_ms: average.map(|it| u64::try_from(it).unwrap_or(u64::MAX)),
        })
    };
    let lanes = found.iter().map(read).collect::<sqlx::Result<_>>()?;
    let size = "SELECT coalesce(sum(pg_total_relation_size(oid)), 0)::bigint FROM pg_class \
                WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace";
    let bytes = sqlx::query_scalar(size).fetch_one(pool).await?;
    Ok(QueueStats { bytes: count(bytes), lanes })
}
