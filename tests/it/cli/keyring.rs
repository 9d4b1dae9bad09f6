use std::fs;
use std::os::unix::fs::PermissionsExt;

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
