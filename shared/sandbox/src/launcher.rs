//! The spawner process itself: single-threaded, small, and without a secret.

use std::collections::HashSet;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{
    DumpableBehavior, Pid, getegid, geteuid, getpid, set_child_subreaper, set_dumpable_behavior,
};
use rustix::stdio::dup2_stdin;

use crate::packet::{self, Request};
use crate::reaper::{self, Apart};
use crate::sys::descriptors::HAND_OVER;
use crate::sys::namespaces::{fork_apart, needs_user_namespace};
use crate::sys::process::{Fork, exit, fork};
use crate::view::Foundation;
use crate::warden::{PATIENCE, pause, reap_one, sweep};
use crate::zygote::Becomes;

/// First argument of a process that is the spawner.
pub(crate) const ARGUMENT: &str = "sandbox-spawner";

/// Takes over the socket that the server passed on as standard input.
pub(crate) fn serve_from_stdin() -> ! {
    // The socket is this process's alone, so it gets a number that is not promised to others;
    // standard output leads nowhere, which is as good an input.
    let socket = fcntl_dupfd_cloexec(io::stdin(), HAND_OVER);
    match socket.and_then(|it| dup2_stdin(io::stdout()).map(|()| it)) {
        Ok(socket) => serve(socket, Becomes::Executed),
        Err(_) => exit(1),
    }
}

/// Forks a reaper for every launch, until the server's end of `socket` closes.
pub(crate) fn serve(socket: OwnedFd, becomes: Becomes<'_>) -> ! {
    let prepared = set_child_subreaper(Some(getpid()))
        .and_then(|()| set_dumpable_behavior(DumpableBehavior::NotDumpable));
    if prepared.is_err() {
        exit(1);
    }
    let foundation = packet::receive_foundation(socket.as_fd()).map_err(|it| it.to_string());
    let apart = match foundation.and_then(|it| it.map(leave).transpose()) {
        Ok(apart) => apart,
        Err(error) => {
            complain(&error);
            exit(1);
        }
    };
    let mut reapers = HashSet::new();
    loop {
        let ready = wait_for_packet(socket.as_fd(), !reapers.is_empty());
        reap(&mut reapers);
        if !ready {
            continue;
        }
        match packet::receive(socket.as_fd()) {
            Ok(Some((Request::Launch, far))) => match fork_reaper(apart.is_some()) {
                Ok(Fork::Child) => {
                    // It must close when the spawner dies.
                    drop(socket);
                    reaper::serve(far, apart.as_ref(), becomes)
                }
                Ok(Fork::Parent(pid)) => {
                    reapers.insert(pid);
                }
                // Closing the control socket tells the server.
                Err(_) => {}
            },
            Ok(Some((Request::Settle(reaper), far))) => {
                answer(far, settle(reaper, &mut reapers));
            }
            // The server is gone; reapers see that by themselves and end their runs.
            Ok(None) | Err(_) => exit(0),
        }
    }
}

/// Leaves the host's namespaces for a file tree that runs share.
fn leave(foundation: Foundation) -> Result<Apart, String> {
    let user = needs_user_namespace().then(|| (geteuid().as_raw(), getegid().as_raw()));
    foundation.lay().map_err(|it| format!("{}: {}", it.step, it.error))?;
    Ok(Apart { foundation, user })
}

/// Tells on standard error why this process ends.
fn complain(error: &str) {
    writeln!(io::stderr(), "the spawner could not start: {error}").unwrap_or_default();
}

/// Waits for a packet; while reapers live it looks up now and then to reap them.
fn wait_for_packet(socket: BorrowedFd<'_>, reapers_live: bool) -> bool {
    let moment = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
    let mut polled = [PollFd::from_borrowed_fd(socket, PollFlags::IN)];
    let ready = poll(&mut polled, reapers_live.then_some(&moment));
    ready.is_ok_and(|count| count > 0)
}

/// Reaps reapers. One that did not end well leaves orphans, which are killed.
fn reap(reapers: &mut HashSet<Pid>) {
    let mut stray = false;
    while let Some((pid, status)) = reap_one() {
        let ended_well = reapers.remove(&pid) && status.exit_status() == Some(0);
        stray |= !ended_well;
    }
    if stray {
        sweep(reapers);
    }
}

/// Waits until a reaper that is dying is dead, and everything of its run too. Its sockets close
/// before it can be reaped, so whoever asks may be early.
fn settle(reaper: i32, reapers: &mut HashSet<Pid>) -> bool {
    let reaper = Pid::from_raw(reaper);
    let deadline = Instant::now() + PATIENCE;
    while reaper.is_some_and(|pid| reapers.contains(&pid)) && Instant::now() < deadline {
        reap(reapers);
        pause(Duration::from_millis(1));
    }
    if let Some(reaper) = reaper {
        // One that will not die is a stray itself.
        reapers.remove(&reaper);
    }
    sweep(reapers)
}

fn fork_reaper(is_apart: bool) -> io::Result<Fork> {
    if is_apart { fork_apart() } else { fork() }
}

fn answer(far: OwnedFd, clean: bool) {
    let answer = if clean { b"y" } else { b"n" };
    // Perhaps nobody waits for it any more.
    UnixStream::from(far).write_all(answer).unwrap_or_default();
}
