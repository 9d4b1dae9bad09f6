use super::House;

#[test]
fn an_administrators_key_is_shown_once_listed_and_revoked() {
    let house = House::new();
    let issued = house.ok("admin key issue root --role owner --ttl 90d", "");
    let key = issued.out.trim_end();
    assert!(key.starts_with("cla_") && key.len() == 40 && issued.out.lines().count() == 1);
    assert!(issued.err.contains("(owner), shown this once") && !issued.err.contains(key));
    let document = house.json("admin key issue other", "");
    assert_eq!(document["role"], "admin");
    let list = house.json("admin key list", "");
    assert_eq!(list["keys"].as_array().unwrap().len(), 2);
    assert!(!list.to_string().contains("cla_"));
    let id = document["id"].as_str().unwrap();
    let revoked = house.json(&format!("admin key revoke {id}"), "");
    assert_eq!(revoked["status"], "revoked");
    assert!(house.ok("admin key list", "").out.contains("revoked"));
    let says = house.fails(
        &format!("admin key revoke {key}"),
        "",
        2,
        &["not the id of a key"],
    );
    assert!(!says.contains(key));
    house.fails(
        "admin key issue x --role boss",
        "",
        2,
        &["write owner, admin or reader"],
    );
}
