//! What is around the proxy: the addresses it listens on, and the servers behind it.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use futures_util::future::join_all;

use super::finding::Finding;
use crate::config::{Backend, Config, Server, Transport};
use crate::names::ServerName;
use crate::probe::{self, Verdict};
use crate::tls;

/// How long one server may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whether the addresses can be had, and what travels over them.
pub(super) fn listeners(config: &Config) -> Vec<Finding> {
    let all = [
        ("listen", Some(config.listen)),
        ("health_listen", config.health_listen),
    ];
    let set = all.into_iter().filter_map(|(key, at)| Some((key, at?)));
    let mut found: Vec<_> = set.filter_map(|(key, at)| taken(key, at)).collect();
    if !config.listen.ip().is_loopback() {
        found.push(Finding::warning(
            "listen",
            "keys travel unencrypted to an address that is not loopback: put a TLS terminator before \
             it, or keep it inside one pod or a network that is yours alone",
        ));
    }
    found
}

fn taken(key: &str, address: SocketAddr) -> Option<Finding> {
    let why = TcpListener::bind(address).err()?;
    Some(match why.kind() {
        io::ErrorKind::AddrInUse => Finding::warning(
            key,
            format!(
                "{address} is in use: by a Cloakroom that serves already, or by another program, which \
                 `serve` would not start beside"
            ),
        ),
        io::ErrorKind::PermissionDenied => Finding::error(
            key,
            format!("{address} is not ours to listen on ({why}): choose a port of 1024 or more"),
        ),
        _ => Finding::error(
            key,
            format!("cannot listen on {address} ({why}): write an address of this machine"),
        ),
    })
}

/// The files that backends need, which can be read without asking anybody.
pub(super) fn files(config: &Config) -> Vec<Finding> {
    let trust = |(name, server): (&ServerName, &Server)| {
        let Backend::Http { url, ca_file, .. } = &server.backend;
        let wanted = url.scheme_str() == Some("https");
        let why = wanted
            .then(|| tls::client_config(ca_file.as_deref(), None).err())
            .flatten()?;
        Some(Finding::error(&called(name), why))
    };
    config.servers.iter().filter_map(trust).collect()
}

/// Every backend, asked at the same time, for nothing that needs a secret.
pub(super) async fn backends(config: &Config) -> Vec<Finding> {
    join_all(
        config
            .servers
            .iter()
            .map(|(name, server)| backend(name, server)),
    )
    .await
}

async fn backend(name: &ServerName, server: &Server) -> Finding {
    let Backend::Http {
        transport,
        url,
        ca_file,
        ..
    } = &server.backend;
    let sse = *transport == Transport::Sse;
    let what = called(name);
    match probe::server(url, sse, ca_file.as_deref(), PATIENCE).await {
        Verdict::Well(says) => Finding::well(&what, says),
        Verdict::Doubtful(says) => Finding::warning(&what, says),
        Verdict::Bad(says) => Finding::error(&what, says),
    }
}

fn called(name: &ServerName) -> String {
    format!("servers.{name}")
}
