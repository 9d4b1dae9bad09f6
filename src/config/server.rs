//! `[servers.NAME]`: one backend and its slots.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::Uri;

use super::reader::{Section, text};
use super::{
    Backend, BackendSocket, Discovery, Replicas, Server, Transport, command, keys, listen,
    replicas, slots, values,
};
use crate::inject::Place;
use crate::names::ServerName;

/// How long a connection may take to open, unless said.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a backend may be silent before the head of its answer, unless said.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(300);

const BACKENDS: [&str; 3] = ["url", "sse_url", "command"];
/// Those that are a URL, and what is spoken there.
const URLS: [(&str, Transport); 2] = [("url", Transport::Streamable), ("sse_url", Transport::Sse)];

/// All servers. An empty map is an error, which shows how to write one.
pub(super) fn read_all(
    root: &Section<'_>,
    folder: &Path,
    warnings: &mut Vec<String>,
) -> Option<BTreeMap<ServerName, Server>> {
    const NONE: &str = "no server is configured; write for example:\n  \
                        [servers.github]\n  url = \"http://127.0.0.1:9001/mcp\"";
    if !root.has("servers") {
        root.fail("servers", NONE);
        return None;
    }
    let section = root.open("servers")?;
    if section.keys().next().is_none() {
        root.fail("servers", NONE);
        return None;
    }
    let mut servers = BTreeMap::new();
    let mut all_well = true;
    for key in section.keys() {
        let name = ServerName::parse(key)
            .map_err(|error| section.fail_key(key, error.to_string()))
            .ok();
        let server = section
            .section(key, &keys::server())
            .and_then(|section| read_one(&section, folder, warnings));
        match (name, server) {
            (Some(name), Some(server)) => {
                servers.insert(name, server);
            }
            _ => all_well = false,
        }
    }
    all_well.then_some(servers)
}

fn read_one(section: &Section<'_>, folder: &Path, warnings: &mut Vec<String>) -> Option<Server> {
    let foreign = command::refuse_foreign(section);
    let backend_named = one_backend(section);
    if section.has("command") {
        return read_command(section, folder, warnings).filter(|_| !foreign && backend_named);
    }
    let urls = URLS.map(|(key, transport)| {
        let url = section.read(key, values::backend_url)?;
        Some((key, transport, url))
    });
    let url = urls.into_iter().flatten().next();
    let ca_file = read_ca_file(section, url.as_ref(), folder);
    let socket = read_socket(section, url.as_ref(), folder);
    let most = Duration::from_secs(300);
    let connect_timeout = timeout(section, "connect_timeout", most, CONNECT_TIMEOUT);
    let answer_timeout = timeout(section, "answer_timeout", DAY, ANSWER_TIMEOUT);
    let replicas = replicas::read(section, url.as_ref().map(|(_, _, url)| url));
    let health_check = replicas::read_check(section);
    let discovery = read_discovery(section);
    let slots = slots::read(section, url.as_ref().map(|(_, _, url)| url));
    if foreign || !backend_named {
        return None;
    }
    let (_, transport, url) = url?;
    let server = Server {
        backend: Backend::Http {
            transport,
            url,
            socket: socket?,
            ca_file: ca_file?,
            connect_timeout: connect_timeout?,
            replicas: replicas?,
            health_check: health_check?,
        },
        slots: slots?,
        discovery: discovery?,
        answer_timeout: answer_timeout?,
    };
    warn(section, &server, warnings);
    Some(server)
}

