//! A configuration -> what requests are served with.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::StartError;
use super::house::House;
use crate::config::{self, Config, Listen, Replicas, Server, Transport};
use crate::gate::{self, DefaultAccess, Discovery, Door, Gate};
use crate::layer::{CloakroomLayer, Limits, Routes};
use crate::limits::WhenDown;
use crate::names::ServerName;
use crate::proxy::{
    Account, Address, Backend, BackendSocket, Entrance, Flood, Guard, ReplicaAddress, Serving,
    TrustedProxies, strict,
};
use crate::resolve::{StaticKey, StaticKeys};
use crate::stdio;
use crate::sys;
use crate::tls;
use crate::vault::{self, Keyring};

/// What requests are served with, as `config` says, in place of what they were served with `before`.
///
/// # Errors
/// A server that cannot be served as configured.
pub(super) fn serving(
    config: Config,
    house: &House,
    before: Option<&Serving>,
    commands: Option<stdio::Served>,
) -> Result<Serving, StartError> {
    let House { ring, metrics, .. } = house;
    let account = Account::new(
        metrics.clone(),
        config.servers.keys(),
        config.default_server.as_ref(),
        house.keepers(),
    );
    let mut doors = Vec::with_capacity(config.servers.len());
    let mut backends = BTreeMap::new();
    for (name, server) in config.servers {
        if let Some(backend) = backend(&name, &server)? {
            let connects = metrics.server(Some(&name)).connects;
            backends.insert(name.clone(), backend.counting(connects));
        }
        doors.push(door(ring, name, server)?);
    }
    let gate = Arc::new(Gate::new(
        house.resolver.clone(),
        doors,
        gate::Rules {
            key_prefixes: config.key_prefixes,
            default_access: house.default_access.of(default_access(&config.people)),
            default_user: config.people.default_user,
            rates: Some(rates(&config.rates, house)),
        },
    ));
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
    let entrance = Entrance {
        tls: house.tls.clone(),
        proxy_protocol: config.proxy_protocol,
        trusted_proxies: TrustedProxies {
            networks: config.trusted_proxies.networks,
            unix: config.trusted_proxies.unix,
        },
    };
    Ok(Serving {
        clients,
        entrance,
        guard: Guard::new(config.allowed_hosts, config.allowed_origins),
        flood,
        idle_backends: house.descriptors.idle_backends,
        layer,
        account: Arc::new(account),
        backends: Arc::new(backends),
        commands,
    })
}

/// Where to listen. `uids` may connect to a Unix socket; unless said, only this process's own user.
pub(super) fn address(listen: Listen, uids: Option<&[u32]>) -> Address {
    match listen {
        Listen::Tcp(address) => Address::Tcp(address),
        Listen::Unix(path) => Address::Unix {
            path,
            uids: uids.map_or_else(|| vec![sys::user()], <[u32]>::to_vec),
        },
    }
}

fn rates(rates: &config::Rates, house: &House) -> gate::Rates {
    let limits = |bounds: &config::Bounds| vault::Limits {
        rate: bounds.rate,
        burst: bounds.burst,
        daily: bounds.daily,
        concurrent: None,
    };
    gate::Rates {
        limiter: house.limiter.clone(),
        user: limits(&rates.user),
        key: limits(&rates.key),
        when_down: match rates.store_down {
            config::StoreDown::Deny => WhenDown::Deny,
            config::StoreDown::Local => WhenDown::Local,
        },
    }
}

/// Puts in force what a configuration says of people, also for what is served already.
pub(super) fn put_in_force(people: &config::People, house: &House) {
    house.resolver.set_static_keys(static_keys(people));
    house.default_access.set(default_access(people));
}

fn default_access(people: &config::People) -> DefaultAccess {
    match people.default_access {
        config::DefaultAccess::All => DefaultAccess::All,
        config::DefaultAccess::None => DefaultAccess::None,
    }
}

/// The keys of a configuration, in the words of who looks for them.
fn static_keys(people: &config::People) -> StaticKeys {
    let keys = people.static_keys.iter().map(|key| StaticKey {
        digest: key.digest,
        label: key.label.clone(),
        user: key.user.clone(),
        profile: key.profile.clone(),
    });
    StaticKeys::new(keys, people.default_user.clone())
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
    Ok(match server.backend {
        config::Backend::Command(_) => door.with_children(),
        config::Backend::Http { url, transport, .. } => match transport {
            Transport::Streamable => door,
            Transport::Sse => door.with_sse(url),
        },
    })
}

/// How a server at a URL is reached; none for one that runs as children.
fn backend(name: &ServerName, server: &Server) -> Result<Option<Backend>, StartError> {
    let config::Backend::Http {
        url,
        socket,
        ca_file,
        connect_timeout,
        replicas,
        ..
    } = &server.backend
    else {
        return Ok(None);
    };
    let tls = match url.scheme_str() {
        Some("https") => {
            let config = tls::client_config(ca_file.as_deref(), None);
            Some(config.map_err(|error| StartError::Tls(name.clone(), error))?)
        }
        _ => None,
    };
    let backend = Backend::new(url, tls, *connect_timeout, server.answer_timeout)
        .map_err(|error| StartError::Backend(name.clone(), error))?;
    let backend = match socket {
        None => backend,
        Some(socket) => backend.through(BackendSocket {
            path: socket.path.clone(),
            uids: socket.uids(sys::user()),
        }),
    };
    let backend = match replicas {
        Replicas::Host => backend,
        Replicas::Listed(all) => backend.with_replicas(
            all.iter()
                .map(|(host, port)| ReplicaAddress::new(host, *port)),
        ),
        Replicas::Dns => backend.with_named_replicas(),
    };
    #[cfg(feature = "pingora-lb")]
    if let config::Backend::Http {
        health_check: Some(config::HealthCheck { every, path }),
        ..
    } = &server.backend
    {
        let (every, path) = (*every, path.clone());
        return Ok(Some(
            backend.with_checks(crate::proxy::Check { every, path }),
        ));
    }
    Ok(Some(backend))
}
