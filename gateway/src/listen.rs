//! Opens the listening socket, and knows whether only this machine reaches it.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};

/// Connections that wait to be accepted.
const BACKLOG: i32 = 1024;
/// A client that takes nothing we sent for so long is gone.
const STALL_MAX: Duration = Duration::from_mins(1);

/// Why we do not listen.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListenError {
    /// The host is no address and no name.
    #[error("GATEWAY_HOST: `{host}` does not resolve; give an address such as 127.0.0.1 or ::")]
    Host {
        /// What settings say.
        host: String,
    },
    /// Somebody else listens there.
    #[error("port {port} on {host} is taken; stop what uses it, or set GATEWAY_PORT (or PORT)")]
    Taken {
        /// What settings say.
        host: String,
        /// What settings say.
        port: u16,
    },
    /// Anything else.
    #[error("cannot listen on {host} port {port} (GATEWAY_HOST, GATEWAY_PORT): {source}")]
    Bind {
        /// What settings say.
        host: String,
        /// What settings say.
        port: u16,
        /// Why not.
        source: io::Error,
    },
}

/// The address that a host and a port name.
pub(crate) async fn resolve(host: &str, port: u16) -> Result<SocketAddr, ListenError> {
    let bare = host.trim_matches(['[', ']']);
    let unresolved = || ListenError::Host { host: host.to_owned() };
    match tokio::net::lookup_host((bare, port)).await {
        Ok(mut addresses) => addresses.next().ok_or_else(unresolved),
        Err(error) => {
            tracing::debug!(%error, "GATEWAY_HOST does not resolve");
            Err(unresolved())
        }
    }
}

/// Listens there; on `::` for IPv4, too.
pub(crate) fn listen(address: SocketAddr) -> Result<TcpListener, ListenError> {
    let (host, port) = (address.ip().to_string(), address.port());
    open(address).map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => ListenError::Taken { host, port },
        _ => ListenError::Bind { host, port, source },
    })
}

fn open(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(address.ip() != IpAddr::V6(Ipv6Addr::UNSPECIFIED))?;
    }
    socket.set_reuse_address(true)?;
    // Accepted connections inherit both: they end those whose client is gone without a word.
    socket.set_tcp_user_timeout(Some(STALL_MAX))?;
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(STALL_MAX))?;
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
