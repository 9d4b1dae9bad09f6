use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Done, House, cloakroom};
use crate::support::redis::{Options, Server};

const PASSWORD: &str = "hunter2-of-redis";

/// Copies `line`, from `house`, and asserts that no password was shown.
#[track_caller]
fn quietly(house: &House, line: &str) -> Done {
    let done = house.run(line, "");
    for text in [&done.out, &done.err] {
        assert!(!text.contains(PASSWORD), "{line}: {text}");
    }
    done
}

fn house_with_secrets() -> House {
    let house = House::with_alice();
    house.ok("secret set alice github GITHUB_TOKEN", "canary-1");
    house.ok("key issue alice", "");
    house
}

#[test]
fn a_store_is_moved_to_a_redis_with_a_login_that_is_never_shown() {
    let server = Server::start(Options {
        lines: &format!("requirepass {PASSWORD}"),
        ..Options::default()
    });
    let house = house_with_secrets();
    let url = format!("redis://:{PASSWORD}@127.0.0.1:{}", server.port);
    let store_only = format!("[store]\nurl = \"{url}\"\nkey_prefix = \"town:\"\n");
    std::fs::write(house.path("new.toml"), &store_only).unwrap();

    let done = quietly(&house, "store copy --to new.toml");
    assert_eq!(done.code, 0, "{}", done.err);
    for part in [
        "secret sets",
        "holds the 9 records",
        "redis://:***@",
        "WRITTEN",
    ] {
        assert!(done.out.contains(part), "{part}: {}", done.out);
    }
    assert!(done.err.contains("copying: 9 of 9"), "{}", done.err);

    let again = quietly(&house, "store copy --to new.toml --json");
    let document = again.document();
    assert_eq!(
        (&document["equal"], &document["records"]),
        (&true.into(), &9.into())
    );
    assert_eq!(document["kinds"]["users"]["records"], 1);
    assert_eq!(document["kinds"]["users"]["written"], 0);
    assert_eq!(document["on_all_copies"], true);

    let servers = super::CONFIG;
    std::fs::write(house.path("moved.toml"), format!("{store_only}{servers}")).unwrap();
    let shown = house.ok("user show alice --config moved.toml", "");
    assert!(shown.out.contains("alice"), "{}", shown.out);
    let stats = quietly(&house, "store stats --config moved.toml");
    assert!(stats.out.contains("redis://:***@") && stats.code == 0);
    // The last step of many a move, in the other direction, by a variable.
    let back = cloakroom()
        .current_dir(house.folder.path())
        .env("CLOAKROOM_STORE__URL", &url)
        .env("CLOAKROOM_STORE__KEY_PREFIX", "town:")
        .args(["store", "copy", "--to", "sqlite:back.db"])
        .output()
        .unwrap();
    assert!(back.status.success(), "{back:?}");
    let said = String::from_utf8([back.stdout, back.stderr].concat()).unwrap();
    assert!(!said.contains(PASSWORD) && said.contains("sqlite:back.db holds the 9"));
}

#[test]
fn a_password_on_the_command_line_is_refused_and_not_repeated() {
    let house = house_with_secrets();
    let url = format!("redis://me:{PASSWORD}@127.0.0.1:1");
    for line in [
        format!("store copy --to {url}"),
        format!("store copy --from {url}"),
        format!("store copy {url}"),
        format!("store copy --to redis://{PASSWORD}@h"),
    ] {
        let done = quietly(&house, &line);
        assert_eq!((done.code, done.out.as_str()), (2, ""), "{}", done.err);
        assert!(
            done.err.contains("FILE") || done.err.contains("--from"),
            "{}",
            done.err
        );
    }
    house.fails("store copy", "", 2, &["the same store"]);
    house.fails("store copy --to memory:", "", 2, &["gone with its process"]);
    house.fails("store copy --to nowhere:x", "", 2, &["--to", "sqlite:"]);
    house.fails("store copy --to no.toml", "", 64, &["no such file"]);
    house.fails("store copy --to kept.db", "", 2, &["--to sqlite:kept.db"]);
    house.fails(
        "store copy --from sqlite:typo.db --to sqlite:x.db",
        "",
        1,
        &["typo.db", "no such file"],
    );
    assert!(!house.path("typo.db").exists() && !house.path("x.db").exists());
}

