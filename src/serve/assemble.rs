//! A configuration -> what requests are served with.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::StartError;
use crate::config::{self, Config, Server, Transport};
use crate::gate::{Discovery, Door, Gate};
use crate::layer::{CloakroomLayer, Limits, Routes};
use crate::names::ServerName;
use crate::proxy::{Backend, Guard, Serving};
use crate::resolve::Resolver;
use crate::tls;
use crate::vault::Keyring;

/// What requests are served with, as `config` says.
///
/// # Errors
/// A server that cannot be served as configured.
pub(super) fn serving(
    config: Config,
    ring: &Keyring,
    resolver: Resolver,
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
    let limits = Limits {
        body: config.limits.body,
        in_flight: config.limits.in_flight,
        list: config.limits.list,
    };
    let layer = CloakroomLayer::new(gate, routes, limits).with_setup_url(config.setup_url);
    Ok(Serving {
        head_max: config.limits.headers,
        guard: Guard::new(config.allowed_hosts, config.allowed_origins),
        layer,
        backends: Arc::new(backends),
    })
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
