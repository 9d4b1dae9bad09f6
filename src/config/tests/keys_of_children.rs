use super::*;

const NOTION: &str = "[servers.notion]\ncommand = ['notion-mcp-server', '--stdio']\n";

fn notion(config: &Config) -> &Command {
    match &config.servers[&"notion".parse().unwrap()].backend {
        Backend::Command(command) => command,
        Backend::Http { .. } => panic!("a URL"),
    }
}

/// The server with these lines in it.
#[track_caller]
fn with(lines: &str) -> Command {
    notion(&good(&format!("{NOTION}{lines}\n"))).clone()
}

/// The server with a line in it, and the error the line must give at this column.
#[track_caller]
fn bad_child_line(line: &str, expected: &str) {
    assert_eq!(
        bad(&format!("{NOTION}{line}\n")),
        format!("cloakroom.toml:3:{expected}"),
        "{line}"
    );
}

/// The same of the first server in it, whose command this is.
#[track_caller]
fn bad_command(command: &str, expected: &str) {
    assert_eq!(
        bad(&format!("[servers.a]\ncommand = {command}\n")),
        format!("cloakroom.toml:2:{expected}"),
        "{command}"
    );
}

/// The error of a line in `[servers.notion.env]`.
#[track_caller]
fn bad_variable(line: &str, expected: &str) {
    assert_eq!(
        bad(&format!("{NOTION}[servers.notion.env]\n{line}\n")),
        format!("cloakroom.toml:4:{expected}"),
        "{line}"
    );
}

#[test]
fn a_command_is_enough_and_the_rest_are_the_defaults() {
    let expected = Command {
        command: vec!["notion-mcp-server".into(), "--stdio".into()],
        sandbox: Sandbox::Landlock,
        readable: Vec::new(),
        uid: None,
        gid: None,
        sleep: Some(Duration::from_secs(300)),
        start_timeout: Duration::from_secs(30),
        prewarm: false,
        memory: None,
        processes: None,
        open_files: 1024,
    };
    let config = good(NOTION);
    assert_eq!(notion(&config), &expected);
    let server = config.servers.values().next().unwrap();
    assert_eq!(
        (server.answer_timeout.as_secs(), server.discovery),
        (300, Discovery::Secret)
    );
    let limits = config.limits;
    assert_eq!(
        (limits.children, limits.user_children, limits.child_message),
        (256, 8, 16 << 20)
    );
    assert_eq!(limits.child_sessions, 4096);
    assert_eq!(config.data_dir.path(), Path::new("cloakroom-data"));
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
}

#[test]
fn every_key_of_children_is_read() {
    let lines = "sandbox = 'none'\nreadable = ['data', '/srv/other']\nuid = 1003\ngid = 1004\n\
                 sleep = 'never'\nstart_timeout = '1m'\nprewarm = true\nmemory = '1GiB'\n\
                 processes = 512\nopen_files = 4096\nanswer_timeout = '10s'\ndiscovery = 'omit'";
    let expected = Command {
        command: vec!["notion-mcp-server".into(), "--stdio".into()],
        sandbox: Sandbox::None,
        readable: vec!["data".into(), "/srv/other".into()],
        uid: Some(1003),
        gid: Some(1004),
        sleep: None,
        start_timeout: Duration::from_secs(60),
        prewarm: true,
        memory: Some(1 << 30),
        processes: Some(512),
        open_files: 4096,
    };
    assert_eq!(with(lines), expected);
    assert_eq!((with("uid = 7").uid, with("uid = 7").gid), (Some(7), None));
    let defaults = with("sandbox = 'landlock'\nsleep = '5m'\nprewarm = false\nreadable = []");
    assert_eq!(defaults, with(""));
}

// Mutation: join no folder to a path in config/command.rs or config/parse.rs.
#[test]
fn relative_paths_are_relative_to_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cloakroom.toml");
    let text = format!("data_dir = 'd'\n{NOTION}readable = ['r', '/x']\n");
    std::fs::write(&file, text).unwrap();
    let config = load(Some(&file), []).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(config.data_dir.path(), folder.path().join("d"));
    let readable = [folder.path().join("r"), "/x".into()];
    assert_eq!(notion(&config).readable, readable);
}

