//! The tree -> the validated types.

use std::path::Path;
use std::time::Duration;

use super::listen::{self, Listen, TrustedProxies};
use super::reader::{Section, text};
use super::{
    Config, DataDir, Drain, LoopbackNames, Store, admin_names, audit, keyring, keys, limits,
    optional, people, rates, server, setup_url, telemetry, tls, values,
};
use crate::store::{ClientCertificate, Login, Settings, StoreUrl};

/// Reads everything, noting all that is wrong; `None` when anything was.
pub(super) fn config(root: &Section<'_>, folder: &Path) -> Option<Config> {
    let mut warnings = Vec::new();
    let listen = root.required("listen", |value| listen::listen(value, folder));
    let health_listen = optional(root, "health_listen", |v| listen::listen(v, folder));
    let admin_listen = optional(root, "admin_listen", |v| listen::listen(v, folder));
    let health = health_listen.as_ref().map(Option::as_ref);
    let admin = admin_listen.as_ref().map(Option::as_ref);
    refuse_shared_address(root, listen.as_ref(), health.flatten(), admin.flatten());
    let listen_uids = listen::uids(root, listen.as_ref(), [health, admin]);
    let tls = tls::read(root, listen.as_ref(), folder);
    let proxy_protocol = root.required("proxy_protocol", listen::proxy_protocol);
    let trusted_proxies = listen::trusted_proxies(root);
    warn_of_plain_text(listen.as_ref(), tls.as_ref(), &mut warnings);
    warn_of_any_proxy(
        listen.as_ref(),
        proxy_protocol,
        trusted_proxies.as_ref(),
        &mut warnings,
    );
    let names = AllowedNames::read(root, listen.as_ref());
    let admin_names = admin_names::read(root, admin.flatten());
    warn_of_plain_admin(admin.flatten(), &mut warnings);
    let log = root.required("log", values::log_filter);
    let log_format = telemetry::log_format(root);
    let telemetry = telemetry::telemetry(root);
    let threads = optional(root, "threads", values::threads);
    let prefixes = root.list("key_prefixes", "[\"acme_\"]", values::key_prefix);
    let setup_url = optional(root, "setup_url", setup_url::parse);
    let drain = drain(root);
    let store = store(root, folder);
    let keyring = keyring::read(root, folder);
    let limits = limits::read(root);
    let rates = rates::read(root);
    let reach = people::Reach {
        listen: listen.as_ref(),
        proxy_protocol,
        trusted_proxies: trusted_proxies.as_ref(),
        hosts: names.as_ref().map_or(&[], |names| &names.hosts),
    };
    let people = people::read(root, &reach);
    let servers = server::read_all(root, folder, &mut warnings);
    let data_dir = root.required("data_dir", |value| {
        let wanted = "the path of a folder, such as \"cloakroom-data\"";
        values::file(text(value, wanted)?, folder).map(DataDir::new)
    });
    let url = store.as_ref().map(|store| &store.settings.url);
    let audit = audit::read(root, folder, url, data_dir.as_ref());
    let default_server = default_server(root);
    let (names, admin_names) = (names?, admin_names?);
    Some(Config {
        listen: listen?,
        listen_uids: listen_uids?,
        tls: tls?,
        proxy_protocol: proxy_protocol?,
        trusted_proxies: trusted_proxies?,
        health_listen: health_listen?,
        admin_listen: admin_listen?,
        admin_allowed_hosts: admin_names.hosts,
        admin_allowed_origins: admin_names.origins,
        default_server: default_server?,
        log: log?,
        log_format: log_format?,
        telemetry: telemetry?,
        audit: audit?,
        threads: threads?.unwrap_or_else(cores),
        allowed_hosts: names.hosts,
        allowed_origins: names.origins,
        key_prefixes: prefixes?,
        setup_url: setup_url?,
        drain: drain?,
        store: store?,
        keyring: keyring?,
        limits: limits?,
        rates: rates?,
        people: people?,
        servers: servers?,
        data_dir: data_dir?,
        folder: folder.to_owned(),
        warnings,
    })
}

