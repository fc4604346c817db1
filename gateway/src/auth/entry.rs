//! One entry of the keys: `name:key`, and behind it what its holder may do and how much.

use std::str::FromStr;

use sha2::{Digest as _, Sha256};

/// Shortest key, in bytes.
const KEY_BYTES_MIN: usize = 16;
/// Longest name, in bytes.
const NAME_BYTES_MAX: usize = 64;

/// What a key is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Running programs, submitting jobs, and looking at one's own.
    Submit,
    /// Taking jobs to run them elsewhere.
    Work,
    /// Looking at workers and everybody's jobs, and telling them to end.
    Admin,
}

impl Role {
    /// Every one.
    const ALL: [Self; 3] = [Self::Submit, Self::Work, Self::Admin];

    /// Its name in keys, answers and logs.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Submit => "submit",
            Self::Work => "work",
            Self::Admin => "admin",
        }
    }
}

impl FromStr for Role {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|it| it.as_str() == text).ok_or(())
    }
}

/// The holder of a key.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    /// The name of the key.
    pub(crate) name: String,
    /// What it is good for.
    pub(crate) roles: Vec<Role>,
    /// Requests a minute, where they are not those of everybody.
    pub(crate) per_minute: Option<u32>,
    /// Jobs that may wait at a time, where they are not those of everybody.
    pub(crate) waiting: Option<u64>,
    /// Programs that may run at a time: so many jobs, and so many beside them.
    pub(crate) running: Option<u64>,
}

impl Holder {
    /// One that submits, bounded as everybody is.
    #[cfg(test)]
    pub(crate) fn named(name: &str) -> Self {
        let (name, roles) = (name.to_owned(), vec![Role::Submit]);
        Self { name, roles, per_minute: None, waiting: None, running: None }
    }

    /// Whether the holder may do what the role does.
    pub(crate) fn may(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }
}

/// Reads an entry: the holder, and the digest of the key. Says what would be right, and never
/// the key.
pub(super) fn parse(text: &str) -> Result<(Holder, [u8; 32]), &'static str> {
    let mut words = text.split_whitespace();
    let (name, key) =
        words.next().and_then(|it| it.split_once(':')).ok_or("write it as `name:key`")?;
    let is_plain = |it: char| it.is_ascii_alphanumeric() || matches!(it, '-' | '_' | '.');
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.chars().all(is_plain) {
        return Err("a name is 1 to 64 letters, digits, `-`, `_` and `.`");
    }
    if key.len() < KEY_BYTES_MIN || !key.chars().all(|it| it.is_ascii_graphic()) {
        return Err("a key has 16 or more visible ASCII characters");
    }
    let mut holder = Holder {
        name: name.to_owned(),
        roles: vec![Role::Submit],
        per_minute: None,
        waiting: None,
        running: None,
    };
    for word in words {
        match word.split_once('=') {
            Some(("role", roles)) => {
                let roles: Result<_, ()> = roles.split('+').map(str::parse).collect();
                holder.roles = roles
                    .or(Err("a role is `submit`, `work`, `admin`, or several: `submit+admin`"))?;
            }
            Some(("per-minute", count)) => holder.per_minute = Some(positive(count)?),
            Some(("waiting", count)) => holder.waiting = Some(positive(count)?),
            Some(("running", count)) => holder.running = Some(positive(count)?),
            _ => {
                return Err(
                    "behind the key there may be `role=`, `per-minute=`, `waiting=` and `running=`",
                );
            }
        }
    }
    Ok((holder, Sha256::digest(key).into()))
}

fn positive<T: FromStr + Default + PartialEq>(text: &str) -> Result<T, &'static str> {
    let count = text.parse().ok().filter(|it| *it != T::default());
    count.ok_or("`per-minute=`, `waiting=` and `running=` take a number of 1 or more")
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "0123456789abcdef";

    #[test]
    fn a_key_submits_unless_it_is_said_otherwise() {
        let (holder, _) = parse(&format!("alice:{KEY}")).unwrap();
        assert_eq!(holder, Holder::named("alice"));
        let entry = format!("alice:{KEY} role=work+admin per-minute=5 waiting=6 running=7");
        let (holder, _) = parse(&entry).unwrap();
        assert_eq!(holder.roles, [Role::Work, Role::Admin]);
        let limits = (holder.per_minute, holder.waiting, holder.running);
        assert_eq!(limits, (Some(5), Some(6), Some(7)));
        assert!(holder.may(Role::Admin) && !holder.may(Role::Submit));
    }

    #[test]
    fn whatever_else_is_behind_a_key_is_refused_and_not_told() {
        for wrong in
            ["role=", "role=root", "role=work+", "waiting=0", "running=-1", "running=x", "x"]
        {
            let problem = parse(&format!("alice:{KEY} {wrong}")).unwrap_err();
            assert!(!problem.contains(KEY), "{problem}");
        }
    }
}
