//! Requests that are no message of MCP, which an outer service answers by requests of its own through the
//! layer. What the layer does before it looks at a message it does for these too: nobody's body is read
//! before he is known, and all of it counts within the budget.

use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http_body::Body;
use http_body_util::Full;

use super::body::AnswerBody;
use super::budget::{Counted, Held};
use super::call::{Holding, check_type, unreadable};
use super::observe::{Forwarded, Observed};
use super::route::Endpoint;
use super::setup::{Client, Reply, fitted};
use super::{CloakroomLayer, Shared};
use crate::gate::{Door, Request};
use crate::mcp::revision::Era;
use crate::mcp::scan::{Capabilities, check_json};
use crate::names::{ProfileName, ServerName, UserName};
use crate::rejection::{Kind, Rejection};
use crate::resolve::Identity;

/// A request of a known user, whose body was read whole and is JSON under the rules for every body.
pub struct Aside {
    shared: Arc<Shared>,
    caller: Identity,
    body: Bytes,
    held: Held,
}

/// A call of a tool, as it is asked for.
pub struct ToolCall<'a> {
    /// The server.
    pub server: &'a ServerName,
    /// The profile whose secrets are used, if one is named.
    pub profile: Option<ProfileName>,
    /// The tool.
    pub tool: &'a str,
    /// In whose name, if not in the caller's own.
    pub user: Option<&'a UserName>,
}

impl CloakroomLayer {
    /// Authenticates a request by the key it carries, of which `observed` is told, and reads its body.
    ///
    /// # Errors
    /// Whatever refuses a request to a server before its message is looked at.
    pub async fn aside<B: Body>(
        &self,
        parts: &Parts,
        body: B,
        observed: Option<&Observed>,
    ) -> Result<Aside, Rejection> {
        let Shared { gate, budget, .. } = &*self.shared;
        let caller = gate.authenticate(&parts.headers, None).await?;
        if let Some(Observed(observer)) = observed {
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

    /// Judges the call that requests are about to be made for, and takes what it costs of what its sender
    /// may ask for over time. It is recorded here, with the secrets of the call: the first of those requests
    /// carries some of them already. The requests themselves are judged once more, each by itself.
    ///
    /// # Errors
    /// Those of a `tools/call` of a client; or that it cannot be recorded.
    pub async fn admit(
        &self,
        call: &ToolCall<'_>,
        observed: Option<&Observed>,
    ) -> Result<(), Rejection> {
        let gate = &self.shared.gate;
        let caller = match call.user {
            None => self.caller.clone(),
            Some(user) => gate.on_behalf(&self.caller, user).await?,
        };
        let observer = observed.map(|Observed(observer)| &**observer);
        if let Some(observer) = observer {
            observer.authenticated(&caller);
        }
        let door = gate.door(call.server);
        let door = door.ok_or_else(|| Rejection::new(Kind::UnknownServer))?;
        let permits = gate.permits(&caller, door)?;
        let holding = Holding {
            user: caller.user_id(),
            profile: gate.profile(&caller, door, call.profile.clone())?,
        };
        let tools = [call.tool];
        permits.check_tools(&tools)?;
        gate.spend(&caller, 1).await?;
        let asked = Request {
            tools: &tools,
            optional: false,
        };
        let grant = gate.admit(&caller, door, &holding.profile, &asked).await;
        let grant = grant.map_err(|rejection| self.with_page(rejection, door, &holding))?;
        let recorded = observer.filter(|observer| observer.records());
        let recorded = recorded.and_then(|observer| {
            observer.forwarding(Forwarded {
                caller: &caller,
                server: call.server,
                profile: &holding.profile,
                methods: vec!["tools/call"],
                tools: tools.to_vec(),
                secrets: grant.used(door, &asked),
            })
        });
        match recorded {
            Some(recorded) => recorded.await,
            None => Ok(()),
        }
    }

    /// A missing secret may be set on a page, if there is one.
    fn with_page(&self, rejection: Rejection, door: &Door, holding: &Holding) -> Rejection {
        if rejection.kind() != Kind::SecretMissing {
            return rejection;
        }
        let client = Client {
            era: Era::Legacy,
            capabilities: Capabilities::default(),
            message: None,
            text: "",
            reply: Reply::None,
        };
        let page = self.shared.setup_page.as_ref();
        fitted(rejection, &client, page, door, &holding.holder(door))
    }

    /// What it is answered with. All that is held for it counts until that was passed on.
    #[must_use]
    pub fn answer<R>(self, body: String) -> AnswerBody<R> {
        AnswerBody::own(Full::from(body)).counted(Counted::Held(self.held))
    }

    /// Whether the key still stands.
    ///
    /// # Errors
    /// Those of a request that came with it now.
    pub async fn stands(&self) -> Result<(), Rejection> {
        self.shared.gate.again(&self.caller).await.map(drop)
    }
}
