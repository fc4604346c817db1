//! Jobs go out: those that a transaction's claims are granted, chosen one claim after another and
//! written at once.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row as _};

use super::place::{Bytes, Fault, count, id, limit, millis, token, token_bytes};
use crate::{Claim, Grant, JobId, Lane, Lease, State, Timestamp, Token};

/// One claim in so many takes the lowest priority first: nobody waits for ever.
const LOWEST_FIRST_EVERY: u64 = 10;
/// Jobs that claims look at, in each language.
const LOOKED_AT_MAX: usize = 10_000;
/// Jobs that are read at a time, at least and at most.
const PAGE: (usize, usize) = (32, 2_000);

/// A job that may be granted.
struct Candidate {
    number: i64,
    id: JobId,
    caller: String,
    rank: i16,
    turn: f64,
    start_by: Option<i64>,
}

impl Candidate {
    fn read(row: &PgRow) -> sqlx::Result<Self> {
        Ok(Self {
            number: row.try_get(0)?,
            id: id(row.try_get::<Bytes, _>(1)?),
            caller: row.try_get(2)?,
            rank: row.try_get(3)?,
            turn: row.try_get(4)?,
            start_by: row.try_get(5)?,
        })
    }

    fn is_late(&self, now: Timestamp) -> bool {
        self.start_by.is_some_and(|it| it < now.0)
    }
}

/// The ready jobs of a language, of one rank or of all, read as far as somebody wanted.
struct Line {
    language: String,
    rank: Option<i16>,
    read: Vec<Candidate>,
    is_whole: bool,
}

impl Line {
    fn new(language: &str, rank: Option<i16>) -> Self {
        Self { language: language.to_owned(), rank, read: Vec::new(), is_whole: false }
    }

    /// Reads more, unless there are none or enough were looked at.
    async fn read_on(
        &mut self,
        connection: &mut PgConnection,
        wanted: usize,
    ) -> Result<&[Candidate], Fault> {
        let page = wanted.clamp(PAGE.0, PAGE.1).max(self.read.len().min(PAGE.1));
        let page = page.min(LOOKED_AT_MAX.saturating_sub(self.read.len()));
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
        self.is_whole = found.len() < page || before + found.len() >= LOOKED_AT_MAX;
        for row in &found {
            self.read.push(Candidate::read(row)?);
        }
        Ok(self.read.get(before..).unwrap_or_default())
    }
}

/// What a claim is granted.
struct Choice {
    claim: usize,
    number: i64,
    token: Token,
    language: String,
    /// What the queue's clock is, now that this goes out.
    clock: f64,
}

/// The claims of a transaction.
pub(super) struct Claims<'a> {
    asked: &'a [(&'a Claim, u64)],
    now: Timestamp,
    running: HashMap<String, u64>,
    lines: HashMap<(String, Option<i16>), Line>,
    taken: HashSet<i64>,
    choices: Vec<Choice>,
    /// Jobs that were found too late to be started.
    pub(super) late: Vec<JobId>,
}

