use super::*;

#[test]
fn a_server_has_exactly_one_backend() {
    bad_server_line(
        "[servers.jira]",
        "10: servers.jira: says no backend; write its URL: url = \"http://127.0.0.1:9001/mcp\"",
    );
    assert_eq!(
        bad(&format!("{GITHUB}command = ['x']\n")),
        "cloakroom.toml:1:10: servers.github: has `url` and `command`; keep exactly one"
    );
    bad_server_line(
        "[servers.github.env]\nTOKEN = '${TOKEN}'",
        "17: servers.github.env: is for a server that is started by `command` only; remove it",
    );
    assert_eq!(
        bad(&format!("{GITHUB}sse_url = 'ftp://h'\n")),
        "cloakroom.toml:1:10: servers.github: has `url` and `sse_url`; keep exactly one\n\
         cloakroom.toml:3:11: servers.github.sse_url: unknown scheme; write an http:// or https:// URL, \
         such as \"http://127.0.0.1:9001/mcp\""
    );
}

/// The places of a server's slots.
fn shown(server: &Server) -> Vec<String> {
    let slots = server.slots.iter();
    let shown = slots.map(|slot| {
        let tools = slot.tools.iter().flat_map(|tools| tools.iter());
        let tools: String = tools.map(|tool| format!(" {tool}")).collect();
        let constant = if slot.template.is_constant() {
            " (constant)"
        } else {
            ""
        };
        format!("{}{tools}{constant}", slot.place)
    });
    shown.collect()
}

#[test]
fn an_sse_url_is_a_url_like_the_other() {
    let config = good("[servers.a]\nsse_url = 'http://far/sse'\nheaders = { X-A = '${A}' }");
    let Backend::Http { transport, url, .. } = &config.servers.values().next().unwrap().backend
    else {
        panic!("a URL")
    };
    assert_eq!((transport, url.path()), (&Transport::Sse, "/sse"));
    let warning = "servers.a.sse_url: secrets travel unencrypted to far; use https:// unless that network is yours alone";
    assert_eq!(config.warnings, [warning]);
    assert!(
        bad("[servers.a]\nsse_url = 'http://h/sse'\nca_file = 'x'")
            .contains("3:1: servers.a.ca_file: is for an https:// `sse_url` only")
    );
    assert!(
        bad("[servers.a]\nsse_url = 'http://u:hunter2@h/'").contains("2:11: servers.a.sse_url")
    );
}

#[test]
fn discovery_is_one_of_two() {
    let config = |line: &str| good(&format!("{GITHUB}{line}"));
    let discovery = |line: &str| config(line).servers.into_values().next().unwrap().discovery;
    assert_eq!(discovery(""), Discovery::Secret);
    assert_eq!(discovery("discovery = 'secret'"), Discovery::Secret);
    assert_eq!(discovery("discovery = 'omit'"), Discovery::Omit);
    let wanted = "write \"secret\", or \"omit\" to let discovery go without missing secrets";
    bad_server_line(
        "discovery = 'none'",
        &format!("13: servers.github.discovery: {wanted}"),
    );
    bad_server_line(
        "discovery = true",
        &format!("13: servers.github.discovery: is true or false; {wanted}"),
    );
}

