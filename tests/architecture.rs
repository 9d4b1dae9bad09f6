//! Who may use whom, read from the sources. Fails when an arrow is added: either the code goes
//! another way, or the arrow is added here and in the crate documentation.
//!
//! Tests inside the sources may use what they like: `#[cfg(test)]` items, the files they name, and
//! files named `*_tests.rs` are cut out first, and so are comments and strings.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "architecture/source.rs"]
mod source;

use std::collections::{BTreeMap, BTreeSet};

use source::{Source, sources};

/// A top-level module and those it uses. Every module has a line.
const ARROWS: &[(&str, &[&str])] = &[
    // Core: no sockets, no configuration, no clap.
    ("names", &[]),
    ("rejection", &[]),
    ("identity", &[]),
    ("tls", &["sys"]),
    ("store", &["tls"]),
    ("vault", &["identity", "names", "store", "sys"]),
    ("moving", &["identity", "names", "vault"]),
    ("policy", &["names", "vault"]),
    ("limits", &["store"]),
    ("inject", &["names", "vault"]),
    ("mcp", &["names", "vault"]),
    ("resolve", &["identity", "names", "store", "sys", "vault"]),
    (
        "gate",
        &[
            "identity",
            "inject",
            "limits",
            "names",
            "policy",
            "rejection",
            "resolve",
            "store",
            "vault",
        ],
    ),
    // Edges.
    ("audit", &["identity", "names", "sys", "vault"]),
    ("telemetry", &["names", "rejection"]),
    ("sys", &[]),
    ("launch", &["sys"]),
    (
        "layer",
        &[
            "gate",
            "mcp",
            "names",
            "rejection",
            "resolve",
            "sys",
            "vault",
        ],
    ),
    (
        "stdio",
        &[
            "identity",
            "launch",
            "layer",
            "mcp",
            "names",
            "rejection",
            "vault",
        ],
    ),
    (
        "proxy",
        &[
            "audit",
            "identity",
            "layer",
            "mcp",
            "names",
            "rejection",
            "resolve",
            "stdio",
            "sys",
            "telemetry",
            "tls",
            "usage",
            "vault",
        ],
    ),
    ("usage", &["identity", "names", "vault"]),
    ("packages", &[]),
    ("dial", &["sys", "tls"]),
    ("probe", &["dial"]),
    ("config", &["identity", "inject", "names", "store", "tls"]),
    (
        "cli",
        &[
            "audit", "config", "identity", "inject", "launch", "moving", "names", "packages",
            "policy", "probe", "store", "sys", "tls", "usage", "vault",
        ],
    ),
    (
        "admin",
        &[
            "audit", "identity", "names", "proxy", "store", "usage", "vault",
        ],
    ),
    (
        "serve",
        &[
            "admin",
            "audit",
            "cli",
            "config",
            "gate",
            "launch",
            "layer",
            "limits",
            "names",
            "packages",
            "proxy",
            "resolve",
            "stdio",
            "store",
            "sys",
            "telemetry",
            "tls",
            "usage",
            "vault",
        ],
    ),
    (
        "demo",
        &[
            "cli",
            "config",
            "identity",
            "names",
            "serve",
            "telemetry",
            "vault",
        ],
    ),
    (
        "run",
        &[
            "cli",
            "config",
            "inject",
            "names",
            "packages",
            "serve",
            "sys",
            "telemetry",
        ],
    ),
    ("connect", &["cli", "dial", "mcp", "sys"]),
    (
        "main",
        &[
            "cli",
            "connect",
            "demo",
            "launch",
            "run",
            "serve",
            "sys",
            "telemetry",
        ],
    ),
    ("lib", &[]),
];