impl<'a> Claims<'a> {
    pub(super) fn new(asked: &'a [(&'a Claim, u64)], now: Timestamp) -> Self {
        Self {
            asked,
            now,
            running: HashMap::new(),
            lines: HashMap::new(),
            taken: HashSet::new(),
            choices: Vec::new(),
            late: Vec::new(),
        }
    }

    /// Grants leases: one answer for each claim.
    pub(super) async fn grant(
        &mut self,
        connection: &mut PgConnection,
    ) -> Result<Vec<Vec<Grant>>, Fault> {
        let mut answers = self.granted_before(connection).await?;
        // The same wish twice at once is one wish.
        let mut polls: HashMap<(&str, &str), usize> = HashMap::new();
        let mut same = Vec::new();
        for (index, (claim, turn)) in self.asked.iter().enumerate() {
            if answers.get(index).is_some_and(|it| !it.is_empty()) {
                continue;
            }
            if let Some(poll) = &claim.poll {
                let first = *polls.entry((&claim.worker, poll)).or_insert(index);
                if first != index {
                    same.push((index, first));
                    continue;
                }
            }
            self.choose(connection, index, claim, *turn).await?;
        }
        for (index, grant) in self.write(connection).await? {
            if let Some(answer) = answers.get_mut(index) {
                answer.push(grant);
            }
        }
        for (index, first) in same {
            let granted = answers.get(first).cloned().unwrap_or_default();
            if let Some(answer) = answers.get_mut(index) {
                *answer = granted;
            }
        }
        Ok(answers)
    }

    /// What the same wishes were granted before, as far as nobody has shown to have it.
    async fn granted_before(
        &self,
        connection: &mut PgConnection,
    ) -> Result<Vec<Vec<Grant>>, Fault> {
        let mut answers = vec![Vec::new(); self.asked.len()];
        let polls = self.asked.iter().enumerate();
        let polls: Vec<(i64, &str, &str)> = polls
            .filter_map(|(index, (it, _))| {
                Some((limit(index), it.worker.as_str(), it.poll.as_deref()?))
            })
            .collect();
        if polls.is_empty() {
            return Ok(answers);
        }
        let find = sqlx::query(
            "SELECT p.place, id, token, caller, language, body, attempt, attempt_ms_max \
             FROM unnest($1::bigint[], $2::text[], $3::text[]) AS p (place, worker, poll) \
             JOIN jobs ON state = 'leased' AND NOT is_accepted AND jobs.worker = p.worker \
             AND jobs.poll = p.poll CROSS JOIN LATERAL \
             (SELECT body FROM bodies WHERE bodies.number = jobs.number OFFSET 0) AS b \
             ORDER BY number",
        );
        let find = find
            .bind(polls.iter().map(|it| it.0).collect::<Vec<_>>())
            .bind(polls.iter().map(|it| it.1).collect::<Vec<_>>())
            .bind(polls.iter().map(|it| it.2).collect::<Vec<_>>());
        for row in find.fetch_all(connection).await? {
            let (index, grant) = granted(&row)?;
            if let Some(answer) = answers.get_mut(index) {
                answer.push(grant);
            }
        }
        Ok(answers)
    }

    async fn choose(
        &mut self,
        connection: &mut PgConnection,
        index: usize,
        claim: &Claim,
        turn: u64,
    ) -> Result<(), Fault> {
        let mut left = claim.most;
        // Each language comes first in its turn.
        let count = claim.lanes.len().max(1);
        let first = usize::try_from(turn).unwrap_or_default() % count;
        for lane in claim.lanes.iter().cycle().skip(first).take(claim.lanes.len()) {
            if turn % LOWEST_FIRST_EVERY == LOWEST_FIRST_EVERY - 1 && left > 0 {
                let lowest = lowest_rank(connection, lane).await?;
                left -= self.take(connection, (index, claim), (lane, lowest), 1).await?;
            }
            left -= self.take(connection, (index, claim), (lane, None), left).await?;
        }
        Ok(())
    }

    /// Takes the first `free` jobs whose callers may have one more running; says how many that were.
    async fn take(
        &mut self,
        connection: &mut PgConnection,
        (index, claim): (usize, &Claim),
        (language, rank): (&str, Option<i16>),
        free: usize,
    ) -> Result<usize, Fault> {
        let key = (language.to_owned(), rank);
        let line = self.lines.entry(key).or_insert_with(|| Line::new(language, rank));
        let (mut at, mut found) = (0, 0);
        while found < free {
            let Some(candidate) = line.read.get(at) else {
                if line.is_whole {
                    break;
                }
                let news = line.read_on(connection, free).await?;
                count_running(connection, news, &mut self.running).await?;
                continue;
            };
            at += 1;
            if self.taken.contains(&candidate.number) {
                continue;
            }
            if candidate.is_late(self.now) {
                self.taken.insert(candidate.number);
                self.late.push(candidate.id);
                continue;
            }
            let runs = self.running.entry(candidate.caller.clone()).or_default();
            if *runs >= claim.running_max_of(&candidate.caller) {
                continue;
            }
            *runs += 1;
            found += 1;
            self.taken.insert(candidate.number);
            self.choices.push(Choice {
                claim: index,
                number: candidate.number,
                token: Token::random()?,
                language: language.to_owned(),
                clock: candidate.turn,
            });
        }
        Ok(found)
    }

    /// Leases what was chosen and is still ready, and tells of it in that order.
    async fn write(&self, connection: &mut PgConnection) -> Result<Vec<(usize, Grant)>, Fault> {
        if self.choices.is_empty() {
            return Ok(Vec::new());
        }
        let mut clocks: HashMap<&str, f64> = HashMap::new();
        for it in &self.choices {
            let clock = clocks.entry(&it.language).or_insert(it.clock);
            *clock = clock.max(it.clock);
        }
        let (languages, turns): (Vec<&str>, Vec<f64>) = clocks.into_iter().unzip();
        // The queue's clock is that of the last job that went out.
        let tick = sqlx::query(
            "INSERT INTO languages (language, turn) SELECT * FROM unnest($1::text[], $2::float8[]) \
             ON CONFLICT (language) DO UPDATE SET turn = greatest(languages.turn, excluded.turn)",
        );
        tick.bind(languages).bind(turns).execute(&mut *connection).await?;
        let mut found = HashMap::new();
        for row in self.lease(connection).await? {
            let number: i64 = row.try_get("number")?;
            found.insert(number, granted(&row)?);
        }
        Ok(self.choices.iter().filter_map(|it| found.remove(&it.number)).collect())
    }

    async fn lease(&self, connection: &mut PgConnection) -> Result<Vec<PgRow>, Fault> {
        macro_rules! column {
            ($of:expr) => {
                self.choices.iter().map($of).collect::<Vec<_>>()
            };
        }
        let claim = |it: &Choice| self.asked.get(it.claim).map(|(claim, _)| *claim);
        let lease = sqlx::query(
            "WITH chosen AS MATERIALIZED (SELECT jobs.number, c.place, c.new_token, c.new_worker, \
             c.new_poll, c.lease_ms FROM unnest($2::bigint[], $3::bigint[], $4::bytea[], $5::text[], \
             $6::text[], $7::bigint[]) \
             AS c (chosen_number, place, new_token, new_worker, new_poll, lease_ms) \
             JOIN jobs ON jobs.number = c.chosen_number \
             WHERE jobs.number = ANY($2) AND jobs.state = $8 FOR UPDATE OF jobs SKIP LOCKED), \
             leased AS (UPDATE jobs SET state = 'leased', token = new_token, leases = leases + 1, \
             attempt = attempt + 1, lease_until = $1 + least(lease_ms, attempt_ms_max), \
             attempt_until = $1 + attempt_ms_max, is_accepted = FALSE, worker = new_worker, \
             poll = new_poll, started_at = $1, start_by = NULL, ready_at = NULL, reason = NULL, \
             version = version + 1 FROM chosen WHERE jobs.number = ANY($2) \
             AND jobs.number = chosen.number AND jobs.state = $8 RETURNING chosen.place, \
             jobs.number, id, token, caller, language, attempt, attempt_ms_max, leases), \
             noted AS (INSERT INTO attempts (number, lease, worker, started_at) \
             SELECT number, leases, new_worker, $1 FROM leased JOIN chosen USING (number)) \
             SELECT leased.*, body FROM leased CROSS JOIN LATERAL \
             (SELECT body FROM bodies WHERE bodies.number = leased.number OFFSET 0) AS b",
        );
        let lease = lease
            .bind(self.now.0)
            .bind(column!(|it| it.number))
            .bind(column!(|it| limit(it.claim)))
            .bind(column!(|it| token_bytes(it.token)))
            .bind(column!(|it| claim(it).map(|it| it.worker.as_str())))
            .bind(column!(|it| claim(it).and_then(|it| it.poll.as_deref())))
            .bind(column!(|it| claim(it).map(|it| millis(it.lease))))
            // Written there, it would be found by going through an index of all that are ready.
            .bind(State::Ready.as_str());
        Ok(lease.fetch_all(connection).await?)
    }
}

