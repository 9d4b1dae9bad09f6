//! From one installation to another, whose keyring is another.

use cloakroom::cli::open;
use cloakroom::names::{GroupName, Pattern, ProfileName, SecretName, ServerName, UserName};
use cloakroom::vault::{Access, NewUser, SecretValue, UserChange, Vault};
use tokio::task::block_in_place;

use super::House;
use crate::support::backend::Recorder;
use crate::support::proxy::{Lines, Place, Proxy, SECRET};
use crate::support::redis::{Options, Server};

const PASSPHRASE: &str = "a long enough passphrase";
const CANARY: &str = "canary-77aa";

async fn vault(house: &House) -> Vault {
    let config = cloakroom::config::load(Some(&house.path("cloakroom.toml")), std::iter::empty());
    open::vault(&config.unwrap()).await.unwrap()
}

/// An installation with a group and two users, and a key of one of them.
async fn furnished() -> (House, String) {
    let house = House::new();
    let vault = vault(&house).await;
    let (alice, staff) = (
        UserName::parse("alice").unwrap(),
        GroupName::parse("staff").unwrap(),
    );
    let new = NewUser {
        notes: Some("keeps the plants".to_owned()),
        ..NewUser::with_email("alice@example.com")
    };
    vault.add_user(&alice, new).await.unwrap();
    vault
        .add_user(&UserName::parse("bob").unwrap(), NewUser::default())
        .await
        .unwrap();
    let change = UserChange {
        acts_for: Some(vec![Pattern::parse("bob").unwrap()]),
        ..UserChange::default()
    };
    vault.update_user(&alice, &change).await.unwrap();
    vault
        .add_group(&staff, Some("everybody".to_owned()), Access::default())
        .await
        .unwrap();
    vault.add_member(&staff, &alice).await.unwrap();
    let github = ServerName::parse("github").unwrap();
    let profile = ProfileName::default_profile();
    let value = || SecretValue::new(CANARY.as_bytes().to_vec().into()).unwrap();
    let own = SecretName::parse(SECRET).unwrap();
    vault
        .set_secret(&alice, &github, &profile, &own, &value())
        .await
        .unwrap();
    let shared = SecretName::parse("SHARED").unwrap();
    vault
        .set_secret(&staff, &github, &profile, &shared, &value())
        .await
        .unwrap();
    let key = house.json("key issue alice --name laptop", "")["key"]
        .as_str()
        .unwrap()
        .to_owned();
    house.ok("export out.sealed", PASSPHRASE);
    (house, key)
}

