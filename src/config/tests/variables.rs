use super::*;

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
        config.store.settings.url.shown(),
        "redis://:***@127.0.0.1:6379"
    );
    let names: Vec<_> = config.servers.keys().map(|name| name.as_str()).collect();
    assert_eq!(names, ["github", "my-api"]);
    let github = &config.servers[&"github".parse().unwrap()];
    let constant: Vec<_> = github
        .slots
        .iter()
        .map(|slot| slot.template.is_constant())
        .collect();
    assert_eq!(constant, [false, true]);
}

#[test]
fn variables_set_servers_of_the_older_kind_and_their_slots() {
    let variables = [
        ("CLOAKROOM_SETUP_URL", "https://portal.example/"),
        ("CLOAKROOM_LIMITS__LIST", "64KiB"),
        ("CLOAKROOM_SERVERS__JIRA__SSE_URL", "http://127.0.0.1:2/sse"),
        ("CLOAKROOM_SERVERS__JIRA__DISCOVERY", "omit"),
        (
            "CLOAKROOM_SERVERS__JIRA__ARGUMENTS__API_TOKEN",
            "new-${NEW}",
        ),
        ("CLOAKROOM_SERVERS__JIRA__ARGUMENTS__SITE_URL", "${S}"),
        ("CLOAKROOM_SERVERS__JIRA__QUERY__API_KEY", "${K}"),
        ("CLOAKROOM_SERVERS__GITHUB__ARGUMENTS", "*"),
    ];
    let file = format!(
        "{GITHUB}[servers.jira.arguments]\napi_Token = {{ value = '${{OLD}}', tools = ['a'] }}\n"
    );
    let config = parse(&file, &variables).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(config.setup_url.as_deref(), Some("https://portal.example/"));
    assert_eq!(config.limits.list, 64 << 10);
    assert!(
        config.servers[&"github".parse().unwrap()]
            .slots
            .merges_all()
    );
    let jira = &config.servers[&"jira".parse().unwrap()];
    let Backend::Http { transport, .. } = &jira.backend else {
        panic!("a URL")
    };
    assert_eq!(
        (*transport, jira.discovery),
        (Transport::Sse, Discovery::Omit)
    );
    let places: Vec<_> = jira
        .slots
        .iter()
        .map(|slot| slot.place.to_string())
        .collect();
    assert_eq!(
        places,
        [
            "query parameter `api_key`",
            "argument `api_Token`",
            "argument `site_url`"
        ]
    );
    // Mutation: let `set` in config/env.rs replace the table.
    assert!(jira.slots.arguments_of("a").any(|name| name == "api_Token"));
    assert!(
        jira.slots.arguments_of("b").all(|name| name != "api_Token"),
        "the tools are lost"
    );
    let names: Vec<_> = jira.slots.secret_names().into_iter().collect();
    assert_eq!(
        names.iter().map(|n| n.as_str()).collect::<Vec<_>>(),
        ["K", "NEW", "S"]
    );
}

#[test]
fn a_variable_that_would_have_no_effect_is_an_error() {
    let variables = [
        ("CLOAKROOM_SERVERS__GITHUB__ARGUMENTS", "*"),
        ("CLOAKROOM_SERVERS__GITHUB__ARGUMENTS__TOKEN", "${T}"),
        ("CLOAKROOM_SERVERS__GITHUB__ARGUMENTS__TOKEN__TOOLS", "a"),
        ("CLOAKROOM_SERVERS__GITHUB__QUERY", "a"),
    ];
    let found = bad_with(GITHUB, &variables);
    let expected = "
CLOAKROOM_SERVERS__GITHUB__ARGUMENTS__TOKEN: servers.github.arguments.token: `arguments` is a text, which sets all of them; remove one of the two
CLOAKROOM_SERVERS__GITHUB__ARGUMENTS__TOKEN__TOOLS: unknown variable";
    assert!(format!("\n{found}").starts_with(expected), "{found}");
    assert!(
        found.contains("CLOAKROOM_SERVERS__GITHUB__QUERY: unknown variable"),
        "{found}"
    );
}

#[test]
fn errors_of_variables_name_the_variable() {
    let variables = [
        ("CLOAKROOM_STORE__URL", "mysql://root:hunter2@db"),
        ("CLOAKROOM_STROE__URL", "x"),
        ("CLOAKROOM_STORE_URL", "x"),
        ("CLOAKROOM_SERVERS__A__URI", "x"),
        ("CLOAKROOM_SERVERS__B__COMMAND", "x,${Y}"),
        ("CLOAKROOM_WHATEVER", "x"),
        ("CLOAKROOM_PORT", "9000"),
        ("CLOAKROOM_log", "x"),
        ("CLOAKROOM_THREADS", "many"),
    ];
    let expected = "
cloakroom.toml:1:1: log: unknown level; did you mean `warn`?
CLOAKROOM_PORT: unknown variable; write a key of config/default.toml in capitals, with two underscores for a dot, as in `CLOAKROOM_STORE__URL`
CLOAKROOM_SERVERS__A__URI: unknown variable; did you mean `CLOAKROOM_SERVERS__A__URL`?
CLOAKROOM_SERVERS__B__COMMAND: servers.b.command: holds `${`: secrets go into the environment, never into arguments, which every process can read; write them under `env`
CLOAKROOM_STORE_URL: unknown variable; did you mean `CLOAKROOM_STORE__URL`?
CLOAKROOM_STORE__URL: store.url: the store's URL must start with sqlite: (as in sqlite:cloakroom.db), redis://, redis+sentinel:// or redis+cluster:// (rediss for TLS)
CLOAKROOM_STROE__URL: unknown variable; did you mean `CLOAKROOM_STORE__URL`?
CLOAKROOM_THREADS: threads: write a number from 1 to 1024, without quotes
CLOAKROOM_WHATEVER: unknown variable; write a key of config/default.toml in capitals, with two underscores for a dot, as in `CLOAKROOM_STORE__URL`
CLOAKROOM_log: unknown variable; did you mean `CLOAKROOM_LOG`?";
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
        missing.contains("cloakroom.toml: no such file; make one with `cloakroom init`"),
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
    let keys = folder.path().join("master.keys");
    assert_eq!(config.keyring, KeyringSource::File(keys));
    assert_eq!(config.folder, folder.path());

    let whole = [("CLOAKROOM_CONFIG_TOML", GITHUB)];
    let config = load(None, environment(&whole)).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(config.keyring, KeyringSource::File("master.keys".into()));
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
            .ends_with("\nCLOAKROOM_CONFIG_TOML:2:1: x: unknown key"),
        "{wrong}"
    );
}
