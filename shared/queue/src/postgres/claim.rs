//! Jobs go out: those that a transaction's claims are granted, chosen one claim after another and
//! written at once.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row as _};

use super::line::{Line, count_running, lower_ranks, of_callers, waiting_callers};
use super::place::{Fault, count, id, limit, millis, token, token_bytes};
use crate::lease::ATTEMPTS_KEPT;
use crate::turns::{Turn, in_turn};
use crate::{Claim, Grant, JobId, Lane, Lease, State, Timestamp, Token};

/// Jobs that a claim passes over one by one, in each language, as their callers have enough running or
/// it is too late for them. Beyond it, it asks for those of other callers.
const PASSED_MAX: usize = 100;

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
    /// Callers that have ready jobs in a language, where that had to be known.
    waiting: HashMap<String, Vec<String>>,
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
            waiting: HashMap::new(),
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
        let turn = Turn::of(turn, claim.lanes.len());
        for lane in in_turn(&claim.lanes, turn.lane) {
            if let Some(round) = turn.lower.filter(|_| left > 0) {
                left -= self.take_lower(connection, (index, claim), lane, round).await?;
            }
            left -= self.take(connection, (index, claim), (lane, None), left).await?;
        }
        Ok(())
    }

    /// Takes one job of a priority that is not the highest: those take turns, and one is passed over
    /// whose callers all have enough running. Says how many that were.
    async fn take_lower(
        &mut self,
        connection: &mut PgConnection,
        claim: (usize, &Claim),
        language: &str,
        round: u64,
    ) -> Result<usize, Fault> {
        let lower = lower_ranks(connection, language).await?;
        for rank in in_turn(&lower, round) {
            if self.take(connection, claim, (language, Some(*rank)), 1).await? > 0 {
                return Ok(1);
            }
        }
        Ok(0)
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
        let (mut at, mut found, mut passed) = (0, Vec::new(), 0);
        while found.len() < free && passed < PASSED_MAX {
            let Some(candidate) = line.read.get(at) else {
                if line.is_whole {
                    break;
                }
                let news = line.read_on(connection, free).await?;
                let callers = news.iter().map(|it| it.caller.as_str());
                count_running(connection, callers, &mut self.running).await?;
                continue;
            };
            at += 1;
            if self.taken.contains(&candidate.number) {
                continue;
            }
            if candidate.is_late(self.now) {
                passed += 1;
                self.taken.insert(candidate.number);
                self.late.push(candidate.id);
                continue;
            }
            let runs = self.running.entry(candidate.caller.clone()).or_default();
            if *runs >= claim.running_max_of(&candidate.caller) {
                passed += 1;
                continue;
            }
            *runs += 1;
            self.taken.insert(candidate.number);
            found.push((candidate.number, candidate.turn));
        }
        if passed == PASSED_MAX && found.len() < free {
            let left = free - found.len();
            found.extend(self.take_by_caller(connection, claim, (language, rank), left).await?);
        }
        for (number, clock) in &found {
            let (number, clock, token) = (*number, *clock, Token::random()?);
            let language = language.to_owned();
            self.choices.push(Choice { claim: index, number, token, language, clock });
        }
        Ok(found.len())
    }

    /// Takes the first jobs of those callers that may have more running, however many of others are
    /// before them.
    async fn take_by_caller(
        &mut self,
        connection: &mut PgConnection,
        claim: &Claim,
        (language, rank): (&str, Option<i16>),
        left: usize,
    ) -> Result<Vec<(i64, f64)>, Fault> {
        if !self.waiting.contains_key(language) {
            let callers = waiting_callers(connection, language).await?;
            self.waiting.insert(language.to_owned(), callers);
        }
        let callers = self.waiting.get(language).map(Vec::as_slice).unwrap_or_default();
        count_running(connection, callers.iter().map(String::as_str), &mut self.running).await?;
        let free = |caller: &String| {
            let runs = self.running.get(caller).copied().unwrap_or_default();
            let free = claim.running_max_of(caller).saturating_sub(runs);
            usize::try_from(free).unwrap_or(usize::MAX).min(left)
        };
        let free = callers.iter().map(|it| (it.clone(), free(it))).filter(|(_, free)| *free > 0);
        let free: Vec<(String, usize)> = free.collect();
        let whose = (free.as_slice(), left);
        let found = of_callers(connection, (language, rank), whose, &self.taken, self.now).await?;
        for candidate in &found {
            *self.running.entry(candidate.caller.clone()).or_default() += 1;
            self.taken.insert(candidate.number);
        }
        Ok(found.into_iter().map(|it| (it.number, it.turn)).collect())
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
        let (mut found, mut old) = (HashMap::new(), (Vec::new(), Vec::new()));
        for row in self.lease(&mut *connection).await? {
            let number: i64 = row.try_get("number")?;
            found.insert(number, granted(&row)?);
            let leases: i32 = row.try_get("leases")?;
            if leases > ATTEMPTS_KEPT.cast_signed() {
                old.0.push(number);
                old.1.push(leases - ATTEMPTS_KEPT.cast_signed());
            }
        }
        if !old.0.is_empty() {
            let forget = "DELETE FROM attempts USING unnest($1::bigint[], $2::integer[]) \
                          AS o (job, last) WHERE attempts.number = ANY($1) \
                          AND attempts.number = o.job AND lease <= o.last";
            sqlx::query(forget).bind(old.0).bind(old.1).execute(connection).await?;
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
             poll = new_poll, started_at = $1, ready_at = NULL, reason = NULL, \
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