// Mutation: drop any `fail` of config/slots.rs.
#[test]
fn argument_slots_are_checked_all_at_once() {
    let text = format!(
        r#"{GITHUB}[servers.github.arguments]
api_token = {{ value = "${{A}}", tools = ["b", "a"] }}
Api_Token = "x"
"" = "${{A"
a = 7
b = {{ valu = "x" }}
c = {{ value = "${{", tools = [] }}
d = {{ value = "x", tools = ["a", "a"] }}
e = {{ value = "x", tools = ["a", "", 7] }}
f = {{ value = "x", tools = "a" }}
g = ["x"]
"#
    );
    let expected = r#"
cloakroom.toml:5:1: servers.github.arguments.Api_Token: is one above but for the case of its letters; remove one
cloakroom.toml:6:1: servers.github.arguments."": empty; write the argument's name as the tool's inputSchema has it
cloakroom.toml:6:6: servers.github.arguments."": at character 1: `${` is never closed; write `${NAME}`
cloakroom.toml:7:5: servers.github.arguments.a: is a number; write a template such as "${TOKEN}"
cloakroom.toml:8:1: servers.github.arguments.b.value: is missing
cloakroom.toml:8:7: servers.github.arguments.b.valu: unknown key; did you mean `value`?
cloakroom.toml:9:15: servers.github.arguments.c.value: at character 1: `${` is never closed; write `${NAME}`
cloakroom.toml:9:29: servers.github.arguments.c.tools: is empty, so no tool would get the argument; name one, or leave `tools` out for all
cloakroom.toml:10:28: servers.github.arguments.d.tools: names a tool twice; remove one
cloakroom.toml:11:34: servers.github.arguments.e.tools[1]: not a tool's name; write it as the server's tools/list has it
cloakroom.toml:11:38: servers.github.arguments.e.tools[2]: is a number; write a text in quotes, as in ["create_issue"]
cloakroom.toml:12:28: servers.github.arguments.f.tools: is a text; write a list: ["create_issue"]
cloakroom.toml:13:5: servers.github.arguments.g: is a list; write a template such as "${TOKEN}""#;
    assert_eq!(format!("\n{}", bad(&text)), expected);
    for (line, says) in [
        ("arguments = 'all'", "is a text; write a table of arguments"),
        ("arguments = ['*']", "is a list; write a table of arguments"),
        ("query = '*'", "write a table: `[servers.github.query]`"),
    ] {
        let error = bad(&format!("{GITHUB}{line}"));
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn arguments_go_to_the_tools_that_are_named_and_more_is_warned_of() {
    let arguments = |text: &str| good(&format!("{GITHUB}{text}"));
    let some = "arguments = { token = { value = 't-${T}', tools = ['b', 'a'] }, site = 'acme' }";
    let config = arguments(some);
    let server = config.servers.values().next().unwrap();
    assert_eq!(
        shown(server),
        ["argument `token` a b", "argument `site` (constant)"]
    );
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);

    let every = arguments("arguments = { token = '${T}', 'é x' = { value = '${U}' } }").warnings;
    let says =
        "every tool gets it; name the tools that need it: { value = \"…\", tools = [\"…\"] }";
    assert_eq!(
        every,
        [
            format!("servers.github.arguments.token: {says}"),
            format!("servers.github.arguments.\"\\u{{e9}} x\": {says}"),
        ]
    );

    let config = arguments("arguments = '*'");
    assert!(config.servers.values().next().unwrap().slots.merges_all());
    assert!(
        config.warnings.len() == 1 && config.warnings[0].contains("a prompt injection chose"),
        "{:?}",
        config.warnings
    );
}

#[test]
fn query_slots_are_checked_and_do_not_repeat_the_url() {
    let query = |url: &str, name: &str| {
        let file = format!(
            "[servers.a]\nurl = 'http://127.0.0.1{url}'\n[servers.a.query]\n{name} = '${{K}}'\n"
        );
        parse(&file, &[]).map_err(|errors| errors.to_string())
    };
    let config = query("/mcp?tokens=1&Token=2", "token").unwrap_or_else(|e| panic!("{e}"));
    let server = config.servers.values().next().unwrap();
    assert_eq!(shown(server), ["query parameter `token`"]);
    for (url, name) in [
        ("/mcp?token=1", "token"),
        ("/mcp?a=b&tok%65n", "token"),
        ("/?a+b=1", "'a b'"),
    ] {
        let error = query(url, name).err().unwrap();
        assert!(
            error.contains("4:1: servers.a.query.")
                && error.contains("in the server's URL already"),
            "{error}"
        );
    }
    assert!(
        query("/", "\"\"")
            .err()
            .unwrap()
            .contains("not a query parameter's name")
    );
    let twice = bad(&format!(
        "{GITHUB}query = {{ key = '${{A}}', Key = '${{B' }}"
    ));
    assert_eq!(
        twice,
        "cloakroom.toml:3:25: servers.github.query.Key: is one above but for the case of its letters; remove one\n\
         cloakroom.toml:3:31: servers.github.query.Key: at character 1: `${` is never closed; write `${NAME}`"
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
    assert_eq!(
        shown(server),
        ["header `authorization`", "header `x-tenant` (constant)"]
    );
    assert!(config.warnings.is_empty());
}

#[test]
fn the_login_of_sentinels_is_for_sentinels_and_whole() {
    let store = |lines: &str| format!("[store]\n{lines}\n{GITHUB}");
    let sentinel = "url = 'redis+sentinel://h/main'\n";
    for (lines, says) in [
        (
            "sentinel_password = 'x'".to_owned(),
            "is for a redis+sentinel:// store only",
        ),
        (
            format!("{sentinel}sentinel_user = 'x'"),
            "needs sentinel_password too",
        ),
    ] {
        let error = bad(&store(&lines));
        assert!(error.contains(says), "{error}");
    }
    let login = "sentinel_user = 'me'\nsentinel_password = 'hunter2'";
    let config = good(&store(&format!("{sentinel}{login}")));
    let login = config.store.settings.sentinel_login.unwrap();
    assert_eq!(
        (login.user.as_deref(), login.password.as_str()),
        (Some("me"), "hunter2")
    );
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
}

#[test]
fn what_is_probably_not_meant_is_warned_of() {
    let text = "admin_listen = '10.0.0.1:1'\nadmin_allowed_hosts = ['a']\n[servers.a]\nurl = 'http://far/'\nheaders = { X-Api-Key = '${K}', Authorization = 'Bearer x' }";
    assert_eq!(
        good(text).warnings,
        [
            "admin_listen: administrators' keys and secrets travel unencrypted; put something in front that terminates TLS, or listen on loopback or a Unix socket",
            "servers.a.url: secrets travel unencrypted to far; use https:// unless that network is yours alone",
            "servers.a.headers.authorization: has no ${SECRET}, so every user is the same to this server",
        ]
    );
}
