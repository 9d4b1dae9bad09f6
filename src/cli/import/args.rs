//! What can be written after `import`.

use std::path::PathBuf;

use super::super::args::base_url;
use super::super::client_config::Client;
use crate::moving::Map;
use crate::names::{ServerName, UserName};

/// `import`.
#[derive(clap::Args)]
pub struct ImportArgs {
    /// The file to read
    pub file: PathBuf,
    /// What it is: gateway-json, mappings-csv, csv or cloakroom [default: guessed for what `export` wrote]
    ///
    /// gateway-json: the users.json of a gateway, with keys mcpgw_… as SHA-256.
    /// mappings-csv: the table user_mappings of a service desk, with a column `credentials` of JSON.
    /// csv: username, email, description, groups (by ;), key_name, ttl, profile and SERVER.SECRET columns; a
    /// key is made for each user, and a file with the configuration of a client.
    /// cloakroom: what `export` wrote; its passphrase is asked for, or read from standard input.
    #[arg(long, value_name = "KIND", value_parser = kind, verbatim_doc_comment)]
    pub from: Option<Kind>,
    /// Which part of the credentials (mappings-csv) becomes which secret; several times
    #[arg(long, value_name = "SERVER.SECRET=PATH")]
    pub map: Vec<Map>,
    /// The name here of one whose name there is no name here; several times
    #[arg(long, value_name = "OLD=NEW", value_parser = rename)]
    pub rename: Vec<(String, UserName)>,
    /// Make small letters of capital ones in names of users
    #[arg(long)]
    pub lowercase: bool,
    /// Add what users lack who are there already; what they have stays
    ///
    /// What either side blocks, a user who is disabled and a key that is revoked stay so, and no list of what is
    /// allowed grows. Groups of an export that are there stay as they are, and users of the file join them. Where
    /// it stops within a user who was there, it says so (`partly`): the same import, run again, goes on.
    #[arg(long, verbatim_doc_comment)]
    pub merge: bool,
    /// With --merge, replace secrets they have
    #[arg(long, requires = "merge")]
    pub overwrite_secrets: bool,
    /// Do everything but write, and say what would be done
    #[arg(long)]
    pub dry_run: bool,
    /// Where the files for clients go (csv), one for each user
    #[arg(long, value_name = "DIR", default_value = "clients")]
    pub out: PathBuf,
    /// What the files are for (csv): claude-code, cursor, vscode, stdio or generic
    #[arg(long, value_name = "CLIENT", default_value = "claude-code", value_parser = client)]
    pub client: Client,
    /// The servers in these files (csv); several times [default: all]
    #[arg(long, value_name = "NAME")]
    pub server: Vec<ServerName>,
    /// How clients reach Cloakroom (csv), such as https://mcp.example.com [default: the listen address]
    #[arg(long, value_name = "BASE", value_parser = base_url)]
    pub url: Option<String>,
    /// Make no keys and no files (csv)
    #[arg(long)]
    pub no_keys: bool,
}

/// What a file is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A gateway's `users.json`.
    Gateway,
    /// A table of users and their credentials.
    Mappings,
    /// Batch set-up.
    Csv,
    /// What `export` wrote.
    Cloakroom,
}

impl Kind {
    /// As `--from` takes it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Gateway => "gateway-json",
            Self::Mappings => "mappings-csv",
            Self::Csv => "csv",
            Self::Cloakroom => "cloakroom",
        }
    }
}

fn kind(text: &str) -> Result<Kind, &'static str> {
    match text {
        "gateway-json" => Ok(Kind::Gateway),
        "mappings-csv" => Ok(Kind::Mappings),
        "csv" => Ok(Kind::Csv),
        "cloakroom" => Ok(Kind::Cloakroom),
        _ => Err("write gateway-json, mappings-csv, csv or cloakroom"),
    }
}

fn client(text: &str) -> Result<Client, &'static str> {
    Client::parse(text).ok_or("write claude-code, cursor, vscode, stdio or generic")
}

fn rename(text: &str) -> Result<(String, UserName), String> {
    let (old, new) = text
        .rsplit_once('=')
        .ok_or("write OLD=NEW: the name there, and the name here")?;
    let new = UserName::parse(new).map_err(|error| error.to_string())?;
    Ok((old.to_owned(), new))
}
