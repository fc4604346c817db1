//! The words that `/proc` says a process was started with.

use std::fs;
use std::io;

/// Where the kernel reads them: memory of this process, which forks have a copy of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Title {
    start: usize,
    length: usize,
}

impl Title {
    /// The place of this process's words.
    pub(crate) fn find() -> io::Result<Self> {
        parse(&fs::read_to_string("/proc/self/stat")?)
            .ok_or_else(|| io::Error::other("the kernel does not tell where the words are"))
    }

    /// Puts `words` there, as many of their bytes as there is room for. Whoever holds references to
    /// the former words sees the new ones; this process holds none.
    pub(crate) fn set(self, words: &[String]) {
        let mut text = vec![0; self.length];
        let bytes = words.iter().flat_map(|word| word.bytes().chain([0]));
        // The last byte stays NUL: the kernel reads on where it is not.
        let room = self.length.saturating_sub(1);
        for (place, byte) in text.iter_mut().take(room).zip(bytes) {
            *place = byte;
        }
        let target = std::ptr::with_exposed_provenance_mut::<u8>(self.start);
        // SAFETY: the kernel put the words there when this program was executed, in the stack of its
        // only thread, which is writable and outlives everything; `text` is as long as the place.
        unsafe { std::ptr::copy_nonoverlapping(text.as_ptr(), target, text.len()) };
    }
}

/// Fields 48 and 49 of a `stat` file. The second is a name in parentheses that may hold anything.
fn parse(stat: &str) -> Option<Title> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(45);
    let start = fields.next()?.parse().ok()?;
    let end: usize = fields.next()?.parse().ok()?;
    let length = end.checked_sub(start).filter(|it| start != 0 && *it > 0)?;
    Some(Title { start, length })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_our_own_words_is_found() {
        let title = Title::find().unwrap();
        let words = fs::read("/proc/self/cmdline").unwrap();
        assert_eq!(title.length, words.len());
    }

    #[test]
    fn a_process_without_words_has_no_place_for_them() {
        assert!(parse(&format!("1 (a) b) {}", "0 ".repeat(50))).is_none());
        assert!(parse("1 (a").is_none());
    }
}