/// Moves what `house` holds into an installation over `place`, where the old key must do.
async fn moves_into(house: &House, key: &str, place: &Place<'_>) {
    let backend = Recorder::start().await;
    let servers = [("github", backend.url.clone())];
    let proxy = Proxy::start(place, &Lines::default(), &servers).await;
    std::fs::copy(house.path("out.sealed"), proxy.folder.path().join("in")).unwrap();
    let done = block_in_place(|| {
        let args = ["import", "in", "--json", "--config", "direct.toml"];
        super::run_in(proxy.folder.path(), args, PASSPHRASE.as_bytes())
    });
    assert_eq!(done.code, 0, "{} {}", done.out, done.err);
    assert!(!done.out.contains(CANARY) && !done.err.contains(CANARY));
    assert_eq!(done.document()["done"], 3);
    let answer = proxy.client().call("github", key, "x").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let received = backend.received().join("\n");
    assert!(received.contains(&format!("Bearer {CANARY}")), "{received}");

    let alice = UserName::parse("alice").unwrap();
    let record = proxy.vault.user(&alice).await.unwrap().record;
    assert_eq!(record.notes.as_deref(), Some("keeps the plants"));
    assert_eq!(record.acts_for, [Pattern::parse("bob").unwrap()]);
    let staff = GroupName::parse("staff").unwrap();
    let group = proxy.vault.group(&staff).await.unwrap();
    assert_eq!(record.groups, [group.id]);
    assert_eq!(group.record.description.as_deref(), Some("everybody"));
    let sets = proxy.vault.expose_secrets(&staff).await.unwrap();
    let value = sets[0].secrets.expose_all().next().unwrap();
    assert_eq!(value, ("SHARED", CANARY.as_bytes()));
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_and_secrets_work_in_another_installation() {
    let (house, key) = furnished().await;
    moves_into(&house, &key, &Place::Sqlite).await;
    let redis = Server::start(Options::default());
    moves_into(&house, &key, &Place::Redis(&redis)).await;
}

/// Moves what `house` holds into an installation that has a group `staff` of its own.
async fn meets_another_staff(house: &House, place: &Place<'_>) {
    let backend = Recorder::start().await;
    let servers = [("github", backend.url.clone())];
    let proxy = Proxy::start(place, &Lines::default(), &servers).await;
    std::fs::copy(house.path("out.sealed"), proxy.folder.path().join("in")).unwrap();
    let (alice, staff) = (
        UserName::parse("alice").unwrap(),
        GroupName::parse("staff").unwrap(),
    );
    let github = ServerName::parse("github").unwrap();
    let group = proxy
        .vault
        .add_group(&staff, None, Access::default())
        .await
        .unwrap();
    let (profile, name) = (
        ProfileName::default_profile(),
        SecretName::parse("PAYROLL").unwrap(),
    );
    let value = SecretValue::new(b"theirs".to_vec().into()).unwrap();
    let set = proxy
        .vault
        .set_secret(&staff, &github, &profile, &name, &value);
    set.await.unwrap();
    let import = |more: &str, code: i32| {
        let line = format!("import in --json --config direct.toml {more}");
        let args = line.split_whitespace();
        let done =
            block_in_place(|| super::run_in(proxy.folder.path(), args, PASSPHRASE.as_bytes()));
        assert_eq!(done.code, code, "{} {}", done.out, done.err);
        done.document()
    };
    let dry = import("--dry-run", 1);
    let document = import("", 1);
    assert_eq!(dry["rows"], document["rows"]);
    let rows = document["rows"].as_array().unwrap();
    let row = |user: &str| rows.iter().find(|row| row["user"] == user).unwrap();
    assert_eq!(row("group staff")["result"], "refused");
    let why = row("alice")["why"].as_str().unwrap();
    assert!(why.contains("`staff`"), "{why}");
    assert_eq!(row("bob")["result"], "added");
    assert!(proxy.vault.user(&alice).await.is_err());

    let merged = import("--merge", 0);
    let notes = merged["notes"].to_string();
    assert!(notes.contains("`staff` was here already"), "{notes}");
    let record = proxy.vault.user(&alice).await.unwrap().record;
    assert_eq!(record.groups, [group.id]);
}

// Fails when a name is enough to get into a group that shares other secrets.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_into_a_group_that_is_only_called_the_same() {
    let (house, _) = furnished().await;
    meets_another_staff(&house, &Place::Sqlite).await;
    let redis = Server::start(Options::default());
    meets_another_staff(&house, &Place::Redis(&redis)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_opens_only_whole_and_under_its_passphrase() {
    use std::os::unix::fs::PermissionsExt as _;
    let (house, _) = furnished().await;
    let path = house.path("out.sealed");
    let file = std::fs::read(&path).unwrap();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let holds = |part: &[u8]| file.windows(part.len()).any(|window| window == part);
    assert!(!holds(CANARY.as_bytes()) && !holds(b"alice") && !holds(b"github"));

    let other = House::new();
    let target = other.path("in");
    std::fs::copy(&path, &target).unwrap();
    other.fails(
        "import in",
        "another passphrase",
        1,
        &["passphrase is another"],
    );
    let mut changed = file.clone();
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    for bytes in [&changed[..], &file[..file.len() - 1], &file[..100]] {
        std::fs::write(&target, bytes).unwrap();
        other.fails("import in", PASSPHRASE, 1, &["was changed or cut off"]);
    }
    assert_eq!(other.json("user list", "")["users"], serde_json::json!([]));

    house.fails("export out.sealed", PASSPHRASE, 1, &["exists already"]);
    house.fails("export two.sealed", "short", 1, &["12 characters"]);
    assert!(!house.path("two.sealed").exists());
    let left = std::fs::read_dir(house.folder.path()).unwrap();
    let names = left.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert!(
        names
            .into_iter()
            .all(|name| !name.starts_with(".cloakroom-export-"))
    );
    // Into itself: all of it is there.
    let again = house.run("import out.sealed --merge --json", PASSPHRASE);
    assert_eq!(again.code, 0, "{}", again.err);
    let document = again.document();
    let rows = document["rows"].as_array().unwrap();
    assert!(
        rows.iter().all(|row| row["result"] == "unchanged"),
        "{document}"
    );
}

#[test]
fn a_backup_goes_by_its_short_name_too() {
    let house = House::with_alice();
    house.ok("backup kept.db", "");
    std::fs::remove_file(house.path("cloakroom.db")).unwrap();
    for rest in ["cloakroom.db-wal", "cloakroom.db-shm"] {
        let _ = std::fs::remove_file(house.path(rest));
    }
    house.ok("restore kept.db", "");
    house.ok("user show alice", "");
}
