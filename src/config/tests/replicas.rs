use super::*;

const NAMED: &str = "[servers.a]\nurl = 'http://mcp:9001/mcp'\n";

fn replicas(config: &Config) -> &Replicas {
    let Backend::Http { replicas, .. } = &config.servers.values().next().unwrap().backend else {
        panic!("a URL")
    };
    replicas
}

fn listed(config: &Config) -> Vec<(&str, u16)> {
    match replicas(config) {
        Replicas::Listed(all) => all
            .iter()
            .map(|(host, port)| (host.as_str(), *port))
            .collect(),
        Replicas::Host | Replicas::Dns => Vec::new(),
    }
}

#[test]
fn replicas_are_addresses_or_what_the_name_stands_for() {
    let config = good(&format!(
        "{GITHUB}replicas = ['10.0.0.1:1', '[::0001]:65535', 'MCP-0.mcp:9001']"
    ));
    let expected = [("10.0.0.1", 1), ("::1", 65535), ("mcp-0.mcp", 9001)];
    assert_eq!(listed(&config), expected);
    assert!(*replicas(&good(&format!("{NAMED}replicas = 'dns'"))) == Replicas::Dns);
    let variable = |value| parse(NAMED, &[("CLOAKROOM_SERVERS__A__REPLICAS", value)]).unwrap();
    assert!(*replicas(&variable("dns")) == Replicas::Dns);
    assert_eq!(
        listed(&variable("10.0.0.1:1, h:2")),
        [("10.0.0.1", 1), ("h", 2)]
    );
    let many = |n: u16| {
        (1..=n)
            .map(|port| format!("'h:{port}', "))
            .collect::<String>()
    };
    let most = good(&format!("{GITHUB}replicas = [{}]", many(256)));
    assert_eq!(listed(&most).len(), 256);
    bad_server_line(
        &format!("replicas = [{}]", many(257)),
        "12: servers.github.replicas: names more than 256 addresses",
    );
}

// Mutation: drop any check of config/replicas.rs.
#[test]
fn what_cannot_be_replicas_is_refused() {
    let example = "[\"10.0.0.1:9001\", \"10.0.0.2:9001\"]";
    for (line, says) in [
        (
            "replicas = []".to_owned(),
            format!(
                "12: servers.github.replicas: is empty; name one at least, as in {example}, or remove the key"
            ),
        ),
        (
            "replicas = ['h:1', '[::1]:2', 'H:1']".into(),
            "12: servers.github.replicas: names an address twice; remove one".into(),
        ),
        (
            "replicas = ['[::1]:2', '[0::1]:2']".into(),
            "12: servers.github.replicas: names an address twice; remove one".into(),
        ),
        (
            "replicas = 'dsn'".into(),
            format!("12: servers.github.replicas: is a text; write a list: {example}, or \"dns\""),
        ),
        (
            "replicas = 'dns'".into(),
            format!(
                "12: servers.github.replicas: \"dns\" looks up the URL's host, which is an address; write a name there, or a list: {example}"
            ),
        ),
    ] {
        bad_server_line(&line, &says);
    }
    for wrong in [
        "h",
        "h:",
        "h:0",
        "h:65536",
        "::1:9001",
        "http://h:1",
        "u@h:1",
        ":1",
        "h:1/x",
        "h h:1",
        "",
    ] {
        let says = "13: servers.github.replicas[0]: not a host and port; write for example \
                    \"10.0.0.1:9001\", \"[::1]:9001\" or \"mcp-0:9001\"";
        bad_server_line(&format!("replicas = ['{wrong}']"), says);
    }
}

#[test]
fn secrets_that_travel_unencrypted_to_a_replica_are_warned_of() {
    let slots = "headers = { X-A = '${A}' }";
    let warnings = |replicas| good(&format!("{GITHUB}replicas = {replicas}\n{slots}")).warnings;
    assert!(warnings("['127.0.0.1:1', '[::1]:2']").is_empty());
    let far = warnings("['127.0.0.1:1', 'far:2']");
    assert!(
        far.len() == 1 && far[0].contains("travel unencrypted to far;"),
        "{far:?}"
    );
    let near = good(&format!("{NAMED}replicas = ['127.0.0.1:1']\n{slots}"));
    assert!(near.warnings.is_empty(), "{:?}", near.warnings);
}

#[cfg(not(feature = "pingora-lb"))]
#[test]
fn a_build_without_active_checks_says_so() {
    bad_server_line(
        "health_check = {}",
        "1: servers.github.health_check: this build has no active health checks; build one with \
         `cargo build --release --features pingora-lb` (needs cmake), or remove the key",
    );
}

#[cfg(feature = "pingora-lb")]
#[test]
fn checks_are_every_five_seconds_unless_said() {
    let check = |text: &str| {
        let config = good(&format!(
            "{GITHUB}replicas = ['h:1']\nhealth_check = {text}"
        ));
        let Backend::Http { health_check, .. } = &config.servers.values().next().unwrap().backend
        else {
            panic!("a URL")
        };
        let check = health_check.as_ref().unwrap();
        (
            check.every.as_millis(),
            check.path.as_ref().map(ToString::to_string),
        )
    };
    assert_eq!(check("{}"), (5000, None));
    let path = Some("/healthz?x".to_owned());
    assert_eq!(
        check("{ every = '100ms', path = '/healthz?x' }"),
        (100, path)
    );
    let line = |text: &str| {
        bad(&format!(
            "{GITHUB}replicas = ['h:1']\nhealth_check = {text}"
        ))
    };
    assert!(line("{ every = '99ms' }").contains("out of range; write a duration from 100ms to 1h"));
    assert!(
        line("{ path = 'x' }")
            .contains("health_check.path: not a path; write a path such as \"/mcp\"")
    );
    assert!(line("{ evry = '1s' }").contains("did you mean `every`?"));
    bad_server_line(
        "health_check = {}",
        "1: servers.github.health_check: is for servers with `replicas`: one alone is always tried",
    );
}
