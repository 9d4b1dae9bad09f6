//! `init`: a configuration and a keyring in a folder, from a few answers.

mod ask;
mod text;

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, IsTerminal as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde_json::json;

use super::args::InitArgs;
use super::shell::quoted;
use super::{Failure, Output, open};
use crate::config::{self, DEFAULT_KEYRING_FILE};
use crate::names::ServerName;
use text::{Slot, Wanted};

pub(super) fn run(args: &InitArgs, named: Option<&Path>, out: &Output) -> Result<(), Failure> {
    let config = match (&args.dir, named) {
        (Some(dir), _) => dir.join("cloakroom.toml"),
        (None, Some(file)) => file.to_owned(),
        (None, None) => PathBuf::from("cloakroom.toml"),
    };
    let folder = config.parent().unwrap_or(Path::new(""));
    let keyring = folder.join(DEFAULT_KEYRING_FILE);
    // Before anybody is asked anything.
    refuse_what_exists(&config, &keyring)?;
    let wanted = wanted(args)?;
    let written = text::configuration(&wanted);
    let parsed = config::load_text(&written, &config, folder)?;
    let ring = write(&config, &keyring, &written)?;
    for warning in &parsed.warnings {
        out.note(warning);
    }
    out.note(&format!(
        "keep a copy of {} apart from the store's: without it nothing in the store opens",
        keyring.display()
    ));
    let next = next(&wanted, &config);
    let document = json!({
        "config": config, "keyring": keyring, "realm": ring.realm(),
        "server": wanted.server.as_str(), "secrets": text::secrets(&wanted.slot), "next": next,
    });
    let steps: String = next.iter().map(|line| format!("  {line}\n")).collect();
    let made = format!(
        "made {} and {}; next:\n",
        config.display(),
        keyring.display()
    );
    out.answer(&document, &(made + &steps))
}

fn refuse_what_exists(config: &Path, keyring: &Path) -> Result<(), Failure> {
    for path in [config, keyring] {
        // Also a link that leads nowhere.
        if path.symlink_metadata().is_ok() {
            return Err(Failure::new(format!(
                "{} exists already, and nothing is overwritten: name another folder with --dir, or \
                 change that file with an editor",
                path.display()
            )));
        }
    }
    Ok(())
}

/// From the options, and from whoever sits there for what they do not say.
fn wanted(args: &InitArgs) -> Result<Wanted, Failure> {
    let slot = ask::slot_of(args)?;
    let asks = io::stdin().is_terminal() && !args.yes;
    if !asks {
        let Some(url) = &args.url else {
            return Err(Failure::usage(
                "nobody is there to be asked: say where the server is, as in --url \
                 http://127.0.0.1:9001/mcp (see cloakroom init --help)",
            ));
        };
        ask::url(url).map_err(Failure::usage)?;
        let server = args.server.clone().unwrap_or_else(|| ask::guess(url));
        let slot = slot.unwrap_or_else(|| Slot::bearer(&server));
        return Ok(Wanted {
            url: url.clone(),
            server,
            slot,
        });
    }
    let url = match &args.url {
        Some(url) => ask::url(url).map_err(Failure::usage)?,
        None => ask::line(
            "Where is the MCP server? Its URL",
            "http://127.0.0.1:9001/mcp",
            ask::url,
        )?,
    };
    let server = match &args.server {
        Some(server) => server.clone(),
        None => ask::line(
            "What shall it be called?",
            ask::guess(&url).as_str(),
            |name| ServerName::parse(name).map_err(|error| error.to_string()),
        )?,
    };
    let slot = match slot {
        Some(slot) => slot,
        None => ask::slot(&server)?,
    };
    Ok(Wanted { url, server, slot })
}

/// Both files, or neither.
fn write(config: &Path, keyring: &Path, text: &str) -> Result<crate::vault::Keyring, Failure> {
    let told = |path: &Path| {
        let path = path.to_owned();
        move |why: io::Error| Failure::new(format!("{}: {why}", path.display()))
    };
    if let Some(folder) = config
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(told(folder))?;
    }
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(config);
    let mut file = file.map_err(told(config))?;
    let done = file
        .write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(told(config))
        .and_then(|()| Ok(open::new_keyring(keyring)?));
    if done.is_err() {
        // A configuration alone would keep the next `init` from being run.
        let _ = std::fs::remove_file(config);
    }
    done
}

/// The commands that lead to the first request.
fn next(wanted: &Wanted, config: &Path) -> Vec<String> {
    let with = match config.to_str() {
        Some("cloakroom.toml") => String::new(),
        _ => format!(" --config {}", quoted(&config.display().to_string())),
    };
    let server = &wanted.server;
    let mut lines = vec!["user add alice".to_owned()];
    let secrets = text::secrets(&wanted.slot);
    lines.extend(
        secrets
            .iter()
            .map(|name| format!("secret set alice {server} {name}")),
    );
    lines.extend(["key issue alice --ttl 90d", "check", "serve"].map(str::to_owned));
    lines.push(format!("client-config alice {server}"));
    let whole = |line: String| format!("cloakroom{with} {line}");
    lines.into_iter().map(whole).collect()
}
