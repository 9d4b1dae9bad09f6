//! What a refused client is told at the gate.

use super::Door;
use crate::inject::{Place, Unplannable};
use crate::names::ProfileName;
use crate::policy::{self, Denied};
use crate::rejection::{Kind, Rejection};
use crate::resolve::{Identity, ResolveError};
use crate::vault::now_seconds;

/// Whether key and user stand, and who calls may act for the user.
pub(super) fn stands(identity: &Identity) -> Result<(), Rejection> {
    let acts = |actor| policy::acts_for(actor, identity.user_name());
    if !identity.actor().is_none_or(acts) {
        return Err(Rejection::new(Kind::MayNotActFor));
    }
    // Most keys do not expire, and need no clock.
    let now = identity.key().expires.map_or(0, |_| now_seconds());
    let denied = policy::standing(identity.key(), identity.disabled(), now);
    denied.map_err(|denied| {
        Rejection::new(match denied {
            Denied::KeyExpired => Kind::KeyExpired,
            Denied::KeyRevoked => Kind::KeyRevoked,
            Denied::UserDisabled => Kind::UserDisabled,
        })
    })
}

pub(super) fn unresolved(error: ResolveError) -> Rejection {
    match error {
        ResolveError::Unknown => Rejection::new(Kind::Unauthenticated),
        ResolveError::Unreadable(error) => {
            tracing::error!(%error, "a key's or user's record cannot be used");
            Rejection::new(Kind::RecordUnreadable)
        }
        ResolveError::Store(error) => {
            tracing::warn!(%error, "a key cannot be checked");
            Rejection::new(Kind::StoreUnreachable)
        }
    }
}

pub(super) fn unreadable(
    identity: &Identity,
    door: &Door,
    profile: &ProfileName,
    error: &dyn std::fmt::Display,
) -> Rejection {
    let (user, server) = (identity.user_name(), &door.name);
    tracing::error!(user, %server, %profile, %error, "secrets cannot be used");
    let text = format!(
        "the secrets of `{user}` for the server `{server}` cannot be opened ({error}); delete them \
         with `cloakroom secret delete {user} {server} --all{}` and set them again",
        option(profile)
    );
    Rejection::with_text(Kind::SecretUnreadable, text)
}

pub(super) fn refusal(
    identity: &Identity,
    door: &Door,
    profile: &ProfileName,
    unplannable: &Unplannable,
) -> Rejection {
    let (user, server, option) = (identity.user_name(), &door.name, option(profile));
    let text = match unplannable {
        Unplannable::Missing(names) => {
            let set = |name| format!("`cloakroom secret set {user} {server} {name}{option}`");
            let names: Vec<_> = names.iter().collect();
            let list = names
                .iter()
                .map(|name| format!("`{name}`"))
                .collect::<Vec<_>>()
                .join(", ");
            let commands = names.iter().map(set).collect::<Vec<_>>().join(" and ");
            format!(
                "the server `{server}` needs {list}, not set for the user `{user}`: set it with {commands}"
            )
        }
        Unplannable::Unfit(Place::Header(header)) => format!(
            "a secret of the user `{user}` for the server `{server}` holds characters the header \
             `{header}` cannot carry: set it again with `cloakroom secret set {user} {server} NAME{option}`"
        ),
        Unplannable::Unfit(place) => format!(
            "a secret of the user `{user}` for the server `{server}` is not text, which the {place} \
             needs: set it again with `cloakroom secret set {user} {server} NAME{option}`"
        ),
    };
    Rejection::with_text(Kind::SecretMissing, text)
}

fn option(profile: &ProfileName) -> String {
    if *profile == ProfileName::default_profile() {
        String::new()
    } else {
        format!(" --profile {profile}")
    }
}