// Mutation: move any bound in config/command.rs or config/limits.rs by one.
#[test]
fn ranges_hold_at_their_edges() {
    const NUMBER: &str = "without quotes";
    for (key, low, high, below, above, says) in [
        (
            "sleep",
            "'100ms'",
            "'24h'",
            "'99ms'",
            "'86401s'",
            "out of range; write a duration from 100ms to 1day, or \"never\"",
        ),
        (
            "start_timeout",
            "'100ms'",
            "'10m'",
            "'99ms'",
            "'601s'",
            "out of range; write a duration from 100ms to 10m",
        ),
        (
            "memory",
            "'16MiB'",
            "'1048576GiB'",
            "16777215",
            "1125899906842625",
            "out of range; write a size from 16MiB to 1048576GiB",
        ),
        ("processes", "1", "1000000", "0", "1000001", NUMBER),
        ("open_files", "16", "1000000", "15", "1000001", NUMBER),
        (
            "uid",
            "0",
            "4294967294",
            "-1",
            "4294967295",
            "write the number of a user (uid), without quotes",
        ),
    ] {
        for value in [low, high] {
            with(&format!("{key} = {value}"));
        }
        for value in [below, above] {
            let found = bad(&format!("{NOTION}{key} = {value}\n"));
            assert!(
                found.contains(&format!("notion.{key}: ")) && found.contains(says),
                "{found}"
            );
        }
    }
    for (key, low, high, below, above) in [
        ("children", "1", "100000", "0", "100001"),
        ("user_children", "1", "100000", "0", "100001"),
        ("child_sessions", "1", "100000", "0", "100001"),
        (
            "child_message",
            "65536",
            "1073741824",
            "65535",
            "1073741825",
        ),
    ] {
        for value in [low, high] {
            good(&format!("[limits]\n{key} = {value}\n{NOTION}"));
        }
        for value in [below, above] {
            let found = bad(&format!("[limits]\n{key} = {value}\n{NOTION}"));
            assert!(
                found.starts_with(&format!(
                    "cloakroom.toml:2:{}: limits.{key}: ",
                    key.len() + 4
                )),
                "{found}"
            );
        }
    }
}

#[test]
fn values_of_another_kind_say_what_to_write() {
    bad_child_line(
        "sandbox = 'off'",
        "11: servers.notion.sandbox: write \"landlock\", or \"none\" where the system has no Landlock",
    );
    bad_child_line(
        "readable = '/srv'",
        "12: servers.notion.readable: is a text; write a list: [\"/srv/data\"]",
    );
    bad_child_line(
        "readable = ['/srv', '']",
        "21: servers.notion.readable[1]: not a path; write the path of a file",
    );
    bad_child_line(
        "sleep = 'always'",
        "9: servers.notion.sleep: not a duration; write a number with its unit, such as \"60s\" or \"5m\", or \"never\"",
    );
    bad_child_line(
        "sleep = 300",
        "9: servers.notion.sleep: is a number; write a number with its unit, such as \"60s\" or \"5m\", or \"never\"",
    );
    bad_child_line(
        "prewarm = 'yes'",
        "11: servers.notion.prewarm: write true or false, without quotes",
    );
    bad_child_line(
        "prewarm = 1",
        "11: servers.notion.prewarm: write true or false, without quotes",
    );
    bad_child_line(
        "memory = '1GB'",
        "10: servers.notion.memory: not a size; write a number of bytes, or a text with a unit (B, KiB, MiB, GiB) such as \"4MiB\"",
    );
    bad_child_line(
        "processes = '12'",
        "13: servers.notion.processes: write a number from 1 to 1000000, without quotes",
    );
    bad_child_line(
        "uid = 'notion'",
        "7: servers.notion.uid: write the number of a user (uid), without quotes",
    );
    bad_child_line("cpu = 1", "1: servers.notion.cpu: unknown key");
    bad_child_line(
        "open_file = 1",
        "1: servers.notion.open_file: unknown key; did you mean `open_files`?",
    );
}

