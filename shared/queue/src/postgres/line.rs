//! Jobs that wait, as far as a transaction's claims have to look at them.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row as _};

use super::place::{Bytes, Fault, count, id, limit};
use crate::{JobId, Priority, Timestamp};

/// Jobs that are read at a time, at least and at most.
const PAGE: (usize, usize) = (32, 2_000);
/// Callers that a claim asks after when it has passed over many jobs.
const CALLERS_MAX: usize = 10_000;

/// A job that may be granted.
pub(super) struct Candidate {
    pub(super) number: i64,
    pub(super) id: JobId,
    pub(super) caller: String,
    rank: i16,
    pub(super) turn: f64,
    start_by: Option<i64>,
}

impl Candidate {
    fn read(row: &PgRow) -> sqlx::Result<Self> {
        Ok(Self {
            number: row.try_get("number")?,
            id: id(row.try_get::<Bytes, _>("id")?),
            caller: row.try_get("caller")?,
            rank: row.try_get("rank")?,
            turn: row.try_get("turn")?,
            start_by: row.try_get("start_by")?,
        })
    }

    pub(super) fn is_late(&self, now: Timestamp) -> bool {
        self.start_by.is_some_and(|it| it < now.0)
    }

    /// Which of two goes first.
    fn compare(&self, other: &Self) -> Ordering {
        let by_rank = self.rank.cmp(&other.rank);
        by_rank.then(self.turn.total_cmp(&other.turn)).then(self.number.cmp(&other.number))
    }
}

/// The ready jobs of a language, of one rank or of all, read as far as somebody wanted.
pub(super) struct Line {
    language: String,
    rank: Option<i16>,
    pub(super) read: Vec<Candidate>,
    pub(super) is_whole: bool,
}

impl Line {
    pub(super) fn new(language: &str, rank: Option<i16>) -> Self {
        Self { language: language.to_owned(), rank, read: Vec::new(), is_whole: false }
    }

    /// Reads more.
    pub(super) async fn read_on(
        &mut self,
        connection: &mut PgConnection,
        wanted: usize,
    ) -> Result<&[Candidate], Fault> {
        let page = wanted.clamp(PAGE.0, PAGE.1).max(self.read.len().min(PAGE.1));
        let first = self.rank.unwrap_or(0);
        let last = self.read.last().map(|it| (it.rank, it.turn, it.number));
        let (rank, turn, number) = last.unwrap_or((first, f64::NEG_INFINITY, 0));
        let find = sqlx::query(
            "SELECT number, id, caller, rank, turn, start_by FROM jobs \
             WHERE state = 'ready' AND language = $1 AND (rank, turn, number) > ($2, $3, $4) \
             AND rank <= $5 ORDER BY rank, turn, number LIMIT $6",
        );
        let find = find.bind(&self.language).bind(rank).bind(turn).bind(number);
        let found = find.bind(self.rank.unwrap_or(i16::MAX)).bind(limit(page));
        let found = found.fetch_all(connection).await?;
        let before = self.read.len();
        self.is_whole = found.len() < page;
        for row in &found {
            self.read.push(Candidate::read(row)?);
        }
        Ok(self.read.get(before..).unwrap_or_default())
    }
}

/// Those who have ready jobs in a language: found one after another, and not by going through their
/// jobs.
pub(super) async fn waiting_callers(
    connection: &mut PgConnection,
    language: &str,
) -> Result<Vec<String>, Fault> {
    // In an order that only one index has.
    let find = "WITH RECURSIVE waits (caller) AS ((SELECT caller FROM jobs WHERE state = 'ready' \
                AND language = $1 ORDER BY caller, rank, turn, number LIMIT 1) UNION ALL \
                SELECT (SELECT jobs.caller FROM jobs WHERE state = 'ready' AND language = $1 \
                AND jobs.caller > waits.caller ORDER BY jobs.caller, rank, turn, number LIMIT 1) \
                FROM waits WHERE waits.caller IS NOT NULL) \
                SELECT caller FROM waits WHERE caller IS NOT NULL LIMIT $2";
    let find = sqlx::query_scalar(find).bind(language).bind(limit(CALLERS_MAX));
    Ok(find.fetch_all(connection).await?)
}