/// Of a module that is used, all that one user may name.
const ONLY: &[(&str, &str, &[&str])] = &[
    ("mcp", "vault", &["Sealer"]),
    (
        "connect",
        "cli",
        &["ConnectArgs", "Failure", "Output", "open"],
    ),
    ("connect", "sys", &["self", "PrivateFileError"]),
    ("gate", "store", &["Meter", "MeterId"]),
    ("layer", "resolve", &["Identity"]),
    ("config", "identity", &["KeyDigest"]),
    ("layer", "vault", &["UserId", "now_seconds"]),
    ("stdio", "vault", &["EphemeralMac", "UserId", "random_id"]),
    ("stdio", "identity", &["KeyId"]),
    // What is checked of a request before anything else.
    ("admin", "proxy", &["Guard"]),
    ("proxy", "tls", &["ServerTls"]),
    ("proxy", "resolve", &["Identity"]),
    ("proxy", "vault", &["UserId"]),
    ("cli", "tls", &["ServerFiles", "ServerTls", "client_config"]),
    ("config", "tls", &["ServerFiles"]),
    ("cli", "inject", &["Place", "Slot", "Template"]),
    (
        "cli",
        "launch",
        &[
            "Containment",
            "ProcessLimits",
            "Sandbox",
            "landlock_available",
            "landlock_gaps",
            "startable",
        ],
    ),
    ("cli", "packages", &["package_of"]),
    ("run", "inject", &["Place"]),
    (
        "cli",
        "audit",
        &[
            "Act",
            "Actor",
            "ActorKind",
            "Deed",
            "Doer",
            "Doing",
            "Outcome",
            "Standard",
            "Trail",
            "self",
            "verify",
        ],
    ),
];

/// A crate, or a part of one, and the files (or folders, ending in `/`) that may name it.
const CRATES: &[(&str, &[&str])] = &[
    ("redis", &["store/"]),
    ("rusqlite", &["store/"]),
    (
        "aws_lc_rs",
        &[
            "vault/crypto.rs",
            "identity/api_key.rs",
            // Which provider TLS uses has to be said.
            "tls/",
            // Stands for somebody else's server, which has a hash of its own.
            "demo/server.rs",
        ],
    ),
    ("hmac", &["vault/crypto.rs"]),
    ("sha2", &["vault/crypto.rs"]),
    ("getrandom", &["vault/crypto.rs", "identity/api_key.rs"]),
    (
        "hyper",
        &[
            "proxy/",
            "dial/",
            "probe/",
            "connect/wire.rs",
            "demo/server.rs",
        ],
    ),
    ("hyper_util", &["proxy/", "dial/", "demo/server.rs"]),
    // What reads and writes HTTP/1.1 by hand.
    ("httparse", &["proxy/http1/"]),
    ("httpdate", &["proxy/http1/"]),
    ("libc", &["sys/clock.rs"]),
    ("tikv_jemallocator", &["sys/memory.rs"]),
    ("tikv_jemalloc_sys", &["sys/memory.rs"]),
    ("pingora_ketama", &["proxy/replicas/set.rs"]),
    ("pingora_load_balancing", &["proxy/check.rs"]),
    ("tokio_rustls", &["proxy/", "dial/", "store/redis/"]),
    ("rustls", &["proxy/", "dial/", "store/redis/", "tls/"]),
    ("clap", &["cli/", "main.rs"]),
    ("ipnet", &["config/listen.rs", "proxy/client.rs"]),
    ("indicatif", &["cli/progress.rs"]),
    ("pingora_limits", &["proxy/flood.rs"]),
    (
        "tempfile",
        &[
            "store/backup.rs",
            "cli/keyring_file.rs",
            "cli/export.rs",
            "packages/shelf.rs",
        ],
    ),
    ("opentelemetry", &["telemetry/trace.rs"]),
    ("opentelemetry_http", &["telemetry/trace.rs"]),
    ("opentelemetry_otlp", &["telemetry/trace.rs"]),
    ("opentelemetry_sdk", &["telemetry/trace.rs"]),
    ("prometheus_client", &["telemetry/"]),
    ("toml", &["config/"]),
    ("axum", &["admin/"]),
    ("utoipa", &["admin/"]),
    ("utoipa_axum", &["admin/"]),
    ("quick_cache", &["resolve/", "layer/schema.rs"]),
    (
        "url",
        &["layer/rules.rs", "layer/exchange.rs", "connect/sse.rs"],
    ),
    ("landlock", &["launch/domain.rs"]),
    ("unsafe", &["sys/"]),
];

/// Product lines a file may have.
const LINES: usize = 500;

