//! `check`: everything `serve` would stumble over, found before.

use std::sync::Arc;

use serde_json::{Value, json};

use super::open::{self, Source};
use super::{Failure, Output};
use crate::config::{self, Config};
use crate::names::ServerName;
use crate::vault::{Keyring, Vault};

/// What was looked at, and what was found: nothing, something to know, or something to mend.
struct Finding {
    what: &'static str,
    state: State,
    says: String,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Well,
    Warning,
    Error,
}

/// Goes on after a finding: a second mistake should not show only once the first is mended.
pub(super) async fn run(from: &Source, out: &Output) -> Result<(), Failure> {
    let config = match config::load(from.path(), std::env::vars_os()) {
        Ok(config) => config,
        Err(errors) => {
            let findings: Vec<_> = errors.iter().map(|e| error("config", e)).collect();
            return report(&findings, 64, out);
        }
    };
    let servers: Vec<_> = config.servers.keys().map(ServerName::as_str).collect();
    let mut findings = vec![well("config", format!("servers: {}", servers.join(", ")))];
    findings.extend(
        config
            .warnings
            .iter()
            .map(|text| warning("config", text.clone())),
    );
    let ring = open::keyring(&config.keyring);
    findings.push(match &ring {
        Ok(_) => well("keyring", config.keyring.to_string()),
        Err(why) => error("keyring", why),
    });
    if let Ok(ring) = &ring {
        findings.extend(uncovered(ring, &config));
    }
    let code = match open::store(&config).await {
        Err(why) => {
            findings.push(error("store", &why));
            why.code()
        }
        Ok(store) => {
            findings.push(well("store", "answers".to_owned()));
            match store.remarks().await {
                Ok(remarks) => {
                    findings.extend(remarks.into_iter().map(|text| warning("store", text)))
                }
                Err(why) => findings.push(error("store", why)),
            }
            if let Ok(ring) = ring {
                findings.push(belongs(&Vault::new(store, Arc::new(ring))).await);
            }
            1
        }
    };
    report(&findings, code, out)
}

/// Begins no store: one that is looked at may be there to be copied to.
async fn belongs(vault: &Vault) -> Finding {
    match vault.is_unused().await {
        Ok(true) => {
            let says = "the store is empty: `serve`, or the first command that writes, begins it";
            well("keyring", says.to_owned())
        }
        Ok(false) => match vault.check_keyring().await {
            Ok(()) => well("keyring", "is the store's".to_owned()),
            Err(why) => error("keyring", why),
        },
        Err(why) => error("keyring", why),
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
        error("keyring", remedy)
    })
}

fn well(what: &'static str, says: String) -> Finding {
    Finding {
        what,
        state: State::Well,
        says,
    }
}

fn warning(what: &'static str, says: String) -> Finding {
    Finding {
        what,
        state: State::Warning,
        says,
    }
}

fn error(what: &'static str, says: impl ToString) -> Finding {
    Finding {
        what,
        state: State::Error,
        says: says.to_string(),
    }
}

fn report(findings: &[Finding], code: u8, out: &Output) -> Result<(), Failure> {
    let failed = findings.iter().any(|finding| finding.state == State::Error);
    let text: String = findings.iter().map(line).collect();
    let findings: Vec<_> = findings.iter().map(document).collect();
    out.answer(&json!({ "ok": !failed, "findings": findings }), &text)?;
    if failed {
        Err(Failure::told(code))
    } else {
        Ok(())
    }
}

fn line(finding: &Finding) -> String {
    format!(
        "{:8} {:8} {}\n",
        word(finding.state),
        finding.what,
        finding.says
    )
}

fn document(finding: &Finding) -> Value {
    json!({ "state": word(finding.state), "what": finding.what, "says": finding.says })
}

fn word(state: State) -> &'static str {
    match state {
        State::Well => "ok",
        State::Warning => "warning",
        State::Error => "error",
    }
}
