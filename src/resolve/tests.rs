//! The resolver over a store in memory.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc;
use tokio::time::timeout;

use super::*;
use crate::names::{GroupName, Pattern, UserName};
use crate::store::{self, Ask, Event, Record, RecordId, Settled, StoreUrl, Taken, WriteError};
use crate::vault::{Access, GroupChange, IssuedKey, KeyRequest, Keyring, NewUser, Vault};

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

impl House {
    /// Whose it is, by who is reminded of whose it was.
    async fn again(&self, key: &IssuedKey, last: &Reminder) -> Result<Identity, ResolveError> {
        let digest = key.key.digest();
        self.resolver.identify_again(digest, None, last).await
    }

    fn reminds(&self, key: &IssuedKey, last: &Reminder) -> bool {
        self.resolver.known(&key.key.digest(), last).is_some()
    }
}

// Fails when `known` looks at no digest, or not at who said so.
#[tokio::test]
async fn who_one_is_reminded_of_is_nobody_else() {
    let (house, other) = (House::new(1 << 20).await, House::new(1 << 20).await);
    let (alice, bob) = (house.issue("alice").await, house.issue("bob").await);
    let last = Reminder::default();
    for key in [&alice, &bob, &bob, &alice] {
        let expected = house.identify(key).await;
        let again = house.again(key, &last).await.ok().unwrap();
        assert_eq!(again.user_name(), expected.user_name());
        assert!(house.reminds(key, &last));
    }
    assert!(!house.reminds(&bob, &last));
    let told = other.again(&alice, &last).await.err();
    assert!(matches!(told, Some(ResolveError::Unknown)), "{told:?}");
    // Of whom nobody is known, one is not reminded: what was known stays.
    assert!(house.reminds(&alice, &last));
}

// Fails when `still_so` overlooks the key's entry, the user's, or a group's, or the stamps.
#[tokio::test]
async fn an_identity_is_so_until_one_of_its_records_changes() {
    let house = House::new(1 << 20).await;
    let inner = &house.resolver.0;
    let [bob, carol] = ["bob", "carol"].map(|name| UserName::parse(name).unwrap());
    let team = GroupName::parse("team").unwrap();
    let keys = [
        house.issue("alice").await,
        house.issue("bob").await,
        house.issue("carol").await,
    ];
    let group = house.vault.add_group(&team, None, Access::default()).await;
    assert!(group.is_ok());
    let joined = house.vault.add_member(&team, &carol).await;
    assert!(joined.is_ok());
    // Until word of all that was written has come.
    let mut known = Vec::new();
    until(async || {
        known = Vec::new();
        for key in &keys {
            known.push(house.identify(key).await);
        }
        sleep(Duration::from_millis(20)).await;
        known.iter().all(|identity| inner.still_so(identity))
    })
    .await;
    let so = || {
        known
            .iter()
            .map(|identity| inner.still_so(identity))
            .collect::<Vec<_>>()
    };
    house.vault.revoke_key(&keys[0].id).await.ok().unwrap();
    until(async || so() == [false, true, true]).await;
    house.vault.set_disabled(&bob, true).await.ok().unwrap();
    until(async || so() == [false, false, true]).await;
    let change = GroupChange {
        description: Some(Some("another".to_owned())),
        access: None,
    };
    house.vault.update_group(&team, &change).await.ok().unwrap();
    until(async || so() == [false, false, false]).await;

    let identity = house.identify(&keys[2]).await;
    assert!(inner.still_so(&identity));
    inner.freshness.on_down();
    assert!(!inner.still_so(&identity));
}

// Fails when `known` does not ask whether it still is so.
#[tokio::test]
async fn one_is_not_reminded_by_what_is_outdated() {
    let house = House::new(1 << 20).await;
    let alice = house.issue("alice").await;
    let last = Reminder::default();
    let identity = house.again(&alice, &last).await.ok().unwrap();
    assert!(house.reminds(&alice, &last));
    identity.entries()[1].entry.outdate();
    assert!(!house.reminds(&alice, &last));
}

async fn until(mut is_so: impl AsyncFnMut() -> bool) {
    let begun = std::time::Instant::now();
    while !is_so().await {
        assert!(begun.elapsed() < PATIENCE);
        sleep(Duration::from_millis(1)).await;
    }
}

// Fails when as much is held besides the cache as somebody's records may have.
#[tokio::test]
async fn one_is_reminded_of_nobody_whose_records_are_heavy() {
    let house = House::new(16 << 20).await;
    let team = GroupName::parse("team").unwrap();
    let alice = house.issue("alice").await;
    let last = Reminder::default();
    house.again(&alice, &last).await.ok().unwrap();
    assert!(house.reminds(&alice, &last));
    let long = Pattern::parse(&"x".repeat(64)).unwrap();
    let access = Access {
        blocked_tools: vec![long; Access::MAX],
        ..Access::default()
    };
    let group = house.vault.add_group(&team, None, access).await;
    assert!(group.is_ok());
    let name = UserName::parse("alice").unwrap();
    house.vault.add_member(&team, &name).await.ok().unwrap();
    until(async || {
        let identity = house.again(&alice, &last).await.ok().unwrap();
        identity.groups().count() == 1
    })
    .await;
    assert!(!house.reminds(&alice, &last));
}

// Fails when what is pushed out of the cache is not outdated: of a change of it nobody would hear.
#[tokio::test]
async fn one_is_reminded_by_nothing_that_left_the_cache() {
    let house = House::new(64 << 10).await;
    let alice = house.issue("alice").await;
    let identity = house.identify(&alice).await;
    let entries = &house.resolver.0.entries;
    let is_there = |held: &Held| entries.known(&held.key).is_some();
    assert!(identity.entries().iter().all(is_there));
    assert!(house.resolver.0.still_so(&identity));
    for n in 0.. {
        assert!(n < 1000, "one that is not asked for is pushed out");
        let other = house.issue(&format!("user-{n}")).await;
        house.identify(&other).await;
        if !identity.entries().iter().all(is_there) {
            break;
        }
    }
    assert!(!house.resolver.0.still_so(&identity));
}

// Fails when a reminder counts for ever: in the cache its records would count as unused.
#[tokio::test]
async fn after_a_moment_who_one_is_reminded_of_is_looked_up_again() {
    let house = House::new(1 << 20).await;
    let alice = house.issue("alice").await;
    let last = Reminder::default();
    house.again(&alice, &last).await.ok().unwrap();
    assert!(house.reminds(&alice, &last));
    tokio::time::pause();
    tokio::time::advance(Duration::from_millis(1100)).await;
    assert!(!house.reminds(&alice, &last));
    tokio::time::resume();
    house.again(&alice, &last).await.ok().unwrap();
    assert!(house.reminds(&alice, &last));
}
