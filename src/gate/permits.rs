//! What one user may use of one server.

use std::sync::Arc;

use tokio::sync::watch;

use crate::names::ServerName;
use crate::policy::{self, DefaultAccess};
use crate::rejection::{Kind, Rejection};
use crate::resolve::Identity;
use crate::vault::GroupId;

/// Which servers may be used by whom no list allows any. Gates of one configuration after another share what
/// the one in force says: what is served since an earlier one hears of it too.
#[derive(Clone)]
pub struct DefaultInForce {
    /// Of the configuration this gate is of.
    own: DefaultAccess,
    shared: Arc<watch::Sender<DefaultAccess>>,
}

impl Default for DefaultInForce {
    fn default() -> Self {
        let access = DefaultAccess::default();
        Self {
            own: access,
            shared: Arc::new(watch::Sender::new(access)),
        }
    }
}

impl DefaultInForce {
    /// For the gate of a configuration that says `own`.
    #[must_use]
    pub fn of(&self, own: DefaultAccess) -> Self {
        let shared = self.shared.clone();
        Self { own, shared }
    }

    /// From now on the configuration in force says this.
    pub fn set(&self, access: DefaultAccess) {
        self.shared.send_replace(access);
    }

    /// What both say: a gate's servers are those of its own configuration.
    pub(super) fn now(&self) -> DefaultAccess {
        match (self.own, *self.shared.borrow()) {
            (DefaultAccess::All, DefaultAccess::All) => DefaultAccess::All,
            _ => DefaultAccess::None,
        }
    }

    pub(super) fn changes(&self) -> watch::Receiver<DefaultAccess> {
        self.shared.subscribe()
    }
}

/// What a user may use of a server he may use. Cheap to clone.
#[derive(Clone)]
pub struct Permits {
    identity: Identity,
    server: ServerName,
    limits_tools: bool,
}

impl Permits {
    /// `None` if it is nothing.
    pub(super) fn of(
        identity: &Identity,
        default: DefaultAccess,
        server: &ServerName,
    ) -> Option<Self> {
        let lists = identity.access();
        let allowed = policy::server_allowed(lists.clone(), default, server.as_str());
        allowed.then(|| Self {
            identity: identity.clone(),
            server: server.clone(),
            limits_tools: policy::limits_tools(lists, server.as_str()),
        })
    }

    /// The server.
    #[must_use]
    pub fn server(&self) -> &ServerName {
        &self.server
    }

    /// Whether there is a tool he may not call.
    #[must_use]
    pub fn limits_tools(&self) -> bool {
        self.limits_tools
    }

    /// Whether he may call a tool, and see it; `""` for one whose name is no text.
    #[must_use]
    pub fn allows_tool(&self, tool: &str) -> bool {
        !self.limits_tools
            || policy::tool_allowed(self.identity.access(), self.server.as_str(), tool)
    }

    /// Whether he may call all of these tools.
    ///
    /// # Errors
    /// That he may not.
    pub fn check_tools(&self, tools: &[&str]) -> Result<(), Rejection> {
        match tools.iter().all(|tool| self.allows_tool(tool)) {
            true => Ok(()),
            false => Err(Rejection::new(Kind::ToolBlocked)),
        }
    }

    /// Whether what was begun `before` may go on as it is: he is shown the same tools, for none is limited
    /// or by the same lists, and shares what groups shared with him for this server, in every profile.
    pub(super) fn go_on_from(&self, before: &Self) -> bool {
        let unlimited = !self.limits_tools && !before.limits_tools;
        let lists_the_same = unlimited || self.identity.access().eq(before.identity.access());
        lists_the_same
            && before
                .shares()
                .all(|one| self.shares().any(|now| now == one))
    }

    /// The groups that share secrets for the server with him, each with a profile it does so in.
    fn shares(&self) -> impl Iterator<Item = (GroupId, &str)> {
        self.identity.shares(self.server.as_str())
    }
}
