//! The jobs that a transaction is about: read together, changed here one after another, and written
//! together. So a batch takes as many round trips as one operation.

use std::collections::HashMap;
use std::time::Duration;

use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row as _};

use super::place::{Bytes, Fault, bytes, count, id, token, token_bytes};
use crate::{JobId, Lease, State, Timestamp, Token};

/// How long what became of a callback is kept.
const CALLBACK_TTL: Duration = Duration::from_hours(7 * 24);

/// What has to be known of a job to decide what becomes of it, and what becomes of it.
pub(super) struct Standing {
    number: i64,
    pub(super) id: JobId,
    pub(super) caller: String,
    pub(super) language: String,
    pub(super) state: State,
    pub(super) reason: Option<String>,
    pub(super) turn: f64,
    pub(super) cost: f64,
    pub(super) attempt: i32,
    pub(super) attempts_max: i32,
    pub(super) attempt_max: Duration,
    pub(super) deaths: i32,
    pub(super) drains: i32,
    pub(super) at_most_once: bool,
    pub(super) leases: i32,
    pub(super) token: Option<Token>,
    pub(super) lease_until: Option<i64>,
    pub(super) attempt_until: Option<i64>,
    pub(super) is_accepted: bool,
    pub(super) cancel_requested: bool,
    pub(super) version: i64,
    ttl_ms: i64,
    pub(super) run_at: Option<i64>,
    pub(super) start_by: Option<i64>,
    pub(super) ready_at: Option<i64>,
    pub(super) finished_at: Option<i64>,
    pub(super) expires_at: Option<i64>,
    callback_url: Option<String>,
    /// Who gave the result, and its digest.
    pub(super) result: Option<(Token, Vec<u8>)>,
    /// What it was when it was read.
    seen: (State, Option<Token>, i64),
    pub(super) is_changed: bool,
}

impl Standing {
    fn read(row: &PgRow) -> sqlx::Result<Self> {
        let state: String = row.try_get("state")?;
        let state = state.parse().or(Err(sqlx::Error::Protocol("an unknown state".to_owned())))?;
        let own: Option<Bytes> = row.try_get("token")?;
        let (own, version) = (own.map(token), row.try_get("version")?);
        let result: Option<Bytes> = row.try_get("result_token")?;
        Ok(Self {
            number: row.try_get("number")?,
            id: id(row.try_get("id")?),
            caller: row.try_get("caller")?,
            language: row.try_get("language")?,
            state,
            reason: row.try_get("reason")?,
            turn: row.try_get("turn")?,
            cost: row.try_get("cost")?,
            attempt: row.try_get("attempt")?,
            attempts_max: row.try_get("attempts_max")?,
            attempt_max: Duration::from_millis(count(row.try_get("attempt_ms_max")?)),
            deaths: row.try_get("deaths")?,
            drains: row.try_get("drains")?,
            at_most_once: row.try_get("at_most_once")?,
            leases: row.try_get("leases")?,
            token: own,
            lease_until: row.try_get("lease_until")?,
            attempt_until: row.try_get("attempt_until")?,
            is_accepted: row.try_get("is_accepted")?,
            cancel_requested: row.try_get("cancel_requested")?,
            version,
            ttl_ms: row.try_get("ttl_ms")?,
            run_at: row.try_get("run_at")?,
            start_by: row.try_get("start_by")?,
            ready_at: row.try_get("ready_at")?,
            finished_at: row.try_get("finished_at")?,
            expires_at: row.try_get("expires_at")?,
            callback_url: row.try_get("callback_url")?,
            result: match result {
                Some(whose) => Some((token(whose), row.try_get("digest")?)),
                None => None,
            },
            seen: (state, own, version),
            is_changed: false,
        })
    }

    fn is_of(&self, lease: &Lease) -> bool {
        self.state == State::Leased && self.token == Some(lease.token)
    }

    /// Has it be in another state, and nobody hold it.
    pub(super) fn become_state(&mut self, state: State) {
        self.state = state;
        self.token = None;
        self.lease_until = None;
        self.version += 1;
        self.is_changed = true;
    }

    fn is_news(&self) -> bool {
        self.seen.2 != self.version
    }
}

/// A result as it is kept.
pub(super) struct NewResult {
    number: i64,
    token: Bytes,
    digest: Vec<u8>,
    body: Vec<u8>,
}

/// The end of an attempt.
struct Ended {
    number: i64,
    lease: i32,
    reason: String,
}

/// The jobs, and what is to be written beside them.
#[derive(Default)]
pub(super) struct Table {
    rows: Vec<Standing>,
    by_id: HashMap<JobId, usize>,
    results: Vec<NewResult>,
    ended: Vec<Ended>,
    /// Rows that became final, by their place.
    finals: Vec<usize>,
}

