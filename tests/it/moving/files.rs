//! Backups: one file, and what it takes to be one.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use cloakroom::store::{self, BackupError, OpenError, Stage};

use super::*;
use crate::support::redis;

async fn backup(from: &Settings, file: &Path) -> Result<store::Backup, BackupError> {
    store::backup(from, file, &|_, _, _| {}).await
}

async fn restore(to: &Settings, file: &Path) -> Result<Copied, BackupError> {
    store::restore(to, file, &|_, _, _| {}).await
}

fn at(path: &Path) -> Settings {
    settings(&format!("sqlite:{}", path.display()))
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn names(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into()).collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_is_one_private_file_with_everybody_and_nothing_plain() {
    let server = redis::Server::plain();
    let folder = tempfile::tempdir().unwrap();
    for source in [settings(&server.url()), at(&folder.path().join("live.db"))] {
        let from = store::open(&source).await.unwrap();
        let town = Town::new(&from, 20).await;
        let kept = tempfile::tempdir().unwrap();
        let file = kept.path().join("backup.db");
        let made = backup(&source, &file).await.unwrap();
        let records: u64 = made.kinds.values().map(|t| t.records).sum();
        assert_eq!(records, all(&from).await.len() as u64);
        assert_eq!(names(kept.path()), [PathBuf::from("backup.db")]);
        assert_eq!(mode(&file), 0o600);
        let bytes = std::fs::read(&file).unwrap();
        assert_eq!(made.bytes, bytes.len() as u64);
        let plain = |text: &str| bytes.windows(text.len()).any(|w| w == text.as_bytes());
        assert!(plain("SQLite format 3"), "the search finds nothing");
        for person in &town.people {
            for text in [person.name.as_str(), &person.secret(), person.key.reveal()] {
                assert!(!plain(text), "{text} is in the file");
            }
        }
        assert!(!plain("mail.example") && !plain(SECRET) && !plain(SERVER));

        // From a place nobody can write, into a store that is not there yet.
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o400)).unwrap();
        let restored = folder.path().join(format!("restored-{records}.db"));
        let _ = std::fs::remove_file(&restored);
        restore(&at(&restored), &file).await.unwrap();
        assert_eq!(mode(&restored), 0o600);
        assert_eq!(names(kept.path()), [PathBuf::from("backup.db")]);
        let there = sqlite(&restored).await;
        same(&all(&from).await, &all(&there).await);
        town.lives_in(&there).await;
        std::fs::remove_file(&restored).unwrap();
    }
}

// Fails when the backup copies the file itself: what is in its log beside it is not in the copy.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_of_a_store_in_use_is_of_one_moment() {
    let folder = tempfile::tempdir().unwrap();
    let live = folder.path().join("live.db");
    let from = sqlite(&live).await;
    let town = Town::new(&from, 1).await;
    let (vault, name) = (town.vault(&from), town.people[0].name.clone());
    // A set is written first and listed by its user's record after: no other order may be seen.
    let arrived = Arc::new(AtomicUsize::new(1));
    let count = arrived.clone();
    let writing = tokio::spawn(async move {
        for n in 0.. {
            arrives(&vault, &format!("busy-{n}")).await;
            count.fetch_add(1, Ordering::SeqCst);
            set_secret(&vault, &name, "resident-0-canary").await;
        }
    });
    for round in 0..5 {
        let before = arrived.load(Ordering::SeqCst);
        let file = folder.path().join(format!("backup-{round}.db"));
        let done = crate::cli::cloakroom()
            .current_dir(folder.path())
            .env("CLOAKROOM_CONFIG_TOML", "[store]\nurl = \"sqlite:live.db\"")
            .args(["store", "backup"])
            .arg(&file)
            .output()
            .unwrap();
        assert!(done.status.success(), "{done:?}");
        let there = sqlite(&file).await;
        town.lives_in(&there).await;
        let users = town.vault(&there).users(None, 1000).await.unwrap();
        assert!(users.len() >= before, "{} of {before}", users.len());
    }
    assert!(arrived.load(Ordering::SeqCst) > 1, "nobody wrote meanwhile");
    writing.abort();
}

