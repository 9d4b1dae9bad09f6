use super::House;

#[test]
fn a_secret_from_setting_to_deleting() {
    let house = House::with_alice();
    let done = house.ok("secret set alice github GITHUB_TOKEN", "ghp_hunter2\n");
    assert_eq!(
        done.out,
        "set GITHUB_TOKEN of alice for github (profile default)\n"
    );
    assert_eq!(done.err, "");
    let set = house.json("secret set alice jira JIRA_USER --profile work", "hunter2");
    assert_eq!(
        (&set["profile"], &set["used"]),
        (&"work".into(), &true.into())
    );

    let list = house.ok("secret list alice", "").out;
    assert!(list.starts_with("SERVER  PROFILE  NAME"), "{list}");
    assert!(list.contains("github  default  GITHUB_TOKEN  20"), "{list}");
    assert_eq!(
        house.json("secret list alice", "")["secrets"][1]["profile"],
        "work"
    );
    assert!(!list.contains("hunter2"));
    for file in ["cloakroom.db", "cloakroom.db-wal"] {
        let kept = std::fs::read(house.path(file)).unwrap_or_default();
        assert!(
            !String::from_utf8_lossy(&kept).contains("hunter2"),
            "{file}"
        );
    }

    house.fails(
        "secret delete alice github NO_SUCH",
        "",
        1,
        &["no such secret"],
    );
    house.fails("secret delete alice github", "", 2, &["NAME"]);
    house.fails(
        "secret delete alice github GITHUB_TOKEN --all",
        "",
        2,
        &["--all"],
    );
    house.ok("secret delete alice github GITHUB_TOKEN", "");
    let deleted = house.json("secret delete alice jira --all --profile work", "");
    assert_eq!(deleted["deleted"], "all");
    house.fails(
        "secret delete alice jira --all --profile work",
        "",
        1,
        &["no such secret"],
    );
    assert_eq!(
        house.json("secret list alice", "")["secrets"]
            .as_array()
            .unwrap()
            .len(),
        0
    );
}

#[test]
fn one_newline_is_dropped_and_what_a_header_cannot_carry_is_not_stored() {
    let house = House::with_alice();
    for bad in [
        "a\n\n",
        "a\r\n\r\n",
        "a\nb",
        "a\rb",
        "a\0b",
        " a",
        "a ",
        "a\tb",
        "a\u{200b}b",
        "a\u{a0}",
    ] {
        let says = ["GITHUB_TOKEN was not set", "copy it again"];
        house.fails("secret set alice github GITHUB_TOKEN", bad, 1, &says);
        house.fails(
            "secret set alice jira JIRA_PASSWORD",
            bad,
            1,
            &["was not set"],
        );
    }
    for (bad, says) in [(&b""[..], "empty"), (b"\n", "empty"), (b"\xff", "UTF-8")] {
        house.fails("secret set alice github GITHUB_TOKEN", bad, 1, &[says]);
    }
    let long = vec![b'a'; 64 * 1024 + 1];
    house.fails(
        "secret set alice github GITHUB_TOKEN",
        &long,
        1,
        &["64 KiB"],
    );
    house.fails(
        "secret set alice github GITHUB_TOKEN",
        [&long[..], b"\r\n"].concat(),
        1,
        &["64 KiB"],
    );
    assert_eq!(
        house.json("secret list alice", "")["secrets"]
            .as_array()
            .unwrap()
            .len(),
        0
    );
    for good in ["a\n", "a\r\n", "a", "a b"] {
        house.ok("secret set alice github GITHUB_TOKEN", good);
    }
    house.ok(
        "secret set alice github GITHUB_TOKEN",
        [&long[1..], b"\r\n"].concat(),
    );
}

#[test]
fn a_secret_that_would_go_nowhere_or_twice_is_told() {
    let house = House::with_alice();
    let err = house.ok("secret set alice github GITHUB_TOKE", "x").err;
    assert!(
        err.contains("uses GITHUB_TOKE,") && err.contains("use GITHUB_TOKEN"),
        "{err}"
    );
    let err = house.ok("secret set alice jira X", "any\nthing\n").err;
    assert!(err.contains("JIRA_PASSWORD, JIRA_USER"), "{err}");
    let err = house.ok("secret set alice plain X", "x").err;
    assert!(err.contains("no slot of `plain` uses a secret"), "{err}");
    assert_eq!(
        house.json("secret list alice", "")["secrets"]
            .as_array()
            .unwrap()
            .len(),
        3
    );

    for twice in ["Bearer ghp_x", "bearer ghp_x"] {
        let err = house.ok("secret set alice github GITHUB_TOKEN", twice).err;
        assert!(
            err.contains("begins with \"Bearer\"") && !err.contains("ghp_x"),
            "{err}"
        );
    }
    assert_eq!(
        house
            .ok("secret set alice github GITHUB_TOKEN", "Beare")
            .err,
        ""
    );
    assert_eq!(
        house.ok("secret set alice jira JIRA_USER", "Basic x").err,
        ""
    );
}

#[test]
fn where_a_secret_cannot_go_is_said_before_its_value_is_read() {
    let house = House::with_alice();
    let says = ["no server `gihub`", "there is github, "];
    house.fails("secret set alice gihub GITHUB_TOKEN", "hunter2", 1, &says);
    house.fails(
        "secret set eve github GITHUB_TOKEN",
        "hunter2",
        1,
        &["no user `eve`"],
    );
    let line = "secret set alice github GITHUB_TOKEN hunter2";
    let said = house.fails(
        line,
        "",
        2,
        &["never given as an argument", "standard input"],
    );
    assert!(!said.contains("hunter2"), "{said}");
    let line = "secret set alice github GITHUB_TOKEN=hunter2";
    let said = house.fails(line, "", 2, &["A-Z a-z 0-9 _"]);
    assert!(!said.contains("hunter2"), "{said}");
}
