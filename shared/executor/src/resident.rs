//! A compiler that stays: a confined process that compiles one program after the other, because it
//! takes long to start and gets faster as it goes. It is given the text of sources and gives back
//! the files that it made, so it needs no file of anybody's, and keeps nothing of what it compiled.
//!
//! Invariant: whatever is odd about it (silence, a word that it should not say, a program that it
//! gives up on) ends it or is passed over, and the compiler that starts anew decides.
//!
//! On its standard streams, numbers are 32 bits, the highest first, and texts their length and
//! UTF-8. A request is the number of options and each of them, the number of sources, and of each
//! its path and its content. An answer is one byte ([`Verdict`]), what the compiler prints, the
//! number of files, and of each its path and its content. It says [`READY`] before all answers.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::SourceFile;
use sandbox::Cell;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::pipe;
use tokio::sync::{Mutex, Notify};

use crate::core::{Allowance, Command, Core, Runtime};
use crate::language::Program;
use crate::pool::Held;
use crate::process::Fault;
use crate::spec::ResidentSpec;
use crate::workspace::Directories;

/// What it says when it can be asked.
const READY: u8 = b'r';

/// How long it may take to say that.
const START_PATIENCE: Duration = Duration::from_secs(20);

/// How long a compile waits for the one before, if that takes its time.
const BUSY_PATIENCE: Duration = Duration::from_millis(250);

/// How long a compile may take here; beyond it, a compiler that starts anew decides.
const COMPILE_PATIENCE: Duration = Duration::from_secs(5);

/// How long one lives at most.
const AGE_MAX: Duration = Duration::from_hours(1);

/// The largest answer, in bytes.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// The most files of an answer.
const FILES_MAX: usize = 4096;

/// The resident compiler of one runtime, or the next one.
#[derive(Debug)]
pub(crate) struct Resident {
    runtime: usize,
    live: Mutex<Option<Live>>,
    /// Another one is needed.
    wanted: Notify,
}

/// One that runs.
#[derive(Debug)]
struct Live {
    stdin: pipe::Sender,
    stdout: pipe::Receiver,
    since: Instant,
    compiles: u64,
    /// Goes before the directories and the place: it ends everything in it.
    _cell: Cell,
    _directories: Directories,
    _place: Held,
}

/// What came of a compile.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Whether there is a result.
    pub(crate) is_compiled: bool,
    /// What the compiler printed.
    pub(crate) output: String,
    /// What it made, by path.
    pub(crate) files: Vec<SourceFile>,
}

/// The first byte of an answer.
enum Verdict {
    Refused,
    Compiled,
    /// It cannot tell.
    GaveUp,
}

impl Resident {
    /// The one of a runtime; it has to be started.
    pub(crate) fn of(runtime: usize) -> Self {
        Self { runtime, live: Mutex::new(None), wanted: Notify::new() }
    }

    /// Compiles sources with a runtime; none if another compiler has to.
    pub(crate) async fn compile(
        &self,
        (runtime, spec): (usize, &ResidentSpec),
        options: &[String],
        sources: &[SourceFile],
    ) -> Option<Answer> {
        if runtime != self.runtime {
            return None;
        }
        let mut slot = tokio::time::timeout(BUSY_PATIENCE, self.live.lock()).await.ok()?;
        // Put back only after a whole answer: who leaves in between leaves nobody to be asked.
        let Some(mut live) = slot.take() else {
            self.wanted.notify_one();
            return None;
        };
        let asked = tokio::time::timeout(COMPILE_PATIENCE, live.ask(options, sources)).await;
        let answer = match asked {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => {
                tracing::warn!(%error, "the resident compiler is replaced");
                None
            }
            Err(_late) => {
                tracing::info!(
                    "the resident compiler takes too long over a program; it is replaced"
                );
                None
            }
        };
        live.compiles += 1;
        let is_spent = live.compiles >= spec.compiles_max || live.since.elapsed() > AGE_MAX;
        if answer.is_some() && !is_spent {
            *slot = Some(live);
        } else {
            drop(slot);
            self.wanted.notify_one();
        }
        answer
    }

    /// Starts one whenever there is none, until dropped.
    pub(crate) async fn keep(&self, core: &Arc<Core>, spec: &ResidentSpec) {
        const PAUSE: Duration = Duration::from_secs(2);
        loop {
            if self.live.lock().await.is_none() {
                match self.start(core, spec).await {
                    Ok(live) => *self.live.lock().await = Some(live),
                    Err(error) => {
                        tracing::warn!(%error, "the resident compiler does not start");
                        tokio::time::sleep(PAUSE).await;
                        continue;
                    }
                }
            }
            self.wanted.notified().await;
        }
    }

    /// Ends it.
    pub(crate) async fn end(&self) {
        drop(self.live.lock().await.take());
    }

