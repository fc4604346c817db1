//! Who asks: API keys, compared in constant time, and read again when their file changes.

mod entry;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::{
    AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_PROTOCOL,
};
use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConditionallySelectable as _, ConstantTimeEq as _};
use tokio::signal::unix::{SignalKind, signal};

pub(crate) use entry::{Holder, Role};

/// The header of those who cannot set `Authorization`.
const KEY_HEADER: &str = "x-api-key";
/// How a page in a browser brings its key to a socket, where it can set no header: as one of the
/// protocols that it offers, the key in URL-safe Base64 without padding. A URL would be logged.
const KEY_PROTOCOL: &str = "flotilla.key.";
/// Keys at most: each is compared with what every request brings.
const KEYS_MAX: u32 = 10_000;
/// Largest key file, in bytes.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// Between two looks at the key file.
const WATCH_PERIOD: Duration = Duration::from_secs(2);

/// Who asks, after authentication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Caller {
    /// Anyone: there are no keys, and only loopback reaches us.
    Anonymous,
    /// The holder of a key.
    Named(Arc<Holder>),
}

impl Caller {
    /// What executors know the caller as: the same for as long as its key has its name, and
    /// nothing that the key or the name could be read from. None for everybody who has no key.
    pub(crate) fn id(&self) -> Option<String> {
        self.holder().map(|it| id_of(&it.name))
    }

    /// Whoever holds the key, if there is one.
    pub(crate) fn holder(&self) -> Option<&Holder> {
        match self {
            Self::Anonymous => None,
            Self::Named(holder) => Some(holder),
        }
    }

    /// Whether the caller may do what the role does. Where there are no keys, everybody may.
    pub(crate) fn may(&self, role: Role) -> bool {
        self.holder().is_none_or(|it| it.may(role))
    }
}

/// What the holder of the key with this name is known as.
pub(crate) fn id_of(name: &str) -> String {
    let digest = Sha256::new().chain_update("flotilla caller\0").chain_update(name.as_bytes());
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// No key, or none that we know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unauthorized {
    /// The request brings none.
    #[error("send an API key as `Authorization: Bearer …` or `X-API-Key`")]
    Missing,
    /// It brings one that we do not know.
    #[error("the API key is not known; check it, or ask for a new one")]
    Unknown,
}

/// Why keys are refused. It names the place, never the key.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InvalidKeys {
    /// One entry is wrong.
    #[error("{place}, entry {entry}: {problem}")]
    Entry {
        /// The variable or file.
        place: String,
        /// Which entry or line, from 1.
        entry: usize,
        /// What would be right.
        problem: &'static str,
    },
    /// There are too many.
    #[error("{0}: there may be at most {KEYS_MAX} keys")]
    TooMany(String),
    /// The file cannot be read.
    #[error("GATEWAY_KEYS_FILE: {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}

/// One key, as its digest: equal lengths for the comparison, and nothing to leak.
#[derive(Clone)]
struct Key {
    holder: Arc<Holder>,
    /// What the holder is known as.
    id: String,
    digest: [u8; 32],
}

/// Every key in force.
pub(crate) struct Keys {
    inline: Vec<Key>,
    file: Option<PathBuf>,
    current: ArcSwap<Vec<Key>>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Keys")
            .field("count", &self.current.load().len())
            .finish_non_exhaustive()
    }
}

impl Keys {
    /// Reads the keys that settings hold and those in their file.
    pub(crate) fn open(
        inline: Option<&SecretString>,
        file: Option<&Path>,
    ) -> Result<Self, InvalidKeys> {
        let text = inline.map(ExposeSecret::expose_secret).unwrap_or_default();
        let inline = parse("GATEWAY_KEYS", text.split(','))?;
        let keys = Self { inline, file: file.map(Path::to_owned), current: ArcSwap::default() };
        keys.reload()?;
        Ok(keys)
    }

    /// Whether anyone may come in.
    pub(crate) fn is_open(&self) -> bool {
        self.inline.is_empty() && self.file.is_none()
    }