/// A lease as its worker is told of it, and for which claim it is.
fn granted(row: &PgRow) -> Result<(usize, Grant), Fault> {
    let place: i64 = row.try_get("place")?;
    let lease = Lease { id: id(row.try_get("id")?), token: token(row.try_get("token")?) };
    let (attempt, attempt_ms_max): (i32, i64) =
        (row.try_get("attempt")?, row.try_get("attempt_ms_max")?);
    let grant = Grant {
        lease,
        caller: row.try_get("caller")?,
        lane: Lane::from_text(row.try_get("language")?),
        body: row.try_get("body")?,
        attempt: u32::try_from(attempt).unwrap_or(0),
        attempt_max: Duration::from_millis(count(attempt_ms_max)),
    };
    Ok((usize::try_from(place).unwrap_or(usize::MAX), grant))
}

/// How many jobs the callers of candidates have running, where that is not known yet.
async fn count_running(
    connection: &mut PgConnection,
    candidates: &[Candidate],
    running: &mut HashMap<String, u64>,
) -> Result<(), Fault> {
    let callers: HashSet<&str> = candidates.iter().map(|it| it.caller.as_str()).collect();
    let unknown = callers.into_iter().filter(|it| !running.contains_key(*it));
    let unknown: Vec<&str> = unknown.collect();
    if unknown.is_empty() {
        return Ok(());
    }
    let find = "SELECT caller, jobs FROM counts WHERE caller = ANY($1) AND state = 'leased'";
    for row in sqlx::query(find).bind(unknown).fetch_all(connection).await? {
        running.insert(row.try_get(0)?, count(row.try_get(1)?));
    }
    Ok(())
}

/// The rank of the jobs of a language that go last.
async fn lowest_rank(connection: &mut PgConnection, language: &str) -> Result<Option<i16>, Fault> {
    let find = "SELECT rank FROM jobs WHERE state = 'ready' AND language = $1 \
                ORDER BY language DESC, rank DESC, turn DESC, number DESC LIMIT 1";
    Ok(sqlx::query_scalar(find).bind(language).fetch_optional(connection).await?)
}
