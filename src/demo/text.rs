//! What a demo prints: lines to paste.

use std::fmt::Write as _;

use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::folder::Folder;
use super::{Guest, SERVER};
use crate::cli::client_config::{Connection, json_for_all, text_for_all};
use crate::cli::shell::{full, program, quoted};
use crate::config::Transport;

/// A tool call, complete in itself: the demo's server keeps no sessions.
const CALL: &str =
    r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"whoami","arguments":{}}}"#;

/// A demo that runs.
pub(super) struct Shown<'a> {
    /// `http://HOST:PORT`
    pub(super) url: String,
    pub(super) folder: &'a Folder,
    pub(super) guests: &'a [Guest],
}

impl Shown<'_> {
    /// For people. Holds keys.
    pub(super) fn text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(16 * 1024));
        let _ = self.write(&mut text);
        text
    }

    /// For `--json`. Holds keys.
    pub(super) fn document(&self) -> Value {
        let guests = self.guests.iter().map(|guest| {
            json!({
                "name": guest.name,
                "key": &*guest.key,
                "curl": self.curl(guest),
                "client_config": self.connected(guest, json_for_all),
            })
        });
        json!({
            "url": self.url(),
            "config": self.folder.config(),
            "users": guests.collect::<Vec<_>>(),
        })
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        writeln!(
            out,
            "Cloakroom listens on {}, for this machine only.",
            self.url
        )?;
        writeln!(
            out,
            "Behind it: an MCP server that was written for one user. Its tool `whoami`"
        )?;
        writeln!(
            out,
            "says a fingerprint of the credential it got. Ctrl-C ends the demo."
        )?;
        for guest in self.guests {
            writeln!(out, "\nCall it as {}, in another terminal:\n", guest.name)?;
            writeln!(out, "{}", self.curl(guest))?;
        }
        if let Some(first) = self.guests.first() {
            writeln!(out, "\nFrom a client, as {}:\n", first.name)?;
            out.push_str(&self.connected(first, text_for_all));
        }
        self.write_next(out)
    }

    fn write_next(&self, out: &mut String) -> std::fmt::Result {
        let config = self.folder.config();
        // Absolute, since the commands will be pasted in another terminal, in another folder.
        let config = full(&config);
        let config = quoted(&config.display().to_string());
        let program = program();
        writeln!(
            out,
            "\n# Your own server
Stop the demo (Ctrl-C) and add to {config}:

[servers.mine]
url = \"http://127.0.0.1:9001/mcp\"
[servers.mine.headers]
Authorization = \"Bearer ${{MY_TOKEN}}\"

Then give alice a secret for it (asked for, not shown) and a key, and serve:

{program} secret set alice mine MY_TOKEN --config {config}
{program} key issue alice --config {config}
{program} serve --config {config}

Clients call {}/mine/mcp; more users: cloakroom user add --help",
            self.url
        )
    }

    fn connected<T>(&self, guest: &Guest, show: impl Fn(&Connection<'_>) -> T) -> T {
        show(&Connection {
            name: SERVER,
            url: &self.url(),
            transport: Transport::Streamable,
            key: &guest.key,
        })
    }

    fn url(&self) -> String {
        format!("{}/{SERVER}/mcp", self.url)
    }

    /// One line for any shell, with nothing to set before.
    fn curl(&self, guest: &Guest) -> String {
        format!(
            "curl -sS {} -H 'Authorization: Bearer {}' -H 'Content-Type: application/json' \
             -H 'Accept: application/json, text/event-stream' -d '{CALL}'",
            self.url(),
            *guest.key
        )
    }
}
