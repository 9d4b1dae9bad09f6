//! What requests are served with. A reload swaps all of it at once: a request sees the old
//! configuration or the new one, never a mixture.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tower_layer::Layer as _;

use super::account::Account;
use super::backend::Backend;
use super::client::TrustedProxies;
use super::flood::Flood;
use super::forward::Forward;
use super::guard::Guard;
use super::strict;
use crate::layer::{Cloakroom, CloakroomLayer};
use crate::names::ServerName;
use crate::stdio;
use crate::tls::ServerTls;

/// What requests are served with, for all cores.
pub struct Serving {
    /// What clients are given. Of a connection that is open, it stays what it was.
    pub clients: strict::Settings,
    /// What a connection passes before its first request. Of one that is open, it stays what it was.
    pub entrance: Entrance,
    /// Wrong keys.
    pub flood: Flood,
    /// How many idle connections to backends a core may keep.
    pub idle_backends: usize,
    /// Hosts and origins.
    pub guard: Guard,
    /// What every request passes.
    pub layer: CloakroomLayer,
    /// Where requests are counted.
    pub account: Arc<Account>,
    /// Where requests go.
    pub backends: Arc<BTreeMap<ServerName, Backend>>,
    /// Servers that run as children, if there are any.
    pub commands: Option<stdio::Served>,
}

/// What a connection passes before its first request.
#[derive(Clone, Default)]
pub struct Entrance {
    /// TLS, if it is spoken; never on a Unix socket.
    pub tls: Option<Arc<ServerTls>>,
    /// Whether every connection begins with a header of the PROXY protocol.
    pub proxy_protocol: bool,
    /// Who is believed about a client's address.
    pub trusted_proxies: TrustedProxies,
}

/// What one core serves with: with idle connections of its own, which a new configuration does not
/// inherit, for a server of the same name may be another.
pub(super) struct Core {
    pub(super) serving: Arc<Serving>,
    pub(super) cloakroom: Cloakroom<Forward>,
    forward: Forward,
}

/// What one core serves with now.
pub(super) struct Current {
    // Taken by one thread alone, so never waited for.
    core: Mutex<Arc<Core>>,
    leaving: AtomicBool,
}

/// How far the process is on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// It stays.
    Serving,
    /// Connections are still taken, but clients are asked not to keep theirs.
    Leaving,
    /// No connection is taken, and none is kept but for the request that is on it.
    Stopping,
}

impl Core {
    fn new(serving: Arc<Serving>) -> Arc<Self> {
        let count = serving.account.metrics().backend_idle.clone();
        let (backends, commands) = (serving.backends.clone(), serving.commands.clone());
        let forward = Forward::new(backends, commands, serving.idle_backends, count);
        Arc::new(Self {
            cloakroom: serving.layer.layer(forward.clone()),
            serving,
            forward,
        })
    }
}

impl Current {
    pub(super) fn new(serving: &mut watch::Receiver<Arc<Serving>>) -> Self {
        Self {
            core: Mutex::new(Core::new(serving.borrow_and_update().clone())),
            leaving: AtomicBool::new(false),
        }
    }

    /// For a request that begins now.
    pub(super) fn get(&self) -> Arc<Core> {
        self.lock().clone()
    }

    /// Serves with something else from now on. What was begun is finished as it began.
    pub(super) fn swap(&self, serving: Arc<Serving>) {
        *self.lock() = Core::new(serving);
    }

    /// Clients are to be asked from now on not to keep their connections.
    pub(super) fn leave(&self) {
        self.leaving.store(true, Ordering::Relaxed);
    }

    /// Whether a client is to be asked not to keep its connection.
    pub(super) fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Relaxed)
    }

    /// Closes connections to backends that were idle for too long; to be called every second or so.
    pub(super) fn sweep(&self) {
        self.get().forward.sweep();
    }

    fn lock(&self) -> MutexGuard<'_, Arc<Core>> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