#[test]
fn modules_use_only_whom_they_may() {
    let allowed: BTreeMap<_, BTreeSet<_>> = ARROWS
        .iter()
        .map(|(from, to)| (*from, to.iter().copied().collect()))
        .collect();
    let mut used: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut wrong = Vec::new();
    for source in sources() {
        let module = source.module();
        let may = allowed
            .get(module)
            .unwrap_or_else(|| panic!("no line for `{module}`"));
        for (to, item) in source.uses() {
            if to == module {
                continue;
            }
            if !may.contains(to.as_str()) {
                wrong.push(format!("{}: {module} -> {to}", source.path));
            }
            let only = ONLY
                .iter()
                .find(|(from, used, _)| *from == module && *used == to);
            if only.is_some_and(|(_, _, items)| !items.contains(&item.as_str())) {
                wrong.push(format!("{}: {module} -> {to}::{item}", source.path));
            }
            used.entry(module.to_owned()).or_default().insert(to);
        }
    }
    assert!(
        wrong.is_empty(),
        "arrows nobody agreed to:\n{}",
        wrong.join("\n")
    );
    for (from, may) in &allowed {
        let does = used.remove(*from).unwrap_or_default();
        let gone: Vec<_> = may.iter().filter(|to| !does.contains(**to)).collect();
        assert!(
            gone.is_empty(),
            "{from} no longer uses {gone:?}: take it out of the table"
        );
    }
}

#[test]
fn no_modules_use_each_other_in_a_circle() {
    let mut left: BTreeMap<_, _> = ARROWS.iter().copied().collect();
    while !left.is_empty() {
        let leaf = left
            .iter()
            .find(|(_, to)| to.iter().all(|to| !left.contains_key(to)))
            .map(|(from, _)| *from);
        let Some(leaf) = leaf else {
            panic!("a circle among {:?}", left.keys());
        };
        left.remove(leaf);
    }
}

#[test]
fn crates_and_keywords_stay_where_they_belong() {
    let mut wrong = Vec::new();
    for source in sources() {
        for (word, places) in CRATES {
            let home = places.iter().any(|place| {
                *place == source.path || (place.ends_with('/') && source.path.starts_with(place))
            });
            if !home && source.names_crate(word) {
                wrong.push(format!("{}: {word}", source.path));
            }
        }
    }
    assert!(wrong.is_empty(), "out of place:\n{}", wrong.join("\n"));
}

#[test]
fn files_are_short() {
    let long: Vec<_> = sources()
        .iter()
        .filter(|source| source.lines() > LINES)
        .map(|source| format!("{}: {}", source.path, source.lines()))
        .collect();
    assert!(
        long.is_empty(),
        "more than {LINES} lines:\n{}",
        long.join("\n")
    );
}

#[test]
fn the_reader_sees_what_is_used_and_nothing_else() {
    let source = Source::new(
        "layer/x.rs",
        r##"
        // crate::comment::X
        /* crate::block /* crate::nested */ */
        use crate::gate::{self, Door};
        use crate::{names::ServerName, store::{url::Url, Record}};
        use super::super::vault::Vault;
        const TEXT: &str = "crate::string \" crate::still";
        const RAW: &str = r#"crate::raw " "#;
        fn f<'a>(x: &'a str, quote: char) { let _ = ('"', '\'', b'"'); crate::policy::standing(); }
        #[cfg(test)]
        mod tests { use crate::serve; fn g() { "}"; } }
        pub fn after() { crate::proxy::Guard::new(); redis::cmd(); }
        "##,
    );
    let uses: BTreeSet<_> = source.uses().into_iter().collect();
    let pairs = uses.iter().map(|(to, item)| (to.as_str(), item.as_str()));
    let expected = [
        ("gate", "Door"),
        ("gate", "self"),
        ("names", "ServerName"),
        ("policy", "standing"),
        ("proxy", "Guard"),
        ("store", "Record"),
        ("store", "url"),
        ("vault", "Vault"),
    ];
    assert_eq!(pairs.collect::<Vec<_>>(), expected);
    assert!(source.names_crate("redis") && !source.names_crate("raw"));
    assert!(
        !Source::new("store/x.rs", "mod redis; use self::redis::X; fn redis() {}")
            .names_crate("redis")
    );
    assert_eq!(source.lines(), 9);
}
