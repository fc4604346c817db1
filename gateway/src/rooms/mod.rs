//! Rooms, as the gateway has them: where they are kept, who may enter, and from where.

mod presence;
mod visitor;

use std::sync::Arc;

use documents::{Bounds, Close, Home, Limits, Role, RoomId, Rooms, StoreError, Terms, Ticket};
use jiff::SignedDuration;
use secrecy::ExposeSecret as _;

pub(crate) use presence::{Presence, Present};
pub(crate) use visitor::{Visitor, brings_invitation, role_of};

use crate::settings::Settings;

/// What the file of rooms is called beside that of jobs.
const FILE_SUFFIX: &str = ".rooms";

/// Why something cannot be done about a room.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum RoomError {
    /// Rooms are not kept here.
    #[error(
        "no rooms and no snippets are kept here; set GATEWAY_STORE_URL, such as to \
         `sqlite:/var/lib/flotilla/jobs.db`, or GATEWAY_ROOMS_URL if jobs are kept in Redis"
    )]
    NoStore,
    /// There is no such room, or it is somebody else's.
    #[error("there is no such room; what nobody touches for long is deleted")]
    NoRoom,
    /// There are too many.
    #[error("there are too many rooms; delete some, or set GATEWAY_ROOMS_MAX")]
    TooManyRooms,
    /// Nobody comes with the tickets that there are.
    #[error("too many tickets of this room wait to be used; each is good for a minute")]
    TooManyTickets,
    /// There are too many links to it.
    #[error("there are too many invitations to this room already; end some")]
    TooManyInvitations,
    /// There is no such invitation to this room.
    #[error("there is no such invitation; its time may be over")]
    NoInvitation,
    /// What came as an invitation is none, or none to this room.
    #[error("the invitation is wrong or its time is over; ask whoever sent it for another")]
    WrongInvitation,
    /// As many snippets are kept as may be.
    #[error(
        "as many snippets are kept as may be; an operator can set GATEWAY_SNIPPETS_MAX and \
         GATEWAY_SNIPPETS_MB"
    )]
    TooManySnippets,
    /// There is no such snippet.
    #[error("there is no such snippet; what nobody looks at for long is deleted")]
    NoSnippet,
    /// Whoever asks may be there, and do less than that.
    #[error("as a {} of this room you may not do that; ask its owner for more", .0.as_str())]
    RoleTooLow(Role),
    /// The room does not hear of a run.
    #[error("the room cannot be told of runs now, so this one was stopped; try again")]
    Untold,
    /// It was asked for as a page is.
    #[error("rooms are entered by WebSocket; use a Yjs client such as `y-websocket`")]
    NotWebSocket,
    /// Their store fails us.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl RoomError {
    /// Whether it may help to try again.
    pub(crate) fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::Store(_)
                | Self::TooManyRooms
                | Self::TooManyTickets
                | Self::TooManySnippets
                | Self::Untold
        )
    }
}

/// Opens the rooms that settings want, if any.
pub(crate) async fn open(settings: &Settings) -> Result<Option<Arc<Rooms>>, StoreError> {
    let url = url(settings);
    if settings.self_url.is_some() && url.as_ref().is_none_or(|it| it.starts_with("sqlite:")) {
        tracing::warn!("GATEWAY_SELF_URL tells nobody anything: no other gateway has these rooms");
    }
    let Some(url) = url else { return Ok(None) };
    let bounds = Bounds {
        rooms_max: settings.rooms_max,
        bytes_max: settings.rooms_mb << 20,
        snippets_max: settings.snippets_max,
        snippet_bytes_max: settings.snippets_mb << 20,
        ..Bounds::default()
    };
    let limits = Limits { clients: settings.room_clients_max, ..Limits::default() };
    let (ttl, snippet_ttl) = (days(settings.room_ttl_days), days(settings.snippet_ttl_days));
    let terms = Terms { bounds, limits, ttl, snippet_ttl, home: Home::Apart };
    let bus_url = bus_url(settings, &url)?;
    let rooms = Rooms::open(&url, bus_url.as_deref(), terms).await?;
    Ok(Some(Arc::new(rooms)))
}

fn days(count: u64) -> SignedDuration {
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    SignedDuration::from_hours(count.saturating_mul(24))
}

