//! `check`: everything `serve`, and requests to it, would stumble over, found before.

mod around;
mod children;
mod finding;

use std::sync::Arc;

use finding::{Finding, report};

use super::open::{self, Source};
use super::{Failure, Output};
use crate::config::{self, Config};
use crate::names::ServerName;
use crate::vault::{Keyring, Vault};

/// Goes on after a finding: a second mistake should not show only once the first is mended.
pub(super) async fn run(offline: bool, from: &Source, out: &Output) -> Result<(), Failure> {
    let config = match config::load(from.path(), std::env::vars_os()) {
        Ok(config) => config,
        Err(errors) => {
            let findings: Vec<_> = errors.iter().map(|e| Finding::error("config", e)).collect();
            return report(&findings, 64, out);
        }
    };
    let servers: Vec<_> = config.servers.keys().map(ServerName::as_str).collect();
    let says = format!("servers: {}", servers.join(", "));
    let mut findings = vec![Finding::well("config", says)];
    let warnings = config.warnings.iter();
    findings.extend(warnings.map(|text| Finding::warning("config", text)));
    findings.extend(around::listeners(&config));
    findings.extend(children::findings(&config, from));
    let ring = open::keyring(&config.keyring);
    findings.push(match &ring {
        Ok(_) => Finding::well("keyring", &config.keyring),
        Err(why) => Finding::error("keyring", why),
    });
    if let Ok(ring) = &ring {
        findings.extend(uncovered(ring, &config));
    }
    if offline {
        findings.extend(around::files(&config));
        return report(&findings, 1, out);
    }
    let ((kept, code), behind) = tokio::join!(store(&config, ring.ok()), around::backends(&config));
    findings.extend(kept);
    findings.extend(behind);
    report(&findings, code, out)
}

/// The store, and whether the keyring is its own; and the exit code if something is to be mended.
async fn store(config: &Config, ring: Option<Keyring>) -> (Vec<Finding>, u8) {
    let store = match open::store(config).await {
        Ok(store) => store,
        Err(why) => return (vec![Finding::error("store", &why)], why.code()),
    };
    let mut findings = vec![Finding::well("store", "answers")];
    match store.remarks().await {
        Ok(remarks) => {
            findings.extend(remarks.iter().map(|text| Finding::warning("store", text)));
        }
        Err(why) => findings.push(Finding::error("store", why)),
    }
    if let Some(ring) = ring {
        findings.push(belongs(&Vault::new(store, Arc::new(ring))).await);
    }
    (findings, 1)
}

/// Begins no store: one that is looked at may be there to be copied to.
async fn belongs(vault: &Vault) -> Finding {
    match vault.is_unused().await {
        Ok(true) => {
            let says = "the store is empty: `serve`, or the first command that writes, begins it";
            Finding::well("keyring", says)
        }
        Ok(false) => match vault.check_keyring().await {
            Ok(()) => Finding::well("keyring", "is the store's"),
            Err(why) => Finding::error("keyring", why),
        },
        Err(why) => Finding::error("keyring", why),
    }
}

fn uncovered<'a>(ring: &Keyring, config: &'a Config) -> impl Iterator<Item = Finding> + 'a {
    let missing: Vec<_> = config
        .servers
        .keys()
        .filter(|name| !ring.covers(name))
        .collect();
    missing.into_iter().map(|name| {
        let remedy = format!(
            "it has no key for the server `{name}`: use the whole keyring, or one made by \
             `cloakroom keyring export --server {name}`"
        );
        Finding::error("keyring", remedy)
    })
}