    async fn start(&self, core: &Arc<Core>, spec: &ResidentSpec) -> anyhow::Result<Live> {
        let Some(runtime) = core.runtimes.get(self.runtime) else {
            anyhow::bail!("the runtime is gone");
        };
        let place = core.place()?;
        let made = core.make(crate::pool::Kind::Cell, place.uid()).await?;
        let policy = policy(core, runtime, spec, &made.directories)?;
        let (mut cell, directories) = (made.cell, made.directories);
        let running = cell.launch(&policy).map_err(Fault::from)?;
        drain(pipe::Receiver::from_owned_fd(running.stderr)?);
        let mut live = Live {
            stdin: pipe::Sender::from_owned_fd(running.stdin)?,
            stdout: pipe::Receiver::from_owned_fd(running.stdout)?,
            since: Instant::now(),
            compiles: 0,
            _cell: cell,
            _directories: directories,
            _place: place,
        };
        let ready = tokio::time::timeout(START_PATIENCE, live.stdout.read_u8()).await??;
        anyhow::ensure!(ready == READY, "it does not say that it is ready");
        Ok(live)
    }
}

fn policy(
    core: &Core,
    runtime: &Runtime,
    spec: &ResidentSpec,
    directories: &Directories,
) -> anyhow::Result<sandbox::Policy> {
    let memory_bytes = spec.memory_mb << 20;
    let values = core.values(runtime, &Program::none(), directories, memory_bytes);
    let none = BTreeMap::new();
    let command = Command {
        words: values.words(&spec.command)?,
        env: core.environment(&values, directories, &none, &none)?,
        ..Command::default()
    };
    // It waits most of that time, and is replaced before it is over.
    let allowance = Allowance { wall: 2 * AGE_MAX, cpu: 2 * AGE_MAX, memory_bytes };
    Ok(core.policy(runtime, directories, command, allowance))
}

/// Reads what nobody needs, so that nobody waits for it to be read.
fn drain(mut from: pipe::Receiver) {
    drop(tokio::spawn(async move {
        let mut buffer = [0; 4096];
        while matches!(from.read(&mut buffer).await, Ok(count) if count > 0) {}
    }));
}

impl Live {
    async fn ask(
        &mut self,
        options: &[String],
        sources: &[SourceFile],
    ) -> io::Result<Option<Answer>> {
        self.stdin.write_all(&request(options, sources)?).await?;
        let verdict = match self.stdout.read_u8().await? {
            0 => Verdict::Refused,
            1 => Verdict::Compiled,
            2 => Verdict::GaveUp,
            _ => return Err(io::Error::other("an answer begins with no verdict")),
        };
        let mut left = ANSWER_BYTES_MAX;
        let output = self.text(&mut left).await?;
        let mut files = Vec::new();
        let count = self.stdout.read_u32().await? as usize;
        if count > FILES_MAX {
            return Err(io::Error::other("an answer has too many files"));
        }
        for _ in 0..count {
            let path = self.text(&mut left).await?;
            let content = self.bytes(&mut left).await?;
            files.push(SourceFile { path, content });
        }
        let is_compiled = match verdict {
            Verdict::Refused => false,
            Verdict::Compiled => true,
            Verdict::GaveUp => return Ok(None),
        };
        Ok(Some(Answer { is_compiled, output, files }))
    }

    async fn text(&mut self, left: &mut usize) -> io::Result<String> {
        String::from_utf8(self.bytes(left).await?).map_err(io::Error::other)
    }

    async fn bytes(&mut self, left: &mut usize) -> io::Result<Vec<u8>> {
        let length = self.stdout.read_u32().await? as usize;
        *left =
            left.checked_sub(length).ok_or_else(|| io::Error::other("an answer is too long"))?;
        let mut bytes = Vec::new();
        let read = (&mut self.stdout).take(length as u64).read_to_end(&mut bytes).await?;
        if read == length { Ok(bytes) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }
}

fn request(options: &[String], sources: &[SourceFile]) -> io::Result<Vec<u8>> {
    let mut request = Vec::new();
    number(&mut request, options.len())?;
    for option in options {
        field(&mut request, option.as_bytes())?;
    }
    number(&mut request, sources.len())?;
    for source in sources {
        field(&mut request, source.path.as_bytes())?;
        field(&mut request, &source.content)?;
    }
    Ok(request)
}

fn field(request: &mut Vec<u8>, bytes: &[u8]) -> io::Result<()> {
    number(request, bytes.len())?;
    request.extend_from_slice(bytes);
    Ok(())
}

fn number(request: &mut Vec<u8>, number: usize) -> io::Result<()> {
    let number = u32::try_from(number).map_err(io::Error::other)?;
    request.extend_from_slice(&number.to_be_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_counts_and_lengths() {
        let source = SourceFile { path: "a".to_owned(), content: b"xy".to_vec() };
        let bytes = request(&["-g".to_owned()], &[source]).unwrap();
        assert_eq!(bytes, b"\0\0\0\x01\0\0\0\x02-g\0\0\0\x01\0\0\0\x01a\0\0\0\x02xy");
    }
}
