//! Tells other gateways on the same store of the workers that this one hears, and hears of theirs: a
//! worker calls one gateway, and whoever asks about it, or has it drained, may call another.

use std::sync::Arc;
use std::time::Duration;

use protocol::ExecutorInfo;
use protocol::worker::Action;
use queue::{Board, JobStore, Noted, Notice, StoreError};
use serde::{Deserialize, Serialize};

use super::known::{Other, WorkerView};
use super::workers::Workers;

/// How often that is.
const SHARE: Duration = Duration::from_secs(2);

/// What one gateway tells of a worker.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Told {
    /// Which start of it.
    pub(super) incarnation: String,
    pub(super) info: ExecutorInfo,
    pub(super) queues: Vec<String>,
    /// As operators see it.
    pub(super) view: WorkerView,
}

/// What a worker is to do: an order to one start of it, which is carried out once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Order {
    /// Which order it is.
    pub(super) id: String,
    pub(super) incarnation: String,
    pub(super) action: Action,
}

/// Shares what is known of workers until it is dropped, if there is anybody to share it with.
pub(super) async fn share(store: Arc<dyn JobStore>, workers: Arc<Workers>) {
    let Some(board) = store.board() else { return };
    loop {
        if let Err(error) = share_once(board, &workers).await {
            tracing::warn!("other gateways do not hear of workers: {error}");
        }
        tokio::time::sleep(SHARE).await;
    }
}

async fn share_once(board: &dyn Board, workers: &Workers) -> Result<(), StoreError> {
    let news = workers.news().into_iter().filter_map(|(worker, told)| {
        let body = serde_json::to_vec(&told).ok()?;
        Some(Notice { worker, body })
    });
    let news: Vec<Notice> = news.collect();
    if !news.is_empty() {
        board.note(news).await?;
    }
    let mut others = Vec::new();
    for Noted { notice, age, order } in board.noted().await? {
        let order = order.and_then(|it| serde_json::from_str::<Order>(&it).ok());
        if let Some(order) = order {
            workers.carry_out(&notice.worker, &order);
        }
        // Another version of this program may tell it in other words.
        if let Ok(told) = serde_json::from_slice::<Told>(&notice.body) {
            others.push(Other::new(notice.worker, told, age));
        }
    }
    workers.hear_of(others);
    Ok(())
}
