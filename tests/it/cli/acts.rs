//! Commands as the audit trail has them, where they are more than a name and what it is done to.

use serde_json::{Value, json};

use super::{CONFIG, House};

const TRAIL: &str = "trail.jsonl";

/// With a trail in `file`, and further lines about it.
fn keep_trail(house: &House, file: &str, lines: &str) {
    let audit = format!("file = \"{file}\"\n{lines}");
    let config = CONFIG.replace("file = \"\"", &audit);
    assert!(config.contains(&audit));
    std::fs::write(house.path("cloakroom.toml"), config).unwrap();
}

/// All records of acts.
fn acts(house: &House) -> Vec<Value> {
    let text = std::fs::read_to_string(house.path(TRAIL)).unwrap_or_default();
    let records = text.lines().map(|line| serde_json::from_str(line).unwrap());
    records
        .filter(|record: &Value| record["event"] == "admin")
        .collect()
}

fn told(act: &Value) -> [&str; 3] {
    ["act", "target", "outcome"].map(|field| act[field].as_str().unwrap())
}

// Fails when `import` begins before the file was read, or in a dry run.
#[test]
fn an_import_says_what_comes_and_whether_keys_do() {
    let house = House::with_alice();
    house.ok("group add staff", "");
    keep_trail(&house, TRAIL, "");
    let rows = "username,groups,github.GITHUB_TOKEN\nalice,,canary-1\nbob,staff,canary-2\n\
                carol,staff,canary-3\n";
    std::fs::create_dir(house.path("old")).unwrap();
    std::fs::write(house.path("old/people.csv"), rows).unwrap();
    house.run("import old/people.csv --from csv --dry-run", "");
    assert!(acts(&house).is_empty());
    // Alice is there already.
    let line = "import old/people.csv --from csv --url https://mcp.example.com";
    assert_eq!(house.run(line, "").code, 1);
    let all = acts(&house);
    let [begun, ended] = &all[..] else {
        panic!("{all:#?}")
    };
    assert_eq!(told(begun), ["import", "people.csv", "begun"]);
    let mut planned = json!({
        "from": "csv", "users": 3, "keys": 3, "groups": 1, "merge": false, "overwrite_secrets": false,
    });
    assert_eq!(begun["detail"], planned);
    assert_eq!(begun["impersonation"], true);
    (planned["done"], planned["refused"], planned["partly"]) = (2.into(), 1.into(), 0.into());
    assert_eq!(ended["detail"], planned);
    house.ok(
        "import old/people.csv --from csv --merge --no-keys --overwrite-secrets",
        "",
    );
    let all = acts(&house);
    assert_eq!(told(&all[3]), ["import", "people.csv", "done"]);
    assert_eq!(
        (&all[3]["detail"]["keys"], &all[3]["impersonation"]),
        (&0.into(), &false.into())
    );
    let text = std::fs::read_to_string(house.path(TRAIL)).unwrap();
    assert!(!text.contains("canary"));
}

#[test]
fn files_that_are_written_and_keys_that_are_revoked_are_named() {
    let house = House::with_alice();
    let issued = house.json("key issue alice", "");
    let (key, id) = (
        issued["key"].as_str().unwrap(),
        issued["id"].as_str().unwrap(),
    );
    keep_trail(&house, TRAIL, "");
    house.ok("export all.cloakroom", "a long enough passphrase");
    house.ok("backup kept.db", "");
    house.ok("key revoke -", key);
    let all = acts(&house);
    let told: Vec<_> = all.iter().map(told).collect();
    let expected = [
        ("export", "all.cloakroom"),
        ("store.backup", "kept.db"),
        ("key.revoke", id),
    ];
    let expected = expected.map(|(act, target)| [[act, target, "begun"], [act, target, "done"]]);
    assert_eq!(told, expected.concat());
    assert_eq!(all[5]["detail"]["key"], id);
    assert!(
        !std::fs::read_to_string(house.path(TRAIL))
            .unwrap()
            .contains(key)
    );
}

