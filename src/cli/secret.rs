//! `secret …`

use serde_json::json;

use super::args::{GroupSecretCommand, SecretCommand};
use super::open::{self, Source};
use super::output::{date, row, table};
use super::{Failure, Output, input};
use crate::config::{Config, Server};
use crate::inject::Slot;
use crate::names::{ProfileName, SecretName, ServerName};
use crate::vault::{Owner, SecretError, SecretValue, Vault};

pub(super) async fn run(
    command: &SecretCommand,
    from: &Source,
    out: &Output,
) -> Result<(), Failure> {
    match command {
        SecretCommand::Set {
            user,
            server,
            name,
            profile,
            value,
        } => {
            let target = Target::new(user, server, profile);
            set_unless_given(&target, name, value, from, out).await
        }
        SecretCommand::List { user } => {
            list(&open::vault(&from.load()?).await?, &user.into(), out).await
        }
        SecretCommand::Delete {
            user,
            server,
            name,
            profile,
            ..
        } => {
            let target = Target::new(user, server, profile);
            delete(&target, name.as_deref(), from, out).await
        }
    }
}

/// `group secret …`
pub(super) async fn run_group(
    command: &GroupSecretCommand,
    from: &Source,
    out: &Output,
) -> Result<(), Failure> {
    match command {
        GroupSecretCommand::Set {
            group,
            server,
            name,
            profile,
            value,
        } => {
            let target = Target::new(group, server, profile);
            set_unless_given(&target, name, value, from, out).await
        }
        GroupSecretCommand::List { group } => {
            list(&open::vault(&from.load()?).await?, &group.into(), out).await
        }
        GroupSecretCommand::Delete {
            group,
            server,
            name,
            profile,
            ..
        } => {
            let target = Target::new(group, server, profile);
            delete(&target, name.as_deref(), from, out).await
        }
    }
}

async fn set_unless_given(
    target: &Target<'_>,
    name: &str,
    value: &[std::ffi::OsString],
    from: &Source,
    out: &Output,
) -> Result<(), Failure> {
    if !value.is_empty() {
        return Err(Failure::usage(
            "a secret is never given as an argument, which others on this machine can see \
             and shells keep: give it at the prompt or on standard input",
        ));
    }
    set(target, &secret_name(name)?, &from.load()?, out).await
}

/// Whose secrets, for which server and profile.
struct Target<'a> {
    owner: Owner,
    server: &'a ServerName,
    profile: &'a ProfileName,
}

impl<'a> Target<'a> {
    fn new(owner: impl Into<Owner>, server: &'a ServerName, profile: &'a ProfileName) -> Self {
        Self {
            owner: owner.into(),
            server,
            profile,
        }
    }
}

/// Does not repeat the text: some will write `NAME=value`.
fn secret_name(text: &str) -> Result<SecretName, Failure> {
    SecretName::parse(text).map_err(|_| {
        Failure::usage(
            "that is not the name of a secret: write 1 to 64 of A-Z a-z 0-9 _, not starting with a \
             digit; its value is asked for, or read from standard input",
        )
    })
}

async fn set(
    target: &Target<'_>,
    name: &SecretName,
    config: &Config,
    out: &Output,
) -> Result<(), Failure> {
    let Target {
        owner,
        server,
        profile,
    } = target;
    let slots = Slots::of(config, server)?;
    let vault = open::vault(config).await?;
    // Before asking for the value: nobody should look it up for nothing.
    vault.check_owner(owner).await?;
    let prompt = format!("{name} of {} for {server} (not shown): ", owner.name());
    let value = SecretValue::new(input::hidden(&prompt)?).map_err(|error| refused(name, &error))?;
    if slots.config.slots.uses_in_header(name) {
        value.fits_header().map_err(|error| refused(name, &error))?;
    }
    if !slots.uses(name) {
        out.note(&slots.unused(name));
    }
    if let Some(prefix) = slots.repeated_prefix(name, &value) {
        out.note(&format!(
            "the value begins with \"{prefix}\", which the slot of `{server}` writes itself: the \
             server will get it twice; set {name} without it"
        ));
    }
    vault
        .set_secret(owner, server, profile, name, &value)
        .await?;
    let document = json!({
        owner.kind(): owner.name(), "server": server.as_str(),
        "profile": profile.as_str(), "name": name.as_str(), "used": slots.uses(name),
    });
    out.answer(
        &document,
        &format!(
            "set {name} of {} for {server} (profile {profile})\n",
            owner.name()
        ),
    )
}

