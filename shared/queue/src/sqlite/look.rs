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
    let (sql, values) = listing(connection, filter, from, limit)?;
    let mut find = connection.prepare_cached(&sql)?;
    let rows = find.query_map(params_from_iter(values), |row| Ok((row.get(0)?, read(row)?)))?;
    let mut jobs: Vec<(i64, Job)> = rows.collect::<Result<_, _>>()?;
    let has_more = jobs.len() > limit;
    jobs.truncate(limit);
    let next = jobs.last().map(|(number, _)| *number).filter(|_| has_more);
    Ok(Page { jobs: jobs.into_iter().map(|(_, job)| job).collect(), next })
}

/// The statement that lists jobs, with its values.
fn listing(
    connection: &Connection,
    filter: &Filter,
    from: Option<i64>,
    limit: usize,
) -> Result<(String, Vec<Value>), Fault> {
    let Filter { caller, state, language, queue, since, before } = filter;
    let number = |at: &Option<Timestamp>| at.map(|it| first_at(connection, it)).transpose();
    let lanes = language.as_deref().map(lane::prefix);
    let wanted: [(&str, Option<Value>); 7] = [
        ("number < ?", from.map(Value::from)),
        ("number < ?", number(before)?.map(Value::from)),
        ("number >= ?", number(since)?.map(Value::from)),
        ("caller = ?", caller.clone().map(Value::from)),
        ("state = ?", state.map(|it| Value::from(it.as_str().to_owned()))),
        // Those of the default queue, too.
        ("instr(language || char(31), ?) = 1", lanes.map(Value::from)),
        (
            "ifnull(nullif(substr(language, instr(language || char(31), char(31)) + 1), ''), \
          'default') = ?",
            queue.clone().map(Value::from),
        ),
    ];
    let (index, start) = place(connection, *state)?;
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
    Ok((sql, values))
}

/// Where jobs of a state that few are in are found without going through all others, if that is said
/// in so many words.
fn place(
    connection: &Connection,
    state: Option<State>,
) -> Result<(&'static str, &'static str), Fault> {
    let mut count =
        connection.prepare_cached("SELECT ifnull(sum(jobs), 0) FROM totals WHERE state = ?")?;
    let mut are_few = |state: State| {
        Ok::<_, Fault>(count.query_row([state.as_str()], |row| row.get::<_, u64>(0))? <= State::FEW)
    };
    Ok(match state {
        Some(it) if it.is_rare() => {
            ("INDEXED BY jobs_rare", "state IN ('dead', 'cancelled', 'expired')")
        }
        Some(State::Leased) => ("INDEXED BY jobs_leased", "state = 'leased'"),
        Some(it @ State::Ready) if are_few(it)? => ("INDEXED BY jobs_ready", "state = 'ready'"),
        Some(it @ State::Scheduled) if are_few(it)? => {
            ("INDEXED BY jobs_scheduled", "state = 'scheduled'")
        }
        _ => ("", "TRUE"),
    })
}

/// The number from which on jobs came at `time` or later: numbers grow with time, so this looks at few
/// of them.
fn first_at(connection: &Connection, time: Timestamp) -> Result<i64, Fault> {
    let ends = "SELECT ifnull((SELECT min(number) FROM jobs), 0), \
                ifnull((SELECT max(number) FROM jobs) + 1, 0)";
    let mut ends = connection.prepare_cached(ends)?;
    let (mut low, mut high): (i64, i64) =
        ends.query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let mut find = connection.prepare_cached(
        "SELECT number, created_at FROM jobs WHERE number >= ? ORDER BY number LIMIT 1",
    )?;
    while low < high {
        let middle = low + (high - low) / 2;
        let (number, created_at): (i64, i64) =
            find.query_row([middle], |row| Ok((row.get(0)?, row.get(1)?)))?;
        if created_at < time.0 {
            low = number + 1;
        } else {
            high = middle;
        }
    }
    Ok(low)
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

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;

    use super::super::schema;
    use super::*;

    #[test]
    fn few_jobs_are_found_without_going_through_all() {
        let mut connection = Connection::open_in_memory().unwrap();
        schema::migrate(&mut connection, 0).unwrap();
        let fill = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) \
                    INSERT INTO jobs (number, id, caller, language, state, priority, turn, cost, \
                    attempts_max, attempt_ms_max, at_most_once, ttl_ms, created_at, run_at) \
                    SELECT i, randomblob(16), CASE WHEN i < 5 THEN 'few' ELSE 'many' END, 'alpha', \
                    CASE i WHEN 1 THEN 'scheduled' WHEN 2 THEN 'ready' WHEN 3 THEN 'leased' \
                    WHEN 4 THEN 'dead' ELSE 'succeeded' END, 5, 0, 1, 3, 1, 0, 1, i, 1 FROM n";
        connection.execute_batch(fill).unwrap();
        let dead = Filter { state: Some(State::Dead), ..Filter::default() };
        let late = Filter { since: Some(Timestamp(20_000)), ..Filter::default() };
        for (filter, expected) in [
            (Filter { state: Some(State::Scheduled), ..Filter::default() }, 1),
            (Filter { state: Some(State::Ready), ..Filter::default() }, 1),
            (Filter { state: Some(State::Leased), ..Filter::default() }, 1),
            (Filter { since: Some(Timestamp(20)), ..dead.clone() }, 0),
            (dead, 1),
            (Filter { caller: Some("few".to_owned()), ..Filter::default() }, 4),
            (Filter { caller: Some("few".to_owned()), ..late.clone() }, 0),
            (Filter { language: Some("beta".to_owned()), ..late.clone() }, 0),
            (late, 1),
            (Filter { before: Some(Timestamp(4)), ..Filter::default() }, 3),
        ] {
            assert_eq!(list(&connection, &filter, None, 9).unwrap().jobs.len(), expected);
            let (sql, values) = listing(&connection, &filter, None, 9).unwrap();
            let mut find = connection.prepare(&sql).unwrap();
            let rows = find.query_map(params_from_iter(values), |_| Ok(())).unwrap();
            assert_eq!(rows.count(), expected, "{filter:?}");
            let steps = find.get_status(StatementStatus::VmStep);
            assert!(steps < 2_000, "{steps} steps for {filter:?}");
        }
    }
}