#[tokio::test]
async fn nothing_is_overwritten_and_nothing_half_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let live = folder.path().join("live.db");
    let from = sqlite(&live).await;
    let empty = backup(&at(&live), &folder.path().join("b.db")).await;
    assert!(matches!(
        empty.err(),
        Some(BackupError::Copy(CopyError::Empty))
    ));
    Town::new(&from, 1).await;
    drop(from);
    let before = names(folder.path());
    let missing = folder.path().join("no-such.db");
    let refused = backup(&at(&missing), &folder.path().join("b.db")).await;
    let refused = refused.err().unwrap().to_string();
    assert!(refused.contains("there is no such file"), "{refused}");
    let refused = backup(&at(&live), &live).await.err().unwrap();
    assert!(matches!(refused, BackupError::Exists(_)), "{refused}");
    let refused = backup(&at(&live), &folder.path().join("x/b.db")).await;
    let refused = refused.err().unwrap().to_string();
    let advised = format!(
        "{} does not exist; create it",
        folder.path().join("x").display()
    );
    assert!(refused.contains(&advised), "{refused}");
    let dangling = folder.path().join("dangling.db");
    std::os::unix::fs::symlink(&missing, &dangling).unwrap();
    let refused = backup(&at(&live), &dangling).await.err().unwrap();
    assert!(matches!(refused, BackupError::Exists(_)), "{refused}");
    std::fs::remove_file(&dangling).unwrap();
    assert_eq!(names(folder.path()), before);
}

#[tokio::test]
async fn what_is_no_backup_is_refused_before_the_store_is_touched() {
    let folder = tempfile::tempdir().unwrap();
    let to = at(&folder.path().join("to.db"));
    let file = folder.path().join("file");
    let refused = async |file: &Path| restore(&to, file).await.err().unwrap();
    let said = refused(&file).await.to_string();
    assert!(
        said.contains("name one that `cloakroom store backup` wrote"),
        "{said}"
    );
    let not_a_backup = |error| matches!(error, BackupError::NotABackup { .. });
    assert!(not_a_backup(refused(folder.path()).await));
    for content in ["", "hunter2 is no database, however long the text may be"] {
        std::fs::write(&file, content).unwrap();
        assert!(not_a_backup(refused(&file).await), "{content:?}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), content);
    }
    std::fs::remove_file(&file).unwrap();
    drop(sqlite(&file).await);
    let raw = rusqlite::Connection::open(&file).unwrap();
    raw.pragma_update(None, "user_version", 999).unwrap();
    drop(raw);
    let error = refused(&file).await;
    assert!(
        matches!(
            &error,
            BackupError::Open(OpenError::SchemaNewer { found: 999, .. })
        ),
        "{error}"
    );
    assert!(error.to_string().contains("newer release"), "{error}");
    assert!(!folder.path().join("to.db").exists(), "the store was made");
}

#[tokio::test]
async fn it_says_how_far_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let live = folder.path().join("live.db");
    let from = sqlite(&live).await;
    Town::new(&from, 30).await;
    let total = all(&from).await.len() as u64;
    let heard = std::sync::Mutex::new(Vec::new());
    let told = |stage, done, total| heard.lock().unwrap().push((stage, done, total));
    let to = memory().await;
    store::copy(&*from, &*to, FOLLOW, &told).await.unwrap();
    let heard = heard.into_inner().unwrap();
    for (stage, of) in [
        (Stage::Comparing, 0),
        (Stage::Copying, total),
        (Stage::Verifying, total),
    ] {
        let of_stage: Vec<_> = heard.iter().filter(|(s, ..)| *s == stage).collect();
        assert!(of_stage.iter().all(|(.., t)| *t == of), "{stage:?}");
        assert_eq!(of_stage.last().unwrap().1, total, "{stage:?}");
        assert!(of_stage.is_sorted_by(|a, b| a.1 <= b.1), "{stage:?}");
    }
}
