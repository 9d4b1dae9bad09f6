//! Which keyrings a store lets write.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tokio::sync::mpsc::UnboundedReceiver;

use super::*;
use crate::store::{Event, RecordId, Settled, Store};
use crate::vault::tests::{github, memory, user};
use crate::vault::{Keyring, KeyringText, NewUser};

struct Files {
    store: Arc<dyn Store>,
    /// Before a rotation of one kind; after it was made; after it was done.
    before: KeyringText,
    made: KeyringText,
    done: KeyringText,
    old: KeyName,
}

impl Files {
    async fn new(kind: KeyKind) -> Self {
        Self::of(kind, KeyringText::new(&Keyring::generate().to_text())).await
    }

    async fn of(kind: KeyKind, before: KeyringText) -> Self {
        let store = memory().await;
        let ring = before.keyring().unwrap();
        let old = ring.succession(kind).active.remove(0);
        let (names, lines) = ring.successors(kind);
        let made = before.with(&lines);
        let done = made.promoting(&names);
        let files = Self {
            store,
            before,
            made,
            done,
            old,
        };
        let vault = files.vault(&files.before);
        vault.check_keyring().await.unwrap();
        vault
            .add_user(&user("alice"), NewUser::default())
            .await
            .ok()
            .unwrap();
        files.vault(&files.made).note_keys().await.unwrap();
        files.vault(&files.done).rotate(&|_| {}).await.unwrap();
        files
    }

    fn vault(&self, text: &KeyringText) -> Vault {
        Vault::new(self.store.clone(), Arc::new(text.keyring().unwrap()))
    }

    fn old_line(&self) -> KeyringText {
        let start = format!("{} {} ", self.old.id, self.old.kind);
        let mut lines = self.before.expose_text().lines();
        KeyringText::new(lines.find(|line| line.starts_with(&start)).unwrap())
    }

    async fn refused(&self, text: &KeyringText) -> Option<CheckError> {
        self.vault(text).check_keyring().await.err()
    }
}

/// Fails when `retire_key` deletes the record, or when nobody looks at what it says of active keys.
#[tokio::test]
async fn a_file_from_before_writes_no_more_with_a_retired_key() {
    for kind in KeyKind::ALL {
        let files = Files::new(kind).await;
        let current = files.vault(&files.done);
        for text in [&files.made, &files.done] {
            assert!(files.refused(text).await.is_none(), "{kind}");
        }
        current.retire_key(&files.old).await.unwrap();
        let refused = files.refused(&files.made).await;
        let named = matches!(&refused, Some(CheckError::RetiredKey(key)) if *key == files.old);
        assert!(named, "{refused:?}");
        assert!(refused.unwrap().to_string().contains("bring the current"));
        assert!(files.refused(&files.before).await.is_some());
        // Nor does a rotation begin with it, which would seal everything with it again.
        let rotation = files.vault(&files.made).check_before_rotation().await;
        assert!(matches!(rotation, Err(CheckError::RetiredKey(_))));
        // Held, but only to open.
        assert!(files.refused(&files.done).await.is_none());
        let without = files.done.without(&files.old);
        assert!(files.refused(&without).await.is_none());
        // The next rotation seals that again too, and it is still said.
        let (names, lines) = without.keyring().unwrap().successors(KeyKind::Realm);
        let next = without.with(&lines).promoting(&names);
        files.vault(&next).note_keys().await.unwrap();
        files.vault(&next).rotate(&|_| {}).await.unwrap();
        let both = files.made.with(&lines);
        assert!(matches!(
            files.refused(&both).await,
            Some(CheckError::RetiredKey(_))
        ));
        // Taken back it is as if it had not been.
        let last = files.vault(&next.with(&files.old_line()));
        last.keep_key(&files.old).await.unwrap();
        assert!(files.refused(&both).await.is_none());
    }
}

/// Fails when an active key without a check value passes beside others that have one.
#[tokio::test]
async fn a_key_the_store_does_not_know_writes_nothing() {
    for kind in KeyKind::ALL {
        let files = Files::new(kind).await;
        let id = ids::key_check(&files.old.check_name());
        let vault = files.vault(&files.done);
        vault.delete(&id).await.unwrap();
        let refused = files.refused(&files.made).await;
        let named = matches!(&refused, Some(CheckError::UnknownKey(key)) if *key == files.old);
        assert!(named, "{refused:?}");
        assert!(files.refused(&files.done).await.is_none());
        // A rotation may begin with one that was put first by hand, and makes it known.
        let by_hand = files.vault(&files.made);
        by_hand.check_before_rotation().await.unwrap();
        by_hand.note_keys().await.unwrap();
        by_hand.check_keyring().await.unwrap();
    }
}

