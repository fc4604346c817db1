//! Web sockets (RFC 6455): messages both ways over one connection, each bounded in bytes and in time.
//! What has arrived of a message counts among the memory for bodies, as that of a request does; what
//! waits to be sent is bounded, and who does not read is given up.

mod count;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_http::ws::{self, CloseCode, CloseReason, OpCode, Parser};
use actix_web::body::{BodyStream, MessageBody as _};
use actix_web::http::header::{HeaderMap, SEC_WEBSOCKET_PROTOCOL};
use actix_web::web::{self, Bytes, BytesMut};
use actix_web::{HttpRequest, HttpResponse};
use futures::StreamExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

pub(crate) use count::{Open, Sockets};

use crate::body::Budget;
use crate::error::ApiError;

/// Bytes that wait to be sent, beside one message that may be larger.
const WINDOW: u32 = 256 << 10;
/// What a message counts at least, so that many small ones have a bound, too.
const MESSAGE_BYTES_MIN: u32 = 1 << 10;
/// Messages that wait to be sent.
const MESSAGES_MAX: usize = (WINDOW / MESSAGE_BYTES_MIN) as usize;
/// Who takes nothing we send for so long is given up.
const STALL_MAX: Duration = Duration::from_secs(10);
/// How long the other side has to answer the end of a socket.
const LINGER: Duration = Duration::from_secs(2);
/// What a socket may have of a message without a share of the memory for bodies, so that short
/// messages come through when there is none left.
const SMALL_BYTES: usize = 64 << 10;
/// The first bytes of a frame at most: its head.
const HEAD_BYTES_MAX: usize = 14;

/// A message's share of the memory for bodies.
pub(crate) type Memory = Option<OwnedSemaphorePermit>;

/// What comes in.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// A message, and what it takes.
    Text(BytesMut, Memory),
    /// To be sent back.
    Ping(Bytes),
    /// The other side is there.
    Pong,
    /// The other side ends it.
    Close,
}

/// Why nothing more is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The connection is gone.
    Gone,
    /// A message is larger than it may be.
    TooLarge,
    /// There is no memory left for it.
    Overloaded,
    /// It is no text.
    NoText,
    /// It is text and not UTF-8.
    NotUtf8,
    /// It is not what the protocol has.
    Broken,
}

impl Fault {
    /// How a socket ends by it, if there is anybody to tell.
    pub(crate) fn ending(self) -> Option<(CloseCode, &'static str)> {
        match self {
            Self::Gone => None,
            Self::TooLarge => Some((CloseCode::Size, "the message is larger than it may be")),
            Self::Overloaded => Some((CloseCode::Again, "too much is in progress; come back")),
            Self::NoText => Some((CloseCode::Unsupported, "messages are text")),
            Self::NotUtf8 => Some((CloseCode::Invalid, "the message is not UTF-8")),
            Self::Broken => Some((CloseCode::Protocol, "this is not RFC 6455")),
        }
    }
}

/// Why nothing more is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lost {
    /// The connection is gone.
    Gone,
    /// The other side does not read.
    Stalled,
}

/// What may come in.
#[derive(Debug, Clone)]
pub(crate) struct Bounds {
    /// Size of a message, in bytes.
    pub(crate) bytes_max: usize,
    /// Where its memory is taken from.
    pub(crate) bodies: Budget,
}

/// Opens a socket that speaks `protocol` to those who ask for one by name. It counts as `open` until
/// its connection ends. The server has the connection and ends both halves with it.
pub(crate) fn accept(
    request: &HttpRequest,
    payload: web::Payload,
    protocol: &'static str,
    bounds: Bounds,
    open: Open,
) -> Result<(HttpResponse, Reader, Writer), ApiError> {
    let mut response = ws::handshake(request.head()).map_err(ApiError::NoHandshake)?;
    if is_offered(request.headers(), protocol) {
        response.insert_header((SEC_WEBSOCKET_PROTOCOL, protocol));
    }
    let (frames, queue) = mpsc::channel::<Frame>(MESSAGES_MAX);
    let body = futures::stream::unfold((queue, open), |(mut queue, open)| async move {
        let frame = queue.recv().await?;
        Some((Ok::<_, Infallible>(frame.bytes), (queue, open)))
    });
    let response = response.message_body(BodyStream::new(Box::pin(body)).boxed());
    let response = response.or(Err(ApiError::Internal))?;
    let room = Arc::new(Semaphore::new(WINDOW as usize));
    Ok((response.into(), Reader::new(payload, bounds), Writer { frames, room }))
}

