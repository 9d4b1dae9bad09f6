//! What can be written on the command line.

mod people;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

pub(super) use people::{
    AccessCommand, AccessSet, Bound, GroupCommand, GroupSecretCommand, KeyCommand, LimitArgs,
    SecretCommand, UsageArgs, UserCommand, UserUpdate, patterns, ttl,
};

use super::admin::AdminCommand;
use super::import::ImportArgs;
use crate::names::{ProfileName, ServerName, UserName};
use crate::vault::KeyKind;

/// Lets many people use MCP servers that were written for one.
#[derive(Parser)]
#[command(name = "cloakroom", version, arg_required_else_help = true)]
pub struct Args {
    /// The configuration [default: cloakroom.toml]
    #[arg(long, global = true, env = "CLOAKROOM_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Write one JSON document on standard output
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What there is to do.
#[derive(Subcommand)]
pub enum Command {
    /// Serve until interrupted
    Serve,
    /// Check configuration, keyring, store and servers, and say what to mend
    Check {
        /// Ask neither the store nor the servers
        #[arg(long)]
        offline: bool,
    },
    /// Write a configuration and a keyring, asking for what they need
    Init(InitArgs),
    /// Ask a running proxy whether it is ready: exit code 0 or 1
    Health {
        /// What to ask [default: /readyz at the configuration's health_listen]
        #[arg(long, value_parser = http_url)]
        url: Option<http::Uri>,
    },
    /// List the child processes of servers that are started: whose, how old, how idle, how large
    Ps,
    /// Try everything on this machine: a folder, two users, a small MCP server
    Demo(DemoArgs),
    /// Serve any stdio MCP server to many users, without a configuration
    Run(RunArgs),
    /// The people and service accounts whose secrets are kept
    User {
        /// What about them.
        #[command(subcommand)]
        command: UserCommand,
    },
    /// The keys by which users call
    Key {
        /// What about them.
        #[command(subcommand)]
        command: KeyCommand,
    },
    /// Groups of users, who share access or secrets
    Group {
        /// What about them.
        #[command(subcommand)]
        command: GroupCommand,
    },
    /// Which servers and tools users may use
    Access {
        /// What about it.
        #[command(subcommand)]
        command: AccessCommand,
    },
    /// Show who used what: requests, errors, when, from where, by which client
    Usage(UsageArgs),
    /// Those who administer over the admin API
    Admin {
        /// What about them.
        #[command(subcommand)]
        command: AdminCommand,
    },
    /// The secrets users keep for servers
    Secret {
        /// What about them.
        #[command(subcommand)]
        command: SecretCommand,
    },
    /// The keys that seal everything in the store
    Keyring {
        /// What about them.
        #[command(subcommand)]
        command: KeyringCommand,
    },
    /// The place where all of it is kept, sealed
    Store {
        /// What about it.
        #[command(subcommand)]
        command: StoreCommand,
    },
    /// The trail of what was done, and by whom
    Audit {
        /// What about it.
        #[command(subcommand)]
        command: AuditCommand,
    },
    /// Take over users, keys and secrets of another system or installation, from a file
    Import(ImportArgs),
    /// Write all users, groups, keys and secrets to one file under a passphrase, for another installation
    ///
    /// Unlike a backup it needs no keyring to be read again. Keys of administrators are not in it.
    Export {
        /// The file to make
        file: PathBuf,
    },
    /// The same as `store backup`
    Backup {
        /// The file to make
        file: PathBuf,
    },
    /// The same as `store restore`
    Restore {
        /// The file that `backup` made
        file: PathBuf,
    },
    /// Say what would be sent for a user: which secrets, where, and which are missing; no values
    Explain(ExplainArgs),
    /// Print what to paste into Claude Code, Cursor, VS Code and others
    ClientConfig(ClientConfigArgs),
    /// Be a server on standard input and output, for clients that do not speak HTTP
    ///
    /// The key comes from the variable CLOAKROOM_KEY, or from a file.
    Connect(ConnectArgs),
}

/// `demo`.
#[derive(clap::Args)]
pub struct DemoArgs {
    /// The folder to make, or to use again
    #[arg(long, value_name = "DIR", default_value = "cloakroom-demo")]
    pub dir: PathBuf,
}

/// `run`.
#[derive(clap::Args)]
#[command(override_usage = "cloakroom run [OPTIONS] -- <COMMAND>...")]
pub struct RunArgs {
    /// A variable in which the server expects a secret, of which every user sets their own; several times
    // Not parsed here: a complaint would repeat it, and some will give the secret itself.
    #[arg(long, value_name = "NAME")]
    pub env: Vec<std::ffi::OsString>,
    /// What the server is called [default: guessed from the command]
    #[arg(long, value_name = "NAME")]
    pub name: Option<ServerName>,
    /// Where clients connect [default: as last time, else the first free port from 127.0.0.1:8080 on]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<std::net::SocketAddr>,
    /// The folder to make, or to use again [default: ~/.local/share/cloakroom/run/NAME]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Ask the registry again, also for a package that is installed already
    #[arg(long)]
    pub refresh: bool,
    /// The server's program and its arguments, such as npx -y @scope/package
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub command: Vec<String>,
}

/// `init`.
#[derive(clap::Args)]
pub struct InitArgs {
    /// The folder to write into; made if it is not there
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// What the server will be called [default: guessed from its URL]
    #[arg(long, value_name = "NAME")]
    pub server: Option<ServerName>,
    /// Where the server is, such as http://127.0.0.1:9001/mcp
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// The header it expects the secret in [default: 'Authorization: Bearer ${NAME_TOKEN}']
    #[arg(long, value_name = "'NAME: TEMPLATE'", group = "slot")]
    pub header: Option<String>,
    /// Or the argument of its tools, such as 'api_token=${TOKEN}'
    #[arg(long, value_name = "'NAME=TEMPLATE'", group = "slot")]
    pub argument: Option<String>,
    /// The tools the argument is for [default: all, which `check` warns of]
    #[arg(
        long,
        value_name = "NAMES",
        value_delimiter = ',',
        requires = "argument"
    )]
    pub tools: Vec<String>,
    /// Or the parameter of its URL's query, such as 'key=${TOKEN}'
    #[arg(long, value_name = "'NAME=TEMPLATE'", group = "slot")]
    pub query: Option<String>,
    /// Or nowhere: it needs no secret
    #[arg(long, group = "slot")]
    pub no_secret: bool,
    /// Ask nothing
    #[arg(long)]
    pub yes: bool,
}

