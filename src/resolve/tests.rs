//! The resolver over a store in memory.

use std::path::Path;

use super::*;
use crate::names::UserName;
use crate::store::{self, StoreUrl};
use crate::vault::{IssuedKey, KeyRequest, Keyring, Vault};

/// Longer than anything takes on a loaded machine; only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(20);

struct House {
    vault: Vault,
    resolver: Resolver,
}

impl House {
    async fn new(cache_bytes: u64) -> Self {
        let url = StoreUrl::parse("memory:", Path::new("")).unwrap();
        let store = store::open(&store::Settings::new(url)).await.unwrap();
        let ring = Arc::new(Keyring::generate());
        let settings = Settings {
            cache_bytes,
            stale_for: Duration::ZERO,
        };
        let resolver = Resolver::new(store.clone(), Reader::new(ring.clone()), &settings);
        while !resolver.pushed() {
            sleep(Duration::from_millis(1)).await;
        }
        let vault = Vault::new(store, ring);
        Self { vault, resolver }
    }

    async fn issue(&self, name: &str) -> IssuedKey {
        let user = UserName::parse(name).unwrap();
        self.vault.add_user(&user, None).await.ok().unwrap();
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

// Fails when `remember` does not outdate what it replaces.
#[tokio::test]
async fn an_open_stream_hears_when_its_entry_was_read_again() {
    let house = House::new(1 << 20).await;
    let key = house.issue("alice").await;
    let identity = house.identify(&key).await;
    let resolver = house.resolver.clone();
    let stream = tokio::spawn(async move { resolver.changed(&identity, PATIENCE * 2).await });
    tokio::task::yield_now().await;
    // As when two reads of a user, with and without secrets, are under way at once.
    let again = RecordKey::Key(key.key.digest());
    house.resolver.0.load_one(again).await.ok().unwrap();
    house.vault.revoke_key(&key.id).await.ok().unwrap();
    let told = timeout(PATIENCE, stream).await;
    assert!(told.is_ok(), "the stream was told");
}
