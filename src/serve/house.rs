//! What outlives every configuration: keyring, store, and what is made of the two.

use std::sync::{Arc, OnceLock};

use super::control::Control;
use super::descriptors::{self, Descriptors};
use super::{StartError, admin, certificate, traces};
use crate::admin::Known;
use crate::audit::{Standard, Trail};
use crate::cli::{Failure, open, trail};
use crate::config::Config;
use crate::gate::DefaultInForce;
use crate::limits::Limiter;
use crate::proxy::Keepers;
use crate::resolve::{Resolver, Settings};
use crate::stdio::Children;
use crate::store::Store;
use crate::sys;
use crate::telemetry::{Metrics, Tracer};
use crate::tls::ServerTls;
use crate::usage::Usage;
use crate::vault::{Beacon, Keyring, Reader, Vault};

/// What outlives every configuration.
pub(super) struct House {
    pub(super) ring: Arc<Keyring>,
    pub(super) store: Arc<dyn Store>,
    pub(super) resolver: Resolver,
    pub(super) limiter: Limiter,
    pub(super) default_access: DefaultInForce,
    /// What the admin API knows of the configuration in force.
    pub(super) known: Arc<Known>,
    /// The listener's.
    pub(super) tls: Option<Arc<ServerTls>>,
    pub(super) descriptors: Descriptors,
    pub(super) metrics: Arc<Metrics>,
    pub(super) tracer: Option<Arc<Tracer>>,
    pub(super) trail: Trail,
    pub(super) usage: Usage,
    /// Those of servers that run as children, once there was such a server.
    pub(super) children: OnceLock<Children>,
    /// What tells of them.
    pub(super) control: OnceLock<Control>,
}

impl House {
    /// Opens the keyring and the store, which must belong together.
    pub(super) async fn open(config: &Config) -> Result<Self, Failure> {
        let ring = Arc::new(open::keyring(&config.keyring)?);
        let store = open::store(config).await?;
        for remark in store.remarks().await.unwrap_or_default() {
            tracing::warn!(%remark, "the store works, but not as well as it should");
        }
        let vault = Vault::new(store.clone(), ring.clone());
        vault.check_keyring().await?;
        let metrics = Arc::new(Metrics::new());
        let lag = metrics.revocation_lag.clone();
        let settings = Settings {
            cache_bytes: config.store.cache,
            stale_for: config.store.stale_for,
            lag: Some(Arc::new(move |took| lag.observe(took))),
        };
        let resolver = Resolver::new(store.clone(), Reader::new(ring.clone()), &settings);
        let tls = match config.tls.clone() {
            Some(files) => {
                let tls = ServerTls::load(files).map_err(StartError::Certificate);
                let tls = Arc::new(tls.map_err(Failure::new)?);
                certificate::keep_fresh(&tls);
                Some(tls)
            }
            None => None,
        };
        let usage = Usage::new(Vault::new(store.clone(), ring.clone()));
        tokio::spawn(usage.clone().keep_told());
        Ok(Self {
            trail: trail::start(&config.audit, &store, &ring, Standard::Output).await?,
            usage,
            ring,
            limiter: Limiter::new(store.clone()),
            default_access: DefaultInForce::default(),
            store,
            resolver,
            known: Arc::new(Known::new(admin::in_force(config))),
            tls,
            descriptors: descriptors::divide(config.limits.connections, config.threads),
            metrics,
            tracer: traces::tracer(&config.telemetry).map_err(Failure::new)?,
            children: OnceLock::new(),
            control: OnceLock::new(),
        })
    }

    /// Who keeps an account of requests besides metrics.
    pub(super) fn keepers(&self) -> Keepers {
        Keepers {
            tracer: self.tracer.clone(),
            trail: self.trail.is_kept().then(|| self.trail.clone()),
            usage: Some(self.usage.clone()),
        }
    }

    /// What tells the store that this process serves what `config` names.
    pub(super) fn beacon(&self, config: &Config) -> Beacon {
        let servers: Vec<_> = config.servers.keys().cloned().collect();
        let vault = Vault::new(self.store.clone(), self.ring.clone());
        Beacon::new(vault, sys::host_name(), &servers)
    }
}
