mod audit;
mod keys_of_children;
mod keys_of_listeners;
mod keys_of_servers;
mod keys_of_the_root;
mod replicas;
mod variables;

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use super::error::{Errors, Place};
use super::{
    Backend, Command, Config, ConfigErrors, DEFAULT_TOML, Discovery, KeyringSource, LogFormat,
    Replicas, Sandbox, Server, Transport, Variables, keys, load, load_store, read,
};

const GITHUB: &str = "[servers.github]\nurl = \"http://127.0.0.1:9001/mcp\"\n";

fn parse(text: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
    let errors = Errors::default();
    let variables = Variables::new(environment(variables), &errors);
    let place = Place::document("cloakroom.toml");
    let config = read(
        text,
        place,
        Path::new(""),
        &variables,
        &errors,
        super::parse::config,
    );
    errors.finish(config)
}

fn environment(variables: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    variables
        .iter()
        .map(|(name, value)| (name.into(), value.into()))
        .collect()
}

#[track_caller]
fn good(text: &str) -> Config {
    parse(text, &[]).unwrap_or_else(|errors| panic!("{errors}"))
}

#[track_caller]
fn bad(text: &str) -> String {
    bad_with(text, &[])
}

#[track_caller]
fn bad_with(text: &str, variables: &[(&str, &str)]) -> String {
    match parse(text, variables) {
        Ok(_) => panic!("accepted: {text}"),
        Err(errors) => errors.to_string(),
    }
}

/// A line put before a good server, and the error it must give at that line's column.
#[track_caller]
fn bad_line(line: &str, expected: &str) {
    assert_eq!(
        bad(&format!("{line}\n{GITHUB}")),
        format!("cloakroom.toml:1:{expected}"),
        "{line}"
    );
}

/// A line put into a server, and the error it must give at that line's column.
#[track_caller]
fn bad_server_line(line: &str, expected: &str) {
    assert_eq!(
        bad(&format!("{GITHUB}{line}\n")),
        format!("cloakroom.toml:3:{expected}"),
        "{line}"
    );
}

/// `default.toml` with its examples switched on.
fn every_example() -> String {
    let on = |line: &str| match line.strip_prefix('#') {
        Some(example) if !example.starts_with(' ') => example.to_owned(),
        _ => line.to_owned(),
    };
    DEFAULT_TOML.lines().map(on).collect::<Vec<_>>().join("\n")
}

#[test]
fn where_the_store_is_can_be_read_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("store.toml");
    let none = || std::iter::empty::<(OsString, OsString)>();
    std::fs::write(&file, "[store]\nurl = 'sqlite:a.db'\nkey_prefix = 'x:'\n").unwrap();
    let store = load_store(Some(&file), none()).unwrap();
    let url = format!("sqlite:{}/a.db", folder.path().display());
    assert_eq!(store.settings.url.shown(), url);
    assert_eq!(store.settings.key_prefix, "x:");
    // A misspelt key is none the less an error.
    std::fs::write(&file, "[store]\nulr = 'sqlite:a.db'\n").unwrap();
    let errors = load_store(Some(&file), none()).err().unwrap().to_string();
    assert!(errors.contains("store.ulr: unknown key"), "{errors}");
}

#[test]
fn two_lines_are_enough_and_the_rest_are_the_defaults() {
    let config = good(GITHUB);
    assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
    assert!(config.health_listen.is_none() && config.admin_listen.is_none());
    assert!(config.default_server.is_none() && config.key_prefixes.is_empty());
    assert_eq!((config.log.as_str(), config.threads >= 1), ("info", true));
    assert_eq!(config.allowed_hosts, ["localhost", "127.0.0.1", "[::1]"]);
    assert_eq!(config.allowed_origins.len(), 6);
    assert_eq!(config.store.settings.url.shown(), "sqlite:cloakroom.db");
    assert_eq!(config.store.stale_for, Duration::from_secs(60));
    assert_eq!(
        (
            config.store.cache,
            config.store.settings.key_prefix.as_str()
        ),
        (64 << 20, "cloakroom:")
    );
    assert_eq!(config.keyring, KeyringSource::File("master.keys".into()));
    let limits = (
        config.limits.body,
        config.limits.in_flight,
        config.limits.headers,
        config.limits.list,
    );
    assert_eq!(limits, (4 << 20, 1 << 30, 64 << 10, 8 << 20));
    let limits = config.limits;
    let shares = (limits.requests, limits.streams, limits.user_in_flight);
    assert_eq!(shares, (4096, 4096, 128 << 20));
    let own = (limits.user_requests, limits.user_streams);
    assert_eq!(own, (64, 128));
    assert_eq!((limits.connections, limits.failed_keys), (None, 10));
    let times = (config.limits.read_timeout, config.limits.idle_timeout);
    assert_eq!(times, (Duration::from_secs(10), Duration::from_secs(60)));
    assert!(config.setup_url.is_none());
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    let server = config.servers.values().next().unwrap();
    let Backend::Http {
        transport,
        url,
        ca_file,
        connect_timeout,
        socket,
        replicas,
        health_check,
    } = &server.backend
    else {
        panic!("a URL")
    };
    assert_eq!((url.path(), ca_file, socket), ("/mcp", &None, &None));
    assert!(*replicas == Replicas::Host && health_check.is_none());
    assert_eq!(
        (*transport, server.discovery),
        (Transport::Streamable, Discovery::Secret)
    );
    assert_eq!(
        (connect_timeout.as_secs(), server.answer_timeout.as_secs()),
        (5, 300)
    );
}

