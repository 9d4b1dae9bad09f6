//! The resolver over a store in memory.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc;
use tokio::time::timeout;

use super::*;
use crate::names::UserName;
use crate::store::{self, Ask, Event, RecordId, Settled, StoreUrl, Taken, WriteError};
use crate::vault::{IssuedKey, KeyRequest, Keyring, NewUser, Vault};

/// Longer than anything takes on a loaded machine; only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(20);

struct House {
    vault: Vault,
    resolver: Resolver,
    store: Arc<Shaky>,
}

/// A store that panics once when told to, and does not answer while told not to.
struct Shaky {
    inner: Arc<dyn Store>,
    panics: AtomicBool,
    away: AtomicBool,
}

#[async_trait::async_trait]
impl Store for Shaky {
    async fn get_many(&self, ids: &[RecordId]) -> Result<Vec<Option<Record>>, StoreError> {
        assert!(!self.panics.swap(false, Ordering::SeqCst), "as told");
        if self.away.load(Ordering::SeqCst) {
            return Err(StoreError::Unreachable("as told".into()));
        }
        self.inner.get_many(ids).await
    }

    async fn put_if(&self, record: Record, expected: Option<u64>) -> Result<(), WriteError> {
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
        self.inner.page(prefix, after, limit).await
    }

    async fn settle(&self) -> Result<Settled, StoreError> {
        self.inner.settle().await
    }

    async fn take(&self, asks: &[Ask]) -> Result<Vec<Taken>, StoreError> {
        self.inner.take(asks).await
    }

    fn watch(&self) -> mpsc::UnboundedReceiver<Event> {
        self.inner.watch()
    }
}

impl House {
    async fn new(cache_bytes: u64) -> Self {
        Self::with(Settings {
            cache_bytes,
            stale_for: Duration::ZERO,
            lag: None,
        })
        .await
    }

    async fn with(settings: Settings) -> Self {
        let url = StoreUrl::parse("memory:", Path::new("")).unwrap();
        let inner = store::open(&store::Settings::new(url)).await.unwrap();
        let store = Arc::new(Shaky {
            inner,
            panics: AtomicBool::new(false),
            away: AtomicBool::new(false),
        });
        let ring = Arc::new(Keyring::generate());
        let resolver = Resolver::new(store.clone(), Reader::new(ring.clone()), &settings);
        while resolver.watch() != Watch::Up {
            sleep(Duration::from_millis(1)).await;
        }
        let vault = Vault::new(store.clone(), ring);
        Self {
            vault,
            resolver,
            store,
        }
    }

    async fn issue(&self, name: &str) -> IssuedKey {
        let user = UserName::parse(name).unwrap();
        self.vault
            .add_user(&user, NewUser::default())
            .await
            .ok()
            .unwrap();
        let issued = self.vault.issue_key(&user, KeyRequest::default()).await;
        issued.ok().unwrap()
    }

    async fn identify(&self, key: &IssuedKey) -> Identity {
        self.resolver
            .identify(key.key.digest(), None)
            .await
            .unwrap()
    }
}

// Fails when `Watched` pins nothing.
#[tokio::test]
async fn an_open_stream_hears_of_its_key_also_when_many_others_filled_the_cache() {
    let house = House::new(64 << 10).await;
    let key = house.issue("alice").await;
    let identity = house.identify(&key).await;
    let resolver = house.resolver.clone();
    let stream = tokio::spawn(async move { resolver.changed(&identity, PATIENCE * 2).await });
    tokio::task::yield_now().await;
    for n in 0..300 {
        let other = house.issue(&format!("user-{n}")).await;
        for _ in 0..3 {
            house.identify(&other).await;
        }
    }
    assert!(!stream.is_finished(), "nothing of alice's changed");
    house.vault.revoke_key(&key.id).await.ok().unwrap();
    let told = timeout(PATIENCE, stream).await;
    assert!(told.is_ok(), "the stream was told");
}

// Fails when what is read again and is the same wakes who watches it, or takes its place without a word.
#[tokio::test]
async fn an_open_stream_hears_of_changes_alone_when_its_entry_was_read_again() {
    let house = House::new(1 << 20).await;
    let key = house.issue("alice").await;
    let identity = house.identify(&key).await;
    let resolver = house.resolver.clone();
    let stream = tokio::spawn(async move { resolver.changed(&identity, PATIENCE * 2).await });
    tokio::task::yield_now().await;
    // As when two reads of a user, with and without secrets, are under way at once.
    let again = RecordKey::Key(key.key.digest());
    for _ in 0..3 {
        let read = house
            .resolver
            .0
            .load_anew(std::slice::from_ref(&again))
            .await;
        assert!(read.is_ok());
    }
    tokio::task::yield_now().await;
    assert!(!stream.is_finished(), "nothing changed");
    house.vault.revoke_key(&key.id).await.ok().unwrap();
    let told = timeout(PATIENCE, stream).await;
    assert!(told.is_ok(), "the stream was told");
}

#[tokio::test]
async fn a_panic_in_a_read_is_that_reads_alone() {
    let house = House::new(1 << 20).await;
    let key = house.issue("alice").await;
    house.store.panics.store(true, Ordering::SeqCst);
    // Fails, unless a change that arrived meanwhile had the read made again.
    let _ = house.resolver.identify(key.key.digest(), None).await;
    let identity = house.identify(&key).await;
    assert_eq!(identity.user_name(), "alice");
}

// Fails when `may_be_stale` lets pass what was never there, or nothing that is gone.
#[tokio::test]
async fn while_the_store_is_away_a_stranger_is_not_told_that_he_is_none() {
    let house = House::with(Settings::default()).await;
    let alice = house.issue("alice").await;
    let gone = house.issue("gone").await;
    let stranger = KeyDigest::from_hex(&"5a".repeat(32)).unwrap();
    let ask = |digest| house.resolver.identify(digest, None);
    house.identify(&gone).await;
    let name = UserName::parse("gone").unwrap();
    house.vault.delete_user(&name).await.ok().unwrap();
    house.identify(&alice).await;
    for digest in [gone.key.digest(), stranger] {
        let told = ask(digest).await.err();
        assert!(matches!(told, Some(ResolveError::Unknown)), "{told:?}");
    }
    house.store.away.store(true, Ordering::SeqCst);
    house.resolver.0.freshness.on_down();
    for _ in 0..3 {
        assert_eq!(house.identify(&alice).await.user_name(), "alice");
        let told = ask(gone.key.digest()).await.err();
        assert!(matches!(told, Some(ResolveError::Unknown)), "{told:?}");
        let told = ask(stranger).await.err();
        assert!(matches!(told, Some(ResolveError::Store(_))), "{told:?}");
    }
}
