use std::fs;

use serde_json::{Value, json};

use super::House;

const MORE: &str = r#"
[servers.tracker]
url = "http://127.0.0.1:9/mcp?v=1"
discovery = "omit"
[servers.tracker.headers]
X-Site = "literal-canary"
Authorization = "Bearer-canary ${TOKEN}"
[servers.tracker.query]
key = "q-canary-${TOKEN}${KEY}"
[servers.tracker.arguments]
user = "${base64(NAME:TOKEN)}"
admin = { value = "${ADMIN}", tools = ["drop", "wipe"] }
[servers.all]
url = "http://127.0.0.1:9/mcp"
arguments = "*"
"#;

/// A value no explanation may hold a part of.
const VALUE: &str = "s3cr3t-canary";

fn house() -> House {
    let house = House::with_alice();
    fs::write(
        house.path("cloakroom.toml"),
        format!("{}{MORE}", super::CONFIG),
    )
    .unwrap();
    house
}

fn set(house: &House, server: &str, name: &str, profile: &str) {
    let line = format!("secret set alice {server} {name} --profile {profile}");
    house.ok(&line, VALUE);
}

/// The document and the text, neither of which shows a value or what a template writes around it.
#[track_caller]
fn explain(house: &House, rest: &str) -> (Value, String) {
    let line = format!("explain --user alice --server {rest}");
    let (text, document) = (house.ok(&line, ""), house.ok(&format!("{line} --json"), ""));
    for said in [&text.out, &text.err, &document.out, &document.err] {
        assert!(
            !said.contains("canary") && !said.contains("s3cr3t"),
            "{said}"
        );
    }
    (document.document(), text.out)
}

fn places(document: &Value) -> Vec<String> {
    let slots = document["slots"].as_array().unwrap().iter();
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    let shown = slots.map(|slot| {
        let secrets = slot["secrets"].as_array().unwrap().iter();
        let secrets = secrets.map(|s| format!(" {}={}", word(&s["name"]), word(&s["state"])));
        format!(
            "{} {}:{}",
            word(&slot["place"]),
            word(&slot["name"]),
            secrets.collect::<String>()
        )
    });
    shown.collect()
}

#[test]
fn every_slot_is_told_with_its_secrets_and_without_a_value() {
    let house = house();
    set(&house, "tracker", "TOKEN", "default");
    set(&house, "tracker", "NAME", "default");
    let (document, text) = explain(&house, "tracker");
    let expected = [
        "header x-site:",
        "header authorization: TOKEN=set",
        "query key: TOKEN=set KEY=missing",
        "argument user: NAME=set TOKEN=set",
        "argument admin: ADMIN=missing",
    ];
    assert_eq!(places(&document), expected);
    assert_eq!(document["missing"], json!(["ADMIN", "KEY"]));
    assert_eq!(
        (&document["complete"], &document["discovery"]),
        (&false.into(), &"omit".into())
    );
    let slots = &document["slots"];
    assert_eq!(
        (&slots[0]["from"], &slots[1]["from"]),
        (&"constant".into(), &"user".into())
    );
    assert_eq!(slots[4]["tools"], json!(["drop", "wipe"]));
    assert_eq!(
        slots[4]["secrets"][0]["set_with"],
        "cloakroom secret set alice tracker ADMIN"
    );
    assert!(document["version"].as_u64() > Some(1_600_000_000_000_000));
    assert_eq!(slots[1]["secrets"][0]["version"], document["version"]);

    for part in [
        "header `authorization`",
        "query parameter `key`",
        "drop, wipe",
        "alice, profile default",
        "MISSING",
        "constant",
        "KEY is missing: cloakroom secret set alice tracker KEY\n",
        "refused",
        "goes without",
        &document["version"].to_string(),
    ] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
}

#[test]
fn a_call_gets_the_slots_of_its_tool_only() {
    let house = house();
    for name in ["TOKEN", "NAME", "KEY"] {
        set(&house, "tracker", name, "default");
    }
    let (document, text) = explain(&house, "tracker --tool read");
    assert_eq!(document["complete"], true);
    assert_eq!(
        (document["tool"].as_str(), places(&document).len()),
        (Some("read"), 4)
    );
    assert!(
        !text.contains("ADMIN") && !text.contains("refused"),
        "{text}"
    );
    let (document, _) = explain(&house, "tracker --tool drop");
    assert_eq!(document["missing"], json!(["ADMIN"]));
    let (document, text) = explain(&house, "plain");
    assert_eq!(
        (&document["slots"], &document["complete"]),
        (&json!([]), &true.into())
    );
    assert!(text.contains("Nothing is put into"), "{text}");
}

#[test]
fn all_secrets_are_named_where_all_become_arguments() {
    let house = house();
    set(&house, "all", "A", "default");
    set(&house, "all", "B", "default");
    let (document, text) = explain(&house, "all --tool any");
    assert_eq!(
        places(&document),
        ["argument A: A=set", "argument B: B=set"]
    );
    assert_eq!(document["all_secrets_are_arguments"], true);
    assert!(text.contains("every tool"), "{text}");
}

