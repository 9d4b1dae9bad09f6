use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cloakroom::cli::open;
use cloakroom::names::UserName;
use cloakroom::vault::{KeyKind, KeyringText, NewUser, Vault};

use super::{CONFIG, House};

#[test]
fn a_keyring_is_made_once_for_its_owner_alone() {
    let house = House::bare();
    let says = ["no keyring at", "cloakroom keyring init"];
    house.fails("user list", "", 1, &says);
    let made = house.ok("keyring init", "");
    assert_eq!(made.out, "made master.keys\n");
    assert!(made.err.contains("keep a copy"));
    let mode = || {
        fs::metadata(house.path("master.keys"))
            .unwrap()
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!(mode(), 0o600);
    let kept = fs::read(house.path("master.keys")).unwrap();
    house.fails("keyring init", "", 1, &["exists already"]);
    assert_eq!(fs::read(house.path("master.keys")).unwrap(), kept);

    for open in [0o640, 0o644] {
        fs::set_permissions(house.path("master.keys"), fs::Permissions::from_mode(open)).unwrap();
        house.fails("user list", "", 1, &["chmod 600 master.keys"]);
    }
    fs::set_permissions(house.path("master.keys"), fs::Permissions::from_mode(0o600)).unwrap();
    house.ok("user list", "");
}

#[test]
fn a_keyring_can_come_before_the_configuration() {
    let house = House::bare();
    fs::remove_file(house.path("cloakroom.toml")).unwrap();
    let document = house.json("keyring init --config etc/cloakroom.toml", "");
    assert_eq!(document["file"], "etc/master.keys");
    fs::write(house.path("etc/cloakroom.toml"), CONFIG).unwrap();
    house.ok("user add alice --config etc/cloakroom.toml", "");
    assert!(house.path("etc/cloakroom.db").exists());
}

#[test]
fn a_wrong_keyring_is_refused() {
    let house = House::with_alice();
    fs::rename(house.path("master.keys"), house.path("right.keys")).unwrap();
    house.ok("keyring init", "");
    for line in ["user list", "user add bob", "key issue alice"] {
        house.fails(line, "", 1, &["the right file in [keyring] file"]);
    }
    house.fails(
        "secret set alice github GITHUB_TOKEN",
        "x",
        1,
        &["the right file"],
    );
    fs::write(house.path("master.keys"), "hunter2 hunter2").unwrap();
    let said = house.fails("user list", "", 1, &["line 1"]);
    assert!(!said.contains("hunter2"));
    fs::rename(house.path("right.keys"), house.path("master.keys")).unwrap();
    assert_eq!(house.json("user list", "")["users"][0]["name"], "alice");
}

#[test]
fn an_export_reads_one_servers_secrets_and_writes_no_user() {
    let house = House::with_alice();
    house.ok("secret set alice github GITHUB_TOKEN", "x");
    house.ok("secret set alice jira JIRA_USER", "x");
    let exported = house.ok("keyring export --server github", "");
    assert!(exported.out.contains(" server github ") && !exported.out.contains(" sign "));
    assert_eq!(exported.err, "");
    let document = house.json("keyring export --server github", "");
    assert_eq!(document["keyring"].as_str(), Some(&*exported.out));
    let unknown = house.ok("keyring export --server gihub", "").err;
    assert!(
        unknown.contains("no server `gihub`") && unknown.contains("github"),
        "{unknown}"
    );

    fs::write(house.path("master.keys"), &exported.out).unwrap();
    let list = house.json("secret list alice", "");
    let servers: Vec<_> = list["secrets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| &s["server"])
        .collect();
    assert_eq!(servers, ["github"]);
    house.fails("user add bob", "", 1, &["keyring"]);
    house.fails("key issue alice", "", 1, &["keyring"]);
    let check = house.run("check", "");
    assert_eq!(check.code, 1);
    assert!(
        check
            .out
            .contains("`cloakroom keyring export --server jira`"),
        "{}",
        check.out
    );
}

fn key_lines(house: &House) -> Vec<String> {
    let text = fs::read_to_string(house.path("master.keys")).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let name = |line: &str| line.split(' ').take(2).collect::<Vec<_>>().join(" ");
    lines.map(name).collect()
}

#[test]
fn with_nobody_serving_a_rotation_is_two_commands() {
    let house = House::with_alice();
    house.ok("secret set alice github GITHUB_TOKEN", "x");
    let text = fs::read_to_string(house.path("master.keys")).unwrap();
    fs::write(house.path("master.keys"), format!("# ours\n{text}")).unwrap();
    let done = house.json("keyring rotate", "");
    assert_eq!(done["state"], "done");
    assert_eq!(
        done["old"],
        serde_json::json!(["realm:r1", "server:s1", "sign:g1"])
    );
    let both = [
        "r2 realm",
        "r1 realm",
        "i1 index",
        "s2 server",
        "s1 server",
        "g2 sign",
        "g1 sign",
    ];
    assert_eq!(key_lines(&house), both);
    // Once more makes no further keys.
    let again = house.ok("keyring rotate", "");
    assert!(
        again.out.starts_with("sealed 0 records again"),
        "{}",
        again.out
    );
    assert!(again.out.contains("cloakroom keyring retire"));
    assert_eq!(key_lines(&house), both);
    let retired = house.ok("keyring retire", "");
    assert_eq!(
        retired.out,
        "retired realm:r1\nretired server:s1\nretired sign:g1\n"
    );
    assert!(
        retired.err.contains("backups of the store"),
        "{}",
        retired.err
    );
    assert_eq!(
        key_lines(&house),
        ["r2 realm", "i1 index", "s2 server", "g2 sign"]
    );
    let kept = fs::read_to_string(house.path("master.keys")).unwrap();
    assert!(kept.starts_with("# ours\n"));
    assert_eq!(
        house.json("secret list alice", "")["secrets"][0]["name"],
        "GITHUB_TOKEN"
    );
    // Nothing stands where its servers would.
    let check = house.run("check", "").out;
    assert!(check.contains("is the store's"), "{check}");
    assert_eq!(house.ok("keyring retire", "").out, "there is no old key\n");
}

/// Fails when a key is taken for the next because of its id.
#[test]
fn a_key_put_first_by_hand_stays_first() {
    let house = House::with_alice();
    let ours = house.path("master.keys");
    let text = fs::read_to_string(&ours).unwrap();
    let other = House::new();
    let other = fs::read_to_string(other.path("master.keys")).unwrap();
    let realm = |text: &str| {
        text.lines()
            .find(|l| l.starts_with("r1 "))
            .unwrap()
            .to_owned()
    };
    let (leaked, new) = (realm(&text), realm(&other));
    let (name, _) = leaked.rsplit_once(' ').unwrap();
    let (_, key) = new.rsplit_once(' ').unwrap();
    let by_hand = format!("{} {key}\n{leaked}", name.replace("r1", "prod"));
    fs::write(&ours, text.replace(&leaked, &by_hand)).unwrap();
    let done = house.json("keyring rotate --kind realm", "");
    assert_eq!(done["active"][0], "realm:prod");
    assert_eq!(done["old"], serde_json::json!(["realm:r1"]));
    house.ok("keyring retire", "");
    assert_eq!(
        key_lines(&house),
        ["prod realm", "i1 index", "s1 server", "g1 sign"]
    );
    assert_eq!(house.json("user list", "")["users"][0]["name"], "alice");
}

#[test]
fn one_kind_of_keys_is_rotated_alone() {
    let house = House::with_alice();
    house.ok("secret set alice github GITHUB_TOKEN", "x");
    let done = house.json("keyring rotate --kind server", "");
    assert_eq!(done["resealed"], 1);
    assert_eq!(
        key_lines(&house),
        ["r1 realm", "i1 index", "s2 server", "s1 server", "g1 sign"]
    );
    house.fails("keyring rotate --kind index", "", 2, &["never rotated"]);
    house.fails("keyring retire s2", "", 1, &["not an old key"]);
    house.fails("keyring retire r1", "", 1, &["not an old key"]);
    house.fails("keyring retire r7", "", 1, &["there are server:s1"]);
    house.ok("keyring retire server:s1", "");
    assert_eq!(
        key_lines(&house),
        ["r1 realm", "i1 index", "s2 server", "g1 sign"]
    );
}

/// A vault of this process, opened by another file than the configured.
async fn vault(house: &House, file: &str) -> Vault {
    let from = open::Source::of(Some(&house.path("cloakroom.toml")));
    let config = from.load().ok().unwrap();
    let store = open::store(&config).await.ok().unwrap();
    let ring = open::keyring(&house.path(file).into()).unwrap();
    Vault::new(store, Arc::new(ring))
}

/// Fails when the file is changed before the store has taken the new keys.
#[test]
fn a_second_rotation_from_another_copy_leaves_its_file_as_it_was() {
    let house = House::with_alice();
    let file = house.path("master.keys");
    let first = fs::read_to_string(&file).unwrap();
    house.ok("keyring rotate --kind server", "");
    let current = fs::read_to_string(&file).unwrap();
    fs::write(&file, &first).unwrap();
    let says = ["another rotation", "server:s2", "bring that file here"];
    house.fails("keyring rotate", "", 1, &says);
    assert_eq!(fs::read_to_string(&file).unwrap(), first);
    house.ok("user list", "");
    // What it had claimed before it came upon the other's is free again: the other goes on.
    fs::write(&file, &current).unwrap();
    let done = house.json("keyring rotate --kind realm", "");
    assert_eq!(done["active"][0], "realm:r2");
}

/// Fails when what is proposed in the file is not gone on with.
#[test]
fn a_rotation_killed_before_or_after_its_claim_goes_on_with_the_same_key() {
    for claimed in [false, true] {
        let house = House::with_alice();
        let file = house.path("master.keys");
        let text = KeyringText::new(&fs::read_to_string(&file).unwrap());
        let (_, lines) = text.keyring().unwrap().successors(KeyKind::Realm);
        let proposed = text.proposing(&lines);
        if claimed {
            let runtime = open::runtime().ok().unwrap();
            runtime.block_on(async {
                let vault = vault(&house, "master.keys").await;
                let coming = proposed.accepted().keyring().unwrap();
                assert_eq!(vault.claim_keys(&coming).await.unwrap(), None);
            });
        }
        fs::write(&file, proposed.expose_text()).unwrap();
        house.ok("user list", "");
        let done = house.json("keyring rotate --kind realm", "");
        assert_eq!(done["active"][0], "realm:r2");
        let after = fs::read_to_string(&file).unwrap();
        let key = lines.expose_text().lines().last().unwrap();
        assert!(after.lines().any(|line| line == key));
        assert!(!after.contains("proposed") && !after.contains("next:"));
        assert_eq!(house.json("user list", "")["users"][0]["name"], "alice");
    }
}

/// Fails when `retire` changes the file before the store says that the key is retired, or does not look
/// again after that.
#[test]
fn what_is_written_while_a_key_is_retired_keeps_it() {
    let house = House::with_alice();
    house.ok("keyring rotate", "");
    let current = fs::read_to_string(house.path("master.keys")).unwrap();
    let realm: Vec<_> = current.lines().filter(|l| l.contains(" realm ")).collect();
    let turned = format!("{}\n{}", realm[1], realm[0]);
    let old = current.replace(&realm.join("\n"), &turned);
    fs::write(house.path("old.keys"), old).unwrap();
    fs::set_permissions(house.path("old.keys"), fs::Permissions::from_mode(0o600)).unwrap();
    let runtime = open::runtime().ok().unwrap();
    // A command that has started with the old key first.
    let command = runtime.block_on(vault(&house, "old.keys"));
    runtime.block_on(command.check_keyring()).unwrap();
    let kept = std::thread::scope(|scope| {
        let retire = scope.spawn(|| house.run("keyring retire", ""));
        let patience = Instant::now() + Duration::from_secs(20);
        while runtime.block_on(command.check_keyring()).is_ok() {
            assert!(Instant::now() < patience && !retire.is_finished());
        }
        // The store says that it is retired; who had started before does not know.
        let bob = UserName::parse("bob").unwrap();
        runtime
            .block_on(command.add_user(&bob, NewUser::default()))
            .unwrap();
        retire.join().unwrap()
    });
    assert_eq!(kept.code, 1, "{}", kept.err);
    assert_eq!(kept.out, "retired server:s1\nretired sign:g1\n");
    let says = "realm:r1 stays: records in the store need it (1 of names and e-mails, 1 of users)";
    assert!(kept.err.contains(says), "{}", kept.err);
    assert!(key_lines(&house).contains(&"r1 realm".to_owned()));
    // And it may be used again until it goes.
    runtime.block_on(command.check_keyring()).unwrap();
    house.ok("keyring rotate", "");
    house.ok("keyring retire", "");
    assert_eq!(house.json("user list", "")["users"][1]["name"], "bob");
}

#[test]
fn a_key_that_something_needs_is_not_retired() {
    let house = House::with_alice();
    house.ok("secret set alice github GITHUB_TOKEN", "x");
    let first = fs::read_to_string(house.path("master.keys")).unwrap();
    house.ok("keyring rotate", "");
    // A machine that was forgotten has both keys, the old ones first, and writes.
    let current = fs::read_to_string(house.path("master.keys")).unwrap();
    let is_new = |line: &&str| line.starts_with(['r', 's', 'g']) && &line[1..2] == "2";
    let new: String = current
        .lines()
        .filter(is_new)
        .map(|l| format!("{l}\n"))
        .collect();
    fs::write(house.path("master.keys"), format!("{first}{new}")).unwrap();
    house.ok("secret set alice github GITHUB_TOKEN", "y");
    house.ok("user add bob", "");
    fs::write(house.path("master.keys"), &current).unwrap();
    let kept = house.run("keyring retire", "");
    assert_eq!((kept.code, kept.out.as_str()), (1, ""));
    for says in [
        "realm:r1 stays: records in the store need it (1 of names and e-mails, 2 of users)",
        "server:s1 stays: records in the store need it (1 of secret sets)",
        "sign:g1 stays",
        "cloakroom keyring rotate",
    ] {
        assert!(kept.err.contains(says), "no {says:?} in {}", kept.err);
    }
    assert_eq!(house.json("keyring rotate", "")["resealed"], 4);
    house.ok("keyring retire", "");
    // That machine is refused from now on: what it wrote would open no more.
    let both = format!("{first}{new}");
    let retired = fs::read_to_string(house.path("master.keys")).unwrap();
    fs::write(house.path("master.keys"), &both).unwrap();
    let says = [
        "`realm:r1`, which `cloakroom keyring retire` has retired",
        "bring the current",
    ];
    house.fails("user add carol", "", 1, &says);
    house.fails("keyring rotate", "", 1, &says);
    house.fails("serve", "", 1, &says);
    fs::write(house.path("master.keys"), &retired).unwrap();
    house.ok("user add carol", "");
    // The whole file is needed to see what needs a key; and to rotate, one that can sign.
    fs::write(house.path("master.keys"), &first).unwrap();
    let says = ["lacks the key `realm:r2`", "bring the current keyring"];
    house.fails("keyring rotate", "", 1, &says);
    fs::write(house.path("master.keys"), &current).unwrap();
    let part = house.ok("keyring export --server github", "").out;
    fs::write(house.path("master.keys"), part).unwrap();
    house.fails("keyring rotate", "", 1, &["no `sign` key"]);
    house.fails("keyring retire", "", 1, &["no `sign` key"]);
}
