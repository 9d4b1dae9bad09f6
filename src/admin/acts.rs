//! What administrators do, recorded in the audit trail: before and after, or refused.

use std::future::Future;
use std::sync::Arc;

use http::Method;

use super::Desk;
use super::auth::Actor;
use super::problem::Problem;
use crate::audit::{self, Act, ActorKind, Deed, Doer, Outcome, Unrecorded};
use crate::identity::KeyId;

impl Actor {
    /// As the trail has it.
    pub(super) fn doer(&self) -> Doer {
        Doer {
            actor: audit::Actor {
                kind: ActorKind::AdminKey,
                name: self.name.as_str().to_owned().into(),
                role: Some(self.role.as_str()),
                key: Some(self.key.clone()),
            },
            address: self.address,
        }
    }
}

impl Desk {
    /// Does what changes something: recorded before and after, or not done. Once begun it goes on to its
    /// end, also when nobody waits for it any more.
    pub(super) async fn act<T: Send + 'static>(
        self: &Arc<Self>,
        actor: &Actor,
        deed: Deed,
        work: impl Future<Output = Result<T, Problem>> + Send + 'static,
    ) -> Result<T, Problem> {
        self.issue(actor, deed, work, |_| None).await
    }

    /// As [`Desk::act`], where a key is made: the trail is to know which.
    pub(super) async fn issue<T: Send + 'static>(
        self: &Arc<Self>,
        actor: &Actor,
        deed: Deed,
        work: impl Future<Output = Result<T, Problem>> + Send + 'static,
        key: fn(&T) -> Option<&KeyId>,
    ) -> Result<T, Problem> {
        let (desk, doer) = (self.clone(), actor.doer());
        let done = tokio::spawn(async move {
            let began = desk.trail.begin(doer, deed).await;
            let mut doing = began.map_err(|_: Unrecorded| Problem::unrecorded())?;
            let done = work.await;
            if let Some(key) = done.as_ref().ok().and_then(key) {
                doing.learn_key(key);
            }
            let outcome = done.as_ref().map_or_else(outcome, |_| Outcome::Done);
            doing.end(outcome).await;
            done
        });
        done.await.unwrap_or_else(|_| Err(Problem::internal()))
    }
}

fn outcome(problem: &Problem) -> Outcome {
    match problem.status() {
        0..500 => Outcome::Refused,
        _ => Outcome::Failed,
    }
}

/// What a request would do that is refused before it is read; nothing, if it only looks.
pub(super) fn act_of(method: &Method, path: &str) -> Option<Act> {
    Some(match (method.as_str(), path) {
        ("POST", "/users") => Act::UserAdd,
        ("DELETE", "/users/{user}") => Act::UserDelete,
        ("PATCH", "/users/{user}/enable") => Act::UserEnable,
        ("PATCH", "/users/{user}") | ("PUT", "/users/{user}/limits" | "/users/{user}/acts-for") => {
            Act::UserUpdate
        }
        ("PUT", "/users/{user}/mcp-access" | "/groups/{group}/mcp-access") => Act::AccessSet,
        ("POST", "/users/{user}/keys") => Act::KeyIssue,
        ("POST", "/keys/revoke") | ("DELETE", "/keys/{key_id}") => Act::KeyRevoke,
        ("POST", "/groups") => Act::GroupAdd,
        ("PATCH", "/groups/{group}") => Act::GroupUpdate,
        ("DELETE", "/groups/{group}") => Act::GroupDelete,
        ("PUT", "/groups/{group}/members/{user}") => Act::GroupJoin,
        ("DELETE", "/groups/{group}/members/{user}") => Act::GroupLeave,
        ("PUT", "/users/{user}/secrets/{server}/{secret}") | ("POST", "/secrets/set") => {
            Act::SecretSet
        }
        (
            "DELETE",
            "/users/{user}/secrets/{server}/{secret}" | "/users/{user}/secrets/{server}",
        )
        | ("POST", "/secrets/delete") => Act::SecretDelete,
        ("PUT", "/groups/{group}/secrets/{server}/{secret}") => Act::GroupSecretSet,
        (
            "DELETE",
            "/groups/{group}/secrets/{server}/{secret}" | "/groups/{group}/secrets/{server}",
        ) => Act::GroupSecretDelete,
        ("POST", "/admin/keys") => Act::AdminKeyIssue,
        ("DELETE", "/admin/keys/{key_id}") => Act::AdminKeyRevoke,
        _ => return None,
    })
}
