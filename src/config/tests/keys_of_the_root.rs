use super::*;

#[test]
fn root_keys_have_their_errors() {
    bad_line(
        "listen = 8080",
        "10: listen: is a number; write an IP address and a port, such as \"127.0.0.1:8080\" or \"[::1]:8080\", or a Unix socket, such as \"unix:/run/cloakroom/mcp.sock\"",
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
fn a_setup_url_is_safe_to_show_and_to_type_secrets_into() {
    let setup = |url: &str| parse(&format!("setup_url = '{url}'\n{GITHUB}"), &[]);
    for url in [
        "https://portal.example/secrets/{server}?profile={profile}",
        "https://portal.example",
        "http://localhost:3000/#/{server}",
        "http://[::1]/",
        "HTTPS://portal.example/",
    ] {
        let config = setup(url).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(config.setup_url.as_deref(), Some(url));
    }
    for (url, says) in [
        ("http://portal.example/", "must be https://"),
        ("ftp://localhost/", "must be https://"),
        ("https://h/{user}", "only `{server}` and `{profile}`"),
        ("https://h/{", "only `{server}` and `{profile}`"),
        ("https://{server}.example/", "after the host only"),
        ("https://h{profile}/?u=://hx/", "after the host only"),
        ("https://u:hunter2@h/", "a user or password"),
        ("https://h/a b", "not a URL"),
        ("https://h/é", "not a URL"),
        ("/secrets", "no host"),
        ("https://h:0/", "not a host"),
        ("", "not a URL"),
    ] {
        let error = setup(url).err().unwrap().to_string();
        assert!(
            error.starts_with("cloakroom.toml:1:13: setup_url: ") && error.contains(says),
            "{url}: {error}"
        );
        assert!(!error.contains("hunter2"), "{error}");
    }
    bad_line(
        "setup_url = 7",
        "13: setup_url: is a number; write a URL such as \"https://portal.example/secrets/{server}\"",
    );
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
        "list = 65536",
        "list = '1GiB'",
        "user_in_flight = '4MiB'",
        "user_in_flight = '1GiB'",
        "user_requests = 1",
        "requests = 1000000",
        "user_streams = 1",
        "streams = 1",
        "connections = 1",
        "failed_keys = 1",
        "in_flight = '8MiB'",
        "body = '1GiB'",
        "read_timeout = '100ms'",
        "read_timeout = '5m'",
        "idle_timeout = '100ms'",
        "idle_timeout = '1h'",
    ] {
        assert!(limit(fits), "{fits}");
    }
    for not in [
        "body = 1023",
        "body = 1073741825",
        "headers = 8191",
        "headers = 1048577",
        "in_flight = 4194303",
        "list = 65535",
        "list = 1073741825",
        "user_in_flight = 4194303",
        "user_in_flight = 1073741825",
        "user_requests = 0",
        "requests = 1000001",
        "user_streams = 0",
        "streams = '64'",
        "connections = 0",
        "failed_keys = 0",
        "read_timeout = '99ms'",
        "read_timeout = '301s'",
        "idle_timeout = '0s'",
        "idle_timeout = '3601s'",
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
        "cloakroom.toml:2:13: limits.in_flight: must not be less than `body`; raise it or lower `body`"
    );
    assert_eq!(
        bad(&format!("[limits]\nuser_in_flight = '1MiB'\n{GITHUB}")),
        "cloakroom.toml:2:18: limits.user_in_flight: must not be less than `body`; raise it or lower `body`"
    );
    assert_eq!(
        bad(&format!("[limits]\nuser_requests = 0\n{GITHUB}")),
        "cloakroom.toml:2:17: limits.user_requests: write a number from 1 to 1000000, without quotes"
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
fn a_stores_certificates_are_for_tls_and_its_own_come_with_their_key() {
    let store = |lines: &str| parse(&format!("[store]\n{lines}\n{GITHUB}"), &[]);
    let refused = |lines: &str| store(lines).err().unwrap().to_string();
    for url in ["sqlite:x.db", "redis://h", "memory:"] {
        for key in ["ca_file", "cert_file", "key_file"] {
            assert_eq!(
                refused(&format!("url = '{url}'\n{key} = 'x'")),
                format!(
                    "cloakroom.toml:3:1: store.{key}: is for a Redis store with TLS (rediss://) \
                     only; remove it"
                )
            );
        }
    }
    let missing = "url = 'rediss://h'\nca_file = 'no-such.pem'";
    let missing = refused(missing);
    assert!(
        missing.starts_with("cloakroom.toml:3:11: store.ca_file: cannot be read"),
        "{missing}"
    );
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, "").unwrap();
        path
    };
    let (cert, key) = (file("c.pem"), file("c.key"));
    let cert_line = format!("cert_file = '{}'", cert.display());
    let key_line = format!("key_file = '{}'", key.display());
    assert_eq!(
        refused(&format!("url = 'rediss://h'\n{cert_line}")),
        "cloakroom.toml:3:1: store.cert_file: needs `key_file` too: the path of its private key"
    );
    assert_eq!(
        refused(&format!("url = 'rediss://h'\n{key_line}")),
        "cloakroom.toml:3:1: store.key_file: needs `cert_file` too: the path of the certificate \
         it belongs to"
    );
    let both = store(&format!("url = 'rediss://h'\n{cert_line}\n{key_line}"));
    let identity = both.ok().unwrap().store.settings.identity.unwrap();
    assert_eq!((identity.cert_file, identity.key_file), (cert, key));
}

#[test]
fn what_is_told_of_requests_has_its_errors() {
    bad_line(
        "log_format = 'xml'",
        "14: log_format: write \"text\" or \"json\"",
    );
    let wrong = |line: &str| bad(&format!("{GITHUB}\n[telemetry]\n{line}\n"));
    for (endpoint, why) in [
        ("127.0.0.1:4318", "not"),
        ("http://", "not"),
        ("ftp://a", "not http:// or https://"),
        ("http://a:0", "not a host and port"),
        ("http://user:pass@a", "a user or password cannot be in it"),
        ("http://a/?key=x", "a query or fragment cannot be in it"),
        ("", "not http:// or https://"),
    ] {
        let said = wrong(&format!("otlp_endpoint = '{endpoint}'"));
        assert!(
            said.contains("telemetry.otlp_endpoint: ") && said.contains(why),
            "{said}"
        );
        assert!(!said.contains("user:pass"), "{said}");
    }
    for sample in ["1.1", "-0.1", "NaN", "half", ""] {
        let said = wrong(&format!("sample = '{sample}'"));
        assert!(
            said.contains("a text from \"0\" to \"1\""),
            "{sample}: {said}"
        );
    }
    assert!(wrong("service_name = ''").contains("1 to 128 characters"));
    let none = good(GITHUB);
    assert_eq!(
        (none.log_format, none.telemetry.otlp_endpoint),
        (LogFormat::Text, None)
    );
    for (written, sent) in [
        ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
        (
            "https://c.example/otlp/",
            "https://c.example/otlp/v1/traces",
        ),
        ("https://c.example/v1/traces", "https://c.example/v1/traces"),
    ] {
        let config = good(&format!(
            "log_format = 'json'\n{GITHUB}\n[telemetry]\notlp_endpoint = '{written}'\nsample = '0.25'\nservice_name = 'a b'"
        ));
        let telemetry = config.telemetry;
        assert_eq!(telemetry.otlp_endpoint.unwrap(), sent);
        assert_eq!((telemetry.sample, &*telemetry.service_name), (0.25, "a b"));
        assert_eq!(config.log_format, LogFormat::Json);
    }
}

#[test]
fn the_keyring_has_one_source() {
    let source = |lines: &str| good(&format!("{GITHUB}[keyring]\n{lines}\n")).keyring;
    assert_eq!(source("file = 'k'"), KeyringSource::File("k".into()));
    let named = KeyringSource::Env("CLOAKROOM_KEYRING".into());
    assert_eq!(source("env = 'CLOAKROOM_KEYRING'"), named);
    assert_eq!(
        source("env = 'KEYS_2'"),
        KeyringSource::Env("KEYS_2".into())
    );
    let credential = KeyringSource::Credential("cloakroom.keys".into());
    assert_eq!(source("credential = 'cloakroom.keys'"), credential);
    assert_eq!(source(""), KeyringSource::File("master.keys".into()));

    let refused = |lines: &str| bad(&format!("{GITHUB}[keyring]\n{lines}\n"));
    // Fails when any source silently wins over another.
    for (two, second) in [
        ("file = 'k'\nenv = 'K'", "env: `file`"),
        ("env = 'K'\ncredential = 'c'", "credential: `env`"),
        ("file = 'k'\ncredential = 'c'", "credential: `file`"),
    ] {
        let error = refused(two);
        let says = format!("keyring.{second} is set too; keep exactly one");
        assert!(error.contains(&says), "{error}");
    }
    for name in [
        "",
        "2K",
        "CLOAKROOM_LOG",
        "a b",
        "k=v",
        "r1 realm * hunter2=",
    ] {
        let error = refused(&format!("env = '{name}'"));
        assert!(
            error.contains("keyring.env") && !error.contains("hunter2"),
            "{error}"
        );
    }
    for name in ["", ".", "..", "a/b", "../k"] {
        let error = refused(&format!("credential = '{name}'"));
        assert!(error.contains("keyring.credential"), "{error}");
    }
}

#[test]
fn a_keyring_in_our_variable_is_read_or_refused() {
    let text = ("CLOAKROOM_KEYRING", "hunter2");
    let unasked = bad_with(GITHUB, &[text]);
    assert!(
        unasked.contains("under [keyring]") && !unasked.contains("hunter2"),
        "{unasked}"
    );
    let asked = [text, ("CLOAKROOM_KEYRING__ENV", "CLOAKROOM_KEYRING")];
    assert!(parse(GITHUB, &asked).is_ok());
    // Fails when the file's source stays beside that of a variable.
    let file = format!("{GITHUB}[keyring]\nfile = 'k'\n");
    let credential = [("CLOAKROOM_KEYRING__CREDENTIAL", "c")];
    let config = parse(&file, &credential).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(config.keyring, KeyringSource::Credential("c".into()));
    let both = [
        ("CLOAKROOM_KEYRING__CREDENTIAL", "c"),
        ("CLOAKROOM_KEYRING__FILE", "k"),
    ];
    assert!(bad_with(GITHUB, &both).contains("keep exactly one"));
    let file = format!("{GITHUB}[keyring]\nenv = 'CLOAKROOM_KEYRING'\n");
    assert!(parse(&file, &[text]).is_ok());
}