impl Table {
    /// Reads jobs, and holds them.
    pub(super) async fn load(
        connection: &mut PgConnection,
        ids: impl IntoIterator<Item = JobId>,
    ) -> Result<Self, Fault> {
        let ids: Vec<Bytes> = ids.into_iter().map(bytes).collect();
        if ids.is_empty() {
            return Ok(Self::default());
        }
        let find = sqlx::query(
            "SELECT number, id, caller, language, state, reason, turn, cost, attempt, attempts_max, \
             attempt_ms_max, deaths, drains, at_most_once, leases, token, lease_until, attempt_until, is_accepted, \
             cancel_requested, version, ttl_ms, run_at, start_by, ready_at, finished_at, expires_at, \
             callback_url, (SELECT r.token FROM results r WHERE r.number = jobs.number) AS result_token, \
             (SELECT r.digest FROM results r WHERE r.number = jobs.number) AS digest FROM jobs \
             WHERE id = ANY($1) FOR UPDATE",
        );
        let found = find.bind(ids).fetch_all(connection).await?;
        let rows = found.iter().map(Standing::read).collect::<Result<Vec<_>, _>>()?;
        let by_id = rows.iter().enumerate().map(|(place, row)| (row.id, place)).collect();
        Ok(Self { rows, by_id, ..Self::default() })
    }

    /// Whose jobs there are, and in which languages.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.rows.iter().map(|it| (it.caller.as_str(), it.language.as_str()))
    }

    /// A job.
    pub(super) fn find(&mut self, id: JobId) -> Option<&mut Standing> {
        self.rows.get_mut(*self.by_id.get(&id)?)
    }

    /// A leased job, if the token is its own.
    pub(super) fn leased(&mut self, lease: &Lease) -> Option<&mut Standing> {
        self.find(lease.id).filter(|it| it.is_of(lease))
    }

    /// Keeps a result of a job.
    pub(super) fn keep_result(&mut self, lease: &Lease, digest: &[u8], body: &[u8]) {
        let Some(standing) = self.find(lease.id) else { return };
        standing.result = Some((lease.token, digest.to_vec()));
        let (number, token) = (standing.number, token_bytes(lease.token));
        self.results.push(NewResult {
            number,
            token,
            digest: digest.to_vec(),
            body: body.to_vec(),
        });
    }

    /// Notes how the last attempt of a job ended.
    pub(super) fn note_attempt(&mut self, id: JobId, reason: &str) {
        let Some(standing) = self.find(id) else { return };
        let (number, lease) = (standing.number, standing.leases);
        self.ended.push(Ended { number, lease, reason: reason.to_owned() });
    }

    /// Makes a job final, and remembers whom to tell of it.
    pub(super) fn end(&mut self, id: JobId, state: State, reason: Option<&str>, now: Timestamp) {
        let Some(place) = self.by_id.get(&id).copied() else { return };
        let Some(standing) = self.rows.get_mut(place) else { return };
        standing.become_state(state);
        standing.reason = reason.map(str::to_owned);
        standing.ready_at = None;
        standing.run_at = None;
        standing.finished_at = Some(now.0);
        standing.expires_at = Some(now.0.saturating_add(standing.ttl_ms));
        self.finals.push(place);
    }

    /// The jobs of which there is something to tell.
    pub(super) fn news(&self) -> impl Iterator<Item = JobId> {
        self.rows.iter().filter(|it| it.is_news()).map(|it| it.id)
    }

    /// Whether a worker may have more to do than before: a job waits, or a caller may have another.
    pub(super) fn has_work(&self) -> bool {
        let is_work = |it: &Standing| it.state == State::Ready || it.seen.0 == State::Leased;
        self.rows.iter().any(|it| it.is_news() && is_work(it))
    }

    /// Writes what changed. Nothing is, if a job is not as it was seen.
    pub(super) async fn write(
        &self,
        connection: &mut PgConnection,
        now: Timestamp,
    ) -> Result<(), Fault> {
        let changed: Vec<&Standing> = self.rows.iter().filter(|it| it.is_changed).collect();
        if changed.is_empty() {
            return Ok(());
        }
        let written = update(connection, &changed).await?;
        if written != changed.len() as u64 {
            return Err(Fault::Changed);
        }
        self.write_results(connection).await?;
        self.write_attempts(connection, now).await?;
        self.write_callbacks(connection, now).await
    }

    async fn write_results(&self, connection: &mut PgConnection) -> Result<(), Fault> {
        if self.results.is_empty() {
            return Ok(());
        }
        let results = &self.results;
        let keep = sqlx::query(
            "INSERT INTO results (number, token, digest, body) \
             SELECT * FROM unnest($1::bigint[], $2::bytea[], $3::bytea[], $4::bytea[])",
        );
        keep.bind(results.iter().map(|it| it.number).collect::<Vec<_>>())
            .bind(results.iter().map(|it| it.token).collect::<Vec<_>>())
            .bind(results.iter().map(|it| it.digest.as_slice()).collect::<Vec<_>>())
            .bind(results.iter().map(|it| it.body.as_slice()).collect::<Vec<_>>())
            .execute(connection)
            .await?;
        Ok(())
    }

    async fn write_attempts(
        &self,
        connection: &mut PgConnection,
        now: Timestamp,
    ) -> Result<(), Fault> {
        if self.ended.is_empty() {
            return Ok(());
        }
        let note = sqlx::query(
            "UPDATE attempts SET ended_at = $1, reason = e.reason \
             FROM unnest($2::bigint[], $3::integer[], $4::text[]) AS e (number, lease, reason) \
             WHERE attempts.number = ANY($2) AND attempts.number = e.number \
             AND attempts.lease = e.lease",
        );
        note.bind(now.0)
            .bind(self.ended.iter().map(|it| it.number).collect::<Vec<_>>())
            .bind(self.ended.iter().map(|it| it.lease).collect::<Vec<_>>())
            .bind(self.ended.iter().map(|it| it.reason.as_str()).collect::<Vec<_>>())
            .execute(connection)
            .await?;
        Ok(())
    }

    async fn write_callbacks(
        &self,
        connection: &mut PgConnection,
        now: Timestamp,
    ) -> Result<(), Fault> {
        let finals = self.finals.iter().filter_map(|place| self.rows.get(*place));
        let told: Vec<(&Standing, &str)> =
            finals.filter_map(|it| Some((it, it.callback_url.as_deref()?))).collect();
        if told.is_empty() {
            return Ok(());
        }
        let tell = sqlx::query(
            "INSERT INTO callbacks (id, caller, url, due_at, expires_at) \
             SELECT id, caller, url, $1, $2 \
             FROM unnest($3::bytea[], $4::text[], $5::text[]) AS c (id, caller, url)",
        );
        tell.bind(now.0)
            .bind(now.after(CALLBACK_TTL).0)
            .bind(told.iter().map(|(it, _)| bytes(it.id)).collect::<Vec<_>>())
            .bind(told.iter().map(|(it, _)| it.caller.as_str()).collect::<Vec<_>>())
            .bind(told.iter().map(|(_, url)| *url).collect::<Vec<_>>())
            .execute(connection)
            .await?;
        Ok(())
    }
}

