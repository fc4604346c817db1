//! Pure: bytes of a program's output into whole UTF-8 characters, chunk by chunk.

/// Turns a stream of bytes into text. What is no UTF-8 becomes U+FFFD; a character that is cut
/// by the end of a chunk waits for the next one.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    pending: Vec<u8>,
}

impl Decoder {
    /// The text that `bytes` completes.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> String {
        self.pending.extend_from_slice(bytes);
        let whole = self.pending.len() - cut_character(&self.pending);
        let rest = self.pending.split_off(whole);
        let text = String::from_utf8_lossy(&self.pending).into_owned();
        self.pending = rest;
        text
    }

    /// What is left when the stream ends: a character that never was completed.
    pub(crate) fn finish(&mut self) -> String {
        let rest = std::mem::take(&mut self.pending);
        String::from_utf8_lossy(&rest).into_owned()
    }
}

/// A piece of a stream as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Exact {
    /// Whole UTF-8 characters.
    Text(String),
    /// Bytes that are not all of them text.
    Bytes(Vec<u8>),
}

/// Cuts a stream of bytes into pieces that are whole characters, where they are text, and loses
/// nothing of it.
#[derive(Debug, Default)]
pub(crate) struct Cutter {
    pending: Vec<u8>,
}

impl Cutter {
    /// What `bytes` completes, if anything.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Option<Exact> {
        self.pending.extend_from_slice(bytes);
        let whole = self.pending.len() - cut_character(&self.pending);
        let rest = self.pending.split_off(whole);
        exact(std::mem::replace(&mut self.pending, rest))
    }

    /// What is left when the stream ends.
    pub(crate) fn finish(&mut self) -> Option<Exact> {
        exact(std::mem::take(&mut self.pending))
    }
}

fn exact(bytes: Vec<u8>) -> Option<Exact> {
    if bytes.is_empty() {
        return None;
    }
    Some(String::from_utf8(bytes).map_or_else(|it| Exact::Bytes(it.into_bytes()), Exact::Text))
}

/// How many bytes at the end are the beginning of a character that may still be completed.
fn cut_character(bytes: &[u8]) -> usize {
    for back in 1..=bytes.len().min(3) {
        let Some(byte) = bytes.get(bytes.len() - back) else { return 0 };
        let length = match byte {
            0b1100_0000..=0b1101_1111 => 2,
            0b1110_0000..=0b1110_1111 => 3,
            0b1111_0000..=0b1111_0111 => 4,
            0b1000_0000..=0b1011_1111 => continue,
            _ => return 0,
        };
        return if length > back { back } else { 0 };
    }
    0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_character_may_come_in_pieces() {
        let mut decoder = Decoder::default();
        let parts: Vec<String> = "ä€😀".bytes().map(|byte| decoder.push(&[byte])).collect();
        assert_eq!(parts.concat(), "ä€😀");
        assert_eq!(decoder.finish(), "");
    }

    #[test]
    fn what_is_no_text_is_replaced() {
        let mut decoder = Decoder::default();
        assert_eq!(decoder.push(b"a\xffb"), "a\u{fffd}b");
        assert_eq!(decoder.push(b"\xe2\x82"), "");
        assert_eq!(decoder.finish(), "\u{fffd}");
    }

    proptest! {
        #[test]
        fn text_survives_any_cutting(text in ".{0,40}", cut in 0_usize..100) {
            let bytes = text.as_bytes();
            let cut = cut.min(bytes.len());
            let mut decoder = Decoder::default();
            let mut out = decoder.push(&bytes[..cut]);
            out += &decoder.push(&bytes[cut..]);
            out += &decoder.finish();
            prop_assert_eq!(out, text);
        }

        #[test]
        fn pieces_are_exact_and_text_is_never_cut(
            parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..9), 0..9),
            text in ".{0,20}",
        ) {
            let mut cutter = Cutter::default();
            let mut out = Vec::new();
            for part in parts.iter().map(Vec::as_slice).chain(text.as_bytes().chunks(1)) {
                out.extend(cutter.push(part));
            }
            out.extend(cutter.finish());
            let bytes = out.iter().flat_map(|it| match it {
                Exact::Text(text) => text.as_bytes(),
                Exact::Bytes(bytes) => bytes,
            });
            let expected = parts.concat().into_iter().chain(text.bytes());
            prop_assert!(bytes.copied().eq(expected));
            let mut cutter = Cutter::default();
            for byte in text.bytes() {
                prop_assert!(!matches!(cutter.push(&[byte]), Some(Exact::Bytes(_))));
            }
        }

        #[test]
        fn bytes_are_never_lost(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let mut decoder = Decoder::default();
            let mut out = String::new();
            for byte in &bytes {
                out += &decoder.push(&[*byte]);
            }
            out += &decoder.finish();
            let ascii = |text: &str| text.chars().filter(char::is_ascii).count();
            prop_assert_eq!(ascii(&out), bytes.iter().filter(|it| it.is_ascii()).count());
        }
    }
}
