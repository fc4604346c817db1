//! What the server and a reaper tell each other over the control socket: length-prefixed JSON,
//! some of it with descriptors, and single bytes for commands.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{Assignment, Policy};

/// Largest body of a message: a policy with the largest arguments and environment, escaped.
const BYTES_MAX: usize = 2 * 1024 * 1024;

/// How the program itself ended, by the kernel's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit {
    /// It exited with this code.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
}

/// Why a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum EndReason {
    /// The program ended by itself.
    Exited,
    /// The wall clock ran out.
    WallTime,
    /// The tree used up its processor time.
    CpuTime,
    /// The tree used more memory than it may.
    Memory,
    /// The server stopped it: it wrote too much.
    Output,
    /// The server stopped it: nobody wants it any more.
    Cancelled,
}

/// How a run ended and what it spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// How the program ended.
    pub exit: Exit,
    /// Why.
    pub reason: EndReason,
    /// From the program's first instruction to its end, in microseconds.
    pub wall_us: u64,
    /// Processor time of the whole tree, in microseconds.
    pub cpu_us: u64,
    /// Peak memory of the tree, in bytes.
    pub memory_bytes: u64,
    /// Whether the kernel counted memory and processor time of the whole tree. If not, they were
    /// sampled, and are possibly a little low.
    pub exact: bool,
    /// Whether nothing of the run is left. If not, its slot must not be used again.
    pub clean: bool,
}

/// What a run has spent so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// From the program's first instruction, in microseconds.
    pub wall_us: u64,
    /// Processor time of the whole tree, in microseconds.
    pub cpu_us: u64,
    /// Peak memory of the tree, in bytes.
    pub memory_bytes: u64,
    /// Processes that there are now.
    pub processes: u64,
}

/// What a reaper says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// The reaper exists; its process id, for whoever sweeps strays.
    Hello {
        /// Process id of the reaper.
        pid: i32,
    },
    /// The cell is ready for an order, or its process waits for a program. Where the cell has a file
    /// system of its own, the root of that goes with the first of these.
    Ready {
        /// Memory that is in use already, in bytes, and is not the program's.
        baseline_bytes: u64,
    },
    /// The process that waited for a program is gone; nothing of the program ran.
    Gone,
    /// An order for a run arrived; what comes of it is told next.
    Accepted,
    /// The program was executed.
    Started,
    /// What the run has spent so far: the server asked.
    Usage(Usage),
    /// A step of the cell or of the launch failed; nothing of the program ran.
    Failed {
        /// Which step.
        step: String,
        /// The system's error number.
        errno: i32,
    },
    /// The run ended, and everything of it is gone. The cell takes another policy.
    Ended(Ended),
}

impl Message {
    /// Takes the first whole message out of `buffer`; none if there is none yet.
    ///
    /// # Errors
    ///
    /// Whoever wrote it was no reaper.
    pub fn decode(buffer: &mut Vec<u8>) -> io::Result<Option<Self>> {
        let Some(length) = buffer.first_chunk::<4>() else { return Ok(None) };
        let end = 4 + body_length(*length)?;
        let Some(body) = buffer.get(4..end) else { return Ok(None) };
        let message = serde_json::from_slice(body)?;
        buffer.drain(..end);
        Ok(Some(message))
    }
}

/// What the server asks of a cell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Order {
    /// Start a program, and see it to its end. Its streams go with it.
    Run(Policy),
    /// Start a process that waits for its program. The streams of that go with it.
    Warm(Policy),
    /// Tell the process that waits what its program is, and see it to its end.
    HandOver(Assignment),
}

/// A request to end a run: one byte on its control socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The run wrote too much.
    Output,
    /// Nobody wants the run any more.
    Cancelled,
}

impl Stop {
    /// The byte to write.
    pub fn byte(self) -> u8 {
        match self {
            Self::Output => b'o',
            Self::Cancelled => b'c',
        }
    }

    /// Why a run ends that got this byte; none for a byte that is no request.
    pub(crate) fn reason(byte: u8) -> Option<EndReason> {
        match byte {
            b'o' => Some(EndReason::Output),
            b'c' => Some(EndReason::Cancelled),
            _ => None,
        }
    }
}