/// A server that runs as a child process of each user.
fn read_command(
    section: &Section<'_>,
    folder: &Path,
    warnings: &mut Vec<String>,
) -> Option<Server> {
    let command = command::read(section, folder);
    let discovery = read_discovery(section);
    let answer_timeout = timeout(section, "answer_timeout", DAY, ANSWER_TIMEOUT);
    let slots = slots::read(section, None);
    let server = Server {
        backend: Backend::Command(command?),
        slots: slots?,
        discovery: discovery?,
        answer_timeout: answer_timeout?,
    };
    warn(section, &server, warnings);
    Some(server)
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn timeout(section: &Section<'_>, key: &str, max: Duration, default: Duration) -> Option<Duration> {
    if !section.has(key) {
        return Some(default);
    }
    section.read(key, |value| {
        values::duration(value, Duration::from_millis(10), max)
    })
}

/// Whether anything goes without a secret that is missing; not unless said.
fn read_discovery(section: &Section<'_>) -> Option<Discovery> {
    const WANTED: &str = "\"secret\", or \"omit\" to let discovery go without missing secrets";
    if !section.has("discovery") {
        return Some(Discovery::Secret);
    }
    section.read("discovery", |value| match text(value, WANTED)? {
        "secret" => Ok(Discovery::Secret),
        "omit" => Ok(Discovery::Omit),
        _ => Err(format!("write {WANTED}")),
    })
}

/// Refuses a server with no backend or with several.
fn one_backend(section: &Section<'_>) -> bool {
    let named: Vec<_> = BACKENDS
        .into_iter()
        .filter(|key| section.has(key))
        .collect();
    match named.as_slice() {
        [_] => true,
        [] => {
            section
                .fail_whole("says no backend; write its URL: url = \"http://127.0.0.1:9001/mcp\"");
            false
        }
        several => {
            let list = several
                .iter()
                .map(|key| format!("`{key}`"))
                .collect::<Vec<_>>()
                .join(" and ");
            section.fail_whole(format!("has {list}; keep exactly one"));
            false
        }
    }
}

/// The outer `None` is an error, the inner one the absence of the key.
fn read_ca_file(
    section: &Section<'_>,
    url: Option<&(&str, Transport, Uri)>,
    folder: &Path,
) -> Option<Option<PathBuf>> {
    if !section.has("ca_file") {
        return Some(None);
    }
    if let Some((key, _, url)) = url
        && url.scheme_str() == Some("http")
    {
        let message = format!("is for an https:// `{key}` only; remove it or write https://");
        section.fail_key("ca_file", message);
        return None;
    }
    section
        .read("ca_file", |value| values::pem_file(value, "ca.pem", folder))
        .map(Some)
}

/// The outer `None` is an error, the inner one a server that is reached by its URL.
fn read_socket(
    section: &Section<'_>,
    url: Option<&(&str, Transport, Uri)>,
    folder: &Path,
) -> Option<Option<BackendSocket>> {
    const WANTED: &str = "the path of a Unix socket, such as \"/run/server.sock\"";
    if !section.has("socket") {
        if section.has("socket_uid") {
            section.fail_key("socket_uid", "is for a `socket` only; remove it");
            return None;
        }
        return Some(None);
    }
    if let Some((key, _, url)) = url
        && url.scheme_str() == Some("https")
    {
        let message =
            format!("has no TLS; write `{key}` with http:// (its host is what the server is told)");
        section.fail_key("socket", message);
        return None;
    }
    if let Some(key) = ["replicas", "health_check"]
        .iter()
        .find(|key| section.has(key))
    {
        section.fail_key(
            key,
            "is for servers that are reached by their URL; remove it, or `socket`",
        );
        return None;
    }
    let path = section.read("socket", |value| {
        listen::socket_path(text(value, WANTED)?, folder)
    });
    let uid = super::reader::optional(section, "socket_uid", listen::uid);
    Some(Some(BackendSocket {
        path: path?,
        uid: uid?,
    }))
}

fn warn(section: &Section<'_>, server: &Server, warnings: &mut Vec<String>) {
    slots::warn(section, &server.slots, warnings);
    let Backend::Http {
        url,
        transport,
        socket,
        replicas,
        ..
    } = &server.backend
    else {
        return;
    };
    let far = match replicas {
        Replicas::Host | Replicas::Dns => url.host().filter(|host| !super::is_loopback_name(host)),
        Replicas::Listed(all) => {
            let hosts = all.iter().map(|(host, _)| host.as_str());
            hosts
                .into_iter()
                .find(|host| !super::is_loopback_name(host))
        }
    };
    let key = URLS
        .iter()
        .find(|(_, spoken)| spoken == transport)
        .map_or("url", |(key, _)| key);
    if server.slots.need_secrets()
        && url.scheme_str() == Some("http")
        && socket.is_none()
        && let Some(host) = far
    {
        warnings.push(format!(
            "{}: secrets travel unencrypted to {host}; use https:// unless that network is yours alone",
            section.path_of(key)
        ));
    }
    for slot in server.slots.iter() {
        let Place::Header(name) = &slot.place else {
            continue;
        };
        let credential = matches!(name.as_str(), "authorization" | "cookie" | "x-api-key");
        if credential && slot.template.is_constant() {
            warnings.push(format!(
                "{}.{name}: has no ${{SECRET}}, so every user is the same to this server",
                section.path_of("headers")
            ));
        }
    }
}
