//! What to paste into a client so that it calls a server through Cloakroom.
//!
//! Pure functions over texts. What they return holds the key they were given, so it goes to the
//! person who asked and nowhere else; give [`PLACEHOLDER`] when the key is not at hand, since a key is
//! shown only once.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use crate::config::Transport;

/// Stands where a key belongs when the key is not at hand.
pub const PLACEHOLDER: &str = "clk_YOUR_KEY";

/// A client whose way of writing a configuration is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    /// Anthropic's Claude Code: a command, or `.mcp.json`.
    ClaudeCode,
    /// Cursor: `.cursor/mcp.json`.
    Cursor,
    /// Anything else that speaks HTTP: the URL and the header.
    Generic,
    /// What only starts commands, such as Claude Desktop: `cloakroom connect`, which speaks HTTP for it.
    Stdio,
    /// Visual Studio Code: `.vscode/mcp.json`.
    VsCode,
}

/// One server as a client reaches it.
///
/// No `Debug`: it holds a key.
#[derive(Clone, Copy)]
pub struct Connection<'a> {
    /// What the client will call the server: letters, digits, `-` and `_`.
    pub name: &'a str,
    /// `http://HOST:PORT/NAME/mcp`, or `…/sse`.
    pub url: &'a str,
    /// What is spoken there.
    pub transport: Transport,
    /// The key, or [`PLACEHOLDER`].
    pub key: &'a str,
}

impl Connection<'_> {
    /// What Claude Code and VS Code call the transport.
    fn kind(&self) -> &'static str {
        match self.transport {
            Transport::Streamable => "http",
            Transport::Sse => "sse",
        }
    }
}

const STREAMABLE_ONLY: &str =
    "Clients that speak Streamable HTTP only, such as Codex, cannot use this server.\n";

impl Client {
    /// All clients, in the order to show them.
    pub const ALL: [Self; 5] = [
        Self::ClaudeCode,
        Self::Cursor,
        Self::VsCode,
        Self::Stdio,
        Self::Generic,
    ];

    /// The name on the command line and in JSON.
    #[must_use]
    pub fn id(self) -> &'static str {
        match self {
            Self::ClaudeCode => "claude-code",
            Self::Cursor => "cursor",
            Self::Generic => "generic",
            Self::Stdio => "stdio",
            Self::VsCode => "vscode",
        }
    }

    /// The name for people.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::ClaudeCode => "Claude Code",
            Self::Cursor => "Cursor",
            Self::Generic => "Any other client",
            Self::Stdio => "Clients without HTTP, such as Claude Desktop",
            Self::VsCode => "VS Code",
        }
    }

    /// The client called `id`, if there is one.
    #[must_use]
    pub fn parse(id: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|client| client.id() == id)
    }

    /// The content of the client's configuration file, for this one server.
    #[must_use]
    pub fn json(self, connection: &Connection<'_>) -> Value {
        let Connection { name, url, key, .. } = connection;
        let headers = json!({ "Authorization": format!("Bearer {key}") });
        let typed = json!({ "type": connection.kind(), "url": url, "headers": headers });
        match self {
            Self::ClaudeCode => json!({ "mcpServers": { *name: typed } }),
            // It finds out by itself what is spoken there.
            Self::Cursor => json!({ "mcpServers": { *name: { "url": url, "headers": headers } } }),
            Self::Generic => {
                let transport = match connection.transport {
                    Transport::Streamable => "streamable-http",
                    Transport::Sse => "sse",
                };
                json!({ "name": name, "transport": transport, "url": url, "headers": headers })
            }
            Self::Stdio => json!({ "mcpServers": { *name: {
                "command": "cloakroom",
                "args": ["connect", url],
                "env": { "CLOAKROOM_KEY": key },
            } } }),
            Self::VsCode => json!({ "servers": { *name: typed } }),
        }
    }

    /// The content of the client's configuration file, for several servers; of a client without one, a list.
    #[must_use]
    pub fn json_for_servers(self, connections: &[Connection<'_>]) -> Value {
        let each = connections.iter().map(|connection| self.json(connection));
        if self == Self::Generic {
            return each.collect();
        }
        let mut all = Map::new();
        for one in each {
            let Value::Object(one) = one else { continue };
            for (table, servers) in one {
                let into = all.entry(table).or_insert_with(|| json!({}));
                if let (Value::Object(into), Value::Object(servers)) = (into, servers) {
                    into.extend(servers);
                }
            }
        }
        Value::Object(all)
    }

    /// What a person pastes, and where; every line ends with a newline.
    ///
    /// A line to run stands alone and begins at its first column.
    #[must_use]
    pub fn text(self, connection: &Connection<'_>) -> String {
        let Connection { name, url, key, .. } = connection;
        let file = |path: &str| format!("In {path}:\n{:#}\n", self.json(connection));
        match self {
            Self::ClaudeCode => {
                let header = quoted(&format!("Authorization: Bearer {key}"));
                let url = argument(url);
                let kind = connection.kind();
                format!("Run:\nclaude mcp add --transport {kind} {name} {url} --header {header}\n")
            }
            Self::Cursor => file(".cursor/mcp.json (of a project, or of your home directory)"),
            Self::Generic => {
                let (transport, note) = match connection.transport {
                    Transport::Streamable => ("Streamable HTTP", ""),
                    Transport::Sse => ("HTTP+SSE (MCP 2024-11-05)", STREAMABLE_ONLY),
                };
                format!(
                    "Transport: {transport}\nURL:       {url}\nHeader:    Authorization: Bearer {key}\n{note}"
                )
            }
            Self::Stdio => file(
                "claude_desktop_config.json, or wherever it lists the commands of its servers (a path in front of \
                 cloakroom where it is not found)",
            ),
            Self::VsCode => file(".vscode/mcp.json"),
        }
    }
}

