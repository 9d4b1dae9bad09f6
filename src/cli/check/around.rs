//! What is around the proxy: the addresses it listens on, and the servers behind it.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, UNIX_EPOCH};

use futures_util::future::join_all;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::finding::Finding;
use crate::config::{Backend, Config, Listen, Replicas, Server, Transport};
use crate::names::ServerName;
use crate::probe::{self, Verdict};
use crate::tls::{ServerFiles, ServerTls, client_config};

/// How long one server may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whether the addresses can be had, and the certificate be shown.
pub(super) fn listeners(config: &Config) -> Vec<Finding> {
    let all = [
        ("listen", Some(&config.listen)),
        ("health_listen", config.health_listen.as_ref()),
    ];
    let ports = all.into_iter().filter_map(|(key, at)| match at {
        Some(Listen::Tcp(address)) => Some((key, *address)),
        // That of a Unix socket is judged when it is bound: the file may be there and stale.
        Some(Listen::Unix(_)) | None => None,
    });
    let taken = ports.filter_map(|(key, at)| taken(key, at));
    taken.chain(config.tls.as_ref().map(certificate)).collect()
}

fn certificate(files: &ServerFiles) -> Finding {
    match ServerTls::load(files.clone()) {
        Ok(tls) => {
            let expires = UNIX_EPOCH + Duration::from_secs(tls.figures().expires);
            let expires = humantime::format_rfc3339_seconds(expires);
            Finding::well("tls", format!("the certificate expires {expires}"))
        }
        Err(why) => Finding::error("tls", why),
    }
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
            .then(|| client_config(ca_file.as_deref(), None).err())
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
        socket,
        replicas,
        ..
    } = &server.backend;
    let what = called(name);
    let verdict = match (socket, replicas) {
        (Some(socket), _) => {
            let place = socket.path.display().to_string();
            opened(&place, UnixStream::connect(&socket.path)).await
        }
        (None, Replicas::Listed(all)) => {
            let each = all.iter().map(|(host, port)| async move {
                let replica = format!("{host}:{port}");
                opened(&replica, TcpStream::connect((host.as_str(), *port))).await
            });
            let mut verdicts = join_all(each).await;
            verdicts.sort_by_key(|verdict| matches!(verdict, Verdict::Well(_)));
            verdicts.swap_remove(0)
        }
        (None, Replicas::Host | Replicas::Dns) => {
            let sse = *transport == Transport::Sse;
            probe::server(url, sse, ca_file.as_deref(), PATIENCE).await
        }
    };
    match verdict {
        Verdict::Well(says) => Finding::well(&what, says),
        Verdict::Doubtful(says) => Finding::warning(&what, says),
        Verdict::Bad(says) => Finding::error(&what, says),
    }
}

/// Whether somebody takes connections there; more is not asked.
async fn opened<S>(place: &str, connected: impl Future<Output = io::Result<S>>) -> Verdict {
    match timeout(PATIENCE, connected).await {
        Ok(Ok(_)) => Verdict::Well("takes connections".to_owned()),
        Ok(Err(why)) => Verdict::Bad(format!("{place} cannot be reached ({why}): start it")),
        Err(_) => Verdict::Bad(format!("{place} cannot be reached within {PATIENCE:?}")),
    }
}

fn called(name: &ServerName) -> String {
    format!("servers.{name}")
}