#[tokio::test]
async fn a_sidecar_starts_unless_its_realm_key_is_retired() {
    let part = |text: &KeyringText| {
        let ring = text.keyring().unwrap();
        KeyringText::new(&ring.export(&github()).unwrap())
    };
    for kind in KeyKind::ALL {
        let files = Files::new(kind).await;
        let (made, done) = (part(&files.made), part(&files.done));
        files
            .vault(&files.done)
            .retire_key(&files.old)
            .await
            .unwrap();
        assert!(files.refused(&done).await.is_none());
        let refused = files.refused(&made).await;
        let retired = matches!(&refused, Some(CheckError::RetiredKey(key)) if *key == files.old);
        assert_eq!(retired, kind == KeyKind::Realm, "{refused:?}");
    }
}

/// Keys of named servers have no check value; that they are retired is kept all the same.
#[tokio::test]
async fn keys_of_named_servers_are_retired_too() {
    let text = Keyring::generate()
        .to_text()
        .replace(" server * ", " server github ");
    let files = Files::of(KeyKind::Server, KeyringText::new(&text)).await;
    assert!(files.refused(&files.made).await.is_none());
    let vault = files.vault(&files.done);
    vault.retire_key(&files.old).await.unwrap();
    assert!(matches!(
        files.refused(&files.made).await,
        Some(CheckError::RetiredKey(_))
    ));
    assert!(files.refused(&files.done).await.is_none());
    vault.keep_key(&files.old).await.unwrap();
    assert!(files.refused(&files.made).await.is_none());
}

/// A store that another process begins once it is asked whether it is empty, or that takes so many writes only.
struct Begun {
    inner: Arc<dyn Store>,
    other: Mutex<Option<Vault>>,
    writes: Mutex<usize>,
}

#[async_trait]
impl Store for Begun {
    async fn get_many(&self, ids: &[RecordId]) -> Result<Vec<Option<Record>>, StoreError> {
        self.inner.get_many(ids).await
    }

    async fn put_if(&self, record: Record, expected: Option<u64>) -> Result<(), WriteError> {
        let left = self.writes.lock().unwrap().checked_sub(1);
        *self.writes.lock().unwrap() = left.ok_or(StoreError::Unreachable("stopped".into()))?;
        self.inner.put_if(record, expected).await
    }

    async fn delete_if(&self, id: &RecordId, expected: u64) -> Result<(), WriteError> {
        self.inner.delete_if(id, expected).await
    }

    async fn page(
        &self,
        prefix: &str,
        after: Option<&RecordId>,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError> {
        let other = self.other.lock().unwrap().take();
        if let Some(other) = other {
            other.note_keys().await.unwrap();
        }
        self.inner.page(prefix, after, limit).await
    }

    async fn settle(&self) -> Result<Settled, StoreError> {
        self.inner.settle().await
    }

    fn watch(&self) -> UnboundedReceiver<Event> {
        self.inner.watch()
    }
}

/// Fails when a store that was begun after its keys were looked for counts as another keyring's.
#[tokio::test]
async fn who_finds_the_store_begun_a_moment_later_starts_if_the_keyring_is_the_same() {
    let ring = || Arc::new(Keyring::generate());
    let mine = ring();
    for (other, same) in [(mine.clone(), true), (ring(), false)] {
        let inner = memory().await;
        let other = Vault::new(inner.clone(), other);
        let store = Begun {
            inner,
            other: Mutex::new(Some(other)),
            writes: Mutex::new(usize::MAX),
        };
        let checked = Vault::new(Arc::new(store), mine.clone())
            .check_keyring()
            .await;
        assert_eq!(checked.is_ok(), same, "{checked:?}");
    }
}

/// Fails when a key counts as missing that is not put yet, or when who comes in between writes something before
/// all are: who comes then would miss one.
#[tokio::test]
async fn who_comes_while_another_begins_the_store_starts_too() {
    let ring = Arc::new(Keyring::generate());
    for put in 0..ring.check_values().len() {
        let inner = memory().await;
        let vault = || Vault::new(inner.clone(), ring.clone());
        let stopped = Begun {
            inner: inner.clone(),
            other: Mutex::new(None),
            writes: Mutex::new(put),
        };
        let first = Vault::new(Arc::new(stopped), ring.clone());
        assert!(first.check_keyring().await.is_err());
        // Who only looks leaves it as it is.
        assert!(vault().is_unused().await.unwrap());
        assert_eq!(inner.page("c/", None, 9).await.unwrap().len(), put);
        vault().check_keyring().await.unwrap();
        let added = vault().add_user(&user("alice"), NewUser::default()).await;
        added.ok().unwrap();
        vault().check_keyring().await.unwrap();
    }
}
