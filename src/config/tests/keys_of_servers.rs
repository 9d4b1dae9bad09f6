use super::*;

#[test]
fn a_server_has_exactly_one_backend() {
    bad_server_line(
        "[servers.jira]",
        "10: servers.jira: says no backend; write its URL: url = \"http://127.0.0.1:9001/mcp\"",
    );
    assert_eq!(
        bad(&format!("{GITHUB}command = ['x']\n")),
        "cloakroom.toml:1:10: servers.github: has `url` and `command`; keep exactly one\n\
         cloakroom.toml:3:1: servers.github.command: comes in a later release; this one serves `url` only"
    );
    bad_server_line(
        "[servers.github.env]\nTOKEN = '${TOKEN}'",
        "17: servers.github.env: comes in a later release; this one puts secrets into `headers` only",
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
    let sqlite = bad(&format!("[store]\nca_file = 'x'\n{GITHUB}"));
    assert_eq!(
        sqlite,
        "cloakroom.toml:2:1: store.ca_file: is for a Redis store with TLS only; remove it"
    );
    let redis = bad(&format!(
        "[store]\nurl = 'rediss://h'\nca_file = 'no-such.pem'\n{GITHUB}"
    ));
    assert!(
        redis.starts_with("cloakroom.toml:3:11: store.ca_file: cannot be read"),
        "{redis}"
    );
}

#[test]
fn what_is_probably_not_meant_is_warned_of() {
    let text = "admin_listen = '127.0.0.1:1'\n[servers.a]\nurl = 'http://far/'\nheaders = { X-Api-Key = '${K}', Authorization = 'Bearer x' }";
    assert_eq!(
        good(text).warnings,
        [
            "servers.a.url: secrets travel unencrypted to far; use https:// unless that network is yours alone",
            "servers.a.headers.authorization: has no ${SECRET}, so every user is the same to this server",
            "admin_listen: checked, but nothing listens there in this release",
        ]
    );
}
