//! Whose turn it is: start-time fair queueing. A transaction reads the shares that it is about, and
//! writes them back when it has moved them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sqlx::{PgConnection, Row as _};

use super::place::Fault;

/// What a job of somebody costs who has had none, in seconds.
const COST: f64 = 1.0;
/// How much the last attempt counts in the average of a caller's or a language's times.
const WEIGHT: f64 = 0.2;

#[derive(Clone, Copy)]
struct Share {
    last_turn: f64,
    expected_s: f64,
    is_changed: bool,
}

impl Default for Share {
    fn default() -> Self {
        Self { last_turn: 0.0, expected_s: COST, is_changed: false }
    }
}

#[derive(Default, Clone, Copy)]
struct Language {
    turn: f64,
    average_ms: Option<f64>,
    is_changed: bool,
}

/// What each caller has had of each language.
#[derive(Default)]
pub(super) struct Shares {
    shares: BTreeMap<(String, String), Share>,
    languages: BTreeMap<String, Language>,
}

impl Shares {
    /// Those of callers in languages.
    pub(super) async fn load<'a>(
        connection: &mut PgConnection,
        pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, Fault> {
        let pairs: BTreeSet<(&str, &str)> = pairs.into_iter().collect();
        if pairs.is_empty() {
            return Ok(Self::default());
        }
        let find = sqlx::query(
            "SELECT p.caller, p.language, last_turn, expected_s, turn, average_ms \
             FROM unnest($1::text[], $2::text[]) AS p (caller, language) LEFT JOIN LATERAL \
             (SELECT * FROM shares s WHERE s.caller = p.caller AND s.language = p.language OFFSET 0) \
             AS s ON TRUE LEFT JOIN LATERAL (SELECT turn, average_ms FROM languages l \
             WHERE l.language = p.language OFFSET 0) AS l ON TRUE",
        );
        let find = find
            .bind(pairs.iter().map(|(caller, _)| *caller).collect::<Vec<_>>())
            .bind(pairs.iter().map(|(_, language)| *language).collect::<Vec<_>>());
        let mut found = Self::default();
        for row in find.fetch_all(connection).await? {
            let (caller, language): (String, String) = (row.try_get(0)?, row.try_get(1)?);
            let known: (Option<f64>, Option<f64>) = (row.try_get(2)?, row.try_get(3)?);
            let share = match known {
                (Some(last_turn), Some(expected_s)) => {
                    Share { last_turn, expected_s, is_changed: false }
                }
                _ => Share::default(),
            };
            let turn = row.try_get::<Option<f64>, _>(4)?.unwrap_or_default();
            let average_ms = row.try_get(5)?;
            found
                .languages
                .insert(language.clone(), Language { turn, average_ms, is_changed: false });
            found.shares.insert((caller, language), share);
        }
        Ok(found)
    }

    /// The turn of a caller's next job, and what it costs: as much later than the one before as that
    /// one is expected to take. Who has none waiting comes in where the queue is, without any credit,
    /// and does not wait for what is only guessed of its own job.
    pub(super) fn take_turn(&mut self, caller: &str, language: &str) -> (f64, f64) {
        let clock = self.languages.get(language).copied().unwrap_or_default().turn;
        let share = self.shares.entry((caller.to_owned(), language.to_owned())).or_default();
        let turn = share.last_turn.max(clock);
        share.last_turn = turn + share.expected_s;
        share.is_changed = true;
        (turn, share.expected_s)
    }

    /// What an attempt took is what the next jobs of its caller are expected to take; `cost` is what
    /// it was charged.
    pub(super) fn charge(&mut self, (caller, language): (&str, &str), cost: f64, time: Duration) {
        let (seconds, millis) = (time.as_secs_f64(), time.as_secs_f64() * 1000.0);
        let share = self.shares.entry((caller.to_owned(), language.to_owned())).or_default();
        share.expected_s = (share.expected_s * (1.0 - WEIGHT) + seconds * WEIGHT).max(0.01);
        share.last_turn += seconds - cost;
        share.is_changed = true;
        let language = self.languages.entry(language.to_owned()).or_default();
        let average = language.average_ms.map(|it| it * (1.0 - WEIGHT) + millis * WEIGHT);
        language.average_ms = Some(average.unwrap_or(millis));
        language.is_changed = true;
    }

    /// Writes what was moved.
    pub(super) async fn write(&self, connection: &mut PgConnection) -> Result<(), Fault> {
        let moved: Vec<_> = self.shares.iter().filter(|(_, it)| it.is_changed).collect();
        if !moved.is_empty() {
            let note = sqlx::query(
                "INSERT INTO shares (caller, language, last_turn, expected_s) \
                 SELECT * FROM unnest($1::text[], $2::text[], $3::float8[], $4::float8[]) \
                 ON CONFLICT (caller, language) DO UPDATE SET last_turn = excluded.last_turn, \
                 expected_s = excluded.expected_s",
            );
            note.bind(moved.iter().map(|((caller, _), _)| caller.as_str()).collect::<Vec<_>>())
                .bind(moved.iter().map(|((_, which), _)| which.as_str()).collect::<Vec<_>>())
                .bind(moved.iter().map(|(_, it)| it.last_turn).collect::<Vec<_>>())
                .bind(moved.iter().map(|(_, it)| it.expected_s).collect::<Vec<_>>())
                .execute(&mut *connection)
                .await?;
        }
        let averages: Vec<_> = self.languages.iter().filter(|(_, it)| it.is_changed).collect();
        if averages.is_empty() {
            return Ok(());
        }
        let note = sqlx::query(
            "INSERT INTO languages (language, turn, average_ms) \
             SELECT * FROM unnest($1::text[], $2::float8[], $3::float8[]) \
             ON CONFLICT (language) DO UPDATE SET average_ms = excluded.average_ms",
        );
        note.bind(averages.iter().map(|(which, _)| which.as_str()).collect::<Vec<_>>())
            .bind(averages.iter().map(|(_, it)| it.turn).collect::<Vec<_>>())
            .bind(averages.iter().map(|(_, it)| it.average_ms).collect::<Vec<_>>())
            .execute(connection)
            .await?;
        Ok(())
    }
}