    /// Who asks, by the request's headers.
    pub(crate) fn authenticate(&self, headers: &HeaderMap) -> Result<Caller, Unauthorized> {
        if self.is_open() {
            return Ok(Caller::Anonymous);
        }
        let key = presented(headers).ok_or(Unauthorized::Missing)?;
        let holder = matching(&self.current.load(), key.as_bytes());
        holder.map(Caller::Named).ok_or(Unauthorized::Unknown)
    }

    /// The name of the key whose holder is known as that, if there is one.
    pub(crate) fn name_of(&self, id: &str) -> Option<String> {
        let keys = self.current.load();
        keys.iter().find(|it| it.id == id).map(|it| it.holder.name.clone())
    }

    /// The caller who is known as that and may submit, if there is one: others do so in its name.
    pub(crate) fn submitter(&self, id: &str) -> Option<Caller> {
        if self.is_open() {
            return Some(Caller::Anonymous);
        }
        let keys = self.current.load();
        let key = keys.iter().find(|it| it.id == id && it.holder.may(Role::Submit))?;
        Some(Caller::Named(Arc::clone(&key.holder)))
    }

    /// Who asks for a socket, or holds it.
    pub(crate) fn authenticate_socket(&self, headers: &HeaderMap) -> Result<Caller, Unauthorized> {
        self.authenticate(&credentials(headers))
    }

    /// How many jobs those callers may have running who are not bounded as everybody is.
    pub(crate) fn running_max_of(&self) -> Vec<(String, u64)> {
        let keys = self.current.load();
        let bounded = keys.iter().map(|it| (&it.holder.name, it.holder.running));
        bounded.filter_map(|(name, running)| Some((id_of(name), running?))).collect()
    }

    /// Reads the file again. If that fails, the keys stay as they are.
    fn reload(&self) -> Result<(), InvalidKeys> {
        let mut keys = self.inline.clone();
        if let Some(path) = &self.file {
            let text = read_bounded(path)
                .map_err(|source| InvalidKeys::File { path: path.clone(), source })?;
            let is_comment = |line: &str| line.trim_start().starts_with('#');
            let lines = text.lines().map(|line| if is_comment(line) { "" } else { line });
            keys.extend(parse(&path.display().to_string(), lines)?);
        }
        self.current.store(Arc::new(keys));
        Ok(())
    }

    /// Reads the file again whenever it changes, and on SIGHUP, until it is dropped.
    pub(crate) async fn watch(self: Arc<Self>) {
        let Ok(mut hangup) = signal(SignalKind::hangup()) else { return };
        let Some(path) = self.file.clone() else {
            // There is nothing to read, but nobody's SIGHUP may end us either.
            while hangup.recv().await.is_some() {}
            return;
        };
        let mut seen = stamp(&path).await;
        loop {
            // A signal ends the wait early, and means that the file is read whatever its time.
            let asked = tokio::time::timeout(WATCH_PERIOD, hangup.recv()).await.is_ok();
            let now = stamp(&path).await;
            if !asked && now == seen {
                continue;
            }
            seen = now;
            match self.reload() {
                Ok(()) => {
                    let keys = self.current.load().len();
                    tracing::info!(keys, "the API keys were read again");
                }
                Err(error) => tracing::error!("the API keys stay as they were: {error}"),
            }
        }
    }
}

/// What changes when a file does: its time, size and identity.
async fn stamp(path: &Path) -> Option<(std::time::SystemTime, u64, u64)> {
    use std::os::unix::fs::MetadataExt as _;
    let metadata = tokio::fs::metadata(path).await.ok()?;
    Some((metadata.modified().ok()?, metadata.len(), metadata.ino()))
}

