//! Jobs come in: all of a transaction's at once.

use std::collections::HashMap;

use sqlx::{PgConnection, Row as _};

use super::place::{Bytes, Fault, bytes, count, id, millis};
use super::shares::Shares;
use crate::{Bounds, Delivery, Enqueued, JobId, NewJob, Priority, State, Timestamp};

/// A job that is to be kept.
struct Entry<'a> {
    job: &'a NewJob,
    state: State,
    run_at: Option<i64>,
    turn: f64,
    cost: f64,
}

/// Who is let in.
pub(super) struct Admission<'a> {
    bounds: &'a Bounds,
    now: Timestamp,
    keys: HashMap<(String, String), (Vec<u8>, JobId)>,
    waiting: HashMap<String, u64>,
    waiting_in_all: u64,
    entries: Vec<Entry<'a>>,
}

impl<'a> Admission<'a> {
    /// Reads what has to be known of those who come.
    pub(super) async fn load(
        connection: &mut PgConnection,
        jobs: &[&NewJob],
        bounds: &'a Bounds,
        now: Timestamp,
    ) -> Result<Self, Fault> {
        let mut admission = Self {
            bounds,
            now,
            keys: HashMap::new(),
            waiting: HashMap::new(),
            waiting_in_all: 0,
            entries: Vec::new(),
        };
        if !jobs.is_empty() {
            admission.load_keys(connection, jobs).await?;
            admission.load_counts(connection, jobs).await?;
        }
        Ok(admission)
    }

    /// A key counts for its time, and for as long as its job is kept.
    async fn load_keys(
        &mut self,
        connection: &mut PgConnection,
        jobs: &[&NewJob],
    ) -> Result<(), Fault> {
        let keyed = jobs.iter().filter_map(|job| Some((job, job.idempotency.as_ref()?)));
        let (callers, keys): (Vec<&str>, Vec<&str>) =
            keyed.map(|(job, key)| (job.caller.as_str(), key.key.as_str())).unzip();
        if keys.is_empty() {
            return Ok(());
        }
        let find = sqlx::query(
            "SELECT k.caller, k.key, digest, id FROM unnest($1::text[], $2::text[]) \
             AS k (caller, key) CROSS JOIN LATERAL (SELECT digest, id FROM keys \
             WHERE keys.caller = k.caller AND keys.key = k.key AND (expires_at > $3 \
             OR (SELECT TRUE FROM jobs WHERE jobs.id = keys.id)) OFFSET 0) AS known",
        );
        let find = find.bind(callers).bind(keys).bind(self.now.0);
        for row in find.fetch_all(connection).await? {
            let known = (row.try_get(2)?, id(row.try_get::<Bytes, _>(3)?));
            self.keys.insert((row.try_get(0)?, row.try_get(1)?), known);
        }
        Ok(())
    }

    async fn load_counts(
        &mut self,
        connection: &mut PgConnection,
        jobs: &[&NewJob],
    ) -> Result<(), Fault> {
        let mut callers: Vec<&str> = jobs.iter().map(|it| it.caller.as_str()).collect();
        callers.sort_unstable();
        callers.dedup();
        // The sum of all goes with each: that is one question less.
        let find = sqlx::query(
            "SELECT caller, (SELECT coalesce(sum(jobs), 0)::bigint FROM counts \
             WHERE counts.caller = c.caller AND state IN ('ready', 'scheduled')), \
             (SELECT coalesce(sum(jobs), 0)::bigint FROM totals \
             WHERE state IN ('ready', 'scheduled')) FROM unnest($1::text[]) AS c (caller)",
        );
        for row in find.bind(callers).fetch_all(connection).await? {
            self.waiting.insert(row.try_get(0)?, count(row.try_get(1)?));
            self.waiting_in_all = count(row.try_get(2)?);
        }
        Ok(())
    }

    /// Lets a job in, or says why not.
    pub(super) fn admit(&mut self, job: &'a NewJob, shares: &mut Shares) -> Enqueued {
        let key = job.idempotency.as_ref().map(|it| (job.caller.clone(), it.key.clone()));
        if let (Some(key), Some(own)) = (&key, &job.idempotency)
            && let Some((digest, id)) = self.keys.get(key)
        {
            let is_same = digest[..] == own.digest;
            return if is_same { Enqueued::Existing(*id) } else { Enqueued::Conflict };
        }
        let own = self.waiting.entry(job.caller.clone()).or_default();
        let all = &mut self.waiting_in_all;
        let own_max = job.waiting_max.unwrap_or(self.bounds.waiting_per_caller_max);
        let all_max = self.bounds.waiting_max;
        for (waiting, waiting_max, is_callers) in [(*own, own_max, true), (*all, all_max, false)] {
            if waiting >= waiting_max {
                return Enqueued::Full { waiting_max, is_callers };
            }
        }
        (*own, *all) = (*own + 1, *all + 1);
        if let (Some(key), Some(own)) = (key, &job.idempotency) {
            self.keys.insert(key, (own.digest.to_vec(), job.id));
        }
        let run_at = job.run_at.filter(|it| *it > self.now).map(|it| it.0);
        let state = if run_at.is_some() { State::Scheduled } else { State::Ready };
        let (turn, cost) = match state {
            State::Ready => shares.take_turn(&job.caller, &job.lane),
            _ => (0.0, 0.0),
        };
        self.entries.push(Entry { job, state, run_at, turn, cost });
        Enqueued::Created(job.id)
    }

