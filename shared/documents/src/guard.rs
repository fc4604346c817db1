//! Walks an update before the library does that applies it. The library believes what an update says
//! of its own size and depth: a few bytes make it reserve gigabytes, or call itself until the stack
//! ends, which nothing catches. Whatever passes here is as large as it says it is.
//!
//! The format is version 1 of Yjs' updates
//! (<https://github.com/yjs/yjs/blob/v13.6.33/src/utils/UpdateDecoder.js>).

use std::collections::HashSet;
use std::ops::AddAssign;

use crate::wire::{Malformed, Reader, write_number};

/// Values in values, such as arrays in arrays.
const DEPTH_MAX: usize = 32;
/// Items that a number of no bytes could stand for.
const CLOCK_MAX: u64 = 1 << 31;

const HAS_ORIGIN: u8 = 0x80;
const HAS_RIGHT_ORIGIN: u8 = 0x40;
const HAS_PARENT_SUB: u8 = 0x20;
const KIND: u8 = 0x1f;

const GC: u8 = 0;
const DELETED: u8 = 1;
const JSON: u8 = 2;
const BINARY: u8 = 3;
const STRING: u8 = 4;
const EMBED: u8 = 5;
const FORMAT: u8 = 6;
const TYPE: u8 = 7;
const ANY: u8 = 8;
const DOC: u8 = 9;
const SKIP: u8 = 10;

/// How much an update is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Measure {
    /// Its size.
    pub(crate) bytes: usize,
    /// What the library keeps an object of: pieces of text, values, ranges that are deleted.
    pub(crate) blocks: usize,
    /// Those of them that hold others: maps, texts, arrays.
    pub(crate) types: usize,
    /// Gaps: what a client has not said yet.
    pub(crate) skips: usize,
}

impl AddAssign for Measure {
    fn add_assign(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.blocks += other.blocks;
        self.types += other.types;
        self.skips += other.skips;
    }
}

impl Measure {
    /// Measures an update of somebody that we do not trust.
    pub(crate) fn of(update: &[u8]) -> Result<Self, Malformed> {
        let mut walk = Walk { reader: Reader::new(update), blocks: 0, types: 0, skips: 0 };
        walk.update()?;
        if !walk.reader.is_at_end() {
            return Err(Malformed("an update goes on after its end"));
        }
        let Walk { blocks, types, skips, .. } = walk;
        Ok(Self { bytes: update.len(), blocks, types, skips })
    }
}

/// The update without what stands behind a gap, of each client: what is not known of it up to `known`
/// and does not begin there; and whether that is less. Clients lose text at gaps
/// (<https://github.com/y-crdt/y-crdt/issues/632>), and the library reads memory that is none of its
/// own when some are filled.
pub(crate) fn without_gaps(
    update: &[u8],
    known: impl Fn(u64) -> u64,
) -> Result<(Vec<u8>, bool), Malformed> {
    let mut walk = Walk { reader: Reader::new(update), blocks: 0, types: 0, skips: 0 };
    let (mut kept, mut clients, mut is_less) = (Vec::new(), 0, false);
    for _ in 0..walk.reader.count(3)? {
        let (blocks, client, clock) =
            (walk.reader.number()?, walk.reader.number()?, walk.reader.number()?);
        let (start, mut end, mut count) = (walk.reader, walk.reader, 0);
        walk.skips = usize::from(clock > known(client));
        for _ in 0..blocks {
            walk.block()?;
            if walk.skips == 0 {
                (end, count) = (walk.reader, count + 1);
            }
        }
        is_less |= count < blocks;
        if count > 0 {
            clients += 1;
            write_number(&mut kept, count);
            write_number(&mut kept, client);
            write_number(&mut kept, clock);
            kept.extend_from_slice(start.until(&end));
        }
    }
    let mut all = Vec::with_capacity(update.len());
    write_number(&mut all, clients);
    all.append(&mut kept);
    all.extend_from_slice(walk.reader.rest());
    Ok((all, is_less))
}

/// Refuses what is no state vector.
pub(crate) fn check_state(state: &[u8]) -> Result<(), Malformed> {
    let mut reader = Reader::new(state);
    for _ in 0..reader.count(2)? {
        reader.number()?;
        reader.small_number()?;
    }
    if reader.is_at_end() { Ok(()) } else { Err(Malformed("a state goes on after its end")) }
}

struct Walk<'a> {
    reader: Reader<'a>,
    blocks: usize,
    types: usize,
    skips: usize,
}