// Fails when a trail that does not open lets a command go on that needs no more than is there.
#[test]
fn where_a_record_is_required_nothing_is_done_without_keyring_or_store() {
    let house = House::with_alice();
    keep_trail(&house, TRAIL, "required = true\n");
    let (ring, store) = (house.path("master.keys"), house.path("cloakroom.db"));
    let (ring_away, store_away) = (house.path("ring.away"), house.path("store.away"));
    let says = ["[audit] required", "nothing was done"];
    std::fs::rename(&ring, &ring_away).unwrap();
    house.fails("backup kept.db", "", 1, &says);
    assert!(!house.path("kept.db").exists());
    // Not required, it is done and said.
    keep_trail(&house, TRAIL, "");
    let done = house.ok("backup kept.db", "");
    assert!(done.err.contains("not recorded"), "{}", done.err);
    std::fs::rename(&ring_away, &ring).unwrap();

    keep_trail(&house, TRAIL, "required = true\n");
    std::fs::rename(&store, &store_away).unwrap();
    std::fs::create_dir(&store).unwrap();
    house.fails("keyring export --server github", "", 1, &says);
    keep_trail(&house, TRAIL, "");
    let done = house.ok("keyring export --server github", "");
    assert!(done.err.contains("not recorded"), "{}", done.err);
    assert!(acts(&house).is_empty());
}

// Fails when either is not recorded, or its record stands in the way of what it does.
#[test]
fn a_restore_and_a_copy_are_recorded_and_the_trail_is_whole() {
    let house = House::with_alice();
    house.ok("backup kept.db", "");
    std::fs::rename(house.path("cloakroom.db"), house.path("away.db")).unwrap();
    keep_trail(&house, TRAIL, "required = true\n");
    house.ok("restore kept.db", "");
    assert!(house.ok("user show alice", "").out.contains("alice"));
    house.ok("store copy --to sqlite:new.db", "");
    // Again, into what the first run left; and into the store in use, which holds what it says itself.
    house.ok("store copy --to sqlite:new.db", "");
    let all = acts(&house);
    let told: Vec<_> = all
        .iter()
        .map(|act| [&act["act"], &act["outcome"]].map(|text| text.as_str().unwrap()))
        .collect();
    let expected =
        ["store.restore", "store.copy", "store.copy"].map(|act| [[act, "begun"], [act, "done"]]);
    assert_eq!(told, expected.concat());
    let target = |n: usize| all[n]["target"].as_str().unwrap();
    assert!(target(0).ends_with("cloakroom.db") && target(2).ends_with("new.db"));
    assert_eq!(all[0]["detail"], json!({ "file": "kept.db" }));
    assert!(
        all[2]["detail"]["from"]
            .as_str()
            .unwrap()
            .ends_with("cloakroom.db")
    );
    let verified = house.json(&format!("audit verify {TRAIL}"), "");
    let chains = verified["chains"].as_array().unwrap();
    assert!(
        chains.iter().all(|chain| chain["anchored"].is_u64()),
        "{verified:#}"
    );
}

// Fails when facts that are too long are left out whole, or hold up the act.
#[test]
fn of_many_names_the_first_are_recorded_and_the_others_counted() {
    let house = House::with_alice();
    house.ok("group add staff", "");
    keep_trail(&house, TRAIL, "required = true\n");
    let names: Vec<_> = (0..300)
        .map(|n| format!("somebody-with-a-long-name-{n:04}"))
        .collect();
    let done = house.run(&format!("group join staff {}", names.join(" ")), "");
    assert!(
        done.err.contains("somebody-with-a-long-name-0000"),
        "{}",
        done.err
    );
    let all = acts(&house);
    assert_eq!(told(&all[1]), ["group.join", "staff", "failed"]);
    assert_eq!(all[1]["detail"]["users"], json!(names[..32]));
    assert_eq!(all[1]["detail"]["unlisted"], json!({ "users": 268 }));
}

// Fails when what a command records stands in its answer, as where the proxy's trail goes to standard output.
#[test]
fn an_answer_is_the_answer_alone_where_the_trail_goes_to_standard_output() {
    let house = House::with_alice();
    keep_trail(&house, "", "stdout = true\nrequired = true\n");
    let done = house.run("user add carol --json", "");
    assert_eq!(done.code, 0, "{}", done.err);
    let answer: Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!(answer["name"], "carol");
    let records = done.err.lines();
    let records = records.filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let acts: Vec<_> = records
        .filter(|record| record["event"] == "admin")
        .collect();
    assert_eq!(told(&acts[0]), ["user.add", "carol", "begun"]);
    assert_eq!(told(&acts[1]), ["user.add", "carol", "done"]);
}
