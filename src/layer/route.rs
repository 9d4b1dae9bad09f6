//! What a path asks for.

use crate::names::{ProfileName, ServerName};

/// How a [`super::Cloakroom`] finds out which server a request is for.
#[derive(Debug, Clone)]
pub enum Routes {
    /// The service inside is this server, whatever the path.
    One(ServerName),
    /// By path: `/{server}/mcp`, `/{server}/sse` and its message path, each also with a profile, as in
    /// `/{server}/@{profile}/mcp`; `/mcp` and `/sse` for the default server.
    ByPath {
        /// The server behind `/mcp` and `/sse`.
        default_server: Option<ServerName>,
    },
}

/// Where a request wants to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The server.
    pub server: ServerName,
    /// The profile named in the path; none means the key's.
    pub profile: Option<ProfileName>,
    /// The way in.
    pub endpoint: Endpoint,
}

/// A way into a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// Streamable HTTP (MCP 2025-03-26 on).
    Mcp,
    /// The stream of HTTP+SSE (MCP 2024-11-05).
    Sse,
    /// Where messages to such a stream are posted.
    Message,
}

impl Endpoint {
    /// Its name, the last segment of its path.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Mcp => "mcp",
            Self::Sse => "sse",
            Self::Message => "message",
        }
    }

    fn of(name: &str) -> Option<Self> {
        [Self::Mcp, Self::Sse, Self::Message]
            .into_iter()
            .find(|endpoint| endpoint.name() == name)
    }
}

impl Routes {
    /// Where a path leads; `None` when nothing is at that path, whoever asks. Whether there is a server
    /// of this name is not for the route to say: only who has a key is told.
    #[must_use]
    pub fn route(&self, path: &str) -> Option<Route> {
        self.lead(Named::of(path).as_ref())
    }

    /// Where a path leads that names this.
    pub(super) fn lead(&self, named: Option<&Named>) -> Option<Route> {
        match self {
            Self::One(server) => Some(Route {
                server: server.clone(),
                profile: None,
                endpoint: Endpoint::Mcp,
            }),
            Self::ByPath { default_server } => {
                let named = named?;
                Some(Route {
                    server: named.server.as_ref().or(default_server.as_ref())?.clone(),
                    profile: named.profile.clone(),
                    endpoint: named.endpoint,
                })
            }
        }
    }
}

/// What a path names, wherever that leads.
pub(super) struct Named {
    /// None at the default server's.
    server: Option<ServerName>,
    profile: Option<ProfileName>,
    endpoint: Endpoint,
}

impl Named {
    /// None of a path at which nothing can be.
    pub(super) fn of(path: &str) -> Option<Self> {
        let mut segments = path.strip_prefix('/')?.split('/');
        let found = [(); 4].map(|()| segments.next());
        let (server, profile, endpoint) = match found {
            [Some(endpoint), None, ..] => (None, None, endpoint),
            [Some(server), Some(endpoint), None, _] => (Some(server), None, endpoint),
            [Some(server), Some(profile), Some(endpoint), None] => {
                let profile = ProfileName::parse(profile.strip_prefix('@')?).ok()?;
                (Some(server), Some(profile), endpoint)
            }
            _ => return None,
        };
        Some(Self {
            server: server.map(ServerName::parse).transpose().ok()?,
            profile,
            endpoint: Endpoint::of(endpoint)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_to_servers_exactly() {
        let github = ServerName::parse("github").unwrap();
        let routes = Routes::ByPath {
            default_server: Some(github.clone()),
        };
        let route = |profile: Option<&str>, endpoint| Route {
            server: github.clone(),
            profile: profile.map(|name| ProfileName::parse(name).unwrap()),
            endpoint,
        };
        for (path, expected) in [
            ("/github/mcp", route(None, Endpoint::Mcp)),
            ("/mcp", route(None, Endpoint::Mcp)),
            ("/sse", route(None, Endpoint::Sse)),
            ("/message", route(None, Endpoint::Message)),
            ("/github/sse", route(None, Endpoint::Sse)),
            ("/github/@work/mcp", route(Some("work"), Endpoint::Mcp)),
            (
                "/github/@work/message",
                route(Some("work"), Endpoint::Message),
            ),
        ] {
            assert_eq!(routes.route(path), Some(expected), "{path}");
        }
        for path in [
            "/",
            "",
            "mcp",
            "/github",
            "/github/",
            "/github/mcp/",
            "/github//mcp",
            "//mcp",
            "/GitHub/mcp",
            "/git%68ub/mcp",
            "/../github/mcp",
            "/.well-known/mcp",
            "/mcp/mcp",
            "/mcp/",
            "/@work/mcp",
            "/github/work/mcp",
            "/github/@/mcp",
            "/github/@a/@b/mcp",
            "/github/@work/mcp/",
            "/github/%40work/mcp",
            "/.well-known/oauth-protected-resource/github/mcp",
        ] {
            assert_eq!(routes.route(path), None, "{path}");
        }
        let none = Routes::ByPath {
            default_server: None,
        };
        assert_eq!(none.route("/mcp"), None);
        let one = Routes::One(github.clone());
        assert_eq!(one.route("/anything"), Some(route(None, Endpoint::Mcp)));
    }
}