// Mutation: drop the filter on `gid` in config/command.rs.
#[test]
fn a_group_alone_is_refused() {
    bad_child_line("gid = 1003", "1: servers.notion.gid: needs `uid` too");
    assert_eq!(with("uid = 1003\ngid = 5").gid, Some(5));
    let found = bad(&format!("{NOTION}uid = 1003\ngid = 'staff'\n"));
    assert_eq!(
        found,
        "cloakroom.toml:4:7: servers.notion.gid: write the number of a group (gid), without quotes"
    );
}

// Mutation: drop any `fail` of `words` in config/command.rs.
#[test]
fn a_command_names_a_program_and_holds_no_secret() {
    const NONE: &str =
        "11: servers.a.command: names no program; write for example [\"notion-mcp-server\"]";
    bad_command("[]", NONE);
    bad_command("['', 'x']", NONE);
    bad_command(
        "'npx'",
        "11: servers.a.command: is a text; write a list: [\"notion-mcp-server\"]",
    );
    bad_command(
        "['a', 7]",
        "17: servers.a.command[1]: is a number; write a text in quotes, as in [\"notion-mcp-server\"]",
    );
    bad_command(
        "[\"a\", \"b\\u0000\"]",
        "17: servers.a.command[1]: no argument can hold a NUL",
    );
    let secret = "11: servers.a.command: holds `${`: secrets go into the environment, never into arguments, \
                  which every process can read; write them under `env`";
    bad_command("['npx', '--token=${TOKEN}']", secret);
    bad_command("['${PROGRAM}']", secret);
    // Arguments may be empty, and a dollar is a dollar.
    let config = good("[servers.notion]\ncommand = ['sh', '-c', '$HOME', '']\n");
    assert_eq!(notion(&config).command, ["sh", "-c", "$HOME", ""]);
}

// Mutation: take a key out of OF_URLS or OF_CHILDREN in config/command.rs.
#[test]
fn keys_of_the_other_kind_are_refused() {
    let of_urls = [
        "socket = '/run/x.sock'",
        "socket_uid = 1",
        "ca_file = 'x'",
        "connect_timeout = '5s'",
        "replicas = 'dns'",
        "health_check = { every = '5s' }",
        "headers = { X-A = 'x' }",
        "query = { a = 'x' }",
    ];
    for line in of_urls {
        let key = line.split_once(' ').unwrap().0;
        bad_child_line(
            line,
            &format!("1: servers.notion.{key}: is for a server at a URL only; remove it"),
        );
    }
    let of_children = [
        "env = { TOKEN = '${TOKEN}' }",
        "sandbox = 'none'",
        "readable = ['/x']",
        "uid = 1",
        "gid = 1",
        "sleep = '5m'",
        "start_timeout = '5s'",
        "prewarm = true",
        "memory = '1GiB'",
        "processes = 1",
        "open_files = 64",
    ];
    for line in of_children {
        let key = line.split_once(' ').unwrap().0;
        let found = bad(&format!("{GITHUB}{line}\n"));
        let expected = format!(
            "cloakroom.toml:3:1: servers.github.{key}: is for a server that is started by `command` only; remove it"
        );
        assert_eq!(found, expected, "{line}");
    }
    assert_eq!(
        bad(&format!("{NOTION}url = 'http://127.0.0.1:1/'\n")),
        "cloakroom.toml:1:10: servers.notion: has `url` and `command`; keep exactly one"
    );
}

/// The variables of the server's children, those that need no secret marked.
fn variables(config: &Config) -> Vec<String> {
    let server = &config.servers[&"notion".parse().unwrap()];
    let slots = server.slots.iter();
    let shown = slots.map(|slot| {
        let constant = if slot.template.is_constant() {
            " (constant)"
        } else {
            ""
        };
        format!("{}{constant}", slot.place)
    });
    shown.collect()
}