// Fails when a copy that was killed leaves what the next one takes for another installation's, or
// begins at the front again.
#[test]
fn a_copy_that_was_killed_goes_on() {
    let house = house_with_secrets();
    fill(&house, 3000);
    let mut killed = cloakroom()
        .current_dir(house.folder.path())
        .args(["store", "copy", "--to", "sqlite:new.db"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let until = Instant::now() + Duration::from_secs(30);
    while count(&house, "new.db") < 300 {
        assert!(Instant::now() < until, "it copies nothing");
        std::thread::sleep(Duration::from_millis(5));
    }
    killed.kill().unwrap();
    killed.wait().unwrap();
    let left = count(&house, "new.db");
    assert!(left < 3000, "it was whole already");

    let document = house.json("store copy --to sqlite:new.db", "");
    let kinds = document["kinds"].as_object().unwrap();
    let written: u64 = kinds.values().map(|k| k["written"].as_u64().unwrap()).sum();
    assert_eq!(document["records"], 3009);
    assert_eq!(written, 3009 - left);
    assert_eq!(count(&house, "new.db"), 3009);
}

#[test]
fn a_backup_is_restored_into_an_empty_store_only() {
    let house = house_with_secrets();
    let made = house.ok("store backup kept.db", "");
    assert!(
        made.out.contains("wrote kept.db: 9 records"),
        "{}",
        made.out
    );
    assert!(made.err.contains("apart from this file"), "{}", made.err);
    assert!(made.err.contains("copying pages: "), "{}", made.err);
    let mode = std::fs::metadata(house.path("kept.db"))
        .unwrap()
        .permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
    house.fails(
        "store backup kept.db",
        "",
        1,
        &["kept.db", "not overwritten"],
    );

    let key = house.json("key list alice", "")["keys"][0]["id"].clone();
    house.ok(&format!("key revoke {}", key.as_str().unwrap()), "");
    house.fails("store restore kept.db", "", 1, &["in use", "empty store"]);
    assert_eq!(
        house.json("key list alice", "")["keys"][0]["status"],
        "revoked"
    );

    std::fs::rename(house.path("cloakroom.db"), house.path("away.db")).unwrap();
    let restored = house.ok("store restore kept.db", "");
    assert!(
        restored.out.contains("holds the 9 records of kept.db"),
        "{}",
        restored.out
    );
    assert!(
        restored.err.contains("revoke them anew"),
        "{}",
        restored.err
    );
    let mode = std::fs::metadata(house.path("cloakroom.db"))
        .unwrap()
        .permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
    assert_eq!(
        house.json("key list alice", "")["keys"][0]["status"],
        "usable"
    );
    let secrets = house.ok("secret list alice", "").out;
    assert!(secrets.contains("GITHUB_TOKEN"), "{secrets}");
}

#[test]
fn stats_say_how_much_there_is_and_which_keys_open_it() {
    let house = house_with_secrets();
    let stats = house.json("store stats", "");
    assert_eq!(
        (&stats["records"], &stats["schema"]),
        (&9.into(), &1.into())
    );
    for (kind, records) in [
        ("users", 1),
        ("keys", 1),
        ("secret_sets", 1),
        ("names_and_e_mails", 1),
        ("keys_by_user", 1),
        ("check_values", 4),
    ] {
        assert_eq!(stats["kinds"][kind]["records"], records, "{kind}: {stats}");
        assert!(
            stats["kinds"][kind]["bytes"].as_u64().unwrap() > 60,
            "{kind}"
        );
    }
    let keys = stats["keys"].as_object().unwrap();
    let needed: Vec<_> = keys.iter().map(|(k, n)| (k.as_str(), n.as_u64())).collect();
    assert_eq!(
        needed,
        [
            ("realm:r1", Some(8)),
            ("server:s1", Some(1)),
            ("sign:g1", Some(4))
        ]
    );
    let text = house.ok("store stats", "").out;
    assert!(
        text.contains("cloakroom.db, schema 1") && text.contains("secret sets"),
        "{text}"
    );
    // With a keyring that lacks the realm's key, or with none, everything but the signers is counted.
    let ring = std::fs::read_to_string(house.path("master.keys")).unwrap();
    let other = ring.replace("\nr1 ", "\nr9 ");
    assert_ne!(ring, other);
    std::fs::write(house.path("master.keys"), other).unwrap();
    let done = house.ok("store stats --json", "");
    assert!(done.document()["keys"]["sign:g1"].is_null());
    assert!(
        done.err.contains("counted without realm:r1"),
        "{}",
        done.err
    );
    std::fs::remove_file(house.path("master.keys")).unwrap();
    let done = house.ok("store stats --json", "");
    let stats: Value = done.document();
    assert_eq!(stats["keys"]["realm:r1"], 8);
    assert!(stats["keys"]["sign:g1"].is_null() && done.err.contains("without the keyring"));
}

/// Puts `more` records into the store of `house`, sealed by nobody.
fn fill(house: &House, more: usize) {
    let mut raw = rusqlite::Connection::open(house.path("cloakroom.db")).unwrap();
    let all = raw.transaction().unwrap();
    for n in 0..more as i64 {
        let row = (format!("s/{n:08x}"), n, [n as u8; 100]);
        all.execute(
            "INSERT INTO records (id, version, blob) VALUES (?1, ?2, ?3)",
            row,
        )
        .unwrap();
    }
    all.commit().unwrap();
}

fn count(house: &House, file: &str) -> u64 {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE;
    let raw = rusqlite::Connection::open_with_flags(house.path(file), flags);
    let raw = raw.and_then(|raw| raw.query_row("SELECT count(*) FROM records", [], |r| r.get(0)));
    raw.map_or(0, |count: i64| count as u64)
}
