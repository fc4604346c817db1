//! Somebody in a room, as the connection sees it.

use std::sync::Arc;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::limits::Close;
use crate::order::Order;
use crate::outbox::{Out, Outbox};
use crate::words::Role;

/// Somebody in a room, until this is dropped.
#[derive(Debug)]
pub struct Member {
    pub(crate) connection: u64,
    pub(crate) role: Role,
    pub(crate) orders: mpsc::Sender<Order>,
    pub(crate) outbox: Arc<Outbox>,
    /// Where rooms run.
    pub(crate) handle: Handle,
}

impl Member {
    /// What it may do.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Hands the room what the client sent, and waits until there is place for it. Whatever comes of
    /// it comes by [`Self::next`].
    pub async fn send(&self, frame: Bytes) {
        let order = Order::Frame { connection: self.connection, frame };
        if self.orders.send(order).await.is_err() {
            self.outbox.close(Close::Resync);
        }
    }

    /// Waits for what is to be done for the client. Behind the end there is only the end.
    pub async fn next(&self) -> Out {
        self.outbox.next().await
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let (orders, connection) = (self.orders.clone(), self.connection);
        self.handle.spawn(async move {
            // A room that has ended has let everybody go.
            drop(orders.send(Order::Leave { connection }).await);
        });
    }
}
