//! Somebody who listens on every kind of socket, and must never hear anything.

use std::io::ErrorKind;
use std::net::{TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};

pub(crate) struct Listeners {
    tcp: TcpListener,
    udp: UdpSocket,
    stream: UnixListener,
    datagram: UnixDatagram,
    abstract_stream: UnixListener,
    abstract_datagram: UnixDatagram,
    abstract_name: String,
    directory: PathBuf,
}

impl Listeners {
    /// Opens them all; those with paths in `directory`, for everybody.
    pub(crate) fn open(directory: &Path) -> Self {
        let directory = directory.to_owned();
        let abstract_name = format!("flotilla-canary-{}", directory.display());
        let name =
            |kind: &str| SocketAddr::from_abstract_name(format!("{abstract_name}-{kind}")).unwrap();
        let listeners = Self {
            tcp: TcpListener::bind("127.0.0.1:0").unwrap(),
            udp: UdpSocket::bind("127.0.0.1:0").unwrap(),
            stream: UnixListener::bind(directory.join("stream")).unwrap(),
            datagram: UnixDatagram::bind(directory.join("datagram")).unwrap(),
            abstract_stream: UnixListener::bind_addr(&name("stream")).unwrap(),
            abstract_datagram: UnixDatagram::bind_addr(&name("datagram")).unwrap(),
            abstract_name,
            directory,
        };
        for path in [listeners.stream_path(), listeners.datagram_path()] {
            let everybody = std::fs::Permissions::from_mode(0o777);
            std::fs::set_permissions(path, everybody).unwrap();
        }
        listeners.tcp.set_nonblocking(true).unwrap();
        listeners.udp.set_nonblocking(true).unwrap();
        listeners.stream.set_nonblocking(true).unwrap();
        listeners.datagram.set_nonblocking(true).unwrap();
        listeners.abstract_stream.set_nonblocking(true).unwrap();
        listeners.abstract_datagram.set_nonblocking(true).unwrap();
        listeners
    }

    pub(crate) fn tcp_port(&self) -> u16 {
        self.tcp.local_addr().unwrap().port()
    }

    pub(crate) fn udp_port(&self) -> u16 {
        self.udp.local_addr().unwrap().port()
    }

    pub(crate) fn stream_path(&self) -> PathBuf {
        self.directory.join("stream")
    }

    pub(crate) fn datagram_path(&self) -> PathBuf {
        self.directory.join("datagram")
    }

    /// What the abstract names begin with; `-stream` and `-datagram` follow.
    pub(crate) fn abstract_name(&self) -> &str {
        &self.abstract_name
    }

    /// Which of them heard something.
    pub(crate) fn reached(&self) -> Vec<String> {
        let mut byte = [0];
        let outcomes = [
            ("tcp", self.tcp.accept().map(drop)),
            ("udp", self.udp.recv(&mut byte).map(drop)),
            ("a unix stream with a path", self.stream.accept().map(drop)),
            ("a unix datagram with a path", self.datagram.recv(&mut byte).map(drop)),
            ("an abstract unix stream", self.abstract_stream.accept().map(drop)),
            ("an abstract unix datagram", self.abstract_datagram.recv(&mut byte).map(drop)),
        ];
        outcomes
            .into_iter()
            .filter(|(_, heard)| {
                !heard.as_ref().is_err_and(|it| it.kind() == ErrorKind::WouldBlock)
            })
            .map(|(name, heard)| format!("the listener on {name} heard something: {heard:?}"))
            .collect()
    }
}