/// `keyring …`.
#[derive(Subcommand)]
pub enum KeyringCommand {
    /// Make the file the configuration names, with new keys of all kinds
    Init,
    /// Write the keys one server's sidecar needs on standard output
    Export {
        /// Which server
        #[arg(long, value_name = "NAME")]
        server: ServerName,
    },
    /// Make new keys, and seal everything with them once every replica has them; run it again to go on
    Rotate {
        /// Only keys of this kind: realm, server or sign [default: all three]
        #[arg(long)]
        kind: Option<KeyKind>,
    },
    /// Remove a key from the file once nothing needs it
    Retire {
        /// Its id, or kind and id such as realm:r1 [default: every key that is not needed]
        #[arg(value_name = "ID")]
        key: Option<String>,
    },
}

/// `store …`.
#[derive(Subcommand)]
pub enum StoreCommand {
    /// Copy all records from one store to another, sealed as they are, and compare both
    ///
    /// Cut short and run again, it goes on where it was, and writes only what is missing or older. Ends
    /// well only when both were found equal; what is written at the source after that is not in the
    /// copy, so for the last run (`--again`) stop everybody who writes (proxies only read).
    ///
    /// A store is named by the file of a configuration, whose [store] table counts, or by a URL
    /// without a password, for which key_prefix and ca_file of the configuration in use count.
    Copy {
        /// The store to read [default: that of the configuration in use]
        // Not parsed here: a complaint would repeat it, and some will give a password.
        #[arg(long, value_name = "FILE|URL")]
        from: Option<String>,
        /// The store to write [default: that of the configuration in use]
        #[arg(long, value_name = "FILE|URL")]
        to: Option<String>,
        /// Delete at the destination what the source no longer has since an earlier copy
        #[arg(long)]
        delete: bool,
        /// Write also what a destination lacks that was whole already: nobody used it since an earlier
        /// copy, and deleted nothing there that would come back
        #[arg(long)]
        again: bool,
        /// Caught so that a URL given here is not repeated in a complaint.
        #[arg(hide = true, num_args = 0..)]
        rest: Vec<std::ffi::OsString>,
    },
    /// Write everything to one new file, also while the store is in use
    ///
    /// The file is sealed as the store is. The keyring is not in it: keep the two apart.
    Backup {
        /// The file to make
        file: PathBuf,
    },
    /// Read a backup into an empty store
    ///
    /// A store that is in use is refused. The state is that of the backup: keys revoked after it was
    /// made work again, and have to be revoked anew.
    Restore {
        /// The file that `store backup` made
        file: PathBuf,
    },
    /// Count what is in it: records by kind, and the keyring's keys that open them
    Stats,
}

