//! How a room begins: with what the store has of it, or not at all.

use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::mpsc;

use super::Means;
use crate::home::Housed;
use crate::limits::Close;
use crate::order::Order;
use crate::words::RoomId;

/// The document of a room with what is not written yet, the number of its last update, and how many its
/// snapshot lacks.
pub(super) async fn load(
    id: &RoomId,
    means: &Means,
    unsaved: Vec<Bytes>,
) -> Result<(Housed, u64, usize), Close> {
    let loaded = means.store.load(id.clone(), 0, Timestamp::now()).await;
    let loaded = loaded.map_err(|error| {
        tracing::error!(room.id = %id, "a room cannot be read: {error}");
        Close::from(&error)
    })?;
    let loaded = loaded.ok_or(Close::NoRoom)?;
    let (behind, has_snapshot) = (loaded.updates.len(), loaded.snapshot.is_some());
    let updates = loaded.snapshot.into_iter().chain(loaded.updates);
    let updates: Vec<Bytes> = updates.chain(unsaved).collect();
    let (document, broken) = Housed::load(means.home, &updates).map_err(|error| {
        tracing::error!(room.id = %id, "the document of a room cannot be read: {error}");
        Close::Resync
    })?;
    if has_snapshot && broken.contains(&0) {
        // What is written next would stand in its place.
        tracing::error!(room.id = %id, "the snapshot of a room breaks; the room stays closed");
        return Err(Close::Resync);
    }
    if !broken.is_empty() {
        let broken = broken.len();
        tracing::error!(room.id = %id, broken, "a document is read without changes that break it");
    }
    Ok((document, loaded.number, behind))
}

/// Tells everybody who comes that it does not work.
pub(super) async fn refuse(orders: &mut mpsc::Receiver<Order>, close: Close) {
    orders.close();
    while let Some(order) = orders.recv().await {
        match order {
            Order::Join { reply, .. } | Order::NoteRun { reply, .. } => {
                reply.send(Err(close)).unwrap_or_default();
            }
            Order::Drain
            | Order::Look { .. }
            | Order::Frame { .. }
            | Order::Leave { .. }
            | Order::Heard { .. }
            | Order::Missed
            | Order::EndInvitation { .. }
            | Order::Delete => {}
        }
    }
}
