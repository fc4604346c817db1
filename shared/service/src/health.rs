//! The health of the server on a port, for images that have no other client.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, TcpStream, ToSocketAddrs as _};
use std::time::Duration;

/// How long the server may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whether the server that listens on `host`, a name or an address, and `port` answers
/// `GET /health` with 200.
pub fn is_well(host: &str, port: u16) -> io::Result<bool> {
    let everywhere = host.parse().is_ok_and(|address: IpAddr| address.is_unspecified());
    let host = if everywhere { "127.0.0.1" } else { host };
    let address = (host, port).to_socket_addrs()?.next();
    let address = address.ok_or_else(|| io::Error::other("the name has no address"))?;
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut head = [0; 12];
    stream.read_exact(&mut head)?;
    Ok(head.ends_with(b" 200"))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[track_caller]
    fn check(answer: &'static [u8], expected: bool) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(answer).unwrap();
            let mut ignored = [0; 64];
            while stream.read(&mut ignored).is_ok_and(|count| count > 0) {}
        });
        assert_eq!(is_well("127.0.0.1", port).unwrap(), expected);
        server.join().unwrap();
    }

    #[test]
    fn only_200_is_well() {
        check(b"HTTP/1.1 200 OK\r\n\r\n", true);
        check(b"HTTP/1.1 503 Service Unavailable\r\n\r\n", false);
    }
}
