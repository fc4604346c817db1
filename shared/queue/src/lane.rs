//! Where a job waits: with others of its language, in a queue.

use std::fmt;
use std::ops::Deref;

use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};

/// The queue of jobs that name none.
pub const DEFAULT_QUEUE: &str = "default";

/// Stands between language and queue. No language holds it, and no queue does.
const BETWEEN: char = '\u{1f}';

/// Jobs of one language in one queue: whoever runs one of them can run the others. As text, it is the
/// language alone in the default queue.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Lane(String);

impl Lane {
    /// That of a language in a queue.
    pub fn new(language: &str, queue: &str) -> Self {
        match queue {
            DEFAULT_QUEUE => Self(language.to_owned()),
            queue => Self(format!("{language}{BETWEEN}{queue}")),
        }
    }

    /// From what a store keeps.
    pub(crate) fn from_text(text: String) -> Self {
        Self(text)
    }

    /// What its jobs are written in.
    pub fn language(&self) -> &str {
        self.0.split_once(BETWEEN).map_or(self, |(language, _)| language)
    }

    /// Which workers they are for.
    pub fn queue(&self) -> &str {
        self.0.split_once(BETWEEN).map_or(DEFAULT_QUEUE, |(_, queue)| queue)
    }
}

/// How the lanes of a language begin, but for the one of the default queue, which is the language.
pub(crate) fn prefix(language: &str) -> String {
    format!("{language}{BETWEEN}")
}

impl Deref for Lane {
    type Target = str;

    /// As a store keeps it.
    fn deref(&self) -> &str {
        &self.0
    }
}

/// For people.
impl fmt::Display for Lane {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.queue() {
            DEFAULT_QUEUE => formatter.write_str(self.language()),
            queue => write!(formatter, "{} in the queue {queue}", self.language()),
        }
    }
}

/// Two fields.
impl Serialize for Lane {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Lane", 2)?;
        fields.serialize_field("language", self.language())?;
        fields.serialize_field("queue", self.queue())?;
        fields.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_is_its_language_and_its_queue() {
        let plain = Lane::new("alpha", DEFAULT_QUEUE);
        assert_eq!((&*plain, plain.language(), plain.queue()), ("alpha", "alpha", "default"));
        let lane = Lane::new("alpha", "gpu");
        assert_eq!((lane.language(), lane.queue()), ("alpha", "gpu"));
        assert_eq!(Lane::from_text((*lane).to_owned()), lane);
        assert!(lane.starts_with(&prefix("alpha")));
        let fields = serde_json::to_value(&lane).unwrap();
        assert_eq!(fields, serde_json::json!({ "language": "alpha", "queue": "gpu" }));
    }
}