/// The texts for all clients, each under its title, with an empty line between.
#[must_use]
pub fn text_for_all(connection: &Connection<'_>) -> String {
    let mut all = String::new();
    for (index, client) in Client::ALL.into_iter().enumerate() {
        let gap = if index == 0 { "" } else { "\n" };
        write!(
            all,
            "{gap}# {}\n{}",
            client.title(),
            client.text(connection)
        )
        .expect("writing to a String cannot fail");
    }
    all
}

/// The JSON for all clients by [`Client::id`].
#[must_use]
pub fn json_for_all(connection: &Connection<'_>) -> Value {
    let by_id = Client::ALL
        .into_iter()
        .map(|client| (client.id().to_owned(), client.json(connection)));
    Value::Object(by_id.collect())
}

/// `text` as one word of a shell, bare when it holds nothing a shell would read.
fn argument(text: &str) -> String {
    let bare = |b: u8| b.is_ascii_alphanumeric() || b"-._~:/@%+,=".contains(&b);
    if !text.is_empty() && text.bytes().all(bare) {
        text.to_owned()
    } else {
        quoted(text)
    }
}

/// `text` in quotes: double ones, which every shell knows, unless it holds what they do not protect.
fn quoted(text: &str) -> String {
    if text.contains(['"', '$', '`', '\\', '!']) {
        format!("'{}'", text.replace('\'', r"'\''"))
    } else {
        format!("\"{text}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with<T>(key: &str, run: impl FnOnce(&Connection<'_>) -> T) -> T {
        run(&Connection {
            name: "github",
            url: "http://127.0.0.1:8080/github/mcp",
            transport: Transport::Streamable,
            key,
        })
    }

    #[test]
    fn a_server_of_the_older_kind_is_called_so() {
        let connection = Connection {
            name: "jira",
            url: "http://127.0.0.1:8080/jira/sse",
            transport: Transport::Sse,
            key: "clk_abc",
        };
        let text = text_for_all(&connection);
        let run = "claude mcp add --transport sse jira http://127.0.0.1:8080/jira/sse --header ";
        assert!(text.contains(run), "{text}");
        assert!(
            text.contains("\"type\": \"sse\"") && text.contains("Codex, cannot"),
            "{text}"
        );
        let json = json_for_all(&connection);
        assert_eq!(json["claude-code"]["mcpServers"]["jira"]["type"], "sse");
        assert_eq!(json["vscode"]["servers"]["jira"]["type"], "sse");
        assert_eq!(json["generic"]["transport"], "sse");
        assert!(!text.contains("http\"") && !text.contains("Streamable HTTP\n"));
    }

    #[test]
    fn each_client_gets_its_own_form() {
        with("clk_abc", |connection| {
            assert_eq!(
                Client::ClaudeCode.text(connection),
                "Run:\nclaude mcp add --transport http github http://127.0.0.1:8080/github/mcp \
                 --header \"Authorization: Bearer clk_abc\"\n"
            );
            let entry = &Client::Cursor.json(connection)["mcpServers"]["github"];
            assert_eq!(entry["url"], "http://127.0.0.1:8080/github/mcp");
            assert_eq!(entry["headers"]["Authorization"], "Bearer clk_abc");
            let entry = &Client::Stdio.json(connection)["mcpServers"]["github"];
            assert_eq!(
                *entry,
                json!({
                    "command": "cloakroom",
                    "args": ["connect", connection.url],
                    "env": { "CLOAKROOM_KEY": "clk_abc" },
                })
            );
            let entry = &Client::VsCode.json(connection)["servers"]["github"];
            assert_eq!(
                (&entry["type"], &entry["url"]),
                (&json!("http"), &json!(connection.url))
            );
        });
    }

    #[test]
    fn what_is_shown_as_json_is_json() {
        with(r#"odd"\key"#, |connection| {
            for client in [Client::Cursor, Client::Stdio, Client::VsCode] {
                let text = client.text(connection);
                let start = text.find('{').unwrap();
                let parsed: Value = serde_json::from_str(&text[start..]).unwrap();
                assert_eq!(parsed, client.json(connection));
            }
        });
    }

    #[test]
    fn a_shell_takes_the_key_as_one_word() {
        with("a$(b)'`c", |connection| {
            let text = Client::ClaudeCode.text(connection);
            assert!(
                text.ends_with("--header 'Authorization: Bearer a$(b)'\\''`c'\n"),
                "{text}"
            );
        });
        assert_eq!(argument("http://h/x?a=b&c"), "\"http://h/x?a=b&c\"");
    }

    #[test]
    fn all_clients_come_with_the_placeholder() {
        with(PLACEHOLDER, |connection| {
            let text = text_for_all(connection);
            assert_eq!(text.matches(PLACEHOLDER).count(), Client::ALL.len());
            let json = json_for_all(connection);
            for client in Client::ALL {
                assert!(text.contains(client.title()) && json.get(client.id()).is_some());
                assert_eq!(Client::parse(client.id()), Some(client));
            }
        });
    }
}
