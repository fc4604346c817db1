//! What a run may have beside a program: somebody who types, and a terminal.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Bounds;
use crate::fields::Fields;

/// Columns and rows that a terminal may have.
const SIZE_MAX: u64 = 500;

/// How long a run may go on with nobody attached to it, unless a request says otherwise.
const DETACH_DEFAULT: Duration = Duration::from_mins(1);

/// The longest that a request may say, in seconds.
const DETACH_MAX_SECONDS: f64 = 600.0;

/// A run whose standard input stays open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interactive {
    /// The terminal that is all of its streams; none if they are pipes.
    pub terminal: Option<TerminalSize>,
    /// How long it may go on with nobody attached to it.
    pub detach_timeout: Duration,
}

/// The size of a terminal, in characters: each from 1 to 500.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalSize {
    /// Columns.
    pub cols: u16,
    /// Rows.
    pub rows: u16,
}

impl TerminalSize {
    /// Whether a terminal may be as large as that.
    pub fn is_permitted(self) -> bool {
        [self.cols, self.rows].iter().all(|it| (1..=SIZE_MAX).contains(&u64::from(*it)))
    }
}

/// Reads the fields that make a run interactive; none if it is not.
pub(crate) fn read(fields: &mut Fields<'_>) -> Option<Interactive> {
    let asked = fields.boolean("interactive");
    let terminal = terminal(fields);
    let detach = fields.seconds("detachTimeout", DETACH_MAX_SECONDS);
    if asked == Some(false) && terminal.is_some() {
        fields.refuse("interactive", "a run with a `tty` is interactive; leave one of them out");
    }
    let is_interactive = asked == Some(true) || terminal.is_some();
    let detach_timeout = detach.map_or(DETACH_DEFAULT, Duration::from_secs_f64);
    is_interactive.then_some(Interactive { terminal, detach_timeout })
}

/// Seconds that a run may take for which a request says nothing. Whoever types needs time.
pub(crate) fn timeout_default(interactive: Option<Interactive>, bounds: &Bounds) -> f64 {
    match interactive {
        Some(_) => bounds.timeout_max_seconds,
        None => bounds.timeout_default_seconds,
    }
}

fn terminal(fields: &mut Fields<'_>) -> Option<TerminalSize> {
    let object = fields.object("tty")?;
    let mut inner = Fields::new("/tty", object, fields.errors());
    let mut side = |name| {
        let number = inner.whole(name, 1, SIZE_MAX);
        if number.is_none() && inner.has_no_fault_of(name) {
            inner.refuse(name, format!("must be a whole number from 1 to {SIZE_MAX}"));
        }
        number.and_then(|it| u16::try_from(it).ok())
    };
    let (cols, rows) = (side("cols"), side("rows"));
    inner.finish();
    Some(TerminalSize { cols: cols?, rows: rows? })
}