#[test]
fn slots_of_children_are_variables_and_arguments() {
    let config = good(&format!(
        "{NOTION}[servers.notion.env]\nNOTION_TOKEN = '${{NOTION_TOKEN}}'\nBASIC = '${{base64(USER:PASSWORD)}}'\n\
         MODE = 'read'\nPATH = '/opt/bin:/usr/bin'\nNODE_OPTIONS = '--max-old-space-size=256'\n\
         [servers.notion.arguments]\nsite = {{ value = '${{SITE}}', tools = ['a'] }}\n"
    ));
    let expected = [
        "variable `NOTION_TOKEN`",
        "variable `BASIC`",
        "variable `MODE` (constant)",
        "variable `PATH` (constant)",
        "variable `NODE_OPTIONS` (constant)",
        "argument `site`",
    ];
    assert_eq!(variables(&config), expected);
    let server = config.servers.values().next().unwrap();
    let names: Vec<_> = server
        .slots
        .secret_names()
        .iter()
        .map(|n| n.to_string())
        .collect();
    assert_eq!(names, ["NOTION_TOKEN", "PASSWORD", "SITE", "USER"]);
    assert!(server.slots.environment_needs_secrets());
}

// Mutation: drop a name from CODE in inject/environment.rs, or any arm of `variable_name`.
#[test]
fn no_secret_goes_where_it_decides_which_code_runs() {
    const CODE: &str = "decides which code runs, so it cannot hold a user's secret; write a constant, or remove it";
    for name in [
        "PATH",
        "LD_PRELOAD",
        "ld_preload",
        "NODE_OPTIONS",
        "PYTHONPATH",
        "BASH_ENV",
        "GIT_SSH_COMMAND",
    ] {
        bad_variable(
            &format!("{name} = '/x:${{P}}'"),
            &format!("1: servers.notion.env.{name}: {CODE}"),
        );
    }
    for name in ["HOME", "TMPDIR", "PWD"] {
        let ours = "every child has a private folder there already; remove it";
        bad_variable(
            &format!("{name} = '/tmp'"),
            &format!("1: servers.notion.env.{name}: {ours}"),
        );
    }
    const RULE: &str = "not a variable's name: write 1 to 128 of A-Z a-z 0-9 _, no digit first";
    bad_variable("1A = 'x'", &format!("1: servers.notion.env.1A: {RULE}"));
    bad_variable("A-B = 'x'", &format!("1: servers.notion.env.A-B: {RULE}"));
    bad_variable(
        "'A=B' = 'x'",
        &format!("1: servers.notion.env.\"A=B\": {RULE}"),
    );
    bad_variable(
        "A = '${'",
        "5: servers.notion.env.A: at character 1: `${` is never closed; write `${NAME}`",
    );
    bad_variable(
        "A = 7",
        "5: servers.notion.env.A: is a number; write a template such as \"${TOKEN}\"",
    );
    bad_variable(
        "A = \"x\\u0000\"",
        "5: servers.notion.env.A: no variable can hold a NUL",
    );
    let twice = bad(&format!(
        "{NOTION}[servers.notion.env]\nTOKEN = 'x'\ntoken = 'y'\n"
    ));
    assert_eq!(
        twice,
        "cloakroom.toml:5:1: servers.notion.env.token: is one above but for the case of its letters; remove one"
    );
    assert_eq!(
        bad(&format!("{NOTION}env = 'x'\n")),
        "cloakroom.toml:3:7: servers.notion.env: is a text; write a table: `[servers.notion.env]`"
    );
}