    /// The jobs that were let in.
    pub(super) fn news(&self) -> impl Iterator<Item = JobId> {
        self.entries.iter().map(|it| it.job.id)
    }

    /// Whether one of them can be run now.
    pub(super) fn has_work(&self) -> bool {
        self.entries.iter().any(|it| it.state == State::Ready)
    }

    /// Writes those that were let in.
    pub(super) async fn write(&self, connection: &mut PgConnection) -> Result<(), Fault> {
        if self.entries.is_empty() {
            return Ok(());
        }
        insert(connection, &self.entries, self.now).await?;
        let keyed =
            self.entries.iter().filter_map(|it| Some((it.job, it.job.idempotency.as_ref()?)));
        let keyed: Vec<_> = keyed.collect();
        if keyed.is_empty() {
            return Ok(());
        }
        let remember = sqlx::query(
            "INSERT INTO keys (caller, key, digest, id, expires_at) \
             SELECT caller, key, digest, id, $1 \
             FROM unnest($2::text[], $3::text[], $4::bytea[], $5::bytea[]) AS k (caller, key, digest, id) \
             ON CONFLICT (caller, key) DO UPDATE SET number = DEFAULT, digest = excluded.digest, \
             id = excluded.id, expires_at = excluded.expires_at",
        );
        remember
            .bind(self.now.after(self.bounds.key_ttl).0)
            .bind(keyed.iter().map(|(job, _)| job.caller.as_str()).collect::<Vec<_>>())
            .bind(keyed.iter().map(|(_, key)| key.key.as_str()).collect::<Vec<_>>())
            .bind(keyed.iter().map(|(_, key)| &key.digest[..]).collect::<Vec<_>>())
            .bind(keyed.iter().map(|(job, _)| bytes(job.id)).collect::<Vec<_>>())
            .execute(connection)
            .await?;
        Ok(())
    }
}

impl Entry<'_> {
    fn start_by(&self, now: Timestamp) -> Option<i64> {
        let from = self.run_at.map_or(now, Timestamp);
        self.job.start_within.map(|it| from.after(it).0)
    }

    fn rank(&self) -> i16 {
        i16::from(Priority::MAX - self.job.priority.level())
    }
}

async fn insert(
    connection: &mut PgConnection,
    entries: &[Entry<'_>],
    now: Timestamp,
) -> Result<(), Fault> {
    macro_rules! column {
        ($of:expr) => {
            entries.iter().map($of).collect::<Vec<_>>()
        };
    }
    let insert = sqlx::query(
        "WITH added AS MATERIALIZED (SELECT nextval('job_numbers') AS number, * \
         FROM unnest($2::bytea[], $3::text[], $4::text[], $5::text[], $6::smallint[], $7::float8[], \
         $8::float8[], $9::integer[], $10::bigint[], $11::boolean[], $12::bigint[], $13::bigint[], \
         $14::bigint[], $15::text[], $16::bytea[]) AS j (id, caller, language, state, rank, turn, \
         cost, attempts_max, attempt_ms_max, at_most_once, ttl_ms, run_at, start_by, callback_url, \
         body)), kept AS (INSERT INTO bodies (number, body) SELECT number, body FROM added) \
         INSERT INTO jobs (number, id, caller, language, state, rank, turn, cost, attempts_max, \
         attempt_ms_max, at_most_once, ttl_ms, created_at, run_at, start_by, ready_at, callback_url) \
         SELECT number, id, caller, language, state, rank, turn, cost, attempts_max, attempt_ms_max, \
         at_most_once, ttl_ms, $1, run_at, start_by, CASE WHEN run_at IS NULL THEN $1 END, \
         callback_url FROM added",
    );
    let count = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
    let insert = insert
        .bind(now.0)
        .bind(column!(|it| bytes(it.job.id)))
        .bind(column!(|it| it.job.caller.as_str()))
        .bind(column!(|it| &*it.job.lane))
        .bind(column!(|it| it.state.as_str()))
        .bind(column!(Entry::rank))
        .bind(column!(|it| it.turn))
        .bind(column!(|it| it.cost))
        .bind(column!(|it| count(it.job.attempts_max)))
        .bind(column!(|it| millis(it.job.attempt_max)))
        .bind(column!(|it| it.job.delivery == Delivery::AtMostOnce))
        .bind(column!(|it| millis(it.job.ttl)))
        .bind(column!(|it| it.run_at))
        .bind(column!(|it| it.start_by(now)))
        .bind(column!(|it| it.job.callback_url.as_deref()))
        .bind(column!(|it| it.job.body.as_slice()));
    insert.execute(connection).await?;
    Ok(())
}
