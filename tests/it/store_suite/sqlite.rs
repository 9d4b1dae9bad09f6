//! What only a file can do: modes, other programs' files, other processes, replacement.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use cloakroom::store::{Ask, Event, Meter, MeterId, OpenError, Settings, Store, StoreUrl, open};
use rusqlite::Connection;
use tempfile::TempDir;

use super::places::{refusal, settings};
use super::{await_news, id, news, record};
use crate::support::folder_in_memory;

const LONG: Duration = Duration::from_secs(5);

fn place() -> (TempDir, PathBuf, Settings) {
    let folder = folder_in_memory();
    let path = folder.path().join("store.db");
    let settings = settings(&format!("sqlite:{}", path.display()));
    (folder, path, settings)
}

fn sql(path: &Path, batch: &str) {
    Connection::open(path)
        .unwrap()
        .execute_batch(batch)
        .unwrap();
}

#[tokio::test]
async fn a_relative_path_starts_at_the_base() {
    let folder = tempfile::tempdir().unwrap();
    let url = StoreUrl::parse("sqlite:store.db", folder.path()).unwrap();
    open(&Settings::new(url)).await.unwrap();
    assert!(folder.path().join("store.db").is_file());
}

#[tokio::test]
async fn only_the_owner_may_read_the_files() {
    let (folder, _, settings) = place();
    let store = open(&settings).await.unwrap();
    store.put_if(record("k/ab", 1, "x"), None).await.unwrap();
    let mut names = Vec::new();
    for file in fs::read_dir(folder.path()).unwrap() {
        let file = file.unwrap();
        assert_eq!(
            file.metadata().unwrap().permissions().mode() & 0o777,
            0o600,
            "{file:?}"
        );
        names.push(file.file_name().into_string().unwrap());
    }
    names.sort();
    assert_eq!(names, ["store.db", "store.db-shm", "store.db-wal"]);
}

