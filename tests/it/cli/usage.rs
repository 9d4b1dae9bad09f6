use std::fs;

use super::{House, cloakroom, run_in};

#[test]
fn a_bad_configuration_is_told_whole() {
    let house = House::new();
    fs::write(
        house.path("bad.toml"),
        "lisen = 1\n[store]\nurl = \"ftp://x\"\n",
    )
    .unwrap();
    for line in [
        "user list",
        "serve",
        "keyring export --server x",
        "client-config github",
    ] {
        let says = [
            "bad.toml:1:1",
            "did you mean `listen`",
            "bad.toml:3:7",
            "servers",
        ];
        let said = house.fails(&format!("{line} --config bad.toml"), "", 64, &says);
        assert!(
            said.lines().all(|line| line.starts_with("cloakroom: ")),
            "{said}"
        );
    }
    house.fails(
        "user list --config none.toml",
        "",
        64,
        &["none.toml", "no such file"],
    );
    let checked = house.run("check --config bad.toml --json", "");
    assert_eq!(checked.code, 64);
    let document = checked.document();
    assert_eq!(document["ok"], false);
    assert!(document["findings"].as_array().unwrap().len() >= 3);
}

#[test]
fn the_configuration_is_found_by_flag_then_variable_then_name() {
    let house = House::with_alice();
    let elsewhere = tempfile::tempdir().unwrap();
    let count = |command: &mut std::process::Command| {
        let done = command
            .current_dir(&elsewhere)
            .args(["user", "list", "--json"])
            .output()
            .unwrap();
        assert!(
            done.status.success(),
            "{}",
            String::from_utf8_lossy(&done.stderr)
        );
        String::from_utf8(done.stdout)
            .unwrap()
            .matches("\"name\"")
            .count()
    };
    let config = house.path("cloakroom.toml");
    assert_eq!(count(cloakroom().env("CLOAKROOM_CONFIG", &config)), 1);
    let flagged = count(
        cloakroom()
            .env("CLOAKROOM_CONFIG", "none")
            .arg("--config")
            .arg(&config),
    );
    assert_eq!(flagged, 1);
    let whole = format!(
        "[store]\nurl = \"sqlite:{0}/cloakroom.db\"\n[keyring]\nfile = \"{0}/master.keys\"\n{1}",
        house.folder.path().display(),
        super::CONFIG
    );
    assert_eq!(count(cloakroom().env("CLOAKROOM_CONFIG_TOML", whole)), 1);
}

#[test]
fn check_finds_everything_at_once() {
    let house = House::bare();
    let done = house.run("check", "");
    assert_eq!(done.code, 1);
    assert!(done.out.contains("ok     config"), "{}", done.out);
    assert!(done.out.contains("error  keyring") && done.out.contains("cloakroom keyring init"));
    assert!(done.out.contains("ok     store"), "{}", done.out);
    house.ok("keyring init", "");
    assert_eq!(house.json("check --offline", "")["ok"], true);
    house.ok("user add alice", "");
    fs::remove_file(house.path("master.keys")).unwrap();
    house.ok("keyring init", "");
    let done = house.run("check", "");
    assert!(
        done.code == 1 && done.out.contains("the right file in [keyring] file"),
        "{}",
        done.out
    );

    let missing = super::CONFIG.replacen('\n', "\n[store]\nurl = \"sqlite:no/such/x.db\"\n", 1);
    fs::write(house.path("other.toml"), missing).unwrap();
    let done = house.run("check --config other.toml", "");
    assert!(
        done.code == 1 && done.out.contains("create it"),
        "{}",
        done.out
    );
    house.fails("user list --config other.toml", "", 1, &["create it"]);
}