fn is_offered(headers: &HeaderMap, protocol: &str) -> bool {
    let offers = headers.get_all(SEC_WEBSOCKET_PROTOCOL).filter_map(|it| it.to_str().ok());
    offers.flat_map(|it| it.split(',')).any(|it| it.trim() == protocol)
}

/// The half that hears.
pub(crate) struct Reader {
    payload: web::Payload,
    bounds: Bounds,
    /// What has arrived and was not looked at.
    arrived: BytesMut,
    /// The beginning of a message that comes in pieces.
    begun: Option<BytesMut>,
    since: Option<Instant>,
    memory: Memory,
}

impl Reader {
    fn new(payload: web::Payload, bounds: Bounds) -> Self {
        let arrived = BytesMut::new();
        Self { payload, bounds, arrived, begun: None, since: None, memory: None }
    }

    /// What comes next. Nothing is lost if this is not awaited to its end.
    pub(crate) async fn next(&mut self) -> Result<Incoming, Fault> {
        loop {
            if let Some(incoming) = self.take()? {
                return Ok(incoming);
            }
            let Some(Ok(chunk)) = self.payload.next().await else { return Err(Fault::Gone) };
            self.since.get_or_insert_with(Instant::now);
            self.arrived.extend_from_slice(&chunk);
        }
    }

    /// Since when a message has been arriving that is not whole yet.
    pub(crate) fn since(&self) -> Option<Instant> {
        self.since
    }

    /// Reads on and forgets, until the other side ends the socket, too, or has had its time: what we
    /// said last would be lost to a reset otherwise.
    pub(crate) async fn linger(mut self) {
        let reading = async {
            loop {
                match self.next().await {
                    Ok(Incoming::Close) | Err(Fault::Gone) => return,
                    Ok(_) => {}
                    Err(_) => {
                        while let Some(Ok(_)) = self.payload.next().await {}
                        return;
                    }
                }
            }
        };
        drop(tokio::time::timeout(LINGER, reading).await);
    }

    /// What is whole of that which has arrived.
    fn take(&mut self) -> Result<Option<Incoming>, Fault> {
        loop {
            let before = self.begun.as_ref().map_or(0, BytesMut::len);
            let left = self.bounds.bytes_max.saturating_sub(before);
            // The parser looks at a length only once all of the frame is there.
            if announced(&self.arrived).is_some_and(|it| it > left as u64) {
                return Err(Fault::TooLarge);
            }
            let held = before + self.arrived.len();
            if held > SMALL_BYTES {
                self.bounds.bodies.hold(&mut self.memory, held).or(Err(Fault::Overloaded))?;
            }
            let parsed = Parser::parse(&mut self.arrived, true, left).or(Err(Fault::Broken))?;
            let Some((is_last, code, payload)) = parsed else {
                if held == 0 {
                    (self.since, self.memory) = (None, None);
                }
                return Ok(None);
            };
            let payload = payload.unwrap_or_default();
            match (code, is_last, self.begun.as_mut()) {
                (OpCode::Ping, true, _) => return Ok(Some(Incoming::Ping(payload.freeze()))),
                (OpCode::Pong, true, _) => return Ok(Some(Incoming::Pong)),
                (OpCode::Close, true, _) => return Ok(Some(Incoming::Close)),
                (OpCode::Text, true, None) => return self.whole(payload).map(Some),
                (OpCode::Text, false, None) => self.begun = Some(payload),
                (OpCode::Continue, is_last, Some(begun)) => {
                    begun.extend_from_slice(&payload);
                    if is_last {
                        let message = self.begun.take().unwrap_or_default();
                        return self.whole(message).map(Some);
                    }
                }
                (OpCode::Binary, _, None) => return Err(Fault::NoText),
                _ => return Err(Fault::Broken),
            }
        }
    }

    fn whole(&mut self, message: BytesMut) -> Result<Incoming, Fault> {
        if std::str::from_utf8(&message).is_err() {
            return Err(Fault::NotUtf8);
        }
        self.since = (!self.arrived.is_empty()).then(Instant::now);
        Ok(Incoming::Text(message, self.memory.take()))
    }
}