// Mutation: make a variable's name lower case in `variable` of config/env.rs, or part it at every `__`.
#[test]
fn variables_set_commands_and_what_children_get() {
    let set = [
        ("CLOAKROOM_SERVERS__NOTION__COMMAND", "npx, -y,some-server"),
        ("CLOAKROOM_SERVERS__NOTION__SLEEP", "never"),
        ("CLOAKROOM_SERVERS__NOTION__PREWARM", "true"),
        ("CLOAKROOM_SERVERS__NOTION__SANDBOX", "none"),
        ("CLOAKROOM_SERVERS__NOTION__READABLE", "/a,/b"),
        ("CLOAKROOM_SERVERS__NOTION__UID", "1003"),
        ("CLOAKROOM_SERVERS__NOTION__MEMORY", "64MiB"),
        ("CLOAKROOM_SERVERS__NOTION__OPEN_FILES", "64"),
        (
            "CLOAKROOM_SERVERS__NOTION__ENV__GITHUB_TOKEN",
            "${GITHUB_TOKEN}",
        ),
        ("CLOAKROOM_SERVERS__NOTION__ENV__NOTION_TOKEN", "${OTHER}"),
        ("CLOAKROOM_SERVERS__NOTION__ENV__GF__AUTH", "x"),
        ("CLOAKROOM_DATA_DIR", "/var/lib/cloakroom"),
        ("CLOAKROOM_LIMITS__USER_CHILDREN", "3"),
    ];
    let file = format!("{NOTION}[servers.notion.env]\nNotion_Token = '${{OLD}}'\n");
    let config = parse(&file, &set).unwrap_or_else(|e| panic!("{e}"));
    let command = notion(&config);
    assert_eq!(command.command, ["npx", "-y", "some-server"]);
    assert_eq!(
        (command.sleep, command.prewarm, command.sandbox),
        (None, true, Sandbox::None)
    );
    assert_eq!(command.readable, [Path::new("/a"), Path::new("/b")]);
    assert_eq!(
        (command.uid, command.memory, command.open_files),
        (Some(1003), Some(64 << 20), 64)
    );
    assert_eq!(
        (config.data_dir.path(), config.limits.user_children),
        (Path::new("/var/lib/cloakroom"), 3)
    );
    // The file's letters stay, and its value goes.
    let expected = [
        "variable `Notion_Token`",
        "variable `GF__AUTH` (constant)",
        "variable `GITHUB_TOKEN`",
    ];
    assert_eq!(variables(&config), expected);
    let names = config.servers.values().next().unwrap().slots.secret_names();
    assert_eq!(
        names.iter().map(|n| n.as_str()).collect::<Vec<_>>(),
        ["GITHUB_TOKEN", "OTHER"]
    );
}

#[test]
fn a_server_may_be_made_of_variables_alone() {
    let set = [
        ("CLOAKROOM_SERVERS__MY_NOTION__COMMAND", "notion-mcp-server"),
        (
            "CLOAKROOM_SERVERS__MY_NOTION__ENV__NOTION_TOKEN",
            "${NOTION_TOKEN}",
        ),
    ];
    let config = parse("", &set).unwrap_or_else(|e| panic!("{e}"));
    let (name, server) = config.servers.iter().next().unwrap();
    let places: Vec<_> = server
        .slots
        .iter()
        .map(|slot| slot.place.to_string())
        .collect();
    assert_eq!(
        (name.as_str(), &*places),
        ("my-notion", &["variable `NOTION_TOKEN`".to_owned()][..])
    );
    let found = bad_with(
        NOTION,
        &[
            ("CLOAKROOM_SERVERS__NOTION__ENV", "x"),
            ("CLOAKROOM_SERVERS__NOTION__ENV__", "x"),
            ("CLOAKROOM_SERVERS__NOTION__ENV__PATH", "${P}"),
            ("CLOAKROOM_SERVERS__NOTION__ENV__token", "x"),
        ],
    );
    let places: Vec<_> = found
        .lines()
        .map(|line| line.split(": ").take(2).collect::<Vec<_>>().join(": "))
        .collect();
    let expected = [
        "CLOAKROOM_SERVERS__NOTION__ENV: unknown variable; write a key of config/default.toml in capitals, with two underscores for a dot, as in `CLOAKROOM_STORE__URL`",
        "CLOAKROOM_SERVERS__NOTION__ENV__: unknown variable",
        "CLOAKROOM_SERVERS__NOTION__ENV__PATH: servers.notion.env.PATH",
        "CLOAKROOM_SERVERS__NOTION__ENV__token: unknown variable",
    ];
    for (found, expected) in places.iter().zip(expected) {
        let start = expected.split(';').next().unwrap();
        assert!(found.starts_with(start), "{found}");
    }
    assert_eq!(places.len(), 4, "{found}");
}
