use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use super::error::{Errors, Place};
use super::{Backend, Config, ConfigErrors, DEFAULT_TOML, Variables, keys, load, read};

const GITHUB: &str = "[servers.github]\nurl = \"http://127.0.0.1:9001/mcp\"\n";

fn parse(text: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
    let errors = Errors::default();
    let variables = Variables::new(environment(variables), &errors);
    let place = Place::document("cloakroom.toml");
    let config = read(text, place, Path::new(""), &variables, &errors);
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
fn two_lines_are_enough_and_the_rest_are_the_defaults() {
    let config = good(GITHUB);
    assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
    assert!(config.health_listen.is_none() && config.admin_listen.is_none());
    assert!(config.default_server.is_none() && config.key_prefixes.is_empty());
    assert_eq!((config.log.as_str(), config.threads >= 1), ("info", true));
    assert_eq!(config.allowed_hosts, ["localhost", "127.0.0.1", "[::1]"]);
    assert_eq!(config.allowed_origins.len(), 6);
    assert_eq!(config.store.url.expose_store_url(), "sqlite:cloakroom.db");
    assert_eq!(config.store.stale_for, Duration::from_secs(60));
    assert_eq!(config.keyring_file, Path::new("master.keys"));
    let limits = (
        config.limits.body,
        config.limits.in_flight,
        config.limits.headers,
    );
    assert_eq!(limits, (4 << 20, 1 << 30, 64 << 10));
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    let server = config.servers.values().next().unwrap();
    let Backend::Http {
        url,
        ca_file,
        connect_timeout,
    } = &server.backend;
    assert_eq!((url.path(), ca_file), ("/mcp", &None));
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
        .chain(keys::KEYRING)
        .chain(keys::LIMITS)
    {
        assert!(has(key), "{key} is not in config/default.toml");
    }
    assert!(keys::SERVER.iter().all(|key| has(key)) && all.contains("[servers.github.headers]"));
    let named = |key: &&str| all.contains(&format!("`{key}`"));
    assert!(keys::SERVER_LATER.iter().all(|key| named(key)));

    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("redis-ca.pem"), "").unwrap();
    std::fs::write(folder.path().join("backend-ca.pem"), "").unwrap();
    let file = folder.path().join("cloakroom.toml");
    std::fs::write(&file, all).unwrap();
    let redis = [("CLOAKROOM_STORE__URL", "rediss://127.0.0.1")];
    let examples = load(Some(&file), environment(&redis)).unwrap_or_else(|e| panic!("{e}"));
    let defaults = good(GITHUB);
    assert_eq!(examples.allowed_hosts, defaults.allowed_hosts);
    assert_eq!(examples.allowed_origins, defaults.allowed_origins);
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
    );
    assert_eq!(shown, connect_timeout);
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
sse_url = "http://127.0.0.1:9002/sse"
"#;
    let expected = r#"
cloakroom.toml:1:10: listen: not an address; write an IP address and a port, such as "127.0.0.1:8080" or "[::1]:8080"
cloakroom.toml:2:1: lgo: unknown key; did you mean `log`?
cloakroom.toml:3:24: key_prefixes[1]: `clk_` and `cla_` are Cloakroom's own prefixes; leave it out
cloakroom.toml:3:32: key_prefixes[2]: is a number; write a text in quotes, as in ["acme_"]
cloakroom.toml:5:7: store.url: not a store's URL; write one that begins with one of sqlite: redis:// rediss:// redis+sentinel:// redis+cluster://
cloakroom.toml:6:13: store.stale_for: is a number; write a number with its unit, such as "60s" or "5m"
cloakroom.toml:8:8: limits.body: not a size; write a number of bytes, or a text with a unit (B, KiB, MiB, GiB) such as "4MiB"
cloakroom.toml:9:1: servers.github: says no backend; write its URL: url = "http://127.0.0.1:9001/mcp"
cloakroom.toml:10:1: servers.github.ur: unknown key; did you mean `url`?
cloakroom.toml:12:1: servers.github.headers.Host: cannot be set by a slot: it is taken from the server's `url`
cloakroom.toml:13:17: servers.github.headers.Authorization: at character 8: `${` is never closed; write `${NAME}`
cloakroom.toml:14:1: servers.Jira: `Jira` is not a server name: write 1 to 63 of a-z 0-9 - (and not mcp, sse, message or oauth)
cloakroom.toml:15:1: servers.Jira.sse_url: comes in a later release; this one serves `url` only"#;
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
fn every_syntax_error_is_reported_by_line() {
    let errors = bad("listen = \nlog = 'info'\nlog = 'debug'\n[servers.github\nurl = \"x\n");
    for line in [1, 3, 4, 5] {
        assert!(
            errors.contains(&format!("cloakroom.toml:{line}:")),
            "{line}: {errors}"
        );
    }
    assert!(!errors.contains("unknown key"), "{errors}");
}

