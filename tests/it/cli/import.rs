//! Users, keys and secrets of other systems, through the real binary.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use cloakroom::cli::open;
use cloakroom::names::{GroupName, UserName};
use cloakroom::vault::{Access, NewUser, Vault};
use serde_json::{Value, json};
use tokio::task::block_in_place;

use super::{Done, House, run_in};
use crate::support::backend::Recorder;
use crate::support::fingerprint;
use crate::support::proxy::{Lines, Place, Proxy};

/// A credential in every file here, which no output may hold.
const CANARY: &str = "canary-5d1f";

const OLD_KEY: &str = "mcpgw_AbCdEf0123456789";
const SPENT_KEY: &str = "mcpgw_spent";

fn users_json() -> Value {
    let (old, spent) = (
        fingerprint(OLD_KEY.as_bytes()),
        fingerprint(SPENT_KEY.as_bytes()),
    );
    let key = |revoked| {
        json!({ "user_id": "u-1", "username": "alice", "key_name": "laptop",
                "created_at": "2025-01-01T10:00:00.123456", "expires_at": null, "revoked": revoked })
    };
    json!({
        "users": {
            "alice": { "user_id": "u-1", "email": "alice@example.com", "description": "the first",
                "created_at": "2025-01-01T10:00:00", "enabled": true, "api_keys": [old, spent],
                "mcp_allowed": ["github", "elsewhere"], "mcp_blocked": [], "metadata": { "team": "a" } },
            "Bob": { "user_id": "u-2", "enabled": false, "api_keys": [] },
            "no name": { "user_id": "u-3" },
            "carol": { "user_id": "u-4", "enabled": CANARY },
        },
        "api_keys": { (old): key(false), (spent): key(true) },
    })
}

/// The vault of a house, opened as the commands open it.
async fn vault(house: &House) -> Arc<Vault> {
    let config = cloakroom::config::load(Some(&house.path("cloakroom.toml")), std::iter::empty());
    Arc::new(open::vault(&config.unwrap()).await.unwrap())
}

/// Every record there is, and its version.
async fn records(house: &House) -> Vec<(String, u64)> {
    let path = house.path("cloakroom.toml");
    let config = cloakroom::config::load(Some(&path), std::iter::empty()).unwrap();
    let store = open::store(&config).await.unwrap();
    let mut all = Vec::new();
    for kind in ["k/", "u/", "s/", "n/", "a/", "c/", "g/", "m/", "o/"] {
        let page = store.page(kind, None, 1000).await.unwrap();
        all.extend(page.iter().map(|r| (r.id.as_str().to_owned(), r.version)));
    }
    all
}

#[track_caller]
fn without_values(done: &Done) {
    for text in [&done.out, &done.err] {
        assert!(!text.contains(CANARY), "{text}");
    }
}

/// Runs an import whose file is written first.
#[track_caller]
fn import(house: &House, content: &str, line: &str, code: i32) -> Value {
    std::fs::write(house.path("in"), content).unwrap();
    let done = house.run(&format!("import in {line} --json"), "");
    without_values(&done);
    assert_eq!(done.code, code, "{} {}", done.out, done.err);
    done.document()
}

