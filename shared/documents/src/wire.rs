//! Messages of the Yjs sync and awareness protocols, and the numbers and texts that they are made of
//! (lib0, <https://github.com/dmonad/lib0>). One message is one frame: a client reads no second one.

use bytes::Bytes;

/// Clients and clocks of JavaScript are whole numbers below this.
pub(crate) const NUMBER_MAX: u64 = 1 << 53;

const SYNC: u64 = 0;
const AWARENESS: u64 = 1;
const AUTH: u64 = 2;
const QUERY_AWARENESS: u64 = 3;
const STEP_1: u64 = 0;
const STEP_2: u64 = 1;
const UPDATE: u64 = 2;

/// Bytes are not what they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the frame is malformed: {0}")]
pub struct Malformed(pub(crate) &'static str);

/// What a client says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Message<'a> {
    /// What it has, as a state vector; the rest is wanted.
    Step1(&'a [u8]),
    /// What we lacked.
    Step2(&'a [u8]),
    /// A change.
    Update(&'a [u8]),
    /// Who is there.
    Awareness(&'a [u8]),
    /// Who is there is wanted.
    QueryAwareness,
    /// It has no meaning for a server.
    Auth,
}

impl<'a> Message<'a> {
    /// Reads a frame. Whatever follows its first message is refused.
    pub(crate) fn parse(frame: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(frame);
        let message = match reader.number()? {
            SYNC => match (reader.number()?, reader.buffer()?) {
                (STEP_1, state) => Self::Step1(state),
                (STEP_2, update) => Self::Step2(update),
                (UPDATE, update) => Self::Update(update),
                _ => return Err(Malformed("there is no such step")),
            },
            AWARENESS => Self::Awareness(reader.buffer()?),
            QUERY_AWARENESS => Self::QueryAwareness,
            AUTH => return Ok(Self::Auth),
            _ => return Err(Malformed("there is no such message")),
        };
        if reader.is_at_end() { Ok(message) } else { Err(Malformed("it has more than a message")) }
    }
}

/// What we have, as a frame.
pub(crate) fn step_1(state: &[u8]) -> Bytes {
    frame(&[SYNC, STEP_1], state)
}

/// What a client lacked, as a frame.
pub(crate) fn step_2(update: &[u8]) -> Bytes {
    frame(&[SYNC, STEP_2], update)
}

/// A change, as a frame.
pub(crate) fn update(update: &[u8]) -> Bytes {
    frame(&[SYNC, UPDATE], update)
}

/// Who is there, as a frame.
pub(crate) fn awareness(update: &[u8]) -> Bytes {
    frame(&[AWARENESS], update)
}

fn frame(head: &[u64], body: &[u8]) -> Bytes {
    let mut frame = Vec::with_capacity(body.len() + 12);
    for number in head {
        write_number(&mut frame, *number);
    }
    write_buffer(&mut frame, body);
    frame.into()
}

/// Writes a number, seven bits a byte.
pub(crate) fn write_number(into: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        into.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    into.push((number & 0x7f) as u8);
}

/// Writes bytes and before them how many they are.
pub(crate) fn write_buffer(into: &mut Vec<u8>, bytes: &[u8]) {
    write_number(into, bytes.len() as u64);
    into.extend_from_slice(bytes);
}

/// Reads what somebody else wrote.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn left(&self) -> usize {
        self.rest.len()
    }

    /// What was not read yet.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// What lies between this place and a later one of the same bytes.
    pub(crate) fn until(&self, later: &Self) -> &'a [u8] {
        let length = self.rest.len().saturating_sub(later.rest.len());
        self.rest.get(..length).unwrap_or_default()
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Malformed> {
        let (first, rest) = self.rest.split_first().ok_or(Malformed("it ends too soon"))?;
        self.rest = rest;
        Ok(*first)
    }

    /// A number below 2^53.
    pub(crate) fn number(&mut self) -> Result<u64, Malformed> {
        let mut number = 0;
        for shift in (0..56).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                let is_small = number < NUMBER_MAX;
                return if is_small { Ok(number) } else { Err(Malformed("a number is too large")) };
            }
        }
        Err(Malformed("a number is too long"))
    }

    /// A number below 2^32.
    pub(crate) fn small_number(&mut self) -> Result<u32, Malformed> {
        self.number()?.try_into().or(Err(Malformed("a number is too large")))
    }

    /// Says how many things follow that take `bytes` bytes or more each.
    pub(crate) fn count(&mut self, bytes: usize) -> Result<usize, Malformed> {
        let count = usize::try_from(self.number()?).unwrap_or(usize::MAX);
        let is_possible = count <= self.left() / bytes;
        if is_possible { Ok(count) } else { Err(Malformed("it says more than it has")) }
    }

    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) =
            self.rest.split_at_checked(length).ok_or(Malformed("it ends too soon"))?;
        self.rest = rest;
        Ok(taken)
    }

    /// Bytes behind their number.
    pub(crate) fn buffer(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.count(1)?;
        self.take(length)
    }

    /// A text behind its length.
    pub(crate) fn text(&mut self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.buffer()?).or(Err(Malformed("a text is not UTF-8")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_read_as_it_was_written() {
        for number in [0, 1, 127, 128, 16_383, 16_384, u64::from(u32::MAX), NUMBER_MAX - 1] {
            let mut bytes = Vec::new();
            write_number(&mut bytes, number);
            let mut reader = Reader::new(&bytes);
            assert_eq!((reader.number(), reader.is_at_end()), (Ok(number), true));
        }
        let mut bytes = Vec::new();
        write_number(&mut bytes, NUMBER_MAX);
        assert!(Reader::new(&bytes).number().is_err());
        assert!(Reader::new(&[0xff; 12]).number().is_err());
    }

    #[test]
    fn a_frame_is_one_message() {
        assert_eq!(Message::parse(&step_1(b"ab")), Ok(Message::Step1(b"ab")));
        assert_eq!(Message::parse(&step_2(b"")), Ok(Message::Step2(b"")));
        assert_eq!(Message::parse(&update(b"x")), Ok(Message::Update(b"x")));
        assert_eq!(Message::parse(&awareness(b"x")), Ok(Message::Awareness(b"x")));
        assert_eq!(Message::parse(&[3]), Ok(Message::QueryAwareness));
        for wrong in [&b""[..], &[9], &[0, 3, 0], &[0, 0, 5, 1], &[3, 3], &[1, 0x80]] {
            assert!(Message::parse(wrong).is_err(), "{wrong:?}");
        }
        let two = [&step_1(b"a")[..], &[3]].concat();
        assert!(Message::parse(&two).is_err());
    }
}
