//! One file for each user with the configuration of a client, which holds the user's new key.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::PathBuf;

use zeroize::Zeroizing;

use super::super::client_config::{Client, Connection};
use super::super::paste::{base_url, path, reached_otherwise, transport};
use super::super::secret::unknown_server;
use super::super::{Failure, Output};
use super::ImportArgs;
use crate::config::{Config, Transport};
use crate::identity::ApiKey;
use crate::moving::{Delivery, Refusal};
use crate::names::{ServerName, UserName};

/// Where the files go and what is in them.
pub(super) struct Clients {
    folder: PathBuf,
    client: Client,
    servers: Vec<(ServerName, String, Transport)>,
}

impl Clients {
    pub(super) fn new(args: &ImportArgs, config: &Config, out: &Output) -> Result<Self, Failure> {
        if args.url.is_none() && reached_otherwise(&config.listen) {
            out.note("the address is this machine's own: say how others reach it with --url BASE");
        }
        let of_listener = || base_url(&config.listen, config.tls.is_some());
        let base = args.url.clone().unwrap_or_else(of_listener);
        if let Some(odd) = args
            .server
            .iter()
            .find(|s| !config.servers.contains_key(*s))
        {
            return Err(Failure::usage(unknown_server(config, odd)));
        }
        let is_named = |name: &ServerName| args.server.is_empty() || args.server.contains(name);
        let servers = config.servers.iter().filter(|(name, _)| is_named(name));
        let servers = servers.map(|(name, server)| {
            let transport = transport(&server.backend);
            let url = format!("{base}{}", path(name, None, transport));
            (name.clone(), url, transport)
        });
        Ok(Self {
            folder: args.out.clone(),
            client: args.client,
            servers: servers.collect(),
        })
    }

    pub(super) fn path(&self, user: &UserName) -> PathBuf {
        self.folder.join(format!("{user}.json"))
    }

    /// Refuses a user whose file is there: it may hold a key nobody has elsewhere.
    pub(super) fn check(&self, user: &UserName) -> Result<(), Refusal> {
        let path = self.path(user);
        match fs::symlink_metadata(&path) {
            Ok(_) => Err(Refusal::new(format!(
                "{} exists already and is not overwritten: move it away, or name another folder with --out",
                path.display()
            ))),
            Err(_) => Ok(()),
        }
    }

    fn make_folder(&self) -> io::Result<()> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.folder)
    }
}

impl Delivery for Clients {
    /// Writes the file of a user (0600, in a folder 0700 if it is made here), over nothing.
    fn deliver(&self, user: &UserName, key: &ApiKey) -> Result<(), Refusal> {
        let path = self.path(user);
        let connections: Vec<_> = self
            .servers
            .iter()
            .map(|(name, url, transport)| Connection {
                name: name.as_str(),
                url,
                transport: *transport,
                key: key.reveal(),
            })
            .collect();
        let text = format!("{:#}\n", self.client.json_for_servers(&connections));
        let text = Zeroizing::new(text);
        let written = self.make_folder().and_then(|()| {
            let mut file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path)?;
            // Down to the disk: the key works afterwards, and nobody could get it again.
            let written = file
                .write_all(text.as_bytes())
                .and_then(|()| file.sync_all())
                .and_then(|()| File::open(&self.folder)?.sync_all());
            if written.is_err() {
                // Ours: it was not there before. Half a file would look like one that only needs mending.
                let _ = fs::remove_file(&path);
            }
            written
        });
        written.map_err(|why| Refusal::new(format!("{} cannot be written: {why}", path.display())))
    }

    fn take_back(&self, user: &UserName) -> Result<(), Refusal> {
        let path = self.path(user);
        fs::remove_file(&path).map_err(|why| {
            Refusal::new(format!(
                "{} holds a key that does not work, and cannot be deleted: {why}",
                path.display()
            ))
        })
    }
}