fn row<'d>(document: &'d Value, user: &str) -> &'d Value {
    let rows = document["rows"].as_array().unwrap();
    let found = rows.iter().find(|row| row["user"] == user);
    found.unwrap_or_else(|| panic!("no {user} in {document}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateways_key_reaches_a_backend_unchanged() {
    let backend = Recorder::start().await;
    let lines = Lines {
        root: "key_prefixes = [\"mcpgw_\"]",
        ..Lines::default()
    };
    let proxy = Proxy::start(&Place::Sqlite, &lines, &[("github", backend.url.clone())]).await;
    std::fs::write(
        proxy.folder.path().join("users.json"),
        users_json().to_string(),
    )
    .unwrap();
    let done = block_in_place(|| {
        let line = "import users.json --from gateway-json --lowercase --json";
        let args = line.split(' ').chain(["--rename", "no name=dave"]);
        run_in(proxy.folder.path(), args, b"")
    });
    without_values(&done);
    assert_eq!(done.code, 1, "{} {}", done.out, done.err);
    let document = done.document();
    assert_eq!(
        (&document["done"], &document["refused"]),
        (&3.into(), &1.into())
    );
    assert_eq!(
        row(&document, "carol")["why"],
        "`enabled` is not true or false"
    );
    let notes = document["notes"].to_string();
    assert!(
        notes.contains("elsewhere") && !notes.contains("key_prefixes"),
        "{notes}"
    );

    proxy.set_secret("alice", "github", "alices-token").await;
    let answer = proxy.client().call("github", OLD_KEY, "x").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let received = backend.received().join("\n");
    assert!(received.contains("Bearer alices-token"), "{received}");
    let spent = proxy.client().call("github", SPENT_KEY, "x").await;
    assert_eq!(spent.status, 401, "{}", spent.text());

    let alice = proxy
        .vault
        .user(&UserName::parse("alice").unwrap())
        .await
        .unwrap();
    assert_eq!(alice.record.created, 1_735_725_600);
    assert_eq!(alice.record.metadata["user_id"], "u-1");
    assert_eq!(alice.record.access.allowed_servers.len(), 2);
    let bob = proxy
        .vault
        .user(&UserName::parse("bob").unwrap())
        .await
        .unwrap();
    assert!(bob.record.disabled);
}

#[test]
fn what_the_keys_need_and_what_names_need_is_said() {
    let house = House::new();
    let document = import(&house, &users_json().to_string(), "--from gateway-json", 1);
    assert!(
        document["notes"]
            .to_string()
            .contains("key_prefixes = [\\\"mcpgw_\\\"]"),
        "{document}"
    );
    for (name, says) in [("Bob", "--lowercase"), ("no name", "--rename")] {
        let why = row(&document, name)["why"].as_str().unwrap();
        assert!(why.contains(says), "{why}");
    }
    let two = r#"{"users": {"Eve": {}, "eve": {}}}"#;
    let document = import(&house, two, "--from gateway-json --lowercase", 1);
    assert_eq!(document["refused"], 2);
    let document = import(
        &house,
        two,
        "--from gateway-json --lowercase --rename Eve=eve-2",
        0,
    );
    assert_eq!(document["done"], 2);
    // Not under a name that says nothing of what it is.
    house.fails("import in", "", 2, &["--from"]);
    let broken = import_fails(
        &house,
        "{\"users\": [\"canary-5d1f\"]}",
        "--from gateway-json",
    );
    assert!(broken.contains("users.json"), "{broken}");
}

#[track_caller]
fn import_fails(house: &House, content: &str, line: &str) -> String {
    std::fs::write(house.path("in"), content).unwrap();
    let done = house.run(&format!("import in {line}"), "");
    without_values(&done);
    assert_eq!((done.code, done.out.as_str()), (1, ""), "{}", done.err);
    done.err
}

// Fails when --dry-run writes, or an import that is run again does anything.
#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_writes_nothing_and_a_second_run_changes_nothing() {
    let house = House::new();
    let file = users_json().to_string();
    // Whatever command opens a new store first leaves the check values of the keyring in it.
    block_in_place(|| house.ok("user list", ""));
    let before = records(&house).await;
    let line = "--from gateway-json";
    let dry = block_in_place(|| import(&house, &file, &format!("{line} --dry-run"), 1));
    assert_eq!(records(&house).await, before);
    let real = block_in_place(|| import(&house, &file, line, 1));
    assert_eq!(dry["dry_run"], true);
    assert_eq!(dry["rows"], real["rows"]);
    let after = records(&house).await;
    assert!(after.len() > before.len());

    let again = block_in_place(|| import(&house, &file, line, 1));
    let why = row(&again, "alice")["why"].as_str().unwrap();
    assert!(why.contains("--merge"), "{why}");
    let merged = block_in_place(|| import(&house, &file, &format!("{line} --merge"), 1));
    assert_eq!(row(&merged, "alice")["result"], "unchanged");
    assert_eq!(records(&house).await, after);
}

