use super::House;

#[test]
fn a_user_from_adding_to_deleting() {
    let house = House::new();
    let added = house.json("user add alice --email alice@example.com", "");
    assert_eq!(
        (&added["name"], &added["disabled"]),
        (&"alice".into(), &false.into())
    );
    assert!(
        house
            .ok("user add bob", "")
            .out
            .contains("cloakroom key issue bob")
    );

    let list = house.ok("user list", "").out;
    let lines: Vec<_> = list.lines().collect();
    assert!(lines[0].starts_with("NAME   STATUS   CREATED"), "{list}");
    assert!(lines[1].starts_with("alice  enabled  20") && lines[1].ends_with("alice@example.com"));
    assert!(
        lines[2].starts_with("bob    enabled  20") && lines[2].ends_with('Z'),
        "{list}"
    );
    assert_eq!(house.json("user list", "")["users"][1]["name"], "bob");

    house.ok("secret set alice github GITHUB_TOKEN", "t");
    house.ok("key issue alice", "");
    let key = house.json("key issue alice", "");
    house.ok(&format!("key revoke {}", key["id"].as_str().unwrap()), "");
    let shown = house.ok("user show alice", "").out;
    for part in [
        "alice@example.com",
        "2 (1 usable)",
        "github (profile default)",
    ] {
        assert!(shown.contains(part), "{shown}");
    }
    let shown = house.json("user show alice", "");
    assert_eq!(shown["keys"]["usable"], 1);
    assert_eq!(shown["secrets"][0]["server"], "github");

    assert_eq!(house.ok("user disable alice", "").out, "disabled alice\n");
    assert!(
        house
            .ok("user show alice", "")
            .out
            .contains("status   disabled")
    );
    assert_eq!(house.json("user disable alice", "")["on_all_copies"], true);
    assert_eq!(house.json("user enable alice", "")["disabled"], false);

    house.fails("user delete alice", "", 2, &["--yes"]);
    house.ok("user show alice", "");
    assert_eq!(
        house.json("user delete alice --yes", "")["deleted"],
        "alice"
    );
    house.fails(
        "user show alice",
        "",
        1,
        &["no user `alice`", "cloakroom user list"],
    );
    house.fails("user delete alice --yes", "", 1, &["no user `alice`"]);
    house.fails("key list alice", "", 1, &["no user `alice`"]);
    house.ok("user add alice --email alice@example.com", "");
}

#[test]
fn what_is_not_a_user_is_refused() {
    let house = House::with_alice();
    house.ok("user add bob --email bob@example.com", "");
    house.fails("user add alice", "", 1, &["a user `alice` already"]);
    house.fails(
        "user add eve --email BOB@example.com",
        "",
        1,
        &["another user has the e-mail"],
    );
    house.fails("user show eve", "", 1, &["no user"]);
    house.fails("user add Alice", "", 2, &["a-z 0-9 . _ @ + -"]);
    house.fails(
        "user add eve --email nonsense",
        "",
        2,
        &["alice@example.com"],
    );
    for line in [
        "user disable eve",
        "user enable eve",
        "key issue eve",
        "secret list eve",
    ] {
        house.fails(line, "", 1, &["no user `eve`", "cloakroom user list"]);
    }
    assert_eq!(
        house.json("user list", "")["users"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
}
