//! Stands between a client and a server, passes on what they say, and cuts or holds a connection at
//! the moment that a test names.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::{JoinHandle, JoinSet};

/// What is remembered of what a client said on a connection, in bytes.
const REMEMBERED: usize = 16 * 1024;
/// No moment is waited for longer.
const PATIENCE: Duration = Duration::from_mins(1);

/// When a connection is cut or held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// The request does not get there.
    Before,
    /// It gets there, and nobody waits for what comes of it.
    Sent,
    /// It gets there, and what comes of it does not come back.
    After,
}

/// What is done then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deed {
    /// The connection is gone.
    Cut,
    /// Nothing goes either way any more.
    Hold,
}

/// A moment, and what is done then.
#[derive(Debug, Clone)]
pub(crate) struct Moment {
    /// What a client says, one of these.
    pub(crate) words: Vec<Vec<u8>>,
    /// What it says later on the same connection, before it is time.
    pub(crate) then: Option<&'static [u8]>,
    pub(crate) when: When,
    pub(crate) deed: Deed,
}

/// What stands between.
pub(crate) struct Between {
    port: u16,
    plan: Arc<Plan>,
    serving: JoinHandle<()>,
}

#[derive(Default)]
struct Plan {
    moment: Mutex<Option<Moment>>,
    /// Which plan it is: what was said before it does not count.
    number: AtomicUsize,
    is_done: AtomicBool,
    done: Notify,
}

impl Drop for Between {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Between {
    /// Stands before the server at a port of loopback.
    pub(crate) async fn start(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let plan = Arc::<Plan>::default();
        let shared = Arc::clone(&plan);
        let serving = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let plan = Arc::clone(&shared);
                connections.spawn(async move { drop(pass_on(client, server, &plan).await) });
                while connections.try_join_next().is_some() {}
            }
        });
        Self { port, plan, serving }
    }

    /// Where it listens.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Has something done once, when the moment comes.
    pub(crate) fn plan(&self, moment: Moment) {
        let mut planned = self.plan.moment.lock().unwrap();
        self.plan.is_done.store(false, Ordering::SeqCst);
        self.plan.number.fetch_add(1, Ordering::SeqCst);
        *planned = Some(moment);
    }

    /// Whether what was planned is done.
    pub(crate) fn is_done(&self) -> bool {
        self.plan.is_done.load(Ordering::SeqCst)
    }

    /// Waits for that.
    pub(crate) async fn done(&self) {
        let done = async {
            loop {
                let done = self.plan.done.notified();
                tokio::pin!(done);
                done.as_mut().enable();
                if self.is_done() {
                    return;
                }
                done.await;
            }
        };
        tokio::time::timeout(PATIENCE, done).await.unwrap();
    }
}

impl Plan {
    /// The moment, if this is the one: then it is nobody else's.
    fn take(&self, said: &[u8]) -> Option<Moment> {
        let mut moment = self.moment.lock().unwrap();
        let is_now = moment.as_ref().is_some_and(|it| it.is_now(said));
        if is_now { moment.take() } else { None }
    }

    fn put_back(&self, moment: Option<Moment>) {
        let mut planned = self.moment.lock().unwrap();
        *planned = planned.take().or(moment);
    }
}

impl Moment {
    fn is_now(&self, said: &[u8]) -> bool {
        let ends = self.words.iter().filter_map(|it| Some(find(said, it)? + it.len()));
        let Some(end) = ends.min() else { return false };
        self.then.is_none_or(|then| find(&said[end..], then).is_some())
    }
}

fn find(text: &[u8], word: &[u8]) -> Option<usize> {
    text.windows(word.len()).position(|it| it == word)
}

async fn pass_on(client: TcpStream, server: u16, plan: &Plan) -> io::Result<()> {
    let server = TcpStream::connect(("127.0.0.1", server)).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let (mut said, mut awaited) = (Vec::new(), None::<Moment>);
    let mut number = plan.number.load(Ordering::SeqCst);
    let (mut one, mut other) = (vec![0; 16 * 1024], vec![0; 16 * 1024]);
    let deed = loop {
        tokio::select! {
            count = from_client.read(&mut one) => {
                let count = count?;
                if count == 0 {
                    // It did not wait for what was to be kept from it, so that is for the next.
                    plan.put_back(awaited);
                    return Ok(());
                }
                if number != plan.number.load(Ordering::SeqCst) {
                    number = plan.number.load(Ordering::SeqCst);
                    said.clear();
                }
                said.extend_from_slice(&one[..count]);
                let moment = plan.take(&said);
                said.drain(..said.len().saturating_sub(REMEMBERED));
                match moment {
                    Some(Moment { when: When::Before, deed, .. }) => break deed,
                    Some(Moment { when: When::Sent, deed, .. }) => {
                        to_server.write_all(&one[..count]).await?;
                        break deed;
                    }
                    moment => awaited = awaited.or(moment),
                }
                to_server.write_all(&one[..count]).await?;
            }
            count = from_server.read(&mut other) => {
                let count = count?;
                if count == 0 {
                    return Ok(());
                }
                if let Some(moment) = awaited {
                    break moment.deed;
                }
                to_client.write_all(&other[..count]).await?;
            }
        }
    };
    plan.is_done.store(true, Ordering::SeqCst);
    plan.done.notify_waiters();
    if deed == Deed::Hold {
        std::future::pending::<()>().await;
    }
    Ok(())
}
