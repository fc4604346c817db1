//! Pure: where the frames of a web socket end, in bytes as they come (RFC 6455, section 5.2). Only
//! between two of them may another one be put in.

use actix_http::ws::OpCode;

use crate::socket::announced;

/// Where the first byte of a frame has what it is.
const OPCODE: u8 = 0x0f;

/// What has passed of what one side says.
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// The first bytes of a frame whose length is not known yet.
    head: Vec<u8>,
    /// Bytes of a frame that are still to come.
    left: u64,
    has_closed: bool,
}

impl Frames {
    /// Notes that these bytes pass. A server says them, so they are not masked.
    pub(super) fn pass(&mut self, mut bytes: &[u8]) {
        while let Some((first, rest)) = bytes.split_first() {
            if self.left > 0 {
                let here = bytes.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
                self.left -= here as u64;
                bytes = bytes.get(here..).unwrap_or_default();
                continue;
            }
            self.head.push(*first);
            bytes = rest;
            if let Some(length) = announced(&self.head) {
                let code = self.head.first().map(|it| OpCode::from(it & OPCODE));
                self.has_closed |= code == Some(OpCode::Close);
                self.left = length;
                self.head.clear();
            }
        }
    }

    /// Whether the socket may be closed here in the name of whoever said all this.
    pub(super) fn may_close(&self) -> bool {
        self.head.is_empty() && self.left == 0 && !self.has_closed
    }
}

#[cfg(test)]
mod tests {
    use actix_http::ws::Parser;
    use actix_web::web::BytesMut;

    use super::*;

    fn frame(code: OpCode, length: usize) -> BytesMut {
        let mut bytes = BytesMut::new();
        Parser::write_message(&mut bytes, "x".repeat(length), code, true, false);
        bytes
    }

    #[test]
    fn a_socket_may_be_closed_between_two_frames_and_within_none() {
        for length in [0, 1, 125, 126, 300, 65_535, 65_536, 70_000] {
            let bytes = frame(OpCode::Text, length);
            for size in [1, 2, 3, 7, 4096, bytes.len()] {
                let mut frames = Frames::default();
                assert!(frames.may_close());
                let mut passed = 0;
                for _ in 0..2 {
                    for part in bytes.chunks(size) {
                        frames.pass(part);
                        passed += part.len();
                        let is_between = passed % bytes.len() == 0;
                        assert_eq!(frames.may_close(), is_between, "{length} {size} {passed}");
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_closed_is_not_closed_again() {
        let mut frames = Frames::default();
        frames.pass(&[&frame(OpCode::Text, 9)[..], &frame(OpCode::Close, 2)[..]].concat());
        assert!(!frames.may_close());
    }
}
