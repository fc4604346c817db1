//! What the server tells the spawner: first what to lay below all cells, and then one packet
//! a request, with a descriptor.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

use crate::view::Foundation;

/// A request, with the descriptor that goes with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Request {
    /// Fork a reaper; with its control socket.
    Launch,
    /// Tell when nothing is left of the run of this reaper, which died; with a socket for that.
    Settle(i32),
}

const LAUNCH: u8 = b'l';
const SETTLE: u8 = b's';

/// Largest description of a file tree: some dozens of paths.
const FOUNDATION_BYTES_MAX: usize = 64 * 1024;

/// Descriptors that go with a request.
const DESCRIPTORS_MAX: usize = 1;

/// Sends what every cell is to lie on, if anything.
pub(crate) fn send_foundation(
    socket: BorrowedFd<'_>,
    foundation: Option<&Foundation>,
) -> io::Result<()> {
    let packet = serde_json::to_vec(&foundation)?;
    if packet.len() > FOUNDATION_BYTES_MAX {
        return Err(io::Error::other("the toolchains have too many paths"));
    }
    rustix::net::send(socket, &packet, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Receives it.
pub(crate) fn receive_foundation(socket: BorrowedFd<'_>) -> io::Result<Option<Foundation>> {
    let mut packet = vec![0; FOUNDATION_BYTES_MAX];
    let (length, _) = rustix::net::recv(socket, packet.as_mut_slice(), RecvFlags::empty())?;
    Ok(serde_json::from_slice(packet.get(..length).unwrap_or_default())?)
}

/// Sends a request.
pub(crate) fn send(
    socket: BorrowedFd<'_>,
    request: Request,
    far: BorrowedFd<'_>,
) -> rustix::io::Result<()> {
    let (kind, process) = match request {
        Request::Launch => (LAUNCH, 0),
        Request::Settle(process) => (SETTLE, process),
    };
    let [one, two, three, four] = process.to_le_bytes();
    let packet = [kind, one, two, three, four];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let far = [far];
    ancillary.push(SendAncillaryMessage::ScmRights(&far));
    sendmsg(socket, &[IoSlice::new(&packet)], &mut ancillary, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Receives a request; none when the server is gone.
pub(crate) fn receive(socket: BorrowedFd<'_>) -> io::Result<Option<(Request, OwnedFd)>> {
    let mut packet = [0; 5];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC;
    let received = recvmsg(socket, &mut [IoSliceMut::new(&mut packet)], &mut ancillary, flags)?;
    if received.bytes == 0 {
        return Ok(None);
    }
    let mut far = None;
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            far = descriptors.last();
        }
    }
    let Some(far) = far else {
        return Err(io::Error::other("a request came without its descriptor"));
    };
    match packet {
        [LAUNCH, ..] => Ok(Some((Request::Launch, far))),
        [SETTLE, process @ ..] => Ok(Some((Request::Settle(i32::from_le_bytes(process)), far))),
        _ => Err(io::Error::other("the server asks for something unknown")),
    }
}

#[cfg(test)]
mod properties;