/// Writes jobs that are still as they were seen; says how many there were.
async fn update(connection: &mut PgConnection, rows: &[&Standing]) -> Result<u64, Fault> {
    macro_rules! column {
        ($of:expr) => {
            rows.iter().map($of).collect::<Vec<_>>()
        };
    }
    let update = sqlx::query(
        "UPDATE jobs SET state = c.state, reason = c.reason, turn = c.turn, cost = c.cost, \
         attempt = c.attempt, deaths = c.deaths, drains = c.drains, token = c.token, lease_until = c.lease_until, \
         is_accepted = c.is_accepted, cancel_requested = c.cancel_requested, \
         version = c.version, run_at = c.run_at, start_by = c.start_by, ready_at = c.ready_at, \
         finished_at = c.finished_at, expires_at = c.expires_at \
         FROM unnest($1::bigint[], $2::text[], $3::bytea[], $4::text[], $5::text[], $6::float8[], \
         $7::float8[], $8::integer[], $9::integer[], $10::bytea[], $11::bigint[], $12::boolean[], \
         $13::boolean[], $14::bigint[], $15::bigint[], $16::bigint[], $17::bigint[], \
         $18::bigint[], $19::bigint[], $20::integer[]) AS c (number, seen_state, seen_token, state, reason, turn, cost, attempt, \
         deaths, token, lease_until, is_accepted, cancel_requested, version, run_at, ready_at, \
         finished_at, expires_at, start_by, drains) \
         WHERE jobs.number = ANY($1) AND jobs.number = c.number AND jobs.state = c.seen_state \
         AND jobs.token IS NOT DISTINCT FROM c.seen_token",
    );
    let update = update
        .bind(column!(|it| it.number))
        .bind(column!(|it| it.seen.0.as_str()))
        .bind(column!(|it| it.seen.1.map(token_bytes)))
        .bind(column!(|it| it.state.as_str()))
        .bind(column!(|it| it.reason.as_deref()))
        .bind(column!(|it| it.turn))
        .bind(column!(|it| it.cost))
        .bind(column!(|it| it.attempt))
        .bind(column!(|it| it.deaths))
        .bind(column!(|it| it.token.map(token_bytes)))
        .bind(column!(|it| it.lease_until))
        .bind(column!(|it| it.is_accepted))
        .bind(column!(|it| it.cancel_requested))
        .bind(column!(|it| it.version))
        .bind(column!(|it| it.run_at))
        .bind(column!(|it| it.ready_at))
        .bind(column!(|it| it.finished_at))
        .bind(column!(|it| it.expires_at))
        .bind(column!(|it| it.start_by))
        .bind(column!(|it| it.drains));
    Ok(update.execute(connection).await?.rows_affected())
}