/// The first jobs of callers, of each at most as many as are told, and of all together at most `most`,
/// but for those that are taken: however many jobs of others are before them.
pub(super) async fn of_callers(
    connection: &mut PgConnection,
    (language, rank): (&str, Option<i16>),
    (callers, most): (&[(String, usize)], usize),
    taken: &HashSet<i64>,
    now: Timestamp,
) -> Result<Vec<Candidate>, Fault> {
    if callers.is_empty() {
        return Ok(Vec::new());
    }
    let find = sqlx::query(
        "SELECT j.* FROM unnest($1::text[], $2::bigint[]) AS c (whose, free) CROSS JOIN LATERAL \
         (SELECT number, id, caller, rank, turn, start_by FROM jobs WHERE state = 'ready' \
         AND language = $3 AND caller = c.whose AND rank BETWEEN $4 AND $5 \
         AND NOT (number = ANY($6)) AND (start_by IS NULL OR start_by >= $7) \
         ORDER BY caller, rank, turn, number LIMIT c.free) AS j",
    );
    let find = find
        .bind(callers.iter().map(|(caller, _)| caller.as_str()).collect::<Vec<_>>())
        .bind(callers.iter().map(|(_, free)| limit(*free)).collect::<Vec<_>>())
        .bind(language)
        .bind(rank.unwrap_or(0))
        .bind(rank.unwrap_or(i16::MAX))
        .bind(taken.iter().copied().collect::<Vec<_>>())
        .bind(now.0);
    let found = find.fetch_all(connection).await?;
    let mut found = found.iter().map(Candidate::read).collect::<sqlx::Result<Vec<_>>>()?;
    found.sort_by(Candidate::compare);
    found.truncate(most);
    Ok(found)
}

/// How many jobs callers have running, where that is not known yet.
pub(super) async fn count_running<'a>(
    connection: &mut PgConnection,
    callers: impl Iterator<Item = &'a str>,
    running: &mut HashMap<String, u64>,
) -> Result<(), Fault> {
    let callers: HashSet<&str> = callers.collect();
    let unknown = callers.into_iter().filter(|it| !running.contains_key(*it));
    let unknown: Vec<&str> = unknown.collect();
    if unknown.is_empty() {
        return Ok(());
    }
    let find = "SELECT caller, jobs FROM counts WHERE caller = ANY($1) AND state = 'leased'";
    let found = sqlx::query(find).bind(&unknown).fetch_all(connection).await?;
    running.extend(unknown.into_iter().map(|it| (it.to_owned(), 0)));
    for row in found {
        running.insert(row.try_get(0)?, count(row.try_get(1)?));
    }
    Ok(())
}

/// The ranks of the ready jobs of a language, the one that goes last first, without the one that goes
/// first.
pub(super) async fn lower_ranks(
    connection: &mut PgConnection,
    language: &str,
) -> Result<Vec<i16>, Fault> {
    let find = "SELECT r.rank FROM generate_series(0, $2) AS r (rank) CROSS JOIN LATERAL \
                (SELECT 1 FROM jobs WHERE state = 'ready' AND language = $1 \
                AND jobs.rank = r.rank::smallint ORDER BY jobs.rank, turn, number LIMIT 1) AS any_one";
    let find = sqlx::query_scalar::<_, i32>(find).bind(language).bind(i32::from(Priority::MAX));
    let found = find.fetch_all(connection).await?;
    let mut found: Vec<i16> = found.into_iter().filter_map(|it| i16::try_from(it).ok()).collect();
    found.sort_unstable_by(|one, other| other.cmp(one));
    found.pop();
    Ok(found)
}