/// A signal for a program that runs: one byte on its control socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// What Ctrl-C sends.
    Interrupt,
    /// What asks a program to end.
    Terminate,
    /// What ends it.
    Kill,
}

impl Signal {
    const ALL: [Self; 3] = [Self::Interrupt, Self::Terminate, Self::Kill];

    /// The byte to write.
    pub fn byte(self) -> u8 {
        match self {
            Self::Interrupt => b'i',
            Self::Terminate => b't',
            Self::Kill => b'k',
        }
    }

    /// The signal of a byte; none if it stands for none.
    pub(crate) fn of(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.byte() == byte)
    }
}

/// A question what a run has spent so far: one byte on its control socket.
pub const ASK_USAGE: u8 = b'u';

/// Most descriptors that go with a message.
const DESCRIPTORS_MAX: usize = 4;

/// Writes one message.
pub(crate) fn send<T: Serialize>(mut to: impl Write, message: &T) -> io::Result<()> {
    to.write_all(&packet(message)?)?;
    to.flush()
}

/// Writes one message and passes descriptors on with it.
pub(crate) fn send_with<T: Serialize>(
    mut to: &UnixStream,
    message: &T,
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let packet = packet(message)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        ancillary.push(SendAncillaryMessage::ScmRights(descriptors));
    }
    let sent = sendmsg(to.as_fd(), &[IoSlice::new(&packet)], &mut ancillary, SendFlags::NOSIGNAL)?;
    to.write_all(packet.get(sent..).unwrap_or_default())
}

/// Reads one message.
pub(crate) fn receive<T: DeserializeOwned>(mut from: impl Read) -> io::Result<T> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    receive_body(from, length)
}

/// Reads one message and the descriptors that came with it; none when nobody will write any
/// more.
pub(crate) fn receive_with<T: DeserializeOwned>(
    mut from: &UnixStream,
) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let mut length = [0; 4];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut head = [IoSliceMut::new(&mut length)];
    let received = recvmsg(from.as_fd(), &mut head, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?.bytes;
    if received == 0 {
        return Ok(None);
    }
    let mut descriptors = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(more) = message {
            descriptors.extend(more);
        }
    }
    from.read_exact(length.get_mut(received..).unwrap_or_default())?;
    Ok(Some((receive_body(from, length)?, descriptors)))
}

fn packet<T: Serialize>(message: &T) -> io::Result<Vec<u8>> {
    let body = serde_json::to_vec(message)?;
    let length = u32::try_from(body.len()).map_err(io::Error::other)?.to_le_bytes();
    body_length(length)?;
    let mut packet = length.to_vec();
    packet.extend(body);
    Ok(packet)
}

fn receive_body<T: DeserializeOwned>(mut from: impl Read, length: [u8; 4]) -> io::Result<T> {
    let mut body = vec![0; body_length(length)?];
    from.read_exact(&mut body)?;
    Ok(serde_json::from_slice(&body)?)
}

/// The length of a message, if it may be as long as that: whoever sends it and whoever receives
/// it, in whatever way, are of one mind.
fn body_length(length: [u8; 4]) -> io::Result<usize> {
    let length = u32::from_le_bytes(length) as usize;
    if length > BYTES_MAX {
        return Err(io::Error::other("a message is too long"));
    }
    Ok(length)
}

#[cfg(test)]
mod properties;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_comes_out_once_it_is_whole() {
        let mut packet = Vec::new();
        send(&mut packet, &Message::Started).unwrap();
        send(&mut packet, &Message::Hello { pid: 7 }).unwrap();
        let mut buffer = Vec::new();
        let mut found = Vec::new();
        for byte in packet {
            buffer.push(byte);
            found.extend(Message::decode(&mut buffer).unwrap());
        }
        assert_eq!(found, [Message::Started, Message::Hello { pid: 7 }]);
        assert!(buffer.is_empty());
    }

    #[test]
    fn a_length_beyond_reason_is_refused() {
        assert!(Message::decode(&mut vec![255; 8]).is_err());
        assert!(receive::<Message>(&[255_u8; 8][..]).is_err());
    }
}
