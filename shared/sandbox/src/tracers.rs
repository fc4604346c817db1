//! Pipes whose write ends are sent away, to see what becomes of them: a pipe ends when its last
//! write end is closed, whatever other threads open and close meanwhile.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::fstat;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::pipe::{PipeFlags, pipe_with};

/// How long anything may take that has nothing to wait for. Only faults come near it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Most descriptors that [`send`] passes on.
const DESCRIPTORS_MAX: usize = 8;

/// The read end of a pipe whose write end is somewhere.
#[derive(Debug)]
pub(crate) struct Tracer(OwnedFd);

impl Tracer {
    /// Makes some pipes: what stays here, and what can be sent away.
    pub(crate) fn make(count: usize) -> (Vec<Self>, Vec<OwnedFd>) {
        let pipe = |_| pipe_with(PipeFlags::CLOEXEC).unwrap();
        (0..count).map(pipe).map(|(reader, writer)| (Self(reader), writer)).unzip()
    }

    /// Whether `descriptor` is an end of this pipe.
    pub(crate) fn leads_to(&self, descriptor: &OwnedFd) -> bool {
        let (own, other) = (fstat(&self.0).unwrap(), fstat(descriptor).unwrap());
        (own.st_dev, own.st_ino) == (other.st_dev, other.st_ino)
    }

    /// Checks that nobody has the write end any more.
    pub(crate) fn check_closed(&self) {
        assert!(self.is_closed_within(PATIENCE), "somebody keeps a descriptor");
    }

    fn is_closed_within(&self, patience: Duration) -> bool {
        let mut polled = [PollFd::new(&self.0, PollFlags::IN)];
        let patience = Timespec::try_from(patience).unwrap();
        poll(&mut polled, Some(&patience)).unwrap();
        polled[0].revents().contains(PollFlags::HUP)
    }
}

/// Sends bytes with descriptors, whoever is to understand them.
pub(crate) fn send(socket: BorrowedFd<'_>, bytes: &[u8], descriptors: &[OwnedFd]) {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let descriptors: Vec<_> = descriptors.iter().map(|it| it.as_fd()).collect();
    if !descriptors.is_empty() {
        assert!(ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)));
    }
    let sent = sendmsg(socket, &[IoSlice::new(bytes)], &mut ancillary, SendFlags::NOSIGNAL);
    assert_eq!(sent.unwrap(), bytes.len());
}

#[test]
fn a_tracer_sees_that_a_descriptor_is_kept() {
    let (tracers, writers) = Tracer::make(2);
    let kept = writers[0].try_clone().unwrap();
    drop(writers);
    assert!(!tracers[0].is_closed_within(Duration::ZERO));
    tracers[1].check_closed();
    drop(kept);
    tracers[0].check_closed();
}
