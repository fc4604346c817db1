//! What is told of jobs.

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, Row, params, params_from_iter};

use super::Fault;
use crate::lane;
use crate::{
    Attempt, Counts, Filter, Held, Job, JobId, Lane, LaneStats, Lease, Page, Priority, QueueStats,
    State, StoredResult, Timestamp, Token,
};

const COLUMNS: &str = "number, id, caller, language, state, reason, priority, attempt, \
    attempts_max, cancel_requested, created_at, run_at, started_at, finished_at, version";

fn read(row: &Row<'_>) -> rusqlite::Result<Job> {
    let state: String = row.get(4)?;
    let time = |index| Ok::<_, rusqlite::Error>(row.get::<_, Option<i64>>(index)?.map(Timestamp));
    Ok(Job {
        id: JobId::from_bytes(row.get(1)?),
        caller: row.get(2)?,
        lane: Lane::from_text(row.get(3)?),
        state: state.parse().or(Err(rusqlite::Error::InvalidQuery))?,
        reason: row.get(5)?,
        priority: Priority::new(row.get(6)?).unwrap_or_default(),
        attempt: row.get(7)?,
        attempts_max: row.get(8)?,
        cancel_requested: row.get(9)?,
        created_at: Timestamp(row.get(10)?),
        run_at: time(11)?,
        started_at: time(12)?,
        finished_at: time(13)?,
        position: None,
        version: row.get(14)?,
    })
}

/// A job, and where it stands among those that are ready.
pub(super) fn job(connection: &Connection, id: JobId) -> Result<Option<Job>, Fault> {
    let mut find =
        connection.prepare_cached(&format!("SELECT {COLUMNS} FROM jobs WHERE id = ?"))?;
    let found = find.query_row([id.as_bytes()], read).optional()?;
    let Some(mut job) = found else { return Ok(None) };
    if job.state == State::Ready {
        job.position = Some(position(connection, id)?);
    }
    Ok(Some(job))
}

/// The versions of those of these jobs that there are.
pub(super) fn versions(connection: &Connection, ids: &[JobId]) -> Result<Vec<(JobId, u64)>, Fault> {
    let mut find = connection.prepare_cached("SELECT version FROM jobs WHERE id = ?")?;
    let mut found = Vec::with_capacity(ids.len());
    for id in ids {
        let version = find.query_row([id.as_bytes()], |row| row.get(0)).optional()?;
        found.extend(version.map(|it| (*id, it)));
    }
    Ok(found)
}

/// How many ready jobs are before one: counted as far as that is cheap, as every submission is told.
fn position(connection: &Connection, id: JobId) -> Result<u64, Fault> {
    // In two ranges of the index, as those of a higher priority come first.
    let mut before = connection.prepare_cached(
        "WITH own AS (SELECT language, priority, turn, number FROM jobs WHERE id = ?1) \
         SELECT count(*) FROM (SELECT * FROM \
         (SELECT 1 FROM own CROSS JOIN jobs AS other INDEXED BY jobs_ready \
         WHERE other.state = 'ready' AND other.language = own.language \
         AND other.priority > own.priority LIMIT ?2) UNION ALL SELECT * FROM \
         (SELECT 1 FROM own CROSS JOIN jobs AS other INDEXED BY jobs_ready \
         WHERE other.state = 'ready' AND other.language = own.language \
         AND other.priority = own.priority \
         AND (other.turn, other.number) < (own.turn, own.number) LIMIT ?2))",
    )?;
    let before = before.query_row(params![id.as_bytes(), Job::COUNTED_MAX], |row| row.get(0))?;
    if before < Job::COUNTED_MAX {
        return Ok(before);
    }
    let mut all = connection.prepare_cached(
        "SELECT jobs - 1 FROM totals WHERE state = 'ready' \
         AND language = (SELECT language FROM jobs WHERE id = ?)",
    )?;
    let all = all.query_row([id.as_bytes()], |row| row.get(0)).optional()?;
    Ok(all.unwrap_or(before).max(before))
}

/// The body of a job.
pub(super) fn body(connection: &Connection, id: JobId) -> Result<Option<Vec<u8>>, Fault> {
    let mut find = connection
        .prepare_cached("SELECT body FROM bodies JOIN jobs USING (number) WHERE id = ?")?;
    Ok(find.query_row([id.as_bytes()], |row| row.get(0)).optional()?)
}

/// The result of a job.
pub(super) fn result(connection: &Connection, id: JobId) -> Result<Option<StoredResult>, Fault> {
    let mut find = connection
        .prepare_cached("SELECT body FROM results JOIN jobs USING (number) WHERE id = ?")?;
    let found = find.query_row([id.as_bytes()], |row| Ok(StoredResult { body: row.get(0)? }));
    Ok(found.optional()?)
}

/// The attempts of a job.
pub(super) fn attempts(connection: &Connection, id: JobId) -> Result<Vec<Attempt>, Fault> {
    let mut find = connection.prepare_cached(
        "SELECT lease, a.worker, a.started_at, ended_at, a.reason FROM attempts a \
         JOIN jobs USING (number) WHERE id = ? ORDER BY lease",
    )?;
    let found = find.query_map([id.as_bytes()], |row| {
        Ok(Attempt {
            number: row.get(0)?,
            worker: row.get(1)?,
            started_at: Timestamp(row.get(2)?),
            ended_at: row.get::<_, Option<i64>>(3)?.map(Timestamp),
            reason: row.get(4)?,
        })
    })?;
    Ok(found.collect::<Result<_, _>>()?)
}

