//! A configuration -> what requests are served with.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::StartError;
use crate::config::{self, Config, Server, Transport};
use crate::gate::{Discovery, Door, Gate};
use crate::layer::{CloakroomLayer, Limits, Routes};
use crate::names::ServerName;
use crate::proxy::{Backend, Flood, Guard, Serving, strict};
use crate::resolve::Resolver;
use crate::tls;
use crate::vault::Keyring;

/// What requests are served with, as `config` says, in place of what they were served with `before`.
/// A thread may keep so many idle connections to backends.
///
/// # Errors
/// A server that cannot be served as configured.
pub(super) fn serving(
    config: Config,
    ring: &Keyring,
    resolver: Resolver,
    idle_backends: usize,
    before: Option<&Serving>,
) -> Result<Serving, StartError> {
    let mut doors = Vec::with_capacity(config.servers.len());
    let mut backends = BTreeMap::new();
    for (name, server) in config.servers {
        backends.insert(name.clone(), backend(&name, &server)?);
        doors.push(door(ring, name, server)?);
    }
    let gate = Arc::new(Gate::new(resolver, doors, config.key_prefixes));
    let routes = Routes::ByPath {
        default_server: config.default_server,
    };
    let limits = limits(&config.limits);
    let layer = match before {
        Some(before) => before.layer.succeeded_by(gate, routes, limits),
        None => CloakroomLayer::new(gate, routes, limits),
    };
    let flood = match before {
        Some(before) => before.flood.with_allowed(config.limits.failed_keys),
        None => Flood::new(config.limits.failed_keys),
    };
    let layer = layer.with_setup_url(config.setup_url);
    let clients = strict::Settings {
        head_max: config.limits.headers,
        read_timeout: config.limits.read_timeout,
        idle_timeout: config.limits.idle_timeout,
    };
    Ok(Serving {
        clients,
        guard: Guard::new(config.allowed_hosts, config.allowed_origins),
        flood,
        idle_backends,
        layer,
        backends: Arc::new(backends),
    })
}

/// What the layer is to hold clients to.
fn limits(limits: &config::Limits) -> Limits {
    Limits {
        body: limits.body,
        in_flight: limits.in_flight,
        user_in_flight: limits.user_in_flight,
        requests: limits.requests,
        user_requests: limits.user_requests,
        streams: limits.streams,
        user_streams: limits.user_streams,
        list: limits.list,
    }
}

fn door(ring: &Keyring, name: ServerName, server: Server) -> Result<Door, StartError> {
    let discovery = match server.discovery {
        config::Discovery::Secret => Discovery::Secret,
        config::Discovery::Omit => Discovery::Omit,
    };
    let door = Door::open(ring, name, server.slots)?.with_discovery(discovery);
    let config::Backend::Http { url, transport, .. } = server.backend;
    Ok(match transport {
        Transport::Streamable => door,
        Transport::Sse => door.with_sse(url),
    })
}

fn backend(name: &ServerName, server: &Server) -> Result<Backend, StartError> {
    let config::Backend::Http {
        url,
        ca_file,
        connect_timeout,
        ..
    } = &server.backend;
    let tls = match url.scheme_str() {
        Some("https") => {
            let config = tls::client_config(ca_file.as_deref(), None);
            Some(config.map_err(|error| StartError::Tls(name.clone(), error))?)
        }
        _ => None,
    };
    Backend::new(url, tls, *connect_timeout, server.answer_timeout)
        .map_err(|error| StartError::Backend(name.clone(), error))
}
