//! What the gate reads of the store for a secret that is missing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cloakroom::gate::{Door, Gate, Request, Rules};
use cloakroom::inject::Slots;
use cloakroom::names::{ProfileName, SecretName, ServerName, UserName};
use cloakroom::rejection::Kind;
use cloakroom::resolve::{Resolver, Settings, Watch};
use cloakroom::store::{
    self, Ask, Event, Record, RecordId, Settled, Store, StoreError, StoreUrl, Taken, WriteError,
};
use cloakroom::vault::{KeyRequest, Keyring, NewUser, Reader, SecretValue, Vault};
use http::HeaderMap;
use tokio::sync::mpsc::UnboundedReceiver;

/// A store that counts what is read of it.
struct Counting {
    inner: Arc<dyn Store>,
    reads: AtomicUsize,
}

#[async_trait::async_trait]
impl Store for Counting {
    async fn get_many(&self, ids: &[RecordId]) -> Result<Vec<Option<Record>>, StoreError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
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

    fn watch(&self) -> UnboundedReceiver<Event> {
        self.inner.watch()
    }
}

struct House {
    gate: Gate,
    vault: Vault,
    store: Arc<Counting>,
    server: ServerName,
    alice: UserName,
    headers: HeaderMap,
}

impl House {
    async fn new() -> Self {
        let ring = Arc::new(Keyring::generate());
        let url = StoreUrl::parse("memory:", "".as_ref()).unwrap();
        let inner = store::open(&store::Settings::new(url)).await.unwrap();
        let reads = AtomicUsize::new(0);
        let store = Arc::new(Counting { inner, reads });
        let vault = Vault::new(store.clone(), ring.clone());
        let alice = UserName::parse("alice").unwrap();
        vault.add_user(&alice, NewUser::default()).await.unwrap();
        let issued = vault.issue_key(&alice, KeyRequest::default()).await;
        let mut headers = HeaderMap::new();
        let key = issued.unwrap().key.reveal().to_owned();
        headers.insert("x-api-key", key.parse().unwrap());
        let server = ServerName::parse("notes").unwrap();
        let slots = Slots::parse([("Authorization", "Bearer ${NOTES}")]).unwrap();
        let door = Door::open(&ring, server.clone(), slots).unwrap();
        let resolver = Resolver::new(store.clone(), Reader::new(ring), &Settings::default());
        while resolver.watch() != Watch::Up {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let gate = Gate::new(resolver, [door], Rules::default());
        Self {
            gate,
            vault,
            store,
            server,
            alice,
            headers,
        }
    }

    async fn set_secret(&self) {
        let value = SecretValue::new(b"alices".to_vec().into()).ok().unwrap();
        let name = SecretName::parse("NOTES").unwrap();
        let profile = ProfileName::default_profile();
        let vault = &self.vault;
        let set = vault.set_secret(&self.alice, &self.server, &profile, &name, &value);
        set.await.unwrap();
    }
}

const ASKED: Request<'_> = Request {
    tools: &[],
    optional: false,
};

/// Rule 7: what is read again because a secret is missing may say more than that it is there now.
#[tokio::test]
async fn a_user_found_disabled_is_not_served_the_secret_that_was_missing() {
    let house = House::new().await;
    let identity = house.gate.authenticate(&house.headers, None).await.unwrap();
    house.set_secret().await;
    house.vault.set_disabled(&house.alice, true).await.unwrap();
    let door = house.gate.door(&house.server).unwrap();
    let profile = ProfileName::default_profile();
    let admitted = house.gate.admit(&identity, door, &profile, &ASKED).await;
    let refused = admitted.err().expect("a grant for a disabled user");
    assert_eq!(refused.kind(), Kind::UserDisabled);
}

#[tokio::test]
async fn who_waits_for_a_secret_does_not_ask_the_store_all_the_time() {
    let house = House::new().await;
    let identity = house.gate.authenticate(&house.headers, None).await.unwrap();
    let door = house.gate.door(&house.server).unwrap();
    let profile = ProfileName::default_profile();
    let patience = Duration::from_secs(20);
    let before = house.store.reads.load(Ordering::SeqCst);
    let waiting = house
        .gate
        .admit_later(&identity, door, &profile, &ASKED, patience);
    let setting = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let reads = house.store.reads.load(Ordering::SeqCst) - before;
        house.set_secret().await;
        reads
    };
    let since = std::time::Instant::now();
    let (granted, reads) = tokio::join!(waiting, setting);
    assert!(granted.is_ok() && since.elapsed() < Duration::from_secs(6));
    assert!(reads < 5, "{reads} reads in two seconds");
}