/// At most `limit` leases of a worker.
pub(super) fn held(
    connection: &Connection,
    worker: &str,
    limit: usize,
    now: Timestamp,
) -> Result<Vec<Held>, Fault> {
    let mut find = connection.prepare_cached(
        "SELECT id, token, caller, started_at FROM jobs INDEXED BY jobs_leased \
         WHERE state = 'leased' AND worker = ? ORDER BY number LIMIT ?",
    )?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let found = find.query_map(params![worker, limit], |row| {
        let (id, token) = (JobId::from_bytes(row.get(0)?), Token::from_bytes(row.get(1)?));
        let age = Timestamp(row.get(3)?).until(now);
        Ok(Held { lease: Lease { id, token }, caller: row.get(2)?, age })
    })?;
    Ok(found.collect::<Result<_, _>>()?)
}

/// At most `limit` jobs, the newest first.
pub(super) fn list(
    connection: &Connection,
    filter: &Filter,
    from: Option<i64>,
    limit: usize,
) -> Result<Page, Fault> {
    let Filter { caller, state, language, queue, since, before } = filter;
    let lanes = language.as_deref().map(lane::prefix);
    let wanted: [(&str, Option<Value>); 7] = [
        ("number < ?", from.map(Value::from)),
        ("caller = ?", caller.clone().map(Value::from)),
        ("state = ?", state.map(|it| Value::from(it.as_str().to_owned()))),
        // Those of the default queue, too.
        ("instr(language || char(31), ?) = 1", lanes.map(Value::from)),
        (
            "ifnull(nullif(substr(language, instr(language || char(31), char(31)) + 1), ''), \
          'default') = ?",
            queue.clone().map(Value::from),
        ),
        ("created_at >= ?", since.map(|it| Value::from(it.0))),
        ("created_at < ?", before.map(|it| Value::from(it.0))),
    ];
    // Jobs of such a state are found without going through all others, if that is said in so many words.
    let (index, start) = match state {
        Some(it) if it.is_rare() => {
            ("INDEXED BY jobs_rare", "state IN ('dead', 'cancelled', 'expired')")
        }
        Some(State::Leased) => ("INDEXED BY jobs_leased", "state = 'leased'"),
        _ => ("", "TRUE"),
    };
    let start = format!("SELECT {COLUMNS} FROM jobs {index} WHERE {start}");
    let (mut sql, mut values) = (start, Vec::new());
    for (condition, value) in wanted.into_iter().filter_map(|(it, value)| Some((it, value?))) {
        sql.push_str(" AND ");
        sql.push_str(condition);
        values.push(value);
    }
    // One more tells whether there are more.
    sql.push_str(" ORDER BY number DESC LIMIT ?");
    values.push(Value::from(i64::try_from(limit.saturating_add(1)).unwrap_or(i64::MAX)));
    let mut find = connection.prepare_cached(&sql)?;
    let rows = find.query_map(params_from_iter(values), |row| Ok((row.get(0)?, read(row)?)))?;
    let mut jobs: Vec<(i64, Job)> = rows.collect::<Result<_, _>>()?;
    let has_more = jobs.len() > limit;
    jobs.truncate(limit);
    let next = jobs.last().map(|(number, _)| *number).filter(|_| has_more);
    Ok(Page { jobs: jobs.into_iter().map(|(_, job)| job).collect(), next })
}

/// How many jobs there are in each state.
pub(super) fn counts(connection: &Connection, caller: Option<&str>) -> Result<Counts, Fault> {
    let mut count = connection.prepare_cached(match caller {
        Some(_) => "SELECT state, jobs FROM counts WHERE caller = ?",
        None => "SELECT state, sum(jobs) FROM totals GROUP BY state",
    })?;
    let found = count.query_map(params_from_iter(caller), |row| Ok((row.get(0)?, row.get(1)?)))?;
    let found: Vec<(String, u64)> = found.collect::<Result<_, _>>()?;
    Ok(Counts::of(found.iter().map(|(state, jobs)| (state.as_str(), *jobs))))
}

/// What waits and what goes on.
pub(super) fn stats(connection: &Connection, now: Timestamp) -> Result<QueueStats, Fault> {
    let mut count = connection.prepare_cached(
        "SELECT language, sum(jobs) FILTER (WHERE state = 'scheduled'), \
         sum(jobs) FILTER (WHERE state = 'ready'), sum(jobs) FILTER (WHERE state = 'leased'), \
         sum(jobs) FILTER (WHERE state = 'dead'), \
         (SELECT min(ready_at) FROM jobs WHERE jobs.language = totals.language AND jobs.state = 'ready'), \
         (SELECT average_ms FROM languages WHERE languages.language = totals.language) \
         FROM totals GROUP BY language ORDER BY language",
    )?;
    let number = |row: &Row<'_>, index| {
        Ok::<_, rusqlite::Error>(row.get::<_, Option<u64>>(index)?.unwrap_or(0))
    };
    let rows = count.query_map([], |row| {
        let oldest = row.get::<_, Option<i64>>(5)?.map(Timestamp);
        let average = row.get::<_, Option<f64>>(6)?;
        Ok(LaneStats {
            lane: Lane::from_text(row.get(0)?),
            scheduled: number(row, 1)?,
            ready: number(row, 2)?,
            leased: number(row, 3)?,
            dead: number(row, 4)?,
            oldest_ready_ms: oldest.map(|it| millis(it.until(now))),
            average_run_ms: average
                .map(|it| millis(std::time::Duration::from_secs_f64(it.max(0.0) / 1000.0))),
        })
    })?;
    let lanes = rows.collect::<Result<_, _>>()?;
    let mut size = connection.prepare_cached(
        "SELECT (pages.page_count - free.freelist_count) * size.page_size FROM \
         pragma_page_count AS pages, pragma_freelist_count AS free, pragma_page_size AS size",
    )?;
    Ok(QueueStats { bytes: size.query_row([], |row| row.get(0))?, lanes })
}

fn millis(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
