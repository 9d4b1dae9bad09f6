//! The configuration `init` writes.

use std::collections::BTreeSet;

use crate::config::basic_string;
use crate::inject::Template;
use crate::names::ServerName;

/// What is to be written.
pub(super) struct Wanted {
    pub(super) url: String,
    pub(super) server: ServerName,
    pub(super) slot: Slot,
}

/// Where the secret goes: a name and a template.
pub(super) enum Slot {
    Header(String, String),
    /// For these tools; none is every tool.
    Argument(String, String, Vec<String>),
    Query(String, String),
    None,
}

impl Slot {
    /// What most servers expect.
    pub(super) fn bearer(server: &ServerName) -> Self {
        let template = format!("Bearer ${{{}}}", default_secret(server));
        Self::Header("Authorization".to_owned(), template)
    }

    fn template(&self) -> Option<&str> {
        match self {
            Self::Header(_, template)
            | Self::Argument(_, template, _)
            | Self::Query(_, template) => Some(template),
            Self::None => None,
        }
    }
}

/// `GITHUB_TOKEN` of `github`.
pub(super) fn default_secret(server: &ServerName) -> String {
    let upper = server.as_str().to_ascii_uppercase().replace('-', "_");
    // A name of a secret begins with no digit, and is shorter than a server's may be.
    let begin = if upper.starts_with(|c: char| c.is_ascii_digit()) {
        "_"
    } else {
        ""
    };
    let upper: String = upper.chars().take(57).collect();
    format!("{begin}{upper}_TOKEN")
}

/// The names a user has to set, sorted.
pub(super) fn secrets(slot: &Slot) -> Vec<String> {
    let parsed = slot.template().and_then(|text| Template::parse(text).ok());
    let names = parsed.iter().flat_map(Template::secrets);
    let names: BTreeSet<_> = names.map(|name| name.as_str().to_owned()).collect();
    names.into_iter().collect()
}

pub(super) fn configuration(wanted: &Wanted) -> String {
    let Wanted { url, server, slot } = wanted;
    let key = match url
        .split(['?', '#'])
        .next()
        .is_some_and(|path| path.ends_with("/sse"))
    {
        true => "sse_url",
        false => "url",
    };
    let what = match key {
        "url" => "Streamable HTTP",
        _ => "HTTP+SSE (2024-11-05)",
    };
    let url = basic_string(url);
    format!(
        "# Cloakroom's configuration, made by `cloakroom init`. Only what differs from the defaults has to
# be here: every setting, what it means and its default is in config/default.toml of the source.
# `cloakroom check` looks at all of it, and at what it names. Relative paths are relative to this file.

# Where clients connect. On loopback, so only from this machine.
listen = \"127.0.0.1:8080\"

# Where /livez, /readyz and /metrics are served, to whoever asks.
#health_listen = \"127.0.0.1:8082\"

[store]
# Users, keys and secrets, all sealed. For several machines: redis://, rediss://, redis+sentinel://,
# redis+cluster://.
url = \"sqlite:cloakroom.db\"

[keyring]
# What seals and opens everything in the store. Keep a copy apart from the store's.
file = \"master.keys\"

# An MCP server ({what}). Clients call http://127.0.0.1:8080/{server}/{path} with a key of theirs.
[servers.{server}]
{key} = {url}
{slots}",
        path = if key == "url" { "mcp" } else { "sse" },
        slots = slots(server, slot),
    )
}

fn slots(server: &ServerName, slot: &Slot) -> String {
    let what = "The calling user's own secret goes there; `cloakroom secret set` keeps it.";
    let value = |template: &str| basic_string(template);
    match slot {
        Slot::None => {
            "# It needs no secret of its users: there is no table of slots here.\n".to_owned()
        }
        Slot::Header(name, template) => format!(
            "\n# A header it expects. {what}\n[servers.{server}.headers]\n{} = {}\n",
            key(name),
            value(template)
        ),
        Slot::Query(name, template) => format!(
            "\n# A parameter of its URL. {what}\n# URLs end up in logs: prefer a header where it takes one.\n\
             [servers.{server}.query]\n{} = {}\n",
            key(name),
            value(template)
        ),
        Slot::Argument(name, template, tools) => {
            let value = match tools.as_slice() {
                [] => value(template),
                tools => {
                    let tools: Vec<_> = tools.iter().map(|tool| basic_string(tool)).collect();
                    format!(
                        "{{ value = {}, tools = [{}] }}",
                        value(template),
                        tools.join(", ")
                    )
                }
            };
            format!(
                "\n# An argument of its tools, hidden from clients. {what}\n\
                 # A tool may repeat it in its answer: prefer a header where it takes one.\n\
                 [servers.{server}.arguments]\n{} = {value}\n",
                key(name)
            )
        }
    }
}

fn key(name: &str) -> String {
    let bare = |b: u8| b.is_ascii_alphanumeric() || b"-_".contains(&b);
    if !name.is_empty() && name.bytes().all(bare) {
        name.to_owned()
    } else {
        basic_string(name)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn wanted(url: &str, slot: Slot) -> String {
        let server = ServerName::parse("jira").unwrap();
        let url = url.to_owned();
        configuration(&Wanted { url, server, slot })
    }

    #[test]
    fn every_kind_of_slot_loads_without_a_warning_and_asks_for_its_secrets() {
        let text = |text: &str| text.to_owned();
        let tools = vec![text("create_issue")];
        for slot in [
            Slot::bearer(&ServerName::parse("jira").unwrap()),
            Slot::Header(text("X-Key"), text("Basic ${base64(USER:PASSWORD)}")),
            Slot::Argument(text("api_token"), text("${A}"), tools),
            Slot::Argument(text("odd \"name\" \\"), text("${A}"), vec![text("a\"b")]),
            Slot::Query(text("api.key"), text("${A}")),
            Slot::None,
        ] {
            let named = secrets(&slot);
            let written = wanted("http://127.0.0.1:9001/mcp?a=b", slot);
            let config = crate::config::load_text(&written, Path::new("x"), Path::new(""))
                .unwrap_or_else(|errors| panic!("{errors}\n{written}"));
            assert!(config.warnings.is_empty(), "{:?}", config.warnings);
            let server = config.servers.values().next().unwrap();
            let asked: BTreeSet<_> = server
                .slots
                .iter()
                .flat_map(|slot| slot.template.secrets())
                .map(|name| name.as_str().to_owned())
                .collect();
            assert_eq!(asked.into_iter().collect::<Vec<_>>(), named);
        }
    }

    #[test]
    fn a_url_of_the_older_kind_is_written_as_one() {
        let written = wanted("http://127.0.0.1:9001/sse", Slot::None);
        assert!(
            written.contains("\nsse_url = ") && written.contains("8080/jira/sse "),
            "{written}"
        );
    }

    #[test]
    fn a_secret_has_a_name_that_is_one() {
        for (server, secret) in [("my-api", "MY_API_TOKEN"), ("9gag", "_9GAG_TOKEN")] {
            assert_eq!(default_secret(&ServerName::parse(server).unwrap()), secret);
        }
        let long = default_secret(&ServerName::parse(&"9".repeat(63)).unwrap());
        assert!(crate::names::SecretName::parse(&long).is_ok(), "{long}");
    }
}
