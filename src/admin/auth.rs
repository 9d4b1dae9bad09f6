//! Who asks, and what his role may do.

use std::net::IpAddr;

use axum::extract::{FromRequestParts, MatchedPath, RawPathParams};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use http::request::Parts;

use super::acts::act_of;
use super::problem::Problem;
use super::{CameFrom, Desk, Shared};
use crate::audit::{Act, Deed};
use crate::identity::{AdminKey, KeyDigest, KeyId};
use crate::names::{GroupName, UserName};
use crate::vault::Role;

/// An administrator.
pub(super) struct Actor {
    pub(super) name: String,
    pub(super) role: Role,
    pub(super) key: KeyId,
    pub(super) address: Option<IpAddr>,
}

/// Somebody who may look. A handler that takes one of these three serves nobody of a lesser role.
pub(super) struct Reader;

/// Somebody who may change things.
pub(super) struct Administrator(pub(super) Actor);

/// Somebody who may act as others.
pub(super) struct Owner(pub(super) Actor);

impl FromRequestParts<Shared> for Reader {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, desk: &Shared) -> Result<Self, Problem> {
        desk.actor(parts, Role::Reader).await.map(|_| Self)
    }
}

impl FromRequestParts<Shared> for Administrator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, desk: &Shared) -> Result<Self, Problem> {
        desk.actor(parts, Role::Admin).await.map(Self)
    }
}

impl FromRequestParts<Shared> for Owner {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, desk: &Shared) -> Result<Self, Problem> {
        desk.actor(parts, Role::Owner).await.map(Self)
    }
}

impl Actor {
    /// That he may do this.
    pub(super) fn needs(&self, role: Role) -> Result<(), Problem> {
        if self.role >= role {
            Ok(())
        } else {
            Err(Problem::role(self.role, role))
        }
    }
}

impl Desk {
    async fn actor(&self, parts: &mut Parts, needed: Role) -> Result<Actor, Problem> {
        let digest = presented(&parts.headers).ok_or_else(Problem::no_key)?;
        let found = self.vault.admin_key(&digest).await?;
        let key = found.ok_or_else(Problem::no_key)?;
        if !key.stands() {
            return Err(Problem::dead_key(key.status()));
        }
        let actor = Actor {
            name: key.record.name,
            role: key.record.role,
            key: key.id,
            address: parts.extensions.get::<CameFrom>().and_then(|from| from.0),
        };
        if let Err(problem) = actor.needs(needed) {
            if let Some(deed) = asked(parts).await {
                self.trail.refuse(&actor.doer(), &deed);
            }
            return Err(problem);
        }
        Ok(actor)
    }
}

/// What a request asks to be done, as far as its path says; nothing, if it only looks.
async fn asked(parts: &mut Parts) -> Option<Deed> {
    let path = parts.extensions.get::<MatchedPath>()?.clone();
    let act = act_of(&parts.method, path.as_str())?;
    let params = RawPathParams::from_request_parts(parts, &()).await;
    let mut params = params.as_ref().ok().into_iter().flatten();
    // What has not the form it is to have may be anything, a key too.
    let target = params.next().and_then(|(kind, name)| match kind {
        "key_id" => KeyId::parse(name).map(|id| id.to_string()),
        // As who changes it is told.
        "group" if act == Act::AccessSet => {
            let group = GroupName::parse(name).ok();
            group.map(|group| format!("group:{group}"))
        }
        _ => UserName::parse(name).ok().map(|name| name.to_string()),
    });
    let route = format!("{} {}", parts.method, path.as_str());
    Some(Deed::new(act, target.unwrap_or_default()).with("route", route))
}

/// The digest of the one key a request carries. No I/O.
fn presented(headers: &HeaderMap) -> Option<KeyDigest> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    let (scheme, key) = value.as_bytes().split_at_checked(7)?;
    if !scheme.eq_ignore_ascii_case(b"bearer ") {
        return None;
    }
    AdminKey::digest_of_presented(key.trim_ascii()).ok()
}