/// Where rooms are kept: where settings say, or else where jobs are, in a file of their own.
fn url(settings: &Settings) -> Option<String> {
    if let Some(url) = &settings.rooms_url {
        return Some(url.expose_secret().to_owned());
    }
    let url = settings.store_url.as_ref()?.expose_secret();
    if url.starts_with("sqlite:") {
        return Some(format!("{url}{FILE_SUFFIX}"));
    }
    if is_redis(url) {
        tracing::warn!("rooms are not kept in Redis; set GATEWAY_ROOMS_URL to keep them elsewhere");
        return None;
    }
    Some(url.to_owned())
}

/// Where gateways tell each other of rooms, if not by what keeps those: where settings say, or else
/// in the Redis that keeps jobs.
fn bus_url(settings: &Settings, rooms_url: &str) -> Result<Option<String>, StoreError> {
    let is_file = rooms_url.starts_with("sqlite:");
    let jobs = settings.store_url.as_ref().filter(|it| is_redis(it.expose_secret()) && !is_file);
    match settings.rooms_bus_url.as_ref().or(jobs) {
        Some(_) if is_file => Err(StoreError::Alone),
        url => Ok(url.map(|it| it.expose_secret().to_owned())),
    }
}

fn is_redis(url: &str) -> bool {
    url.starts_with("redis")
}

/// What a ticket is good for, which it is not any more.
pub(crate) async fn redeem(rooms: &Rooms, id: &RoomId, ticket: &str) -> Result<Ticket, Close> {
    let taken = rooms.admit(id, ticket).await.map_err(|error| {
        tracing::error!("a ticket cannot be looked up: {error}");
        Close::from(&error)
    })?;
    taken.ok_or(Close::Unauthorized)
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;

    fn settings(store: Option<&str>, rooms: Option<&str>, bus: Option<&str>) -> Settings {
        let secret = |it: Option<&str>| it.map(|it| SecretString::from(it.to_owned()));
        Settings {
            store_url: secret(store),
            rooms_url: secret(rooms),
            rooms_bus_url: secret(bus),
            ..Settings::default()
        }
    }

    #[track_caller]
    fn check(store: Option<&str>, rooms: Option<&str>, expected: Option<&str>) {
        assert_eq!(url(&settings(store, rooms, None)).as_deref(), expected);
    }

    #[test]
    fn rooms_are_kept_beside_jobs_unless_it_is_said_otherwise() {
        check(None, None, None);
        check(Some("sqlite:/a/jobs.db"), None, Some("sqlite:/a/jobs.db.rooms"));
        check(Some("postgres://a/b"), None, Some("postgres://a/b"));
        check(Some("redis://a"), None, None);
        check(Some("redis://a"), Some("sqlite:/b"), Some("sqlite:/b"));
    }

    #[test]
    fn settings_say_of_rooms_what_a_store_keeps_by_itself() {
        let (settings, bounds) = (Settings::default(), Bounds::default());
        assert_eq!(
            (settings.rooms_max, settings.rooms_mb << 20),
            (bounds.rooms_max, bounds.bytes_max)
        );
        assert_eq!(settings.room_clients_max, Limits::default().clients);
        assert_eq!(days(settings.room_ttl_days), SignedDuration::from_hours(30 * 24));
    }

    #[track_caller]
    fn check_bus(store: &str, rooms: &str, bus: Option<&str>, expected: Result<Option<&str>, ()>) {
        let found = bus_url(&settings(Some(store), Some(rooms), bus), rooms);
        assert_eq!(found.as_ref().map(Option::as_deref).or(Err(())), expected);
    }

    #[test]
    fn gateways_tell_each_other_of_rooms_in_redis_where_there_is_one() {
        check_bus("postgres://a/b", "postgres://a/b", None, Ok(None));
        check_bus("postgres://a/b", "postgres://a/b", Some("redis://c"), Ok(Some("redis://c")));
        check_bus("redis://a", "postgres://b", None, Ok(Some("redis://a")));
        check_bus("redis://a", "postgres://b", Some("rediss://c"), Ok(Some("rediss://c")));
        check_bus("redis://a", "sqlite:/b", None, Ok(None));
        check_bus("redis://a", "sqlite:/b", Some("redis://a"), Err(()));
    }
}
