//! Which server a request is for.

use crate::names::ServerName;

/// How a [`super::Cloakroom`] finds out.
#[derive(Debug, Clone)]
pub enum Routes {
    /// The service inside is this server, whatever the path.
    One(ServerName),
    /// By path: `/{server}/mcp`, and `/mcp` for the default server.
    ByPath {
        /// The server behind `/mcp`.
        default_server: Option<ServerName>,
    },
}

impl Routes {
    /// The server a path is for; `None` when nothing is at that path, whoever asks. Whether there
    /// is a server of this name is not for the route to say: only who has a key is told.
    #[must_use]
    pub fn server(&self, path: &str) -> Option<ServerName> {
        let default = match self {
            Self::One(server) => return Some(server.clone()),
            Self::ByPath { default_server } => default_server,
        };
        match path.strip_prefix('/')?.split_once('/') {
            None => default.clone().filter(|_| path == "/mcp"),
            Some((server, "mcp")) => ServerName::parse(server).ok(),
            Some(_) => None,
        }
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
        for path in ["/github/mcp", "/mcp"] {
            assert_eq!(routes.server(path), Some(github.clone()), "{path}");
        }
        for path in [
            "/",
            "",
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
            "/github/sse",
            "/.well-known/oauth-protected-resource/github/mcp",
        ] {
            assert_eq!(routes.server(path), None, "{path}");
        }
        let none = Routes::ByPath {
            default_server: None,
        };
        assert_eq!(none.server("/mcp"), None);
        assert_eq!(
            Routes::One(github.clone()).server("/anything"),
            Some(github)
        );
    }
}
