//! An import that is stopped at any of its writes, by a store that goes away for good (as after a kill) or once.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use tokio::sync::mpsc;

use super::*;
use crate::identity::{ApiKey, KeyId};
use crate::store::{Event, Record, RecordId, Settled, Store, StoreError, WriteError};
use crate::vault::{AccessChange, UserChange};

/// A store that does not answer the write with this number, and then nothing, or everything.
struct Failing {
    inner: Arc<dyn Store>,
    writes: AtomicUsize,
    at: usize,
    is_for_good: bool,
}

impl Failing {
    fn gone() -> StoreError {
        StoreError::Unreachable("gone".to_owned())
    }

    fn reads(&self) -> Result<(), StoreError> {
        let is_gone = self.is_for_good && self.writes.load(Ordering::Relaxed) > self.at;
        if is_gone { Err(Self::gone()) } else { Ok(()) }
    }

    fn writes(&self) -> Result<(), StoreError> {
        let number = self.writes.fetch_add(1, Ordering::Relaxed);
        if number == self.at || (self.is_for_good && number > self.at) {
            return Err(Self::gone());
        }
        Ok(())
    }
}

#[async_trait]
impl Store for Failing {
    async fn get_many(&self, ids: &[RecordId]) -> Result<Vec<Option<Record>>, StoreError> {
        self.reads()?;
        self.inner.get_many(ids).await
    }

    async fn put_if(&self, record: Record, expected: Option<u64>) -> Result<(), WriteError> {
        self.writes()?;
        self.inner.put_if(record, expected).await
    }

    async fn delete_if(&self, id: &RecordId, expected: u64) -> Result<(), WriteError> {
        self.writes()?;
        self.inner.delete_if(id, expected).await
    }

    async fn page(
        &self,
        prefix: &str,
        after: Option<&RecordId>,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError> {
        self.reads()?;
        self.inner.page(prefix, after, limit).await
    }

    async fn settle(&self) -> Result<Settled, StoreError> {
        self.inner.settle().await
    }

    fn watch(&self) -> mpsc::UnboundedReceiver<Event> {
        self.inner.watch()
    }
}

/// What users have been given.
#[derive(Default)]
struct Hands(Mutex<Vec<KeyId>>);

impl Hands {
    fn all(&self) -> Vec<KeyId> {
        self.0.lock().unwrap().clone()
    }
}

impl Delivery for Hands {
    fn deliver(&self, _: &UserName, key: &ApiKey) -> Result<(), Refusal> {
        self.0.lock().unwrap().push(key.digest().key_id());
        Ok(())
    }

