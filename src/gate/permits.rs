//! What one user may use of one server.

use crate::names::ServerName;
use crate::policy::{self, DefaultAccess};
use crate::resolve::Identity;

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

    /// Whether he is shown the same tools as before: no tool is limited, or by the same lists.
    pub(super) fn lists_the_same(&self, before: &Self) -> bool {
        let unlimited = !self.limits_tools && !before.limits_tools;
        unlimited || self.identity.access().eq(before.identity.access())
    }
}
