//! Hears what other servers say, and who of them says nothing any more.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use redis::aio::PubSub;
use redis::{Client, RedisResult, Value};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::{AGAIN, ANSWER, BEAT, CHANNEL, CONNECT, Complaint, SILENCE_MAX, message, silence};
use crate::bus::{Heard, ServerId};

/// How long a word waits for rooms to have time for it. The library keeps what comes meanwhile.
const PATIENCE: Duration = Duration::from_secs(1);

/// Hears others than `own`, as long as somebody wants to know.
pub(super) async fn listen(own: ServerId, client: Client, heard: mpsc::Sender<Heard>) {
    let mut ear = Ear { own, heard, servers: HashMap::new(), has_missed: true };
    let mut complaint = Complaint::default();
    while !ear.heard.is_closed() {
        let connected = connect(&client).await;
        complaint.note("other gateways are heard of rooms", &connected);
        if let Ok(connection) = connected {
            ear.hear(connection).await;
        }
        sleep(AGAIN).await;
    }
}

async fn connect(client: &Client) -> RedisResult<PubSub> {
    let connect = async {
        let mut connection = client.get_async_pubsub().await?;
        connection.subscribe(CHANNEL).await?;
        Ok(connection)
    };
    timeout(CONNECT, connect).await.unwrap_or_else(|_elapsed| Err(silence()))
}

struct Ear {
    own: ServerId,
    heard: mpsc::Sender<Heard>,
    /// When each was last heard.
    servers: HashMap<ServerId, Instant>,
    /// Rooms do not know yet that something was not heard.
    has_missed: bool,
}

impl Ear {
    /// Hears until the connection is lost.
    async fn hear(&mut self, connection: PubSub) {
        let (mut sink, mut messages) = connection.split();
        // Something may have been said before this was heard, and nobody is to blame for silence.
        self.has_missed = true;
        let now = Instant::now();
        self.servers.values_mut().for_each(|it| *it = now);
        let mut beats = interval(BEAT);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                message = messages.next() => match message {
                    Some(message) => self.take(message.get_payload_bytes()).await,
                    None => return,
                },
                _ = beats.tick() => match timeout(ANSWER, sink.ping::<Value>()).await {
                    Ok(Ok(_pong)) => self.look(Instant::now()).await,
                    _ => return,
                },
            }
        }
    }

    async fn take(&mut self, message: &[u8]) {
        let Some((server, said)) = message::parse(message) else { return };
        if server == self.own {
            return;
        }
        self.servers.insert(server, Instant::now());
        if let Some((room, word)) = said {
            self.tell(Heard::Word { server, room, word }).await;
        }
    }

    /// Tells of what was missed, and of who is gone.
    async fn look(&mut self, now: Instant) {
        if self.has_missed {
            self.has_missed = self.heard.try_send(Heard::Missed).is_err();
        }
        let is_gone = |at: &Instant| now.saturating_duration_since(*at) > SILENCE_MAX;
        let gone = self.servers.iter().filter(|(_, at)| is_gone(at)).map(|(server, _)| *server);
        for server in gone.collect::<Vec<_>>() {
            self.tell(Heard::Gone(server)).await;
            if self.has_missed {
                return;
            }
            self.servers.remove(&server);
        }
    }

    async fn tell(&mut self, heard: Heard) {
        if !self.has_missed {
            self.has_missed = self.heard.send_timeout(heard, PATIENCE).await.is_err();
        }
    }
}