#[test]
fn an_empty_profile_and_a_disabled_user_are_said() {
    let house = house();
    let (_, text) = explain(&house, "tracker");
    assert!(
        text.contains("in the profile default, nor in any other"),
        "{text}"
    );
    set(&house, "tracker", "TOKEN", "work");
    let (document, text) = explain(&house, "tracker");
    assert!(
        text.contains("in the profile default, but in work"),
        "{text}"
    );
    assert_eq!(
        (&document["profiles"], &document["version"]),
        (&json!(["work"]), &Value::Null)
    );
    let (_, text) = explain(&house, "tracker --profile work");
    assert!(
        text.contains("set alice tracker KEY --profile work"),
        "{text}"
    );
    house.ok("user disable alice", "");
    let (document, text) = explain(&house, "tracker");
    assert_eq!(document["disabled"], true);
    assert!(text.contains("cloakroom user enable alice"), "{text}");
}

#[test]
fn a_secret_set_before_a_header_needed_it_is_told_when_it_does_not_fit() {
    let house = house();
    let line = "secret set alice all TOKEN";
    house.ok(line, format!("{VALUE}\nsecond line"));
    let config = |slots: &str| {
        let server = format!("[servers.all]\nurl = \"http://127.0.0.1:9/mcp\"\n{slots}\n");
        fs::write(house.path("cloakroom.toml"), server).unwrap();
    };
    config("headers = { X-Token = '${TOKEN}', X-Basic = '${base64(TOKEN)}' }");
    let (document, text) = explain(&house, "all");
    let expected = ["header x-token: TOKEN=unfit", "header x-basic: TOKEN=set"];
    assert_eq!(places(&document), expected);
    assert_eq!(document["complete"], false);
    assert!(
        text.contains("UNFIT") && text.contains(&format!("cloakroom {line}")),
        "{text}"
    );
    house.fails(line, "a\nb", 1, &["goes into a header"]);
    config("arguments = { token = { value = '${TOKEN}', tools = ['a'] } }");
    assert_eq!(explain(&house, "all").0["complete"], true);
    house.ok(line, "a\nb");
}

// Fails when variables are told as headers or not at all, or a constant's text is.
#[test]
fn variables_of_a_child_are_told_like_other_slots() {
    let house = house();
    let write = |more: &str| {
        let server = "[servers.notion]\ncommand = ['notion-mcp-server']\n";
        let env = "[servers.notion.env]\nNOTION_TOKEN = 'x-canary-${TOKEN}'\nMODE = 'canary'\n\
                   BASIC = '${base64(NAME:TOKEN)}'\n[servers.notion.arguments]\nsite = '${SITE}'\n";
        fs::write(
            house.path("cloakroom.toml"),
            format!("{server}{more}\n{env}"),
        )
        .unwrap();
    };
    write("");
    set(&house, "notion", "TOKEN", "default");
    // No header carries it, and a variable does.
    house.ok("secret set alice notion NAME", "a\nb");
    let (document, text) = explain(&house, "notion");
    let expected = [
        "variable NOTION_TOKEN: TOKEN=set",
        "variable MODE:",
        "variable BASIC: NAME=set TOKEN=set",
        "argument site: SITE=missing",
    ];
    assert_eq!(places(&document), expected);
    assert_eq!(document["slots"][1]["from"], "constant");
    assert_eq!(document["missing"], json!(["SITE"]));
    for part in [
        "variable `NOTION_TOKEN`",
        "the user's process",
        "SITE is missing: cloakroom secret set alice notion SITE\n",
        "needs the variables like",
    ] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
    write("discovery = 'omit'");
    let text = explain(&house, "notion").1;
    assert!(text.contains("goes without the variables whose"), "{text}");
}

#[test]
fn who_or_what_is_not_there_is_said() {
    let house = house();
    house.fails(
        "explain --user eve --server github",
        "",
        1,
        &["no user `eve`"],
    );
    let says = ["no server `gihub`", "there is github, "];
    house.fails("explain --user alice --server gihub", "", 1, &says);
    house.fails("explain --user alice", "", 2, &["--server"]);
}

#[test]
fn a_keyring_of_one_server_explains_that_server() {
    let house = house();
    house.ok("secret set alice github GITHUB_TOKEN", VALUE);
    set(&house, "tracker", "TOKEN", "default");
    let exported = house.ok("keyring export --server github", "").out;
    fs::write(house.path("master.keys"), exported).unwrap();
    assert_eq!(explain(&house, "github").0["complete"], true);
    let line = "explain --user alice --server tracker";
    house.fails(line, "", 1, &["no key for the server `tracker`"]);
    explain(&house, "plain");
}
