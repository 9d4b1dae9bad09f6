//! What a run prints: where it is, and the lines that let the first user in.

use std::path::Path;

use serde_json::{Value, json};

use super::COUNTED;
use crate::cli::shell::{full, program, quoted};
use crate::names::ServerName;
use crate::packages::Resolved;

/// A run that serves.
pub(super) struct Shown<'a> {
    /// `http://HOST:PORT`
    pub(super) url: String,
    pub(super) server: &'a ServerName,
    /// What the package was resolved to, if it is one.
    pub(super) package: Option<&'a Resolved>,
    pub(super) secrets: Vec<String>,
    /// The configuration's file.
    pub(super) config: &'a Path,
    /// How many users there are.
    pub(super) users: usize,
}

impl Shown<'_> {
    /// For people.
    pub(super) fn text(&self) -> String {
        let Self { server, users, .. } = self;
        let what = match self.package {
            Some(it) => format!("{server} ({} {})", it.package, it.version),
            None => server.to_string(),
        };
        let asked = match self.secrets.is_empty() {
            true => "",
            false => " (what is secret is asked for, not shown)",
        };
        let who = match users {
            0 => "the first user".to_owned(),
            1 => "another user (there is one)".to_owned(),
            2..COUNTED => format!("another user (there are {users})"),
            _ => "another user".to_owned(),
        };
        let next: String = self.next().iter().map(|line| format!("{line}\n")).collect();
        format!(
            "Cloakroom serves {what} at {}, a process for each user.\nCtrl-C ends it.\n\n\
             Let {who} in, in another terminal{asked}:\n\n{next}",
            self.endpoint()
        )
    }

    /// For `--json`.
    pub(super) fn document(&self) -> Value {
        let package = self.package.map(|it| {
            json!({
                "name": it.package, "version": it.version, "folder": it.folder, "command": it.command,
            })
        });
        json!({
            "url": self.endpoint(), "server": self.server.as_str(), "package": package,
            "secrets": self.secrets, "config": self.config, "users": self.users, "next": self.next(),
        })
    }

    fn endpoint(&self) -> String {
        format!("{}/{}/mcp", self.url, self.server)
    }

    /// The commands from nobody to a client that is set up.
    fn next(&self) -> Vec<String> {
        // Absolute, since they will be pasted in another terminal, in another folder.
        let config = full(self.config);
        let with = format!("--config {}", quoted(&config.display().to_string()));
        let (program, server) = (program(), self.server);
        let user = match self.users {
            0 => "ada",
            _ => "NAME",
        };
        let mut lines = vec![format!("user add {user}")];
        let secrets = self.secrets.iter();
        lines.extend(secrets.map(|name| format!("secret set {user} {server} {name}")));
        lines.push(format!("key issue {user}"));
        lines.push(format!("client-config {user} {server}"));
        lines
            .into_iter()
            .map(|line| format!("{program} {line} {with}"))
            .collect()
    }
}