fn refused(name: &SecretName, error: &SecretError) -> Failure {
    Failure::new(format!("{name} was not set: {error}"))
}

async fn list(vault: &Vault, owner: &Owner, out: &Output) -> Result<(), Failure> {
    let secrets = vault.secrets(owner).await?;
    let mut rows = vec![row(["SERVER", "PROFILE", "NAME", "SET CHANGED"])];
    let mut documents = Vec::new();
    for secret in &secrets {
        let changed = date(secret.version / 1_000_000);
        rows.push(row([
            &secret.server,
            &secret.profile,
            &secret.name,
            &changed,
        ]));
        documents.push(json!({
            "server": secret.server, "profile": secret.profile,
            "name": secret.name, "set_changed": changed,
        }));
    }
    out.answer(&json!({ "secrets": documents }), &table(&rows))
}

async fn delete(
    target: &Target<'_>,
    name: Option<&str>,
    from: &Source,
    out: &Output,
) -> Result<(), Failure> {
    let name = name.map(secret_name).transpose()?;
    let name = name.as_ref();
    let vault = open::vault(&from.load()?).await?;
    let Target {
        owner,
        server,
        profile,
    } = target;
    match name {
        Some(name) => vault.delete_secret(owner, server, profile, name).await?,
        None => vault.delete_secrets(owner, server, profile).await?,
    }
    let document = json!({
        owner.kind(): owner.name(), "server": server.as_str(),
        "profile": profile.as_str(), "deleted": name.map_or("all", SecretName::as_str),
    });
    let what = name.map_or("all secrets", SecretName::as_str);
    out.answer(
        &document,
        &format!(
            "deleted {what} of {} for {server} (profile {profile})\n",
            owner.name()
        ),
    )
}

/// What a server's slots want.
struct Slots<'a> {
    server: &'a ServerName,
    config: &'a Server,
}

impl<'a> Slots<'a> {
    fn of(config: &'a Config, server: &'a ServerName) -> Result<Self, Failure> {
        match config.servers.get(server) {
            Some(config) => Ok(Self { server, config }),
            None => Err(Failure::new(unknown_server(config, server))),
        }
    }

    fn slots(&self) -> impl Iterator<Item = Slot<'a>> {
        self.config.slots.iter()
    }

    fn names(&self) -> Vec<&'a str> {
        let names = self.config.slots.secret_names().into_iter();
        names.map(SecretName::as_str).collect()
    }

    fn uses(&self, name: &SecretName) -> bool {
        self.config.slots.uses(name)
    }

    fn unused(&self, name: &SecretName) -> String {
        let Self { server, .. } = self;
        match self.names()[..] {
            [] => format!("no slot of `{server}` uses a secret, so {name} will go nowhere"),
            ref names => format!(
                "no slot of `{server}` uses {name}, so it will go nowhere; its slots use {}",
                names.join(", ")
            ),
        }
    }

    /// The text a slot writes before the secret `name`, when `value` begins with it too.
    fn repeated_prefix(&self, name: &SecretName, value: &SecretValue) -> Option<String> {
        self.slots().find_map(|Slot { template, .. }| {
            if template.secrets().next() != Some(name) {
                return None;
            }
            // What is written before a value shows by where a byte lands that no template can hold.
            let shown = template.render(|_| Some(&[0][..])).ok()?;
            let end = shown.iter().position(|&byte| byte == 0)?;
            let prefix = std::str::from_utf8(&shown[..end]).ok()?.trim_end();
            let start = value.expose_value().get(..prefix.len())?;
            let repeated = !prefix.is_empty() && start.eq_ignore_ascii_case(prefix.as_bytes());
            repeated.then(|| prefix.to_owned())
        })
    }
}

/// Says which servers there are, the likeliest first.
pub(super) fn unknown_server(config: &Config, server: &ServerName) -> String {
    let mut names: Vec<_> = config.servers.keys().map(ServerName::as_str).collect();
    names.sort_by_key(|name| distance(name, server.as_str()));
    format!(
        "no server `{server}` in the configuration; there is {}",
        names.join(", ")
    )
}

/// How many bytes must be added, removed or replaced to get from one name to the other.
fn distance(left: &str, right: &str) -> usize {
    let right = right.as_bytes();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_those_of_levenshtein() {
        for (a, b, expected) in [
            ("", "", 0),
            ("a", "", 1),
            ("github", "gihub", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(a, b), expected);
            assert_eq!(distance(b, a), expected);
        }
    }
}