/// How long the payload of a frame is said to be, once its head tells.
pub(crate) fn announced(bytes: &[u8]) -> Option<u64> {
    match (bytes.get(1)? & 0x7f, bytes.get(2..)?) {
        (126, rest) => Some(u64::from(u16::from_be_bytes(*rest.first_chunk()?))),
        (127, rest) => Some(u64::from_be_bytes(*rest.first_chunk()?)),
        (length, _) => Some(u64::from(length)),
    }
}

/// A frame on its way out.
#[derive(Debug)]
struct Frame {
    bytes: Bytes,
    /// Given back once the connection takes it.
    _room: OwnedSemaphorePermit,
}

/// The half that speaks. Once it is dropped, the connection ends.
#[derive(Debug)]
pub(crate) struct Writer {
    frames: mpsc::Sender<Frame>,
    room: Arc<Semaphore>,
}

impl Writer {
    /// Sends a message, as soon as there is room for it.
    pub(crate) async fn send(&self, text: &str) -> Result<(), Lost> {
        self.put(OpCode::Text, text.as_bytes()).await
    }

    /// Asks whether the other side is there.
    pub(crate) async fn ping(&self) -> Result<(), Lost> {
        self.put(OpCode::Ping, b"").await
    }

    /// Answers such a question.
    pub(crate) async fn pong(&self, payload: &[u8]) -> Result<(), Lost> {
        self.put(OpCode::Pong, payload).await
    }

    /// Says that this is the end, and why.
    pub(crate) async fn close(&self, code: CloseCode, why: &'static str) -> Result<(), Lost> {
        let mut frame = BytesMut::new();
        let reason = CloseReason { code, description: Some(why.to_owned()) };
        Parser::write_close(&mut frame, Some(reason), false);
        self.push(frame).await
    }

    /// Whether something can be sent that nobody waits for.
    pub(crate) fn has_room(&self) -> bool {
        self.room.available_permits() > WINDOW as usize / 2
    }

    /// Waits until that is so.
    pub(crate) async fn room(&self) {
        drop(self.room.acquire_many(WINDOW / 2 + 1).await);
    }

    /// Waits until the connection is gone.
    pub(crate) async fn gone(&self) {
        self.frames.closed().await;
    }

    async fn put(&self, code: OpCode, payload: &[u8]) -> Result<(), Lost> {
        let mut frame = BytesMut::with_capacity(payload.len() + HEAD_BYTES_MAX);
        Parser::write_message(&mut frame, payload, code, true, false);
        self.push(frame).await
    }

    async fn push(&self, frame: BytesMut) -> Result<(), Lost> {
        let bytes = u32::try_from(frame.len()).unwrap_or(WINDOW);
        let sending = async {
            let bytes = bytes.clamp(MESSAGE_BYTES_MIN, WINDOW);
            let room = Arc::clone(&self.room).acquire_many_owned(bytes).await;
            let frame = Frame { bytes: frame.freeze(), _room: room.or(Err(Lost::Gone))? };
            self.frames.send(frame).await.or(Err(Lost::Gone))
        };
        tokio::time::timeout(STALL_MAX, sending).await.unwrap_or(Err(Lost::Stalled))
    }
}

#[cfg(test)]
mod tests {
    use actix_web::FromRequest as _;
    use actix_web::dev::Payload;
    use actix_web::error::PayloadError;
    use actix_web::test::TestRequest;
    use futures::FutureExt as _;

    use super::*;

    const BYTES_MAX: usize = 1000;

    /// A frame as clients send it.
    fn frame(code: OpCode, payload: &[u8], is_last: bool) -> Vec<u8> {
        let mut bytes = BytesMut::new();
        Parser::write_message(&mut bytes, payload, code, is_last, true);
        bytes.to_vec()
    }