impl Walk<'_> {
    fn update(&mut self) -> Result<(), Malformed> {
        let mut seen = HashSet::new();
        for _ in 0..self.reader.count(3)? {
            // A block takes two bytes or more.
            let blocks = self.reader.count(1)?;
            let client = self.reader.number()?;
            let mut clock = u64::from(self.reader.small_number()?);
            if !seen.insert(client) {
                return Err(Malformed("a client comes twice"));
            }
            if blocks > self.reader.left() / 2 {
                return Err(Malformed("it says more than it has"));
            }
            for _ in 0..blocks {
                clock += self.block()?;
                if clock >= CLOCK_MAX {
                    return Err(Malformed("a clock is too large"));
                }
            }
            self.blocks += blocks;
        }
        self.deletions()
    }

    fn deletions(&mut self) -> Result<(), Malformed> {
        let mut seen = HashSet::new();
        for _ in 0..self.reader.count(2)? {
            if !seen.insert(self.reader.number()?) {
                return Err(Malformed("a client comes twice"));
            }
            let ranges = self.reader.count(2)?;
            for _ in 0..ranges {
                let from = u64::from(self.reader.small_number()?);
                let length = u64::from(self.reader.small_number()?);
                if from + length >= CLOCK_MAX {
                    return Err(Malformed("a clock is too large"));
                }
            }
            self.blocks += ranges;
        }
        Ok(())
    }

    /// Walks a block, and says how much of the clock it takes.
    fn block(&mut self) -> Result<u64, Malformed> {
        let info = self.reader.byte()?;
        if info == GC || info == SKIP {
            self.skips += usize::from(info == SKIP);
            return self.length();
        }
        if info & HAS_ORIGIN != 0 {
            self.id()?;
        }
        if info & HAS_RIGHT_ORIGIN != 0 {
            self.id()?;
        }
        if info & (HAS_ORIGIN | HAS_RIGHT_ORIGIN) == 0 {
            match self.reader.number()? {
                1 => drop(self.reader.text()?),
                0 => self.id()?,
                _ => return Err(Malformed("a parent is neither named nor known")),
            }
            if info & HAS_PARENT_SUB != 0 {
                self.reader.text()?;
            }
        }
        self.content(info & KIND)
    }

    fn content(&mut self, kind: u8) -> Result<u64, Malformed> {
        match kind {
            DELETED => self.length(),
            BINARY => self.reader.buffer().map(|_| 1),
            STRING => {
                let text = self.reader.text()?;
                some(text.chars().map(char::len_utf16).sum())
            }
            EMBED => self.json().map(|()| 1),
            FORMAT => {
                self.reader.text()?;
                self.json().map(|()| 1)
            }
            TYPE => {
                self.types += 1;
                self.nested()
            }
            ANY => {
                let count = self.reader.count(1)?;
                for _ in 0..count {
                    self.value(0)?;
                }
                some(count)
            }
            // No client writes these since 2020, and the library reads one value more than there are.
            JSON => Err(Malformed("values of before Yjs 13 are not kept here")),
            DOC => Err(Malformed("documents in documents are not kept here")),
            _ => Err(Malformed("there is no such content")),
        }
    }

    /// What holds others.
    fn nested(&mut self) -> Result<u64, Malformed> {
        match self.reader.byte()? {
            // An array, a map, a text; a fragment and a text of XML.
            0 | 1 | 2 | 4 | 6 => Ok(1),
            // An element of XML has a name; so has a hook, which the library does not read.
            3 => self.reader.text().map(|_| 1),
            5 => Err(Malformed("hooks of XML are not kept here")),
            _ => Err(Malformed("there is no such type")),
        }
    }

    fn json(&mut self) -> Result<(), Malformed> {
        let text = self.reader.text()?;
        // Yjs writes what JSON cannot say as this word.
        let is_json = text == "undefined" || is_json(text);
        if is_json { Ok(()) } else { Err(Malformed("a value is not JSON")) }
    }

    /// One value as lib0 writes it.
    fn value(&mut self, depth: usize) -> Result<(), Malformed> {
        if depth > DEPTH_MAX {
            return Err(Malformed("values are nested too deeply"));
        }
        match self.reader.byte()? {
            // Undefined, null, false, true.
            127 | 126 | 121 | 120 => {}
            125 => self.integer()?,
            124 => drop(self.reader.take(4)?),
            123 | 122 => drop(self.reader.take(8)?),
            119 => drop(self.reader.text()?),
            118 => {
                for _ in 0..self.reader.count(2)? {
                    self.reader.text()?;
                    self.value(depth + 1)?;
                }
            }
            117 => {
                for _ in 0..self.reader.count(1)? {
                    self.value(depth + 1)?;
                }
            }
            116 => drop(self.reader.buffer()?),
            _ => return Err(Malformed("there is no such value")),
        }
        Ok(())
    }

    /// A number with a sign: at most ten bytes.
    fn integer(&mut self) -> Result<(), Malformed> {
        for _ in 0..9 {
            if self.reader.byte()? < 0x80 {
                return Ok(());
            }
        }
        Err(Malformed("a number is too long"))
    }

    fn id(&mut self) -> Result<(), Malformed> {
        self.reader.number()?;
        let clock = self.reader.small_number()?;
        if u64::from(clock) < CLOCK_MAX { Ok(()) } else { Err(Malformed("a clock is too large")) }
    }

    fn length(&mut self) -> Result<u64, Malformed> {
        let length = self.reader.small_number()?;
        some(usize::try_from(length).unwrap_or(usize::MAX))
    }
}

/// A block takes some of the clock, or it could be repeated at no cost.
fn some(length: usize) -> Result<u64, Malformed> {
    if length == 0 { Err(Malformed("a block is empty")) } else { Ok(length as u64) }
}

/// Whether a text is one value of JSON, not nested beyond what its reader bears.
pub(crate) fn is_json(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}