// Mutation: leave any key out of config/default.toml, or give it another default there.
#[test]
fn the_default_file_has_every_key_and_its_examples_are_the_defaults() {
    let all = every_example();
    let has = |key: &str| {
        all.lines()
            .any(|line| line.starts_with(&format!("{key} = ")))
    };
    for key in keys::ROOT
        .iter()
        .chain(keys::STORE)
        .chain(&keys::KEYRING[..1])
        .chain(keys::LIMITS)
        .chain(keys::TLS)
        .chain(keys::TELEMETRY)
        .chain(keys::AUDIT)
    {
        assert!(has(key), "{key} is not in config/default.toml");
    }
    assert!(keys::SERVER.iter().all(|key| has(key)));
    let table = |key: &&str| {
        ["github", "jira", "notion"]
            .iter()
            .any(|server| all.contains(&format!("[servers.{server}.{key}]")))
    };
    assert!(keys::SLOTS.iter().all(table));
    let named = |key: &&str| all.contains(&format!("`{key}`"));
    assert!(named(&"health_check") && keys::HEALTH_CHECK.iter().all(named));
    // One of the three excludes the others.
    assert!(keys::KEYRING[1..].iter().all(named));

    let folder = tempfile::tempdir().unwrap();
    for file in [
        "redis-ca.pem",
        "redis-client.pem",
        "redis-client.key",
        "backend-ca.pem",
        "tls.crt",
        "tls.key",
        "client-ca.pem",
    ] {
        std::fs::write(folder.path().join(file), "").unwrap();
    }
    let file = folder.path().join("cloakroom.toml");
    std::fs::write(&file, all).unwrap();
    let set = [
        ("CLOAKROOM_STORE__URL", "rediss+sentinel://127.0.0.1/main"),
        ("CLOAKROOM_HEALTH_LISTEN", "unix:health.sock"),
    ];
    let examples = load(Some(&file), environment(&set)).unwrap_or_else(|e| panic!("{e}"));
    let defaults = good(GITHUB);
    assert_eq!(examples.allowed_hosts, defaults.allowed_hosts);
    assert_eq!(examples.allowed_origins, defaults.allowed_origins);
    let default = folder.path().join(defaults.audit.file.as_ref().unwrap());
    assert_eq!(examples.audit.file, Some(default));
    assert_eq!(
        examples.audit.anchors_for,
        Duration::from_secs(400 * 24 * 3600)
    );
    let (
        Backend::Http {
            connect_timeout: shown,
            ..
        },
        Backend::Http {
            connect_timeout, ..
        },
    ) = (
        &examples.servers.values().next().unwrap().backend,
        &defaults.servers.values().next().unwrap().backend,
    )
    else {
        panic!("a URL")
    };
    assert_eq!(shown, connect_timeout);
    assert!(examples.warnings.is_empty(), "{:?}", examples.warnings);
}