    /// What is read of these bytes, and how that ends.
    #[track_caller]
    fn check(bytes: &[u8], texts: &[&str], end: Fault) {
        // However it is cut.
        for size in [1, 7, bytes.len()] {
            let chunk = |it: &[u8]| Ok::<_, PayloadError>(Bytes::copy_from_slice(it));
            let chunks: Vec<_> = bytes.chunks(size).map(chunk).collect();
            let chunks = Box::pin(futures::stream::iter(chunks));
            let mut payload: Payload = Payload::Stream { payload: chunks };
            let request = TestRequest::default().to_http_request();
            let payload = web::Payload::from_request(&request, &mut payload);
            let payload = payload.now_or_never().unwrap().unwrap();
            let bounds = Bounds { bytes_max: BYTES_MAX, bodies: Budget::new(1) };
            let mut reader = Reader::new(payload, bounds);
            let mut read = Vec::new();
            let fault = loop {
                match reader.next().now_or_never().unwrap() {
                    Ok(Incoming::Text(text, _)) => {
                        read.push(String::from_utf8(text.to_vec()).unwrap());
                    }
                    Ok(Incoming::Ping(payload)) => read.push(format!("ping {}", payload.len())),
                    Ok(Incoming::Pong) => read.push("pong".to_owned()),
                    Ok(Incoming::Close) => read.push("close".to_owned()),
                    Err(fault) => break fault,
                }
            };
            assert_eq!((read.iter().map(String::as_str).collect(), fault), (texts.to_vec(), end));
        }
    }

    #[test]
    fn messages_come_whole_or_in_pieces() {
        let bytes = [
            frame(OpCode::Text, b"one", true),
            frame(OpCode::Text, b"t", false),
            frame(OpCode::Ping, b"12", true),
            frame(OpCode::Continue, b"w", false),
            frame(OpCode::Continue, b"o", true),
            frame(OpCode::Pong, b"", true),
            frame(OpCode::Text, b"", true),
            frame(OpCode::Close, b"", true),
        ];
        check(&bytes.concat(), &["one", "ping 2", "two", "pong", "", "close"], Fault::Gone);
        let largest = "x".repeat(BYTES_MAX);
        check(&frame(OpCode::Text, largest.as_bytes(), true), &[&largest], Fault::Gone);
    }

    #[test]
    fn what_is_no_message_ends_the_socket() {
        check(&frame(OpCode::Binary, b"1", true), &[], Fault::NoText);
        check(&frame(OpCode::Text, &[0xff], true), &[], Fault::NotUtf8);
        check(&frame(OpCode::Continue, b"1", true), &[], Fault::Broken);
        check(&frame(OpCode::Ping, b"1", false), &[], Fault::Broken);
        check(&frame(OpCode::Ping, &[0; 126], true), &[], Fault::Broken);
        let twice = [frame(OpCode::Text, b"1", false), frame(OpCode::Text, b"2", true)];
        check(&twice.concat(), &[], Fault::Broken);
        let unmasked = [0x81, 1, b'1', 0, 0, 0, 0, 0];
        check(&unmasked, &[], Fault::Broken);
    }

    #[test]
    fn a_message_that_is_too_large_is_refused_by_its_head() {
        let large = frame(OpCode::Text, &[b'x'; BYTES_MAX + 1], true);
        check(&large[..10], &[], Fault::TooLarge);
        let endless = [0x81, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        check(&endless, &[], Fault::TooLarge);
        let half = [b'x'; BYTES_MAX / 2 + 1];
        let pieces = [frame(OpCode::Text, &half, false), frame(OpCode::Continue, &half, true)];
        check(&pieces.concat(), &[], Fault::TooLarge);
    }

    #[test]
    fn messages_share_the_memory_for_bodies() {
        let bodies = Budget::new(1);
        let mut others = None;
        bodies.hold(&mut others, 1 << 20).unwrap();
        let mut mine = None;
        assert!(bodies.hold(&mut mine, 1).is_err());
        drop(others);
        bodies.hold(&mut mine, 1).unwrap();
        bodies.hold(&mut mine, 1 << 20).unwrap();
        assert!(bodies.hold(&mut mine, (1 << 20) + 1).is_err());
    }

    #[tokio::test]
    async fn what_waits_to_be_sent_is_bounded() {
        let (frames, mut queue) = mpsc::channel(MESSAGES_MAX);
        let room = Arc::new(Semaphore::new(WINDOW as usize));
        let writer = Writer { frames, room };
        let large = "x".repeat(WINDOW as usize * 2);
        assert!(writer.has_room());
        writer.send(&large).await.unwrap();
        assert!(!writer.has_room() && writer.room().now_or_never().is_none());
        assert!(writer.send("more").now_or_never().is_none());
        drop(queue.recv().await);
        writer.room().await;
        for _ in 0..MESSAGES_MAX {
            writer.send("").await.unwrap();
        }
        assert!(writer.send("").now_or_never().is_none(), "small ones have a bound, too");
        drop(queue);
        writer.gone().await;
        assert_eq!(writer.send("").await, Err(Lost::Gone));
    }
}