    fn take_back(&self, _: &UserName) -> Result<(), Refusal> {
        self.0.lock().unwrap().pop();
        Ok(())
    }
}

fn alice() -> UserName {
    UserName::parse("alice").unwrap()
}

fn patterns(names: &[&str]) -> Vec<Pattern> {
    names.iter().map(|p| Pattern::parse(p).unwrap()).collect()
}

/// A user with something of everything.
fn draft() -> Draft {
    let text = "username,email,groups,key_name,desk.TOKEN\nalice,a@x.org,staff;guests,new,secret\n";
    let mut draft = csv(text).unwrap().drafts.pop().unwrap();
    draft.user.access = Access {
        blocked_servers: patterns(&["desk"]),
        ..Access::default()
    };
    draft.acts_for = patterns(&["bob"]);
    draft.keys = vec![key(b"usr_one")];
    draft
}

/// A store with two groups, and whoever opens it.
async fn furnished() -> (Arc<dyn Store>, Arc<Keyring>, Vault) {
    let url = StoreUrl::parse("memory:", Path::new("")).unwrap();
    let store = store::open(&Settings::new(url)).await.unwrap();
    let ring = Arc::new(Keyring::generate());
    let vault = Vault::new(store.clone(), ring.clone());
    for name in ["staff", "guests"] {
        let name = GroupName::parse(name).unwrap();
        vault
            .add_group(&name, None, Access::default())
            .await
            .unwrap();
    }
    (store, ring, vault)
}

async fn import(vault: &Vault, how: How, hands: &Hands) -> Result<(), Refusal> {
    let plan = plan(vault, draft(), how, &Groups::Here).await?;
    plan.carry_out(vault, Some(hands)).await
}

/// What a user has: of each field whether it is as it will be, and the status of each key.
async fn has(vault: &Vault) -> Option<(bool, usize, usize, usize, Vec<(String, &'static str)>)> {
    let user = vault.user(&alice()).await.ok()?;
    let secrets = vault.secrets(&alice()).await.unwrap();
    let keys = vault.keys(&alice()).await.unwrap();
    let name = |key: &crate::vault::KeyInfo| match &key.record.name {
        Some(name) => name.clone(),
        None => key.id.to_string(),
    };
    let mut keys: Vec<_> = keys.iter().map(|key| (name(key), key.status())).collect();
    keys.sort();
    Some((
        user.record.disabled,
        user.record.access.blocked_servers.len(),
        user.record.groups.len(),
        secrets.len(),
        keys,
    ))
}

/// Nobody has a usable key that was never handed over.
async fn no_key_is_orphaned(vault: &Vault, hands: &Hands) {
    let Ok(keys) = vault.keys(&alice()).await else {
        return;
    };
    let made = keys.iter().filter(|key| key.record.name.is_some());
    for key in made.filter(|key| key.status() == "usable") {
        assert!(hands.all().contains(&key.id), "an orphan");
    }
}

// Fails when a user is enabled before all of him is there, a key works before it is handed over, or a user
// whose import failed stays.
#[tokio::test]
async fn a_new_user_is_served_with_all_of_him_or_not_at_all() {
    for is_for_good in [true, false] {
        let mut stops = 0;
        loop {
            let (inner, ring, vault) = furnished().await;
            let failing = Arc::new(Failing {
                inner,
                writes: AtomicUsize::new(0),
                at: stops,
                is_for_good,
            });
            let hands = Hands::default();
            let done = import(&Vault::new(failing, ring), How::default(), &hands).await;
            let now = has(&vault).await;
            no_key_is_orphaned(&vault, &hands).await;
            if done.is_ok() {
                let (disabled, blocked, groups, secrets, keys) = now.unwrap();
                assert_eq!((disabled, blocked, groups, secrets), (false, 1, 2, 1));
                assert!(keys.len() == 2 && keys.iter().all(|(_, status)| *status == "usable"));
                break;
            }
            match now {
                Some((disabled, ..)) => assert!(is_for_good && disabled, "stopped at {stops}"),
                None => assert!(is_for_good || hands.all().is_empty(), "stopped at {stops}"),
            }
            stops += 1;
        }
        assert!(stops > 10, "{stops}");
    }
}

/// One who is there: blocked elsewhere, with one of the file's keys revoked.
async fn with_alice() -> (Arc<dyn Store>, Arc<Keyring>, Vault) {
    let (store, ring, vault) = furnished().await;
    let user = vault.add_user(&alice(), NewUser::default()).await.unwrap();
    let change = UserChange {
        access: Some(AccessChange {
            blocked_servers: Some(patterns(&["mail"])),
            ..AccessChange::default()
        }),
        ..UserChange::default()
    };
    vault.update_user(&alice(), &change).await.unwrap();
    let other = key(b"usr_old");
    vault.adopt_key(&user, &other).await.unwrap();
    (store, ring, vault)
}

// Fails when a merge gives before it denies, or cannot be run again after it stopped somewhere.
#[tokio::test]
async fn a_merge_that_stopped_has_given_nothing_too_much_and_goes_on() {
    let how = How {
        merge: true,
        allows_all: true,
        ..How::default()
    };
    let (_, _, vault) = with_alice().await;
    import(&vault, how, &Hands::default()).await.unwrap();
    let whole = has(&vault).await.unwrap();
    assert_eq!((whole.1, whole.2, whole.3, whole.4.len()), (2, 2, 1, 3));
    for is_for_good in [true, false] {
        let mut stops = 0;
        loop {
            let (inner, ring, vault) = with_alice().await;
            let failing = Arc::new(Failing {
                inner,
                writes: AtomicUsize::new(0),
                at: stops,
                is_for_good,
            });
            let hands = Hands::default();
            let done = import(&Vault::new(failing, ring), how, &hands).await;
            no_key_is_orphaned(&vault, &hands).await;
            let Err(why) = done else {
                assert_eq!(has(&vault).await.unwrap(), whole);
                break;
            };
            assert!(
                why.is_partly() && why.to_string().contains("again"),
                "{why}"
            );
            let (disabled, blocked, groups, secrets, keys) = has(&vault).await.unwrap();
            assert!(!disabled && [0, 2].contains(&groups), "stopped at {stops}");
            assert!(groups == 0 || blocked == 2, "stopped at {stops}");
            assert!(secrets == 0 || groups == 2, "stopped at {stops}");
            assert!(keys.len() == 1 || secrets == 1, "stopped at {stops}");
            let merged = import(&vault, how, &hands).await;
            merged.unwrap_or_else(|why| panic!("stopped at {stops}: {why}"));
            no_key_is_orphaned(&vault, &hands).await;
            assert_eq!(has(&vault).await.unwrap(), whole, "stopped at {stops}");
            stops += 1;
        }
        assert!(stops > 8, "{stops}");
    }
}