#[tokio::test]
async fn an_empty_file_becomes_a_store() {
    let (_folder, path, settings) = place();
    fs::write(&path, "").unwrap();
    let store = open(&settings).await.unwrap();
    store.put_if(record("k/ab", 1, "x"), None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_may_create_it_at_once() {
    for _ in 0..10 {
        let (_folder, _, settings) = place();
        let openers: Vec<_> = (0..8)
            .map(|_| {
                let settings = settings.clone();
                tokio::spawn(async move { open(&settings).await.map(drop) })
            })
            .collect();
        for opener in openers {
            opener.await.unwrap().unwrap();
        }
    }
}

#[tokio::test]
async fn refuses_what_is_not_its_own() {
    let (_folder, path, settings) = place();
    open(&settings).await.unwrap();
    sql(&path, "PRAGMA user_version = 2");
    let error = refusal(&settings).await;
    assert!(
        matches!(error, OpenError::SchemaNewer { found: 2, .. }),
        "{error}"
    );
    sql(&path, "PRAGMA user_version = 0");
    let error = refusal(&settings).await;
    assert!(
        matches!(error, OpenError::SchemaOlder { found: 0, .. }),
        "{error}"
    );
    sql(&path, "PRAGMA user_version = 1; PRAGMA application_id = 7");
    let error = refusal(&settings).await;
    assert!(matches!(error, OpenError::NotOurs { .. }), "{error}");

    let (_folder, path, settings) = place();
    sql(&path, "CREATE TABLE other (a)");
    let error = refusal(&settings).await;
    assert!(matches!(error, OpenError::SchemaOlder { .. }), "{error}");

    let (_folder, path, settings) = place();
    fs::write(&path, "A file of at least one hundred bytes. ".repeat(50)).unwrap();
    let error = refusal(&settings).await;
    assert!(matches!(error, OpenError::NotOurs { .. }), "{error}");

    let (_folder, path, settings) = place();
    fs::create_dir(&path).unwrap();
    let error = refusal(&settings).await;
    assert!(matches!(error, OpenError::NotOurs { .. }), "{error}");
}

#[tokio::test]
async fn says_what_is_missing() {
    let error = refusal(&settings("sqlite:/nonexistent/folder/store.db")).await;
    assert!(matches!(error, OpenError::FolderMissing { .. }), "{error}");
    assert!(
        error
            .to_string()
            .contains("/nonexistent/folder does not exist"),
        "{error}"
    );
    // Nobody may create files there, root neither.
    let error = refusal(&settings("sqlite:/sys/store.db")).await;
    assert!(matches!(error, OpenError::NotWritable { .. }), "{error}");
}

/// Run by the test after it, in a process of its own.
#[tokio::test]
#[ignore = "the other process of `another_process_is_seen`"]
async fn the_other_process() {
    let Ok(path) = std::env::var("STORE_OF_THE_TEST") else {
        return;
    };
    let store = open(&settings(&format!("sqlite:{path}"))).await.unwrap();
    for version in 1..=50 {
        let expected = (version > 1).then(|| version - 1);
        store
            .put_if(record("k/ab", version, "from elsewhere"), expected)
            .await
            .unwrap();
    }
    store.delete_if(&id("k/cd"), 1).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_process_is_seen() {
    let (_folder, path, settings) = place();
    let store = open(&settings).await.unwrap();
    store.put_if(record("k/cd", 1, "x"), None).await.unwrap();
    let mut events = store.watch();
    assert_eq!(news(&mut events, LONG).await, Event::Up);
    let other = tokio::task::spawn_blocking(move || {
        Command::new(std::env::current_exe().unwrap())
            .args([
                "--ignored",
                "--exact",
                "store_suite::sqlite::the_other_process",
            ])
            .env("STORE_OF_THE_TEST", path)
            .output()
            .unwrap()
    });
    // This process writes all the while.
    for version in 1..=50 {
        let expected = (version > 1).then(|| version - 1);
        store
            .put_if(record("u/ab", version, "from here"), expected)
            .await
            .unwrap();
    }
    let other = other.await.unwrap();
    assert!(
        other.status.success(),
        "{}",
        String::from_utf8_lossy(&other.stdout)
    );
    await_news(&mut events, &Event::Changed(id("k/cd")), LONG).await;
    let found = store
        .get_many(&["k/ab", "k/cd", "u/ab"].map(id))
        .await
        .unwrap();
    let versions: Vec<_> = found
        .into_iter()
        .map(|record| record.map(|r| r.version))
        .collect();
    assert_eq!(versions, [Some(50), None, Some(50)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watcher_left_behind_starts_anew() {
    let (_folder, path, settings) = place();
    let store = open(&settings).await.unwrap();
    let mut events = store.watch();
    assert_eq!(news(&mut events, LONG).await, Event::Up);
    // In one transaction, as if the watcher had slept while 10,000 changes were made and trimmed.
    sql(
        &path,
        "BEGIN; INSERT INTO changes (id) VALUES ('k/aa'), ('k/bb'), ('k/cc');
         DELETE FROM changes WHERE seq < 3; COMMIT",
    );
    assert_eq!(news(&mut events, LONG).await, Event::Down);
    assert_eq!(news(&mut events, LONG).await, Event::Up);
    store.put_if(record("k/ab", 1, "x"), None).await.unwrap();
    assert_eq!(news(&mut events, LONG).await, Event::Changed(id("k/ab")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_are_trimmed() {
    let (_folder, path, settings) = place();
    let store = open(&settings).await.unwrap();
    sql(
        &path,
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10005)
         INSERT INTO changes (id) SELECT 'k/aa' FROM n",
    );
    store.put_if(record("k/ab", 1, "x"), None).await.unwrap();
    let look = Connection::open(&path).unwrap();
    let counted = look.query_row("SELECT count(*), max(seq) FROM changes", [], |row| {
        Ok((row.get(0)?, row.get(1)?))
    });
    assert_eq!(counted.unwrap(), (10_000, 10_006));
}

/// Restoring a copy over the file of a running proxy must not leave it with the old one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replaced_file_is_noticed() {
    let (folder, path, settings) = place();
    let copy = {
        let before = open(&settings).await.unwrap();
        before
            .put_if(record("k/ab", 1, "before"), None)
            .await
            .unwrap();
        let copy = folder.path().join("copy.db");
        sql(&path, &format!("VACUUM INTO '{}'", copy.display()));
        copy
    };
    let store: Arc<dyn Store> = open(&settings).await.unwrap();
    store
        .put_if(record("k/ab", 2, "after"), Some(1))
        .await
        .unwrap();
    let mut events = store.watch();
    assert_eq!(news(&mut events, LONG).await, Event::Up);
    for name in ["store.db", "store.db-wal", "store.db-shm"] {
        fs::remove_file(folder.path().join(name)).unwrap();
    }
    assert_eq!(news(&mut events, LONG).await, Event::Down);
    assert!(
        store.get_many(&[id("k/ab")]).await.is_err(),
        "there is no file"
    );
    assert!(
        store.put_if(record("k/ab", 3, ""), Some(2)).await.is_err(),
        "there is no file"
    );
    assert!(!path.exists(), "it must not come back empty");
    fs::rename(copy, &path).unwrap();
    assert_eq!(news(&mut events, LONG).await, Event::Up);
    let found = store.get_many(&[id("k/ab")]).await.unwrap().pop().unwrap();
    assert!(found == Some(record("k/ab", 1, "before")));
    store
        .put_if(record("k/ab", 4, "now"), Some(1))
        .await
        .unwrap();
    assert_eq!(news(&mut events, LONG).await, Event::Changed(id("k/ab")));
}

/// What the threads named `store-watch` have used of a core so far.
fn watchers_time() -> Duration {
    let tasks = fs::read_dir("/proc/self/task").unwrap().flatten();
    let watchers = tasks.filter(|task| {
        let name = fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        name.trim() == "store-watch"
    });
    let nanoseconds = watchers.map(|task| -> u64 {
        let stat = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        stat.split(' ')
            .next()
            .and_then(|field| field.parse().ok())
            .unwrap_or_default()
    });
    Duration::from_nanos(nanoseconds.sum())
}

/// In a process of its own: other tests have watchers too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the other process of `watching_costs_next_to_nothing`"]
async fn the_watching_process() {
    let (_folder, _, settings) = place();
    let store = open(&settings).await.unwrap();
    let mut events = store.watch();
    assert_eq!(news(&mut events, LONG).await, Event::Up);
    // Until nothing was written for a while, and it waits to be told.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let before = watchers_time();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let used = watchers_time() - before;
    assert!(!used.is_zero(), "there is no watcher");
    assert!(
        used < Duration::from_millis(8),
        "0.4% of a core at most: {used:?} in 2 s"
    );
}

#[tokio::test]
async fn watching_costs_next_to_nothing() {
    let process = Command::new(std::env::current_exe().unwrap())
        .args([
            "--ignored",
            "--exact",
            "store_suite::sqlite::the_watching_process",
        ])
        .output()
        .unwrap();
    assert!(
        process.status.success(),
        "{}",
        String::from_utf8_lossy(&process.stdout)
    );
}

// Fails when nothing is swept, or the table is only made with the file.
#[tokio::test]
async fn meters_nobody_needs_are_swept_from_any_file() {
    let (_folder, path, settings) = place();
    let store = open(&settings).await.unwrap();
    let take = async |sort: &str, interval| {
        let meter = Meter::Rate { interval, burst: 1 };
        let asks: Vec<_> = (0..40)
            .map(|n| Ask {
                id: MeterId::parse(&format!("{sort}/{n:02x}")).unwrap(),
                meter,
                want: 1,
            })
            .collect();
        store.take(&asks).await.unwrap();
    };
    let rows = || {
        let file = Connection::open(&path).unwrap();
        file.query_row("SELECT count(*) FROM meters", [], |row| {
            row.get::<_, u32>(0)
        })
        .unwrap()
    };
    take("u", Duration::from_millis(1)).await;
    sql(&path, "DROP TABLE meters");
    take("u", Duration::from_millis(1)).await;
    assert_eq!(rows(), 40);
    tokio::time::sleep(Duration::from_millis(5)).await;
    take("k", LONG).await;
    assert_eq!(
        rows(),
        40,
        "what is full again is gone, the others are there"
    );
}