#[test]
fn root_keys_have_their_errors() {
    bad_line(
        "listen = 8080",
        "10: listen: is a number; write an IP address and a port, such as \"127.0.0.1:8080\" or \"[::1]:8080\"",
    );
    bad_line(
        "admin_listen = '127.0.0.1:8080'",
        "16: admin_listen: is the same address as `listen`; write another port",
    );
    bad_line(
        "default_server = 'githb'",
        "18: default_server: no server has this name; did you mean `github`?",
    );
    bad_line(
        "log = 'inof'",
        "7: log: unknown level; did you mean `info`?",
    );
    bad_line(
        "log = true",
        "7: log: is true or false; write a level (error, warn, info, debug, trace, off) or a filter such as \"info,cloakroom::proxy=debug\"",
    );
    bad_line(
        "threads = 0",
        "11: threads: write a number from 1 to 1024, without quotes",
    );
    bad_line(
        "threads = 1025",
        "11: threads: write a number from 1 to 1024, without quotes",
    );
    bad_line(
        "threads = '4'",
        "11: threads: write a number from 1 to 1024, without quotes",
    );
    bad_line(
        "allowed_hosts = 'a'",
        "17: allowed_hosts: is a text; write a list: [\"mcp.example.com\"]",
    );
    bad_line(
        "allowed_hosts = []",
        "17: allowed_hosts: is empty, so every request would be refused; write a name",
    );
    bad_line("\"a\\nb\" = 1", "1: \"a\\nb\": unknown key");
    bad_line(
        "store = 1",
        "9: store: is a number; write a table: `[store]`",
    );
    for host in [
        "http://a", "a/b", "a:0", "a:65536", "a:x", "", "[::1", "::1", "u@a", "*",
    ] {
        assert!(
            bad(&format!("allowed_hosts = ['{host}']\n{GITHUB}")).contains("not a host;"),
            "{host}"
        );
    }
    for origin in [
        "a",
        "https://a/",
        "ftp://a",
        "https://",
        "https://a?b",
        "null",
    ] {
        assert!(
            bad(&format!("allowed_origins = ['{origin}']\n{GITHUB}")).contains("not an origin;"),
            "{origin}"
        );
    }
    for prefix in ["c", "cl", "clk_x", "cla", "a b", &"x".repeat(33)] {
        assert!(
            bad(&format!("key_prefixes = ['{prefix}']\n{GITHUB}")).contains("prefix"),
            "{prefix}"
        );
    }
    let config = good(&format!(
        "allowed_hosts = ['MCP.example.com:8443', '[::1]']\nallowed_origins = ['HTTPS://A.b:1']\nlog = 'warn,cloakroom::proxy=debug'\nkey_prefixes = ['xx', 'acme_']\n{GITHUB}"
    ));
    assert_eq!(config.allowed_hosts, ["mcp.example.com:8443", "[::1]"]);
    assert_eq!(config.allowed_origins, ["https://a.b:1"]);
}

#[test]
fn a_public_listener_must_say_its_names() {
    bad_line(
        "listen = '0.0.0.0:80'",
        "10: allowed_hosts: must be set, since `listen` is not a loopback address; write the names by which clients reach Cloakroom: allowed_hosts = [\"mcp.example.com\"]\ncloakroom.toml:1:10: allowed_origins: must be set, since `listen` is not a loopback address; write the web pages that may call Cloakroom, or [] for none: allowed_origins = [\"https://app.example.com\"]",
    );
    let config = good(&format!(
        "listen = '[::]:80'\nallowed_hosts = ['a']\nallowed_origins = []\n{GITHUB}"
    ));
    assert!(config.allowed_origins.is_empty());
    let variables = [
        ("CLOAKROOM_LISTEN", "0.0.0.0:80"),
        ("CLOAKROOM_ALLOWED_HOSTS", "a.b, c.d:1"),
        ("CLOAKROOM_ALLOWED_ORIGINS", ""),
    ];
    let config = parse(GITHUB, &variables).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(config.allowed_hosts, ["a.b", "c.d:1"]);
}

