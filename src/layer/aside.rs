//! Requests that are no message of MCP, which an outer service answers by requests of its own through the
//! layer. What the layer does before it looks at a message it does for these too: nobody's body is read
//! before he is known, and all of it counts within the budget.

use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http_body::Body;

use super::budget::Held;
use super::call::{check_type, unreadable};
use super::route::Endpoint;
use super::{CloakroomLayer, Shared, observe};
use crate::mcp::scan::check_json;
use crate::names::ServerName;
use crate::rejection::Rejection;
use crate::resolve::Identity;

/// A request of a known user, whose body was read whole and is JSON under the rules for every body.
pub struct Aside {
    shared: Arc<Shared>,
    caller: Identity,
    body: Bytes,
    held: Held,
}

impl CloakroomLayer {
    /// Authenticates a request by the key it carries, and reads its body.
    ///
    /// # Errors
    /// Whatever refuses a request to a server before its message is looked at.
    pub async fn aside<B: Body>(&self, parts: &Parts, body: B) -> Result<Aside, Rejection> {
        let Shared { gate, budget, .. } = &*self.shared;
        let caller = gate.authenticate(&parts.headers, None).await?;
        if let Some(observer) = observe::of(parts) {
            observer.authenticated(&caller);
        }
        let user = caller.user_id();
        // Of the requests that are made for it each waits for a turn of its own.
        let turn = budget.enter(user, gate.concurrent(&caller)).await?;
        check_type(&parts.headers)?;
        let (body, held) = budget.read_in_time(user, body).await?;
        drop(turn);
        check_json(&body).map_err(|error| unreadable(&error))?;
        Ok(Aside {
            shared: self.shared.clone(),
            caller,
            body,
            held,
        })
    }

    /// Where clients begin to talk to a server; `None` if there is none of this name.
    #[must_use]
    pub fn endpoint(&self, server: &ServerName) -> Option<Endpoint> {
        let door = self.shared.gate.door(server)?;
        Some(match door.sse_url() {
            Some(_) => Endpoint::Sse,
            None => Endpoint::Mcp,
        })
    }
}

impl Aside {
    /// The name of the user whose key it carries.
    #[must_use]
    pub fn caller(&self) -> &str {
        self.caller.user_name()
    }

    /// Its body.
    #[must_use]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap_or_default()
    }

    /// Counts further bytes that are held for its sender, until this is dropped.
    ///
    /// # Errors
    /// That would be too much.
    pub fn hold(&mut self, bytes: usize) -> Result<(), Rejection> {
        self.held.count(bytes)
    }

    /// Whether the key still stands.
    ///
    /// # Errors
    /// Those of a request that came with it now.
    pub async fn stands(&self) -> Result<(), Rejection> {
        self.shared.gate.again(&self.caller).await.map(drop)
    }
}