fn read_bounded(path: &Path) -> std::io::Result<String> {
    use std::io::Read as _;
    let mut text = String::new();
    std::fs::File::open(path)?.take(FILE_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

fn parse<'a>(place: &str, entries: impl Iterator<Item = &'a str>) -> Result<Vec<Key>, InvalidKeys> {
    let mut keys = Vec::new();
    let entries = entries.map(str::trim).enumerate().filter(|(_, it)| !it.is_empty());
    for (index, text) in entries {
        let wrong =
            |problem| InvalidKeys::Entry { place: place.to_owned(), entry: index + 1, problem };
        let (holder, digest) = entry::parse(text).map_err(wrong)?;
        keys.push(Key { id: id_of(&holder.name), holder: Arc::new(holder), digest });
    }
    if keys.len() > KEYS_MAX as usize {
        return Err(InvalidKeys::TooMany(place.to_owned()));
    }
    Ok(keys)
}

fn presented(headers: &HeaderMap) -> Option<&str> {
    if let Some(header) = headers.get(AUTHORIZATION) {
        let (scheme, key) = header.to_str().ok()?.split_once(' ')?;
        return scheme.eq_ignore_ascii_case("bearer").then(|| key.trim());
    }
    headers.get(KEY_HEADER)?.to_str().ok().map(str::trim)
}

/// Only those headers that say who asks for a socket: to be looked at again for as long as it is open,
/// since keys are withdrawn.
pub(crate) fn credentials(headers: &HeaderMap) -> HeaderMap {
    let mut kept = HeaderMap::new();
    for name in [AUTHORIZATION, HeaderName::from_static(KEY_HEADER)] {
        if let Some(value) = headers.get(&name) {
            kept.insert(name, secret(value.clone()));
        }
    }
    if kept.is_empty()
        && let Some(key) = offered_key(headers)
    {
        kept.insert(AUTHORIZATION, secret(key));
    }
    kept
}

/// The key among the protocols that a socket is asked to speak, as a header.
fn offered_key(headers: &HeaderMap) -> Option<HeaderValue> {
    let offers = headers.get_all(SEC_WEBSOCKET_PROTOCOL).filter_map(|it| it.to_str().ok());
    let mut offers = offers.flat_map(|it| it.split(','));
    let key = offers.find_map(|it| it.trim().strip_prefix(KEY_PROTOCOL))?;
    let key = BASE64_URL_SAFE_NO_PAD.decode(key).ok()?;
    HeaderValue::from_bytes(&[b"Bearer ", key.as_slice()].concat()).ok()
}

/// Keeps a value out of whatever prints it.
fn secret(mut value: HeaderValue) -> HeaderValue {
    value.set_sensitive(true);
    value
}

/// The holder of the key that matches. Every key is compared, whichever matches.
fn matching(keys: &[Key], presented: &[u8]) -> Option<Arc<Holder>> {
    let digest: [u8; 32] = Sha256::digest(presented).into();
    let mut found = u32::MAX;
    for (index, key) in (0_u32..).zip(keys) {
        let is_equal: Choice = key.digest.ct_eq(&digest);
        found.conditional_assign(&index, is_equal);
    }
    let index = usize::try_from(found).ok()?;
    keys.get(index).map(|key| Arc::clone(&key.holder))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: &str = "alice-0123456789";
    const BOB: &str = "bob-0123456789ab";

    fn keys(text: &str) -> Result<Keys, InvalidKeys> {
        Keys::open(Some(&SecretString::from(text)), None)
    }

    #[track_caller]
    fn check(header: Option<(&'static str, &str)>, expected: Result<&str, Unauthorized>) {
        let keys = keys(&format!("alice:{ALICE}, bob:{BOB}")).unwrap();
        let mut headers = HeaderMap::new();
        if let Some((name, value)) = header {
            let value = HeaderValue::from_str(value).unwrap();
            headers.insert(HeaderName::from_static(name), value);
        }
        let expected = expected.map(|name| Caller::Named(Arc::new(Holder::named(name))));
        assert_eq!(keys.authenticate(&headers), expected);
    }

    #[test]
    fn a_key_is_taken_from_either_header() {
        check(Some(("authorization", &format!("Bearer {ALICE}"))), Ok("alice"));
        check(Some(("authorization", &format!("bearer {BOB}"))), Ok("bob"));
        check(Some(("x-api-key", BOB)), Ok("bob"));
    }

    #[test]
    fn a_page_brings_its_key_to_a_socket_among_the_protocols() {
        let keys = keys(&format!("alice:{ALICE}")).unwrap();
        let by = |offered: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_str(offered).unwrap());
            assert_eq!(keys.authenticate(&headers), Err(Unauthorized::Missing), "only there");
            assert!(!format!("{:?}", credentials(&headers)).contains(ALICE));
            keys.authenticate_socket(&headers)
        };
        let key = BASE64_URL_SAFE_NO_PAD.encode(ALICE);
        let alice = Caller::Named(Arc::new(Holder::named("alice")));
        assert_eq!(by(&format!("flotilla.queue.v1, {KEY_PROTOCOL}{key}")), Ok(alice));
        let bob = BASE64_URL_SAFE_NO_PAD.encode(BOB);
        assert_eq!(by(&format!("{KEY_PROTOCOL}{bob}")), Err(Unauthorized::Unknown));
        assert_eq!(by(&format!("{KEY_PROTOCOL}Cg")), Err(Unauthorized::Missing), "no header");
        assert_eq!(by("flotilla.queue.v1"), Err(Unauthorized::Missing));
    }

    #[test]
    fn anything_else_is_refused() {
        check(None, Err(Unauthorized::Missing));
        check(Some(("authorization", ALICE)), Err(Unauthorized::Missing));
        check(Some(("authorization", &format!("Basic {ALICE}"))), Err(Unauthorized::Missing));
        check(Some(("x-api-key", "")), Err(Unauthorized::Unknown));
        check(Some(("x-api-key", &ALICE[..15])), Err(Unauthorized::Unknown));
        check(Some(("x-api-key", &format!("{ALICE}0"))), Err(Unauthorized::Unknown));
    }

    #[test]
    fn callers_are_known_by_the_names_of_their_keys_which_are_not_told() {
        let id = |name: &str| Caller::Named(Arc::new(Holder::named(name))).id().unwrap();
        assert_eq!(id("alice"), id("alice"));
        assert_ne!(id("alice"), id("bob"));
        assert!(!id("alice").contains("alice") && id("alice").len() == 64);
        assert_eq!(Caller::Anonymous.id(), None);
    }

    #[test]
    fn others_submit_in_the_name_of_whoever_may_and_of_nobody_else() {
        let keys = keys(&format!("alice:{ALICE},bob:{BOB} role=work")).unwrap();
        let alice = Caller::Named(Arc::new(Holder::named("alice")));
        assert_eq!(keys.submitter(&id_of("alice")), Some(alice));
        for id in [&id_of("bob"), &id_of("eve"), "alice", ""] {
            assert_eq!(keys.submitter(id), None, "{id}");
        }
        assert_eq!(Keys::open(None, None).unwrap().submitter(""), Some(Caller::Anonymous));
    }

    #[test]
    fn without_keys_everyone_is_anonymous() {
        let keys = Keys::open(None, None).unwrap();
        assert_eq!(keys.authenticate(&HeaderMap::new()), Ok(Caller::Anonymous));
    }

    #[test]
    fn a_wrong_entry_is_named_and_its_key_is_not() {
        for wrong in ["alice", "alice:short", "a b:0123456789abcdef", ":0123456789abcdef"] {
            let error = keys(&format!("bob:{BOB},{wrong}")).unwrap_err().to_string();
            assert!(error.starts_with("GATEWAY_KEYS, entry 2: "), "{error}");
            assert!(!error.contains("0123456789abcdef") && !error.contains("short"), "{error}");
        }
    }

    #[test]
    fn a_broken_file_leaves_the_keys_as_they_were() {
        let path = std::env::temp_dir().join(format!("gateway-keys-{}", std::process::id()));
        std::fs::write(&path, format!("# comment\nalice:{ALICE}\n\n")).unwrap();
        let keys = Keys::open(None, Some(&path)).unwrap();
        let count = |keys: &Keys| keys.current.load().len();
        assert_eq!(count(&keys), 1);
        std::fs::write(&path, "nonsense").unwrap();
        assert!(keys.reload().is_err());
        assert_eq!(count(&keys), 1);
        std::fs::write(&path, format!("alice:{ALICE}\nbob:{BOB}")).unwrap();
        keys.reload().unwrap();
        assert_eq!(count(&keys), 2);
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn an_empty_file_lets_nobody_in() {
        let path = std::env::temp_dir().join(format!("gateway-empty-{}", std::process::id()));
        std::fs::write(&path, "").unwrap();
        let keys = Keys::open(None, Some(&path)).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(keys.authenticate(&HeaderMap::new()), Err(Unauthorized::Missing));
    }
}