fn mappings(hash: &str) -> String {
    let credentials = format!(
        r#"{{""technicianKey"": ""{CANARY}"", ""instance"": {{""url"": ""user-7"", ""port"": 7}}}}"#
    );
    format!(
        "\u{feff}id,api_key,api_key_hash,user_name,user_email,encrypted_credentials,is_active,created_at,\
         usage_count,rate_limit_override,metadata,notes,credentials\r\n\
         1,,{hash},erin,erin@example.com,deadbeef,t,2025-01-01 10:00:00+00,17,90,\"{{\"\"a\"\": 1}}\",a note,\"{credentials}\"\r\n\
         2,usr_plain{CANARY},,frank,,,f,,,,,,\"{credentials}\"\r\n\
         3,,{CANARY},grace,,,t,,,,,,{{}}\r\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_credentials_becomes_secrets() {
    let house = House::new();
    let file = mappings(&fingerprint(b"usr_erin"));
    let maps = "--map jira.JIRA_PASSWORD=technicianKey --map jira.JIRA_USER=instance.url";
    let line = format!("--from mappings-csv {maps}");
    let document = block_in_place(|| import(&house, &file, &line, 1));
    assert_eq!(document["done"], 2, "{document}");
    let why = row(&document, "grace")["why"].as_str().unwrap();
    assert!(why.contains("SHA-256"), "{why}");
    let notes = document["notes"].to_string();
    for said in [
        "encrypted_credentials",
        "plain text",
        "usr_",
        "requests a minute",
    ] {
        assert!(notes.contains(said), "{said}: {notes}");
    }
    let erin = row(&document, "erin");
    assert_eq!(
        erin["secrets"],
        json!(["jira.JIRA_PASSWORD", "jira.JIRA_USER"])
    );

    let vault = vault(&house).await;
    let name = UserName::parse("erin").unwrap();
    let sets = vault.expose_secrets(&name).await.unwrap();
    let all: Vec<_> = sets[0].secrets.expose_all().collect();
    assert_eq!(
        all,
        [
            ("JIRA_PASSWORD", CANARY.as_bytes()),
            ("JIRA_USER", b"user-7")
        ]
    );
    let record = vault.user(&name).await.unwrap().record;
    assert_eq!(
        (record.limits.rate, &record.metadata["usage_count"]),
        (Some(90), &json!(17))
    );
    assert_eq!(record.notes.as_deref(), Some("a note"));
    let frank = UserName::parse("frank").unwrap();
    assert!(vault.user(&frank).await.unwrap().record.disabled);
    let plain = fingerprint(format!("usr_plain{CANARY}").as_bytes());
    assert_eq!(vault.keys(&frank).await.unwrap()[0].digest.to_hex(), plain);

    // A secret that is there stays, unless asked.
    let other = file.replace("user-7", "user-8");
    let value = async || {
        let sets = vault.expose_secrets(&name).await.unwrap();
        let found = sets[0]
            .secrets
            .expose_all()
            .find(|(name, _)| *name == "JIRA_USER");
        String::from_utf8(found.unwrap().1.to_vec()).unwrap()
    };
    let document = block_in_place(|| import(&house, &other, &format!("{line} --merge"), 1));
    assert_eq!(row(&document, "erin")["kept"].as_array().unwrap().len(), 2);
    assert_eq!(value().await, "user-7");
    let line = format!("{line} --merge --overwrite-secrets");
    let document = block_in_place(|| import(&house, &other, &line, 1));
    assert_eq!(row(&document, "erin")["result"], "merged");
    assert_eq!(value().await, "user-8");
}

// Fails when a user whose key is another's, or whose value does not fit, is left behind.
#[tokio::test(flavor = "multi_thread")]
async fn a_user_is_done_whole_or_not_at_all() {
    let house = House::new();
    let file = mappings(&fingerprint(b"usr_erin"));
    block_in_place(|| import(&house, &file, "--from mappings-csv", 1));
    let stolen = file.replace("erin", "mallory").replace("frank", "oscar");
    let document = block_in_place(|| import(&house, &stolen, "--from mappings-csv", 1));
    let why = row(&document, "mallory")["why"].as_str().unwrap();
    assert!(why.contains("another user's"), "{why}");
    house.fails("user show mallory", "", 1, &["no user"]);

    let line = "--from mappings-csv --map github.GITHUB_TOKEN=technicianKey --map jira.A=missing";
    let document = block_in_place(|| import(&house, &file.replace("erin", "niaj"), line, 1));
    let why = row(&document, "niaj")["why"].as_str().unwrap();
    assert!(why.contains("`missing`"), "{why}");
    let broken = file.replace("erin", "niaj").replace(CANARY, "caf\u{e9}");
    let line = "--from mappings-csv --map github.GITHUB_TOKEN=technicianKey";
    let document = block_in_place(|| import(&house, &broken, line, 1));
    let why = row(&document, "niaj")["why"].as_str().unwrap();
    assert!(
        why.contains("github.GITHUB_TOKEN") && why.contains("header"),
        "{why}"
    );
    house.fails("user show niaj", "", 1, &["no user"]);
    let error = import_fails(
        &house,
        &file,
        "--from mappings-csv --map desk.TOKEN=technicianKey",
    );
    assert!(error.contains("no server `desk`"), "{error}");
}

fn batch() -> String {
    format!(
        "username,email,groups,key_name,ttl,profile,github.GITHUB_TOKEN,nowhere.X\n\
         heidi,heidi@example.com,staff,laptop,90d,work,{CANARY},\n\
         ivan,,,,,,,\n\
         judy,,ghosts,,,,,\n\
         ken,,,,soon,,,\n\
         leo,,,,,,,{CANARY}\n\
         mia,too,few\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn each_user_gets_a_key_in_a_file_of_its_own() {
    let house = House::new();
    let vault = vault(&house).await;
    let staff = GroupName::parse("staff").unwrap();
    vault
        .add_group(&staff, None, Access::default())
        .await
        .unwrap();
    let document = block_in_place(|| import(&house, &batch(), "--from csv", 1));
    assert_eq!(
        (&document["done"], &document["refused"]),
        (&2.into(), &4.into()),
        "{document}"
    );
    for (user, says) in [("judy", "ghosts"), ("ken", "ttl"), ("leo", "nowhere")] {
        let why = row(&document, user)["why"].as_str().unwrap();
        assert!(why.contains(says), "{why}");
        house.fails(&format!("user show {user}"), "", 1, &["no user"]);
    }
    // Which cell is the name, nobody knows in a row that is too short.
    let short = row(&document, "");
    assert_eq!(short["row"], "line 7");
    assert!(short["why"].as_str().unwrap().contains("cells"), "{short}");
    let mode = |name: &str| {
        let found = std::fs::metadata(house.path(name)).unwrap();
        found.permissions().mode() & 0o777
    };
    assert_eq!(
        (mode("clients"), mode("clients/heidi.json")),
        (0o700, 0o600)
    );
    assert_eq!(std::fs::read_dir(house.path("clients")).unwrap().count(), 2);
    let read = || std::fs::read(house.path("clients/heidi.json")).unwrap();
    let file: Value = serde_json::from_slice(&read()).unwrap();
    assert_eq!(file["mcpServers"].as_object().unwrap().len(), 3);
    let header = file["mcpServers"]["github"]["headers"]["Authorization"]
        .as_str()
        .unwrap();
    let key = header.strip_prefix("Bearer ").unwrap();
    let heidi = UserName::parse("heidi").unwrap();
    let keys = vault.keys(&heidi).await.unwrap();
    assert_eq!(keys[0].digest.to_hex(), fingerprint(key.as_bytes()));
    assert_eq!(keys[0].record.profile.as_deref(), Some("work"));
    assert_eq!(vault.user(&heidi).await.unwrap().record.groups.len(), 1);
    assert!(!document.to_string().contains(key));

    // Never over a file that is there, and then nothing of the user either.
    let kept = read();
    house.ok("user delete heidi --yes", "");
    let again = block_in_place(|| import(&house, &batch(), "--from csv", 1));
    let why = row(&again, "heidi")["why"].as_str().unwrap();
    assert!(why.contains("heidi.json exists"), "{why}");
    house.fails("user show heidi", "", 1, &["no user"]);
    assert_eq!(read(), kept);
    let document = block_in_place(|| import(&house, &batch(), "--from csv --no-keys", 1));
    assert_eq!(row(&document, "heidi")["result"], "added");
    assert!(vault.keys(&heidi).await.unwrap().is_empty());
}

// Fails when a user whose file cannot be written is left behind with a key nobody has.
#[tokio::test(flavor = "multi_thread")]
async fn a_user_whose_file_cannot_be_written_is_taken_back() {
    let house = House::new();
    std::fs::write(house.path("taken"), "a file, not a folder").unwrap();
    let csv = "username\nheidi\n";
    let document = block_in_place(|| import(&house, csv, "--from csv --out taken", 1));
    let why = row(&document, "heidi")["why"].as_str().unwrap();
    assert!(why.contains("cannot be written"), "{why}");
    house.fails("user show heidi", "", 1, &["no user"]);
    let vault = vault(&house).await;
    let heidi = UserName::parse("heidi").unwrap();
    vault.add_user(&heidi, NewUser::default()).await.unwrap();
    let line = "--from csv --out taken --merge";
    block_in_place(|| import(&house, csv, line, 1));
    assert!(vault.keys(&heidi).await.unwrap().is_empty());
    // And nothing of it stands in the way of another run.
    let line = "--from csv --out clients --merge";
    let document = block_in_place(|| import(&house, csv, line, 0));
    assert_eq!(row(&document, "heidi")["result"], "merged");
    assert_eq!(vault.keys(&heidi).await.unwrap().len(), 1);
}

// Fails when --merge gives back what was taken here, or forgets what was taken there.
#[tokio::test(flavor = "multi_thread")]
async fn a_merge_keeps_what_either_side_denies() {
    let house = House::new();
    let (old, spent) = (
        fingerprint(OLD_KEY.as_bytes()),
        fingerprint(SPENT_KEY.as_bytes()),
    );
    let file = |alice: Value, bob: Value, revoked: bool| {
        json!({ "users": { "alice": alice, "bob": bob }, "api_keys": {
            (&old): { "username": "alice", "revoked": false },
            (&spent): { "username": "bob", "revoked": revoked },
        } })
        .to_string()
    };
    let first = file(
        json!({ "mcp_allowed": ["github"], "mcp_blocked": ["jira"] }),
        json!({}),
        false,
    );
    block_in_place(|| import(&house, &first, "--from gateway-json", 0));
    let vault = vault(&house).await;
    let (alice, bob) = (
        UserName::parse("alice").unwrap(),
        UserName::parse("bob").unwrap(),
    );
    let key = async |user: &UserName| vault.keys(user).await.unwrap().remove(0);
    let alices = key(&alice).await.id;
    vault.revoke_key(&alices).await.unwrap();
    vault.set_disabled(&alice, true).await.unwrap();

    let second = file(
        json!({ "mcp_allowed": ["github", "plain"], "mcp_blocked": ["elsewhere"] }),
        json!({ "enabled": false, "mcp_allowed": ["plain"] }),
        true,
    );
    let line = "--from gateway-json --merge";
    let merged = block_in_place(|| import(&house, &second, line, 0));
    let kept = json!([
        format!("revoked key {alices}"),
        "allowed_servers",
        "disabled"
    ]);
    assert_eq!(row(&merged, "alice")["kept"], kept);
    let found = vault.user(&alice).await.unwrap().record;
    let names = |list: &[cloakroom::names::Pattern]| {
        let names = list.iter().map(|pattern| pattern.as_str().to_owned());
        names.collect::<Vec<_>>()
    };
    assert_eq!(names(&found.access.allowed_servers), ["github"]);
    assert_eq!(names(&found.access.blocked_servers), ["jira", "elsewhere"]);
    assert!(found.disabled && key(&alice).await.status() == "revoked");
    // Nobody had a list for bob, who might use everything: one that begins takes something away.
    let found = vault.user(&bob).await.unwrap().record;
    assert_eq!(names(&found.access.allowed_servers), ["plain"]);
    assert!(found.disabled && key(&bob).await.status() == "revoked");

    let before = records(&house).await;
    let again = block_in_place(|| import(&house, &second, line, 0));
    assert_eq!(row(&again, "alice")["result"], "unchanged");
    assert_eq!(row(&again, "bob")["result"], "unchanged");
    assert_eq!(records(&house).await, before);
}
