//! Sends what servers are told.

use std::sync::Arc;

use redis::aio::MultiplexedConnection;
use redis::{Client, RedisResult};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::waiting::Waiting;
use super::{AGAIN, BEAT, CHANNEL, Complaint, connect, message};
use crate::bus::{Heard, ServerId};

/// Sends what waits, and that `own` is there.
pub(super) async fn speak(
    own: ServerId,
    waiting: Arc<Waiting>,
    (client, connection): (Client, MultiplexedConnection),
    heard: mpsc::Sender<Heard>,
) {
    let (mut connection, mut complaint) = (Some(connection), Complaint::default());
    let mut beats = interval(BEAT);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let is_beat = tokio::select! {
            () = waiting.something() => false,
            _ = beats.tick() => {
                waiting.push(message::beat(own));
                true
            }
        };
        let sent = send_all(&waiting, &client, &mut connection).await;
        complaint.note("other gateways are told of rooms", &sent);
        if sent.is_err() {
            connection = None;
            waiting.lose();
            sleep(AGAIN).await;
        } else if is_beat && waiting.take_lost() && heard.send(Heard::Missed).await.is_err() {
            return;
        }
    }
}

async fn send_all(
    waiting: &Waiting,
    client: &Client,
    connection: &mut Option<MultiplexedConnection>,
) -> RedisResult<()> {
    let connection = match connection {
        Some(connection) => connection,
        None => connection.insert(connect(client).await?),
    };
    loop {
        let batch = waiting.take();
        if batch.is_empty() {
            return Ok(());
        }
        let mut pipe = redis::pipe();
        for message in &batch {
            pipe.publish(CHANNEL, message).ignore();
        }
        pipe.exec_async(connection).await?;
    }
}
