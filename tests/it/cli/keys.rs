use super::House;

#[test]
fn a_key_is_shown_once_and_alone() {
    let house = House::with_alice();
    let issued = house.ok("key issue alice --name laptop --ttl 90d --profile work", "");
    let key = issued.out.trim_end();
    assert!(key.starts_with("clk_") && key.len() == 40 && issued.out.lines().count() == 1);
    assert!(issued.err.contains("shown this once") && issued.err.contains("expires 20"));
    assert!(!issued.err.contains(key), "the key is on standard error");

    let done = house.ok("key issue alice --json", "");
    let document = done.document();
    assert!(done.err.is_empty(), "{}", done.err);
    assert_eq!(document["key"].as_str().unwrap().len(), 40);
    assert_eq!(document["id"].as_str().unwrap().len(), 16);
    assert!(document["expires"].is_null() && document.as_object().unwrap().len() == 3);
    let expiring = house.json("key issue alice --ttl 1h", "");
    assert!(expiring["expires"].as_str().unwrap().ends_with('Z'));

    let list = house.ok("key list alice", "").out;
    assert!(
        list.starts_with("ID                STATUS  CREATED"),
        "{list}"
    );
    assert!(
        list.contains("work     laptop") && list.contains("never"),
        "{list}"
    );
    assert!(!list.contains("clk_"), "{list}");
    assert_eq!(
        house.json("key list alice", "")["keys"]
            .as_array()
            .unwrap()
            .len(),
        3
    );
    let kept = std::fs::read(house.path("cloakroom.db")).unwrap();
    let kept = String::from_utf8_lossy(&kept);
    assert!(!kept.contains(key) && !kept.contains("laptop") && !kept.contains("alice"));
}

#[test]
fn a_key_is_revoked_by_its_id_or_by_itself() {
    let house = House::with_alice();
    let one = house.json("key issue alice", "");
    let id = one["id"].as_str().unwrap();
    assert_eq!(
        house.ok(&format!("key revoke {id}"), "").out,
        format!("revoked {id}\n")
    );
    let again = house.json(&format!("key revoke {id}"), "");
    assert_eq!(
        (&again["status"], &again["on_all_copies"]),
        (&"revoked".into(), &true.into())
    );

    let two = house.json("key issue alice", "");
    let key = two["key"].as_str().unwrap();
    let revoked = house.json("key revoke -", format!("{key}\n"));
    assert_eq!(revoked["id"], two["id"]);
    assert!(
        house
            .ok("key list alice", "")
            .out
            .matches("revoked")
            .count()
            == 2
    );
    assert!(house.ok("user show alice", "").out.contains("2 (0 usable)"));
}

#[test]
fn what_is_not_a_key_is_refused_and_never_repeated() {
    let house = House::with_alice();
    let key = house.json("key issue alice", "")["key"]
        .as_str()
        .unwrap()
        .to_owned();
    let said = house.fails(
        &format!("key revoke {key}"),
        "",
        2,
        &["standard input", "key list"],
    );
    assert!(!said.contains(&key), "{said}");
    assert_eq!(
        house.json("key list alice", "")["keys"][0]["status"],
        "usable"
    );
    let wrong = format!("{}0", &key[..39]);
    let wrong = if wrong == key {
        format!("{}1", &key[..39])
    } else {
        wrong
    };
    let said = house.fails("key revoke -", &wrong, 1, &["not a key"]);
    assert!(!said.contains(&wrong), "{said}");
    house.fails("key revoke -", "", 1, &["not a key"]);
    house.fails(
        "key revoke 0123456789abcdef",
        "",
        1,
        &["no key `0123456789abcdef`", "key list"],
    );
    house.fails("key issue alice --ttl 0s", "", 2, &["at least 1s"]);
    house.fails("key issue alice --ttl soon", "", 2, &["90d"]);

    let other = House::with_alice();
    let foreign = other.json("key issue alice", "")["key"]
        .as_str()
        .unwrap()
        .to_owned();
    house.fails("key revoke -", foreign, 1, &["not known here"]);
}

#[test]
fn an_expired_key_says_so() {
    let house = House::with_alice();
    house.ok("key issue alice --ttl 1s", "");
    std::thread::sleep(std::time::Duration::from_millis(2100));
    assert_eq!(
        house.json("key list alice", "")["keys"][0]["status"],
        "expired"
    );
}
