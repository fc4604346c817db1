//! A run opens no network connection, and reaches no local service.

use crate::attack::attack;
use crate::promise::NETWORK;
use crate::table::Table;

pub(crate) static TABLE: Table = Table {
    promise: "a run opens no connection",
    against: &[NETWORK],
    scenarios: &[],
    attacks: &[
        attack(
            "open a socket of any family",
            "Seccomp (socket)",
            r#"
for family in range(46):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW, socket.SOCK_SEQPACKET, 10):
        for flags in (0, socket.SOCK_CLOEXEC):
            attempt(f"socket {family} {kind}", lambda: call("socket", family, kind | flags, 0))
print("done")
"#,
        ),
        attack(
            "reach listeners on the loopback and elsewhere",
            "Seccomp (socket)",
            r#"
import urllib.request
for port in (TCP, PORT):
    attempt("tcp", lambda: socket.create_connection(("127.0.0.1", port), 2))
    attempt("tcp 6", lambda: socket.create_connection(("::1", port), 2))
def datagram():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as it: it.sendto(b"hello", ("127.0.0.1", UDP))
attempt("udp", datagram)
attempt("the executor itself", lambda: urllib.request.urlopen(f"http://127.0.0.1:{PORT}/health", timeout=2))
attempt("a metadata server", lambda: urllib.request.urlopen("http://169.254.169.254/", timeout=2))
attempt("a name", lambda: socket.getaddrinfo("localhost", 80) and socket.gethostbyname("example.com"))
for tool in (["curl", "-m2", f"http://127.0.0.1:{TCP}"], ["bash", "-c", f"echo x > /dev/tcp/127.0.0.1/{TCP}"],
             ["bash", "-c", f"echo x > /dev/udp/127.0.0.1/{UDP}"]):
    attempt(tool[0], lambda: subprocess.run(tool, check=True, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL))
attempt("listening", lambda: socket.create_server(("127.0.0.1", 0)))
attempt("listening for datagrams", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).bind(("127.0.0.1", 0)))
print("done")
"#,
        ),
        attack(
            "reach local sockets",
            "Seccomp (socket, datagram pairs)",
            r#"
def stream(address):
    with socket.socket(socket.AF_UNIX) as it: it.connect(address)
attempt("stream", lambda: stream(STREAM))
attempt("abstract stream", lambda: stream("\0" + ABSTRACT + "-stream"))
attempt("a stream pair joined to another", lambda: socket.socketpair()[0].connect(STREAM))
for kind in (socket.SOCK_DGRAM, socket.SOCK_RAW, 4):
    for address in (DATAGRAM, "\0" + ABSTRACT + "-datagram", "/dev/log", "/run/systemd/notify"):
        attempt("one end sends", lambda: socket.socketpair(socket.AF_UNIX, kind)[0].sendto(b"hello", address))
        attempt("one end is joined", lambda: socket.socketpair(socket.AF_UNIX, kind)[0].connect(address))
        attempt("a message", lambda: socket.socketpair(socket.AF_UNIX, kind)[0].sendmsg([b"hello"], [], 0, address))
    attempt("a name of its own", lambda: socket.socketpair(socket.AF_UNIX, kind)[0].bind("\0flotilla-escape"))
for kind in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET):
    one, other = socket.socketpair(socket.AF_UNIX, kind)
    # Streams ignore the address, and the listener outside tells whether this one did.
    try: one.sendto(b"hello", DATAGRAM), other.recv(5)
    except OSError: pass
    attempt("listening on one end", lambda: (one.bind("name"), one.listen()))
    # The allowed thing works: a pair is a pipe.
    other.send(b"x")
    assert one.recv(1) == b"x"
print("done")
"#,
        ),
        attack(
            "pairs of other families",
            "Seccomp (socketpair)",
            r#"
pair = (ctypes.c_int * 2)()
for family in [it for it in range(46) if it != socket.AF_UNIX]:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):
        attempt(f"pair {family} {kind}", lambda: call("socketpair", family, kind, 0, pair))
attempt("a family with high bits", lambda: call("syscall", 53, ctypes.c_long(0x100000001), 2, 0, pair))
print("done")
"#,
        ),
    ],
};