#[test]
fn client_configurations_name_server_address_and_key() {
    let house = House::with_alice();
    let shown = house.ok("client-config github", "");
    assert!(
        shown
            .out
            .contains("claude mcp add --transport http github http://127.0.0.1:8080/github/mcp")
    );
    assert!(
        shown.out.contains("Cursor") && shown.out.contains("VS Code"),
        "{}",
        shown.out
    );
    assert!(shown.out.contains("clk_YOUR_KEY") && shown.err.contains("key issue USER"));
    assert!(
        house
            .ok("client-config alice github", "")
            .err
            .contains("key issue alice")
    );

    let key = house.json("key issue alice", "")["key"]
        .as_str()
        .unwrap()
        .to_owned();
    let line = "client-config alice github --key - --url https://mcp.example.com/";
    let shown = house.json(line, &key);
    let cursor = &shown["cursor"]["mcpServers"]["github"];
    assert_eq!(cursor["url"], "https://mcp.example.com/github/mcp");
    assert_eq!(cursor["headers"]["Authorization"], format!("Bearer {key}"));
    assert!(!house.ok(line, format!("{key}\n")).err.contains(&key));

    let said = house.fails(
        &format!("client-config github --key {key}"),
        "",
        2,
        &["--key takes only -"],
    );
    assert!(!said.contains(&key), "{said}");
    house.fails("client-config github --key -", "clk_x", 1, &["not a key"]);
    house.fails(
        "client-config gihub",
        "",
        1,
        &["no server `gihub`", "github"],
    );
    house.fails("client-config", "", 2, &["Usage"]);
    house.fails(
        "client-config github --url example.com",
        "",
        2,
        &["https://mcp.example.com"],
    );
}

#[test]
fn client_configurations_know_profiles_and_servers_of_the_older_kind() {
    let house = House::new();
    let old = "[servers.old]\nsse_url = \"http://127.0.0.1:9/sse\"\n";
    let config = format!("{}{old}", super::CONFIG);
    fs::write(house.path("cloakroom.toml"), config).unwrap();
    let shown = house.ok("client-config old", "").out;
    let run = "claude mcp add --transport sse old http://127.0.0.1:8080/old/sse --header";
    assert!(shown.contains(run), "{shown}");
    assert!(
        shown.contains("HTTP+SSE") && shown.contains("Codex, cannot"),
        "{shown}"
    );
    let shown = house.json("client-config alice old --profile my.work", "");
    let server = &shown["vscode"]["servers"]["old-my-work"];
    assert_eq!(
        (&server["type"], &server["url"]),
        (
            &"sse".into(),
            &"http://127.0.0.1:8080/old/@my.work/sse".into()
        )
    );
    let shown = house.ok("client-config github --profile work", "").out;
    let run = "--transport http github-work http://127.0.0.1:8080/github/@work/mcp ";
    assert!(shown.contains(run), "{shown}");
    house.fails("client-config github --profile @work", "", 2, &["a-z 0-9"]);
}

#[test]
fn health_of_what_does_not_serve_fails_and_says_why() {
    let house = House::new();
    house.fails("health", "", 1, &["set health_listen"]);
    house.fails(
        "health --url http://127.0.0.1:9/readyz",
        "",
        1,
        &["cannot be reached"],
    );
    house.fails("health --url 127.0.0.1:9", "", 2, &["write a URL"]);
}

#[test]
fn a_wrong_line_is_answered_with_usage() {
    let house = House::new();
    for line in [
        "",
        "user",
        "frobnicate",
        "user add",
        "key issue",
        "secret set alice",
        "user list x",
    ] {
        house.fails(line, "", 2, &["Usage"]);
    }
    assert!(house.ok("--help", "").out.contains("client-config"));
    assert!(house.ok("--version", "").out.starts_with("cloakroom "));
}

#[test]
fn the_flags_may_stand_anywhere() {
    let house = House::with_alice();
    let config = house.path("cloakroom.toml");
    let elsewhere = tempfile::tempdir().unwrap();
    for place in 0..3 {
        let mut line = vec!["user", "list"];
        for word in ["--json", config.to_str().unwrap(), "--config"] {
            line.insert(place, word);
        }
        assert_eq!(
            run_in(elsewhere.path(), line, b"").document()["users"][0]["name"],
            "alice"
        );
    }
}