#[test]
fn limits_and_durations_hold_at_their_edges() {
    let limit = |line: &str| parse(&format!("[limits]\n{line}\n{GITHUB}"), &[]).is_ok();
    for fits in [
        "body = 1024",
        "body = '1GiB'",
        "body = '1 KiB'",
        "headers = 8192",
        "headers = '1MiB'",
        "in_flight = 4194304",
    ] {
        assert!(limit(fits), "{fits}");
    }
    for not in [
        "body = 1023",
        "body = 1073741825",
        "headers = 8191",
        "headers = 1048577",
        "in_flight = 4194303",
        "body = -1",
        "body = 1.5",
        "body = '18446744073709551616'",
        "body = '18014398509481985KiB'",
        "body = 'KiB'",
        "body = 99999999999999999999",
    ] {
        assert!(!limit(not), "{not}");
    }
    assert_eq!(
        bad(&format!("[limits]\nin_flight = '1MiB'\n{GITHUB}")),
        "cloakroom.toml:2:13: limits.in_flight: `in_flight` must not be less than `body`; raise it or lower `body`"
    );
    assert_eq!(
        bad(&format!("[limits]\nbody = '2GiB'\n{GITHUB}")),
        "cloakroom.toml:2:8: limits.body: out of range; write a size from 1KiB to 1GiB"
    );
    let stale = |text: &str| {
        parse(&format!("[store]\nstale_for = {text}\n{GITHUB}"), &[])
            .map(|c| c.store.stale_for)
            .ok()
    };
    assert_eq!(stale("0"), Some(Duration::ZERO));
    assert_eq!(stale("'0s'"), Some(Duration::ZERO));
    assert_eq!(stale("'24h'"), Some(Duration::from_secs(86400)));
    assert_eq!(stale("'1m 30s'"), Some(Duration::from_secs(90)));
    assert!(
        stale("'86401s'").is_none()
            && stale("'60'").is_none()
            && stale("60").is_none()
            && stale("''").is_none()
    );
    bad_server_line(
        "connect_timeout = '9ms'",
        "19: servers.github.connect_timeout: out of range; write a duration from 10ms to 5m",
    );
    bad_server_line(
        "answer_timeout = '86401s'",
        "18: servers.github.answer_timeout: out of range; write a duration from 10ms to 1day",
    );
}

#[test]
fn a_server_has_exactly_one_backend() {
    bad_server_line(
        "[servers.jira]",
        "1: servers.jira: says no backend; write its URL: url = \"http://127.0.0.1:9001/mcp\"",
    );
    assert_eq!(
        bad(&format!("{GITHUB}command = ['x']\n")),
        "cloakroom.toml:1:2: servers.github: has `url` and `command`; keep exactly one\n\
         cloakroom.toml:3:1: servers.github.command: comes in a later release; this one serves `url` only"
    );
    bad_server_line(
        "[servers.github.env]\nTOKEN = '${TOKEN}'",
        "2: servers.github.env: comes in a later release; this one puts secrets into `headers` only",
    );
    bad_server_line(
        "discovery = 'omit'",
        "1: servers.github.discovery: comes in a later release; this one asks for every secret on every request",
    );
}

#[test]
fn a_backend_url_is_absolute_and_holds_nothing_secret() {
    for (url, expected) in [
        ("127.0.0.1:9001/mcp", "not an absolute URL"),
        ("ftp://h/", "unknown scheme"),
        (
            "http://u:hunter2@h/mcp",
            "would be a secret in the configuration",
        ),
        ("http://h/mcp#x", "fragment"),
        ("http://", "not a URL"),
        ("http:///mcp", "not a URL"),
        ("http://h:0/", "not a host and port"),
        ("http://h:65536/", "not a"),
        ("http://h:/", "not a host and port"),
        ("http://[::g]/", "not a"),
        ("http://a b/", "not a URL"),
    ] {
        let error = bad(&format!("[servers.a]\nurl = '{url}'"));
        assert!(
            error.contains(expected) && error.contains("2:7: servers.a.url"),
            "{url}: {error}"
        );
        assert!(!error.contains("hunter2"), "{error}");
    }
    for url in ["https://h", "HTTP://h:65535/", "http://[::1]:1/mcp?a=b%20c"] {
        good(&format!("[servers.a]\nurl = '{url}'"));
    }
    let shared = format!("{GITHUB}[servers.second]\nurl = \"http://127.0.0.1:9001/mcp\"");
    assert_eq!(good(&shared).servers.len(), 2);
}

