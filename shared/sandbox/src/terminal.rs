//! A terminal for a program. The server makes it and keeps the near end; the program gets the far
//! end as its three streams and as its controlling terminal, and nothing by which it could make
//! another one.
//!
//! Both ends are opened without a name of theirs being looked up, and neither becomes a terminal of
//! ours.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use rustix::fs::{Mode, OFlags, fchmod, fcntl_getfl, fcntl_setfl};
use rustix::process::ioctl_tiocsctty;
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{
    InputModes, OptionalActions, Winsize, isatty, tcgetattr, tcsetattr, tcsetwinsize,
};

/// The near end of a program's terminal.
#[derive(Debug)]
pub struct Terminal(OwnedFd);

/// The size of a terminal, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Columns.
    pub cols: u16,
    /// Rows.
    pub rows: u16,
}

/// Whether this process can make terminals at all.
pub fn can_make_terminals() -> bool {
    Terminal::make(Size { cols: 80, rows: 24 }).is_ok()
}

impl Terminal {
    /// A terminal, and its far end. The near end never blocks.
    pub(crate) fn make(size: Size) -> io::Result<(Self, OwnedFd)> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let near = openpt(flags)?;
        unlockpt(&near)?;
        let far = ioctl_tiocgptpeer(&near, flags)?;
        // Systems let a group write to terminals, so that its members can call each other.
        fchmod(&far, Mode::RUSR | Mode::WUSR)?;
        let mut modes = tcgetattr(&far)?;
        // An erased character is erased whole.
        modes.input_modes |= InputModes::IUTF8;
        tcsetattr(&far, OptionalActions::Now, &modes)?;
        fcntl_setfl(&near, fcntl_getfl(&near)? | OFlags::NONBLOCK)?;
        let terminal = Self(near);
        terminal.resize(size)?;
        Ok((terminal, far))
    }

    /// Makes it as large as that; the programs in its foreground are told by a signal.
    pub fn resize(&self, size: Size) -> io::Result<()> {
        let Size { cols, rows } = size;
        let winsize = Winsize { ws_row: rows, ws_col: cols, ws_xpixel: 0, ws_ypixel: 0 };
        Ok(tcsetwinsize(self.0.as_fd(), winsize)?)
    }

    /// Another handle of the near end.
    pub(crate) fn handle(&self) -> io::Result<OwnedFd> {
        self.0.try_clone()
    }
}

/// Makes what this process reads the terminal that controls its session, if it is one. The process
/// leads its session, which has none yet.
pub(crate) fn take_control() -> io::Result<()> {
    let stdin = io::stdin();
    if isatty(&stdin) {
        ioctl_tiocsctty(&stdin)?;
    }
    Ok(())
}