fn drain(root: &Section<'_>) -> Option<Drain> {
    let read = |key, max| {
        root.required(key, |value| {
            values::duration(value, Duration::ZERO, Duration::from_secs(max))
        })
    };
    let (delay, timeout) = (read("drain_delay", 600), read("drain_timeout", 3600));
    Some(Drain {
        delay: delay?,
        timeout: timeout?,
    })
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// `tls` is none when it is wrong, which is told already.
fn warn_of_plain_text(
    listen: Option<&Listen>,
    tls: Option<&Option<crate::tls::ServerFiles>>,
    warnings: &mut Vec<String>,
) {
    if let (Some(listen), Some(None)) = (listen, tls)
        && !listen.is_local()
    {
        let warning = "listen: keys travel unencrypted unless something in front terminates TLS; set \
                       cert_file and key_file under [tls], or listen on loopback or a Unix socket";
        warnings.push(warning.to_owned());
    }
}

fn warn_of_plain_admin(listen: Option<&Listen>, warnings: &mut Vec<String>) {
    if listen.is_some_and(|listen| !listen.is_local()) {
        let warning = "admin_listen: administrators' keys and secrets travel unencrypted; put something in front that \
                       terminates TLS, or listen on loopback or a Unix socket";
        warnings.push(warning.to_owned());
    }
}

/// Whoever can connect is believed where nobody is named.
fn warn_of_any_proxy(
    listen: Option<&Listen>,
    proxy_protocol: Option<bool>,
    trusted: Option<&TrustedProxies>,
    warnings: &mut Vec<String>,
) {
    if let (Some(listen), Some(true), Some(trusted)) = (listen, proxy_protocol, trusted)
        && !listen.is_local()
        && *trusted == TrustedProxies::default()
    {
        let warning = "proxy_protocol: whoever can connect is believed when it names a client's address; \
                       write the networks of your proxies into trusted_proxies";
        warnings.push(warning.to_owned());
    }
}

fn refuse_shared_address(
    root: &Section<'_>,
    listen: Option<&Listen>,
    health: Option<&Listen>,
    admin: Option<&Listen>,
) {
    let mut seen: Vec<(&str, &Listen)> = Vec::new();
    for (key, address) in [
        ("listen", listen),
        ("health_listen", health),
        ("admin_listen", admin),
    ] {
        let Some(address) = address else { continue };
        let taken = seen
            .iter()
            .find(|(_, other)| *other == address && !listen::is_any(address));
        if let Some((other, _)) = taken {
            root.fail(
                key,
                format!("is the same address as `{other}`; write another port"),
            );
        }
        seen.push((key, address));
    }
}

struct AllowedNames {
    hosts: Vec<String>,
    origins: Vec<String>,
}

impl AllowedNames {
    fn read(root: &Section<'_>, listen: Option<&Listen>) -> Option<Self> {
        let public = listen.is_some_and(|listen| !listen.is_local());
        let hosts = Self::one(
            root,
            public,
            "allowed_hosts",
            values::host,
            LoopbackNames::hosts,
            (
                "[\"mcp.example.com\"]",
                "the names by which clients reach Cloakroom",
            ),
        );
        let origins = Self::one(
            root,
            public,
            "allowed_origins",
            values::origin,
            LoopbackNames::origins,
            (
                "[\"https://app.example.com\"]",
                "the web pages that may call Cloakroom, or [] for none",
            ),
        );
        let (hosts, origins) = (hosts?, origins?);
        if hosts.is_empty() {
            root.fail(
                "allowed_hosts",
                "is empty, so every request would be refused; write a name",
            );
            return None;
        }
        Some(Self { hosts, origins })
    }

    fn one(
        root: &Section<'_>,
        public: bool,
        key: &str,
        parse: fn(&str) -> Result<String, String>,
        default: fn() -> Vec<String>,
        (example, meaning): (&str, &str),
    ) -> Option<Vec<String>> {
        if root.has(key) {
            return root.list(key, example, parse);
        }
        if public {
            let message = format!(
                "must be set, since `listen` is not a loopback address; write {meaning}: \
                 {key} = {example}"
            );
            root.fail_because_of("listen", key, message);
            return None;
        }
        Some(default())
    }
}

/// Reads `[store]` alone.
pub(super) fn store(root: &Section<'_>, folder: &Path) -> Option<Store> {
    let section = root.section("store", keys::STORE)?;
    let day = Duration::from_secs(24 * 60 * 60);
    let url = section.required("url", |value| {
        let url = text(value, "a URL such as \"sqlite:cloakroom.db\"")?;
        StoreUrl::parse(url, folder).map_err(|error| error.to_string())
    });
    let stale_for = section.required("stale_for", |value| {
        values::duration(value, Duration::ZERO, day)
    });
    let cache = section.required("cache", |value| values::size(value, 64 << 10, 16 << 30));
    let key_prefix = section.required("key_prefix", |value| {
        let prefix = text(value, "a text such as \"cloakroom:\"")?;
        let fits = prefix.len() <= 64
            && prefix
                .bytes()
                .all(|b| b.is_ascii_graphic() && !b"{}*?[]\\".contains(&b));
        if fits {
            Ok(prefix.to_owned())
        } else {
            Err("write at most 64 letters, digits and marks such as : - _ .".to_owned())
        }
    });
    let without_tls = url.as_ref().is_some_and(|url| !url.is_tls());
    let pem = |key, example| {
        if without_tls && section.has(key) {
            let message = "is for a Redis store with TLS (rediss://) only; remove it";
            section.fail_key(key, message);
            return None;
        }
        optional(&section, key, |value| {
            values::pem_file(value, example, folder)
        })
    };
    let sentinels = url.as_ref().is_some_and(StoreUrl::has_sentinels);
    let ca_file = pem("ca_file", "ca.pem");
    let cert_file = pem("cert_file", "client.pem");
    let key_file = pem("key_file", "client.key");
    let pair = tls::pair(&section, cert_file, key_file);
    let settings = Settings {
        sentinel_login: sentinel_login(&section, sentinels)?,
        url: url?,
        ca_file: ca_file?,
        identity: pair?.map(|(cert_file, key_file)| ClientCertificate {
            cert_file,
            key_file,
        }),
        key_prefix: key_prefix?,
    };
    Some(Store {
        settings,
        stale_for: stale_for?,
        cache: cache?,
    })
}

/// The login of `redis+sentinel://`; `None` when it is wrong.
#[allow(
    clippy::option_option,
    reason = "a mistake is not the same as no login"
)]
fn sentinel_login(section: &Section<'_>, sentinels: bool) -> Option<Option<Login>> {
    for key in ["sentinel_user", "sentinel_password"] {
        if !sentinels && section.has(key) {
            section.fail_key(key, "is for a redis+sentinel:// store only; remove it");
            return None;
        }
    }
    let read = |key, what| optional(section, key, |value| text(value, what).map(str::to_owned));
    let user = read("sentinel_user", "the name of a Sentinel's user")?;
    let password = read("sentinel_password", "the password of that user")?;
    if user.is_some() && password.is_none() {
        section.fail_key("sentinel_user", "needs sentinel_password too");
        return None;
    }
    Some(password.map(|password| Login {
        user,
        password: password.into(),
    }))
}

/// The outer `None` is an error, the inner one the absence of the key.
fn default_server(root: &Section<'_>) -> Option<Option<crate::names::ServerName>> {
    optional(root, "default_server", |value| {
        let name = text(value, "the name of a server in quotes")?;
        let servers: Vec<_> = if root.is_table("servers") {
            root.open("servers")
        } else {
            None
        }
        .map(|section| section.keys().collect())
        .unwrap_or_default();
        if !servers.contains(&name) {
            let hint = super::keys::hint(name, servers.iter().copied());
            return Err(format!("no server has this name{hint}"));
        }
        // A name in `servers` that is not allowed is told there.
        Ok(crate::names::ServerName::parse(name).ok())
    })
    .map(Option::flatten)
}
