//! What administrators do, told to whoever keeps the record of it.

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::Desk;
use super::auth::Actor;
use super::problem::Problem;
use crate::identity::KeyId;
use crate::vault::Role;

/// Something an administrator does.
#[derive(Debug, Clone)]
pub struct Act {
    /// Who: the name of the administrator's key.
    pub actor: String,
    /// By which right.
    pub role: Role,
    /// With which key.
    pub key: KeyId,
    /// From where; none over a Unix socket.
    pub address: Option<IpAddr>,
    /// What, such as `user.add`.
    pub act: &'static str,
    /// To whom or what: a name or an id.
    pub target: String,
    /// Whether its doer can call as somebody else by it.
    pub impersonation: bool,
    /// What else is worth knowing. No secret and no key.
    pub detail: Value,
}

/// What could not be recorded must not be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unrecorded;

/// Keeps the record of what administrators do.
#[async_trait]
pub trait Acts: Send + Sync {
    /// Before it is done. Gives a number that ties its begin to its end.
    ///
    /// # Errors
    /// It cannot be recorded, and is not to be done.
    async fn begin(&self, act: &Act) -> Result<u64, Unrecorded>;

    /// After it was done, or was not: with the status of the answer.
    async fn end(&self, act: &Act, number: u64, status: u16);
}

/// Keeps no record.
pub struct NoActs;

#[async_trait]
impl Acts for NoActs {
    async fn begin(&self, _act: &Act) -> Result<u64, Unrecorded> {
        Ok(0)
    }

    async fn end(&self, _act: &Act, _number: u64, _status: u16) {}
}

/// What is to be done, before it is known who does it.
pub(super) struct Deed {
    act: &'static str,
    target: String,
    impersonation: bool,
    detail: Value,
}

impl Deed {
    pub(super) fn new(act: &'static str, target: impl ToString) -> Self {
        Self {
            act,
            target: target.to_string(),
            impersonation: false,
            detail: json!({}),
        }
    }

    pub(super) fn with(self, detail: Value) -> Self {
        Self { detail, ..self }
    }

    pub(super) fn impersonating(self, impersonation: bool) -> Self {
        Self {
            impersonation,
            ..self
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
        let act = Act {
            actor: actor.name.clone(),
            role: actor.role,
            key: actor.key.clone(),
            address: actor.address,
            act: deed.act,
            target: deed.target,
            impersonation: deed.impersonation,
            detail: deed.detail,
        };
        let desk = self.clone();
        let done = tokio::spawn(async move {
            let began = desk.acts.begin(&act).await;
            let number = began.map_err(|Unrecorded| Problem::unrecorded())?;
            let done = work.await;
            let status = done.as_ref().map_or_else(Problem::status, |_| 200);
            desk.acts.end(&act, number, status).await;
            done
        });
        done.await.unwrap_or_else(|_| Err(Problem::internal()))
    }
}
