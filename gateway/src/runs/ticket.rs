//! Tickets of runs: whoever has one needs no key.
//!
//! Invariant: what a guest of a room is given is made of the run's own tickets and of the invitation
//! that the guest came by. So nothing is kept of it, and it is good for as long as that is.

use std::time::Duration;

use documents::InvitationId;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::run::Run;
use crate::error::ApiError;
use crate::rooms::RoomError;
use crate::shared::Shared;

/// How often it is looked whether an invitation is good still by which somebody looks at a run.
const LOOK: Duration = Duration::from_secs(5);

/// What somebody may do with a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Everything.
    Full,
    /// Look.
    View,
}

/// Both tickets that somebody may have.
#[derive(Debug, Clone)]
pub(crate) struct Tickets {
    pub(crate) full: SecretString,
    pub(crate) view: SecretString,
}

impl Tickets {
    /// Those of whoever came by an invitation, where these are the run's own.
    pub(crate) fn of_guest(&self, invitation: &InvitationId) -> Self {
        // Both are of one length, so nobody makes one of these out of another.
        let made = |secret: &SecretString| -> SecretString {
            let both = Sha256::new().chain_update(secret.expose_secret());
            let digest = both.chain_update(invitation.as_str()).finalize();
            digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into()
        };
        Self { full: made(&self.full), view: made(&self.view) }
    }

    /// What the holder of a ticket may do, if it is one of these.
    pub(crate) fn access(&self, ticket: &str) -> Option<Access> {
        let is = |secret: &SecretString| {
            bool::from(secret.expose_secret().as_bytes().ct_eq(ticket.as_bytes()))
        };
        let (full, view) = (is(&self.full), is(&self.view));
        if full { Some(Access::Full) } else { view.then_some(Access::View) }
    }
}

/// Somebody who may look at a run, or do more with it.
#[derive(Debug, Clone)]
pub(crate) struct Holder {
    pub(crate) access: Access,
    /// The invitation that it came by, if it is a guest of the run's room.
    invitation: Option<InvitationId>,
}

impl Holder {
    /// The caller whose run it is.
    pub(crate) const CALLER: Self = Self { access: Access::Full, invitation: None };

    /// Whoever has this ticket, if it is one that is good.
    pub(crate) async fn of(
        run: &Run,
        ticket: &str,
        shared: &Shared,
    ) -> Result<Option<Self>, ApiError> {
        let tickets = &run.secrets.tickets;
        if let Some(access) = tickets.access(ticket) {
            return Ok(Some(Self { access, invitation: None }));
        }
        let mut all = good_invitations(run, shared).await?.into_iter();
        Ok(all.find_map(|invitation| {
            let access = tickets.of_guest(&invitation).access(ticket)?;
            Some(Self { access, invitation: Some(invitation) })
        }))
    }

    /// Waits until the invitation is over that it came by.
    pub(crate) async fn over(&self, run: &Run, shared: &Shared) {
        let Some(own) = &self.invitation else { return std::future::pending().await };
        loop {
            tokio::time::sleep(LOOK).await;
            // Whoever cannot be looked for stays.
            if good_invitations(run, shared).await.is_ok_and(|it| !it.contains(own)) {
                return;
            }
        }
    }
}

/// The invitations to the room of a run that are good still: an invitation is worth no more than the key
/// of whoever made the room.
async fn good_invitations(run: &Run, shared: &Shared) -> Result<Vec<InvitationId>, ApiError> {
    let Some(room) = &run.new.room else { return Ok(Vec::new()) };
    let owner = run.new.caller.as_deref().unwrap_or_default();
    if shared.keys.submitter(owner).is_none() {
        return Ok(Vec::new());
    }
    let all = shared.rooms()?.invitations(room).await.map_err(RoomError::from)?;
    Ok(all.into_iter().map(|it| it.id).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tickets() -> Tickets {
        Tickets { full: "all".to_owned().into(), view: "look".to_owned().into() }
    }

    #[test]
    fn a_ticket_is_good_for_what_it_says() {
        let tickets = tickets();
        assert_eq!(tickets.access("all"), Some(Access::Full));
        assert_eq!(tickets.access("look"), Some(Access::View));
        assert!(["", "al", "all ", "key"].iter().all(|it| tickets.access(it).is_none()));
        assert!(!format!("{tickets:?}").contains("look"));
    }

    #[test]
    fn the_tickets_of_a_guest_are_those_of_one_invitation() {
        let own = tickets();
        let (one, other) = (InvitationId::random(), InvitationId::random());
        let (first, second) = (own.of_guest(&one), own.of_guest(&other));
        let text = |it: &SecretString| it.expose_secret().to_owned();
        assert_eq!(first.access(&text(&own.of_guest(&one).full)), Some(Access::Full));
        assert_eq!(first.access(&text(&own.of_guest(&one).view)), Some(Access::View));
        for stranger in [&second.full, &second.view, &own.full, &own.view] {
            assert_eq!(first.access(&text(stranger)), None);
        }
        assert_eq!(own.access(&text(&first.full)), None);
    }
}
