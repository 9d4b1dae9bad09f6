//! The admin API, by the configuration in force.

use std::sync::Arc;

use super::house::House;
use crate::admin::{Admin, InForce, Server, Settings};
use crate::config::{Backend, Config, Transport};
use crate::names::SecretName;
use crate::proxy::{self, Address, Guard, beside};
use crate::vault::Vault;

/// Connections of administrators.
const ADMINISTRATORS: usize = 64;

/// Serves the API on the current runtime; gives the address bound.
///
/// # Errors
/// When the address cannot be had.
pub(super) async fn serve(house: &House, listen: &Address) -> Result<Address, proxy::StartError> {
    let resolver = house.resolver.clone();
    let admin = Arc::new(Admin::new(Settings {
        vault: Vault::new(house.store.clone(), house.ring.clone()),
        known: house.known.clone(),
        trail: house.trail.clone(),
        is_ready: Box::new(move || resolver.is_ready()),
    }));
    let answer = move |request, from| {
        let admin = admin.clone();
        async move { admin.answer(request, from).await }
    };
    beside::serve(listen, ADMINISTRATORS, answer).await
}

/// What the API is to know of a configuration.
pub(super) fn in_force(config: &Config) -> InForce {
    let servers = config.servers.iter().map(|(name, server)| {
        let transport = match &server.backend {
            Backend::Command(_) => "stdio",
            Backend::Http { transport, .. } => match transport {
                Transport::Streamable => "http",
                Transport::Sse => "sse",
            },
        };
        let secrets: Vec<SecretName> = server.slots.secret_names().into_iter().cloned().collect();
        let in_headers = secrets
            .iter()
            .filter(|name| server.slots.uses_in_header(name));
        let known = Server {
            transport,
            in_headers: in_headers.cloned().collect(),
            secrets,
            takes_all: server.slots.merges_all(),
        };
        (name.clone(), known)
    });
    InForce {
        servers: servers.collect(),
        key_prefixes: config.key_prefixes.clone(),
        guard: Guard::new(
            config.admin_allowed_hosts.clone(),
            config.admin_allowed_origins.clone(),
        ),
    }
}
