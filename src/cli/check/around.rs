//! What is around the proxy: the addresses it listens on, and the servers behind it.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, UNIX_EPOCH};

use futures_util::future::join_all;
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::finding::Finding;
use crate::config::{Backend, BackendSocket, Config, Listen, Replicas, Server, Transport};
use crate::names::ServerName;
use crate::probe::{self, Verdict};
use crate::sys;
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
        let Backend::Http { url, ca_file, .. } = &server.backend else {
            return None;
        };
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
    let each = config
        .servers
        .iter()
        .map(|(name, server)| backend(name, server));
    join_all(each).await.into_iter().flatten().collect()
}

/// One finding, or as many as there are replicas listed.
async fn backend(name: &ServerName, server: &Server) -> Vec<Finding> {
    let Backend::Http {
        transport,
        url,
        ca_file,
        socket,
        replicas,
        ..
    } = &server.backend
    else {
        return Vec::new();
    };
    let what = called(name);
    if let Some(socket) = socket {
        return vec![found(&what, opened(socket).await)];
    }
    let sse = *transport == Transport::Sse;
    let ca_file = ca_file.as_deref();
    let Replicas::Listed(all) = replicas else {
        let verdict = probe::server(url, None, sse, ca_file, PATIENCE).await;
        return vec![found(&what, verdict)];
    };
    let each = all.iter().map(|(host, port)| {
        let what = format!("{what} ({})", probe::place(host, *port));
        async move {
            let verdict = probe::server(url, Some((host, *port)), sse, ca_file, PATIENCE).await;
            found(&what, verdict)
        }
    });
    join_all(each).await
}

fn found(what: &str, verdict: Verdict) -> Finding {
    match verdict {
        Verdict::Well(says) => Finding::well(what, says),
        Verdict::Doubtful(says) => Finding::warning(what, says),
        Verdict::Bad(says) => Finding::error(what, says),
    }
}

/// Whether a process of the right user takes connections there; more is not asked.
async fn opened(socket: &BackendSocket) -> Verdict {
    let place = socket.path.display();
    let peer = async { UnixStream::connect(&socket.path).await?.peer_cred() };
    match timeout(PATIENCE, peer).await {
        Ok(Ok(peer)) => runs_as(peer.uid(), socket, sys::user()),
        Ok(Err(why)) => Verdict::Bad(format!("{place} cannot be reached ({why}): start it")),
        Err(_) => Verdict::Bad(format!("{place} cannot be reached within {PATIENCE:?}")),
    }
}

/// Judges as `serve` does, which runs as the user `own`.
fn runs_as(uid: u32, socket: &BackendSocket, own: u32) -> Verdict {
    let wanted = socket.uids(own);
    if wanted.contains(&uid) {
        return Verdict::Well("takes connections".to_owned());
    }
    let place = socket.path.display();
    Verdict::Bad(format!(
        "{place}: the process there runs as uid {uid}, not as {wanted:?}; if that is the server, set \
         socket_uid = {uid}"
    ))
}

fn called(name: &ServerName) -> String {
    format!("servers.{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_of_another_user_is_told_with_its_remedy() {
        let socket = |uid| BackendSocket {
            path: "/run/a.sock".into(),
            uid,
        };
        for (uid, wanted) in [(1000, None), (0, None), (7, Some(7))] {
            let verdict = runs_as(uid, &socket(wanted), 1000);
            assert!(matches!(verdict, Verdict::Well(_)), "{verdict:?}");
        }
        // What is named replaces our own user and root.
        for (uid, wanted) in [(1001, None), (1000, Some(7)), (0, Some(7))] {
            let Verdict::Bad(says) = runs_as(uid, &socket(wanted), 1000) else {
                panic!("{uid} {wanted:?}");
            };
            assert!(says.contains(&format!("set socket_uid = {uid}")), "{says}");
        }
    }
}
