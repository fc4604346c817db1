//! How servers on one database tell each other of rooms: by notifications, which are sent beside the
//! transactions that they tell of, since transactions that notify wait for each other. A message is
//! `SERVER ROOM KIND BODY`, and one without a room says that its sender is there.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sqlx::PgPool;
use sqlx::postgres::PgListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::place::Place;
use crate::bus::{Bus, Heard, ServerId, Word};
use crate::words::RoomId;

const CHANNEL: &str = "flotilla_rooms";
/// Messages that wait to be sent. Beyond, they are forgotten, and others look by themselves later.
const WAITING_MAX: usize = 4096;
/// Messages that are sent at once.
const BATCH_MAX: usize = 256;
/// Longest message, in bytes: the server takes 7999.
const BYTES_MAX: usize = 7900;
/// Between two messages there is so much time.
const PAUSE: Duration = Duration::from_millis(5);
/// How often a server says that it is there, and after how much silence it is taken to be gone.
const BEAT: Duration = Duration::from_secs(3);
const SILENCE_MAX: Duration = Duration::from_secs(12);
/// Before somebody who could not listen tries again.
const AGAIN: Duration = Duration::from_secs(1);
/// How long sending may take.
const SEND: Duration = Duration::from_secs(4);

/// Tells other servers on the same database.
#[derive(Debug)]
pub(super) struct PostgresBus {
    own: ServerId,
    messages: mpsc::Sender<String>,
}

impl PostgresBus {
    /// Starts to tell and to listen, as long as the tasks are kept.
    pub(super) fn start(
        place: &Place,
        heard: mpsc::Sender<Heard>,
        tasks: &mut JoinSet<()>,
    ) -> Self {
        let own = ServerId(uuid::Uuid::now_v7().as_u128());
        let (messages, waiting) = mpsc::channel(WAITING_MAX);
        tasks.spawn(speak(own, waiting, place.connections()));
        tasks.spawn(listen(own, place.ear(), heard));
        Self { own, messages }
    }
}

impl Bus for PostgresBus {
    fn say(&self, room: &RoomId, word: Word) {
        let Some(message) = write(self.own, room, &word) else { return };
        if message.len() > BYTES_MAX || self.messages.try_send(message).is_err() {
            tracing::debug!(room.id = %room, "other gateways are not told of something");
        }
    }
}

/// None of what others read from the database instead: few changes would fit.
fn write(server: ServerId, room: &RoomId, word: &Word) -> Option<String> {
    let (kind, body) = match word {
        Word::Update(_) | Word::Step1(_) => return None,
        Word::Written(number) => ("written", number.to_string()),
        Word::Awareness(said) => ("awareness", hexadecimal(said)),
        Word::WhoIsThere => ("who", String::new()),
        Word::ServerLeft => ("left", String::new()),
        Word::Deleted => ("deleted", String::new()),
        Word::InvitationEnded(id) => ("uninvited", id.to_string()),
    };
    Some(format!("{:032x} {room} {kind} {body}", server.0))
}

/// The sender, and what it says if it says more than that it is there.
fn parse(message: &str) -> Option<(ServerId, Option<(RoomId, Word)>)> {
    let mut parts = message.splitn(4, ' ');
    let server = ServerId(u128::from_str_radix(parts.next()?, 16).ok()?);
    let Some(room) = parts.next().filter(|it| !it.is_empty()) else { return Some((server, None)) };
    let (room, kind, body) = (room.parse().ok()?, parts.next()?, parts.next()?);
    let word = match kind {
        "written" => Word::Written(body.parse().ok()?),
        "awareness" => Word::Awareness(bytes(body)?),
        "who" => Word::WhoIsThere,
        "left" => Word::ServerLeft,
        "deleted" => Word::Deleted,
        "uninvited" => Word::InvitationEnded(body.parse().ok()?),
        // A younger version may say more.
        _ => return Some((server, None)),
    };
    Some((server, Some((room, word))))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(text: &str) -> Option<Bytes> {
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    let byte = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    pairs.iter().map(byte).collect::<Option<Vec<u8>>>().map(Bytes::from)
}

async fn speak(own: ServerId, mut waiting: mpsc::Receiver<String>, pool: PgPool) {
    loop {
        let mut messages = Vec::new();
        // Without any for a while, one is sent for its own sake.
        match timeout(BEAT, waiting.recv_many(&mut messages, BATCH_MAX)).await {
            Ok(0) => return,
            Ok(_) => {}
            Err(_quiet) => messages.push(format!("{:032x}", own.0)),
        }
        let send = "SELECT pg_notify($1, message) FROM unnest($2::text[]) AS m (message)";
        let send = sqlx::query(send).bind(CHANNEL).bind(messages).execute(&pool);
        if !matches!(timeout(SEND, send).await, Ok(Ok(_))) {
            tracing::debug!("other gateways could not be told of rooms");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn listen(own: ServerId, pool: PgPool, heard: mpsc::Sender<Heard>) {
    let mut servers = HashMap::new();
    while !heard.is_closed() {
        if let Err(error) = listen_once(own, &pool, &heard, &mut servers).await {
            tracing::debug!("other gateways cannot be heard: {error}");
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Listens until the connection ends, or seems to.
async fn listen_once(
    own: ServerId,
    pool: &PgPool,
    heard: &mpsc::Sender<Heard>,
    servers: &mut HashMap<ServerId, Instant>,
) -> sqlx::Result<()> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.eager_reconnect(false);
    listener.listen(CHANNEL).await?;
    // Something may have been said before this was heard.
    let mut all = vec![Heard::Missed];
    let mut own_at = Instant::now();
    loop {
        let now = Instant::now();
        if now.duration_since(own_at) > SILENCE_MAX {
            // Not even we are heard.
            return Ok(());
        }
        servers.retain(|server, at| {
            let is_there = now.duration_since(*at) <= SILENCE_MAX;
            if !is_there {
                all.push(Heard::Gone(*server));
            }
            is_there
        });
        for heard_now in all.drain(..) {
            if heard.send(heard_now).await.is_err() {
                return Ok(());
            }
        }
        let Ok(message) = timeout(BEAT, listener.try_recv()).await else { continue };
        let Some(message) = message? else { return Ok(()) };
        match parse(message.payload()) {
            Some((server, _)) if server == own => own_at = Instant::now(),
            Some((server, said)) => {
                servers.insert(server, Instant::now());
                all.extend(said.map(|(room, word)| Heard::Word { server, room, word }));
            }
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invitation::InvitationId;

    #[test]
    fn a_word_is_heard_as_it_was_said() {
        let (server, room) = (ServerId(7), RoomId::random());
        let said = Bytes::from_static(&[0, 1, 0xfe, 0xff]);
        for word in [
            Word::Written(9),
            Word::Awareness(said),
            Word::WhoIsThere,
            Word::ServerLeft,
            Word::Deleted,
            Word::InvitationEnded(InvitationId::random()),
        ] {
            let message = write(server, &room, &word).unwrap();
            assert_eq!(parse(&message), Some((server, Some((room.clone(), word)))));
        }
        assert_eq!(parse(&format!("{:032x}", 7)), Some((server, None)));
        assert_eq!(parse(""), None);
        assert_eq!(parse("7 a awareness 0"), None);
        assert_eq!(parse("7 a song la"), Some((server, None)));
    }
}