/// `audit …`.
#[derive(Subcommand)]
pub enum AuditCommand {
    /// Say whether a record was changed, removed, moved or cut off, and which: exit code 0 or 1
    ///
    /// A file that is being written can be checked too. A chain whose writer was killed, or still runs, is
    /// shown as open. Whoever holds the keyring can write a trail that is found whole.
    Verify {
        /// The files in the order they were written, such as audit.jsonl.1 audit.jsonl; - is standard input
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Do not ask the store how far the chains go
        #[arg(long)]
        offline: bool,
        /// Earlier files are gone: chains may begin in the middle
        #[arg(long)]
        from_middle: bool,
    },
}

/// `connect`.
#[derive(clap::Args)]
pub struct ConnectArgs {
    /// The endpoint, such as https://mcp.example.com/github/mcp, or …/sse
    // Not parsed here: a complaint would repeat it, and some will give the key instead.
    pub url: String,
    /// The file that holds the key, for its owner's eyes alone [default: the variable CLOAKROOM_KEY]
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// Trust the certificates in this file (PEM) instead of the system's
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// Caught so that a key given here is not repeated in a complaint.
    #[arg(hide = true, num_args = 0..)]
    pub rest: Vec<std::ffi::OsString>,
}

/// `client-config`.
#[derive(clap::Args)]
#[command(override_usage = "cloakroom client-config [USER] <SERVER> [OPTIONS]")]
pub struct ClientConfigArgs {
    /// Who will use it (optional), and the server
    #[arg(required = true, num_args = 1..=2, value_name = "USER> <SERVER")]
    pub names: Vec<String>,
    /// `-`: read the key from standard input instead of leaving its place open
    #[arg(long, value_name = "-")]
    pub key: Option<String>,
    /// How clients reach Cloakroom, such as https://mcp.example.com [default: the listen address]
    #[arg(long, value_name = "BASE", value_parser = base_url)]
    pub url: Option<String>,
    /// The secrets to use, whatever the key's own profile
    #[arg(long)]
    pub profile: Option<ProfileName>,
}

/// `explain`.
#[derive(clap::Args)]
pub struct ExplainArgs {
    /// Who calls
    #[arg(long)]
    pub user: UserName,
    /// The server that is called
    #[arg(long)]
    pub server: ServerName,
    /// A call of this tool, instead of all slots
    #[arg(long, value_name = "NAME", value_parser = tool)]
    pub tool: Option<String>,
    /// The set of secrets
    #[arg(long, default_value = "default")]
    pub profile: ProfileName,
}

fn http_url(text: &str) -> Result<http::Uri, String> {
    const WRITE: &str = "write a URL such as http://127.0.0.1:8082/readyz";
    let url: http::Uri = text.parse().map_err(|_| WRITE)?;
    let known = matches!(url.scheme_str(), Some("http" | "https"));
    (known && url.host().is_some())
        .then_some(url)
        .ok_or_else(|| WRITE.to_owned())
}

fn tool(text: &str) -> Result<String, String> {
    let fits = !text.is_empty() && !text.chars().any(char::is_control);
    fits.then(|| text.to_owned())
        .ok_or_else(|| "write a tool's name as the server's tools/list has it".to_owned())
}

pub(super) fn base_url(text: &str) -> Result<String, String> {
    const WRITE: &str = "write http:// or https:// and a host, such as https://mcp.example.com";
    let uri: http::Uri = text.parse().map_err(|_| WRITE)?;
    let known = matches!(uri.scheme_str(), Some("http" | "https"));
    let bare = uri.query().is_none() && uri.authority().is_some_and(|a| !a.as_str().contains('@'));
    if !known || !bare || text.contains('#') {
        return Err(WRITE.to_owned());
    }
    Ok(text.trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_declaration_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn values_are_held_to_their_form() {
        assert_eq!(base_url("https://h/").as_deref(), Ok("https://h"));
        assert_eq!(base_url("https://h/base/").as_deref(), Ok("https://h/base"));
        for bad in ["h", "ftp://h", "http://a:b@h", "http://h/?q", "http://h/#f"] {
            assert!(base_url(bad).is_err(), "{bad}");
        }
    }
}