#[test]
fn header_slots_are_checked() {
    let slot = |line: &str| parse(&format!("{GITHUB}[servers.github.headers]\n{line}\n"), &[]);
    for name in [
        "Host",
        "Content-Type",
        "Transfer-Encoding",
        "connection",
        "TE",
        "Mcp-Session-Id",
        "MCP-Protocol-Version",
        "Accept",
        "Last-Event-ID",
        "traceparent",
        "Proxy-Authorization",
    ] {
        let errors = slot(&format!("{name} = '${{A}}'"))
            .err()
            .map(|e| e.to_string());
        assert!(
            errors.is_some_and(|e| e.contains("4:1: ") && e.contains("cannot be set by a slot")),
            "{name}"
        );
    }
    for line in [
        "'a b' = 'x'",
        "\"\" = 'x'",
        "A = 7",
        "A = ''",
        "A = 'x\u{7f}'",
        "A = '$x'",
        "A = ['x']",
    ] {
        assert!(slot(line).is_err(), "{line}");
    }
    let twice = slot("Authorization = 'a'\nauthorization = 'b'")
        .err()
        .map(|e| e.to_string());
    assert!(twice.is_some_and(|e| {
        e.contains("5:1: servers.github.headers.authorization: is the same header")
    }));
    let config = slot("Authorization = 'Basic ${base64(USER:PASSWORD)}'\nX-Tenant = 'acme'")
        .unwrap_or_else(|e| panic!("{e}"));
    let server = config.servers.values().next().unwrap();
    let names: Vec<_> = server
        .headers
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(names, ["authorization", "x-tenant"]);
    assert!(server.headers[1].1.is_constant() && config.warnings.is_empty());
}

#[test]
fn a_ca_file_must_be_there_and_of_use() {
    bad_server_line(
        "ca_file = 'ca.pem'",
        "1: servers.github.ca_file: is for an https:// `url` only; remove it or write https://",
    );
    let missing = bad("[servers.a]\nurl = 'https://h'\nca_file = 'no-such.pem'");
    assert!(
        missing.starts_with("cloakroom.toml:3:11: servers.a.ca_file: cannot be read (no-such.pem"),
        "{missing}"
    );
    assert!(bad("[servers.a]\nurl = 'https://h'\nca_file = '.'").contains("is a directory"));
    bad_line("[store]\nca_file = 'x'", "");
}

#[test]
fn what_is_probably_not_meant_is_warned_of() {
    let text = "health_listen = '127.0.0.1:1'\n[servers.a]\nurl = 'http://far/'\nheaders = { X-Api-Key = '${K}', Authorization = 'Bearer x' }";
    assert_eq!(
        good(text).warnings,
        [
            "servers.a.url: secrets travel unencrypted to far; use https:// unless that network is yours alone",
            "servers.a.headers.authorization: has no ${SECRET}, so every user is the same to this server",
            "health_listen: checked, but nothing listens there in this release",
        ]
    );
}