#[test]
fn every_error_is_reported_at_once_with_its_place() {
    let text = r#"listen = "localhost:8080"
lgo = "info"
key_prefixes = ["ok_", "clk_", 7]
[store]
url = "mysql://root:hunter2@db"
stale_for = 60
[limits]
body = "4MB"
[servers.github]
ur = "http://127.0.0.1:9001/mcp"
[servers.github.headers]
Host = "x"
Authorization = "Bearer ${TOKEN"
[servers.Jira]
sse_url = "http://127.0.0.1:9002/sse#x"
"#;
    let expected = r#"
cloakroom.toml:1:10: listen: not an address; write an IP address and a port, such as "127.0.0.1:8080" or "[::1]:8080", or a Unix socket, such as "unix:/run/cloakroom/mcp.sock"
cloakroom.toml:2:1: lgo: unknown key; did you mean `log`?
cloakroom.toml:3:24: key_prefixes[1]: `clk_` and `cla_` are Cloakroom's own prefixes; leave it out
cloakroom.toml:3:32: key_prefixes[2]: is a number; write a text in quotes, as in ["acme_"]
cloakroom.toml:5:7: store.url: the store's URL must start with sqlite: (as in sqlite:cloakroom.db), redis://, redis+sentinel:// or redis+cluster:// (rediss for TLS)
cloakroom.toml:6:13: store.stale_for: is a number; write a number with its unit, such as "60s" or "5m"
cloakroom.toml:8:8: limits.body: not a size; write a number of bytes, or a text with a unit (B, KiB, MiB, GiB) such as "4MiB"
cloakroom.toml:9:10: servers.github: says no backend; write its URL: url = "http://127.0.0.1:9001/mcp"
cloakroom.toml:10:1: servers.github.ur: unknown key; did you mean `url`?
cloakroom.toml:12:1: servers.github.headers.Host: cannot be set by a slot: it is taken from the server's `url`
cloakroom.toml:13:17: servers.github.headers.Authorization: at character 8: `${` is never closed; write `${NAME}`
cloakroom.toml:14:10: servers.Jira: `Jira` is not a server name: write 1 to 63 of a-z 0-9 - (and not mcp, sse, message or oauth)
cloakroom.toml:15:11: servers.Jira.sse_url: a URL's fragment is never sent; remove the `#` and what follows"#;
    assert_eq!(format!("\n{}", bad(text)), expected);
}

#[test]
fn no_server_shows_how_to_write_one() {
    let expected = "cloakroom.toml: servers: no server is configured; write for example:\n  \
                    [servers.github]\n  url = \"http://127.0.0.1:9001/mcp\"";
    assert_eq!(bad(""), expected);
    assert!(bad("[servers]").contains("no server is configured"));
    assert!(bad("servers = 3").contains("1:11: servers: is a number; write a table: `[servers]`"));
    assert!(bad("[servers]\ngithub = \"http://x\"").contains("write a table: `[servers.github]`"));
}

#[test]
fn a_broken_line_does_not_hide_the_errors_of_others() {
    let text = "listen =
log = info
health_listen = true-ish
threads = 0
[servers.github]
url = \"http://127.0.0.1:9001/mcp
ur = \"\\q\"
ca_file = 7
ca_file = 8
";
    let expected = "
cloakroom.toml:1:9: not TOML: a value is missing; write it after `=`
cloakroom.toml:2:7: not TOML: a text must be in quotes; write key = \"value\"
cloakroom.toml:3:17: not TOML: a text must be in quotes; write key = \"value\"
cloakroom.toml:4:11: threads: write a number from 1 to 1024, without quotes
cloakroom.toml:6:33: not TOML: invalid basic string, expected `\"`
cloakroom.toml:7:8: not TOML: missing escaped value, expected `b`, `e`, `f`, `n`, `r`, `\\`, `\"`, `x`, `u`, `U`
cloakroom.toml:8:1: servers.github.ca_file: is for an https:// `url` only; remove it or write https://
cloakroom.toml:9:1: not TOML: duplicate key";
    assert_eq!(format!("\n{}", bad(text)), expected);
}

#[test]
fn nothing_is_said_of_keys_when_a_broken_line_may_have_moved_them() {
    for text in [
        "[servers.github\nurl = 'x'\n",
        "lgo = [1\nurl = 'x'",
        "a b = 1\nlgo = 1",
        "lgo = '''\n",
    ] {
        let errors = bad(text);
        assert!(
            errors.lines().all(|line| line.contains(": not TOML: ")),
            "{errors}"
        );
    }
}

proptest::proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "(\\PC|\n|[\\[\\]{}='\"a-z.]){0,60}") {
        let _ = parse(&text, &[("CLOAKROOM_SERVERS__A__URL", &text.replace('\0', ""))]);
    }
}
