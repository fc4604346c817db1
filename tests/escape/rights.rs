//! With whose rights executors are started.

use tests::{ServerBuilder, binary};

use crate::ground::TOKEN;
use crate::machine::Users;

/// With whose rights the servers run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rights {
    /// As root with every capability, on a machine of its own.
    Everything,
    /// As a container's root: every slot has a user of its own, beside the Landlock domains.
    Root,
    /// As a container's unprivileged user: servers and runs share that user, and the Landlock
    /// domains alone stand between them.
    Shared,
    /// As an ordinary user of a machine, who may make namespaces where the kernel allows that.
    Ordinary,
    /// As a container's root on a host without Landlock.
    RootWithoutLandlock,
    /// As a container's unprivileged user on a host without Landlock: files are open to runs.
    SharedWithoutLandlock,
    /// As a container's unprivileged user without any part of the jail, in a box that is thrown
    /// away: the control.
    Nothing,
    /// As whoever runs the tests, where that is not root.
    Own,
}

impl Rights {
    /// Those that can be had here, and hold one program off another.
    pub(crate) fn separating() -> &'static [Self] {
        if is_root() { &[Self::Everything, Self::Root, Self::Shared] } else { &[Self::Own] }
    }

    /// Whether another run may go on while an attack is made: where files and signals of one user
    /// are open to its runs, only one may.
    pub(crate) fn bear_a_victim(self) -> bool {
        !matches!(self, Self::SharedWithoutLandlock | Self::Nothing)
    }

    /// Whether the servers have the users of runs.
    pub(crate) fn share_a_user(self) -> bool {
        matches!(self, Self::Shared | Self::Ordinary | Self::SharedWithoutLandlock | Self::Nothing)
    }

    fn has_landlock(self) -> bool {
        !matches!(self, Self::RootWithoutLandlock | Self::SharedWithoutLandlock | Self::Nothing)
    }

    /// Processes between the tests and a server: those of its box.
    pub(crate) fn processes_around(self) -> usize {
        if self == Self::Nothing { 2 } else { 0 }
    }
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// An executor with the rights wanted, and a secret. The users of its slots follow `first_user`.
pub(crate) fn builder(
    rights: Rights,
    users: &Users,
    language: &str,
    first_user: u32,
) -> ServerBuilder {
    let container = binary("container");
    let user = users.server().to_string();
    let builder = ServerBuilder::new(&format!("executor-{language}"))
        .set("EXECUTOR_TOKEN", TOKEN)
        .set("EXECUTOR_SLOTS", if rights.bear_a_victim() { "3" } else { "1" })
        .set("EXECUTOR_TIMEOUT_MAX_SECONDS", "600")
        .set("EXECUTOR_WARM_DEPTH", "3")
        .set("EXECUTOR_UID_BASE", &first_user.to_string());
    // One version is enough, and the system's own is within everybody's reach.
    let builder = match language {
        "python" => builder.set("PATH", "/usr/local/bin:/usr/bin:/bin"),
        _ => builder,
    };
    let builder = match rights {
        Rights::Nothing => builder.set("EXECUTOR_MIN_ISOLATION", "bare"),
        _ if rights.has_landlock() => builder,
        _ => builder.set("EXECUTOR_MIN_ISOLATION", "filtered"),
    };
    builder.wrapped(&wrapper(rights, &container.to_string_lossy(), &user))
}

/// What stands before a server's own command.
fn wrapper<'a>(rights: Rights, container: &'a str, user: &'a str) -> Vec<&'a str> {
    if matches!(rights, Rights::Everything | Rights::Own) {
        return Vec::new();
    }
    let mut words = vec![container];
    if rights == Rights::Nothing {
        words.extend(["--box", "--deny-seccomp"]);
    }
    if rights == Rights::Ordinary {
        words.push("--open");
    }
    words.extend(["--user", user]);
    if !rights.has_landlock() {
        words.push("--deny-landlock");
    }
    words.push("--");
    words
}