#[test]
fn variables_win_over_the_file() {
    let variables = [
        ("CLOAKROOM_LOG", "debug"),
        ("CLOAKROOM_STORE__URL", "redis://:hunter2@127.0.0.1/0"),
        ("CLOAKROOM_LIMITS__BODY", "2048"),
        ("CLOAKROOM_THREADS", "3"),
        ("CLOAKROOM_SERVERS__MY_API__URL", "http://127.0.0.1:1/"),
        ("CLOAKROOM_SERVERS__GITHUB__HEADERS__X_API_KEY", "${K}"),
        ("CLOAKROOM_CONFIG", "x.toml"),
        ("CLOAKROOM_PORT", "tcp://10.0.0.1:8080"),
        ("CLOAKROOM_PORT_8080_TCP_ADDR", "10.0.0.1"),
        ("CLOAKROOM_ADMIN_SERVICE_HOST", "10.0.0.1"),
        ("CLOAKROOM_SERVICE_PORT_HTTP", "8080"),
        ("PATH", "/bin"),
    ];
    let file =
        format!("log = 'warn'\n{GITHUB}headers = {{ x-API-key = 'old', X-Tenant = 'acme' }}\n");
    let config = parse(&file, &variables).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(
        (config.log.as_str(), config.limits.body, config.threads),
        ("debug", 2048, 3)
    );
    assert_eq!(
        config.store.url.expose_store_url(),
        "redis://:hunter2@127.0.0.1/0"
    );
    assert_eq!(format!("{:?}", config.store.url), "StoreUrlText(..)");
    let names: Vec<_> = config.servers.keys().map(|name| name.as_str()).collect();
    assert_eq!(names, ["github", "my-api"]);
    let github = &config.servers[&"github".parse().unwrap()];
    assert!(github.headers.len() == 2 && !github.headers[0].1.is_constant());
}

#[test]
fn errors_of_variables_name_the_variable() {
    let variables = [
        ("CLOAKROOM_STORE__URL", "mysql://root:hunter2@db"),
        ("CLOAKROOM_STROE__URL", "x"),
        ("CLOAKROOM_STORE_URL", "x"),
        ("CLOAKROOM_SERVERS__A__URI", "x"),
        ("CLOAKROOM_SERVERS__B__SSE_URL", "x"),
        ("CLOAKROOM_WHATEVER", "x"),
        ("CLOAKROOM_log", "x"),
        ("CLOAKROOM_THREADS", "many"),
    ];
    let expected = "
cloakroom.toml:1:1: log: unknown level; did you mean `warn`?
CLOAKROOM_SERVERS__A__URI: unknown variable; did you mean `CLOAKROOM_SERVERS__A__URL`?
CLOAKROOM_SERVERS__B__SSE_URL: servers.b.sse_url: comes in a later release; this one serves `url` only
CLOAKROOM_STORE_URL: unknown variable; did you mean `CLOAKROOM_STORE__URL`?
CLOAKROOM_STORE__URL: store.url: not a store's URL; write one that begins with one of sqlite: redis:// rediss:// redis+sentinel:// redis+cluster://
CLOAKROOM_STROE__URL: unknown variable; did you mean `CLOAKROOM_STORE__URL`?
CLOAKROOM_THREADS: threads: write a number from 1 to 1024, without quotes
CLOAKROOM_WHATEVER: unknown variable; two underscores stand for the dot of a key, as in `CLOAKROOM_STORE__URL`
CLOAKROOM_log: unknown variable";
    let found = bad_with(&format!("log = 'wran'\n{GITHUB}"), &variables);
    assert_eq!(
        format!("\n{found}"),
        expected.replace("1:1: log", "1:7: log")
    );
}

#[test]
fn a_file_or_a_variable_holds_the_whole_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cloakroom.toml");
    let missing = load(Some(&file), []).err().unwrap().to_string();
    assert!(
        missing.contains("cloakroom.toml: no such file"),
        "{missing}"
    );
    std::fs::write(&file, [0xff]).unwrap();
    assert!(
        load(Some(&file), [])
            .err()
            .unwrap()
            .to_string()
            .contains("not UTF-8")
    );
    std::fs::write(&file, format!("\u{feff}{GITHUB}")).unwrap();
    let config = load(Some(&file), []).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(config.keyring_file, folder.path().join("master.keys"));
    assert_eq!(config.folder, folder.path());

    let whole = [("CLOAKROOM_CONFIG_TOML", GITHUB)];
    let config = load(None, environment(&whole)).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(config.keyring_file, Path::new("master.keys"));
    let both = load(Some(&file), environment(&whole))
        .err()
        .unwrap()
        .to_string();
    assert_eq!(
        both,
        "CLOAKROOM_CONFIG_TOML: a file is given too; unset the variable or give no file"
    );
    let wrong = load(None, environment(&[("CLOAKROOM_CONFIG_TOML", "\nx = 1")]))
        .err()
        .unwrap();
    assert!(
        wrong
            .to_string()
            .starts_with("CLOAKROOM_CONFIG_TOML:2:1: x: unknown key"),
        "{wrong}"
    );
}
