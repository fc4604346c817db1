//! Servers that jobs are kept in: started with nothing in them, killed and started again as a test
//! likes, and gone with all their files when it ends, however that is.

mod postgres;
mod redis;

use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::getuid;

pub use postgres::PostgresServer;
pub use redis::RedisServer;

/// Where servers keep their files, unless they are told another place.
pub const PLACE: &str = "/var/tmp";

/// How long a server may take to start or to end.
const PATIENCE: Duration = Duration::from_mins(1);

/// Ends the server and removes its files when whoever started it closes the pipe, or has ended. `$1` is
/// the directory; the server is whoever works in `$1/data` and is named in the file `$1/pid`.
const WATCH: &str = r#"
trap '' INT TERM HUP
cat >/dev/null
pid=$(cat "$1/pid" 2>/dev/null)
is_there() { [ -n "$pid" ] && [ "$(readlink "/proc/$pid/cwd")" = "$1/data" ]; }
if is_there "$1"; then kill -QUIT "$pid"; fi
tries=0
while is_there "$1"; do
    tries=$((tries + 1))
    if [ $tries -gt 100 ]; then kill -KILL "$pid"; fi
    sleep 0.1
done
cd / && rm -rf "$1"
"#;

/// A directory for a server, and the user that runs it: servers refuse to be root.
#[derive(Debug)]
struct Home {
    directory: PathBuf,
    user: Option<(u32, u32)>,
    /// What programs here find in their environment.
    variables: Vec<(String, String)>,
    watcher: Child,
}

impl Home {
    fn new(place: &Path, variables: &[(&str, &str)]) -> Self {
        let user = getuid().is_root().then(ordinary_user);
        let directory = tempfile::Builder::new().prefix("flotilla-test-store-").tempdir_in(place);
        let directory = directory.unwrap().keep();
        let data = directory.join("data");
        std::fs::create_dir(&data).unwrap();
        if let Some((user, group)) = user {
            chown(&directory, Some(user), Some(group)).unwrap();
            chown(&data, Some(user), Some(group)).unwrap();
        }
        let mut watch = Command::new("sh");
        watch.args(["-c", WATCH, "sh"]).arg(&directory).stdin(Stdio::piped());
        // What interrupts the tests must not interrupt this.
        watch.process_group(0);
        let watcher = as_user(&mut watch, user).spawn().unwrap();
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let variables = variables.iter().map(own).collect();
        Self { directory, user, variables, watcher }
    }

    fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// A program that runs here, as the right user.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.data()).env_clear().env("LC_ALL", "C").stdin(Stdio::null());
        command.envs(self.variables.iter().cloned());
        as_user(&mut command, self.user);
        command
    }

    /// Has the server ended with this.
    fn note_server(&self, server: &Child) {
        std::fs::write(self.directory.join("pid"), server.id().to_string()).unwrap();
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        drop(self.watcher.stdin.take());
        let status = self.watcher.wait().unwrap();
        assert!(std::thread::panicking() || status.success(), "the watcher ended with {status}");
    }
}

fn as_user(command: &mut Command, user: Option<(u32, u32)>) -> &mut Command {
    match user {
        Some((user, group)) => command.uid(user).gid(group),
        None => command,
    }
}

/// Somebody of the system who may do little.
fn ordinary_user() -> (u32, u32) {
    let users = std::fs::read_to_string("/etc/passwd").unwrap();
    let find = |name: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    ["postgres", "redis", "nobody"].into_iter().find_map(find).expect("the system has a user")
}

/// Waits until something is so.
fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
