//! The vault over a store in memory: what administrators and attackers would notice.

use std::path::Path;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::*;
use crate::names::{ProfileName, SecretName};
use crate::store::{self, Settings, StoreUrl};

pub(super) async fn memory() -> Arc<dyn Store> {
    let url = StoreUrl::parse("memory:", Path::new("")).unwrap();
    store::open(&Settings::new(url)).await.unwrap()
}

async fn vault() -> Arc<Vault> {
    Arc::new(Vault::new(memory().await, Arc::new(Keyring::generate())))
}

pub(super) fn user(name: &str) -> UserName {
    UserName::parse(name).unwrap()
}

pub(super) fn github() -> ServerName {
    ServerName::parse("github").unwrap()
}

pub(super) fn main_profile() -> ProfileName {
    ProfileName::default_profile()
}

fn value(text: &str) -> SecretValue {
    SecretValue::new(Zeroizing::new(text.as_bytes().to_vec()))
        .ok()
        .unwrap()
}

pub(super) async fn set(vault: &Vault, name: &str, text: &str) -> Result<(), VaultError> {
    let name = SecretName::parse(name).unwrap();
    vault
        .set_secret(
            &user("alice"),
            &github(),
            &main_profile(),
            &name,
            &value(text),
        )
        .await
}

/// The value as a request would get it.
pub(super) async fn read(vault: &Vault, name: &str) -> Option<String> {
    let alice = vault.user(&user("alice")).await.unwrap();
    let id = vault.reader.secrets_record(alice.id, "github", "default");
    let record = vault.get(&id).await.unwrap()?;
    let set = SecretOpener::new(&vault.ring, &github())
        .unwrap()
        .open(&record)
        .ok()
        .unwrap();
    let value = set.expose(&SecretName::parse(name).unwrap())?;
    Some(String::from_utf8(value.to_vec()).unwrap())
}

#[tokio::test]
async fn a_name_and_an_email_are_one_users_and_free_again_afterwards() {
    let vault = vault().await;
    let alice = vault
        .add_user(&user("alice"), NewUser::with_email("A@x.org"))
        .await
        .ok()
        .unwrap();
    let again = vault
        .add_user(&user("alice"), NewUser::default())
        .await
        .err()
        .unwrap();
    assert!(matches!(again, VaultError::UserExists(_)), "{again}");
    let email = vault
        .add_user(&user("bob"), NewUser::with_email("a@X.org"))
        .await
        .err()
        .unwrap();
    assert!(matches!(email, VaultError::EmailTaken(_)), "{email}");
    // What failed left nothing behind.
    assert!(vault.user(&user("bob")).await.is_err());
    assert_eq!(vault.users(None, 100).await.ok().unwrap().len(), 1);
    vault.delete_user(&user("alice")).await.unwrap();
    let reborn = vault
        .add_user(&user("alice"), NewUser::with_email("a@x.org"))
        .await
        .ok()
        .unwrap();
    assert_ne!(reborn.id, alice.id, "the same name is somebody else");
}

#[tokio::test]
async fn a_hundred_adds_of_one_name_make_one_user() {
    let vault = vault().await;
    let adds: Vec<_> = (0..100)
        .map(|_| {
            let vault = vault.clone();
            tokio::spawn(async move {
                vault
                    .add_user(&user("alice"), NewUser::default())
                    .await
                    .is_ok()
            })
        })
        .collect();
    let mut made = 0;
    for add in adds {
        made += usize::from(add.await.unwrap());
    }
    assert_eq!(
        (made, vault.users(None, 100).await.ok().unwrap().len()),
        (1, 1)
    );
}

#[tokio::test]
async fn keys_are_listed_revoked_by_id_and_die_with_their_user() {
    let vault = vault().await;
    vault
        .add_user(&user("alice"), NewUser::default())
        .await
        .ok()
        .unwrap();
    let key = vault
        .issue_key(&user("alice"), KeyRequest::default())
        .await
        .ok()
        .unwrap();
    let other = vault
        .issue_key(&user("alice"), KeyRequest::default())
        .await
        .ok()
        .unwrap();
    assert_eq!(vault.keys(&user("alice")).await.ok().unwrap().len(), 2);
    vault.revoke_key(&key.id).await.ok().unwrap();
    let when = vault.revoke_key(&key.id).await.ok().unwrap().record.revoked;
    assert!(when.is_some());
    vault.revoke_digest(&other.key.digest()).await.ok().unwrap();
    let revoked = vault.keys(&user("alice")).await.ok().unwrap();
    assert!(revoked.iter().all(|key| key.record.revoked.is_some()));
    let unknown = KeyId::parse(&"0".repeat(16)).unwrap();
    assert!(matches!(
        vault.revoke_key(&unknown).await,
        Err(VaultError::NoKey(_))
    ));
    vault.delete_user(&user("alice")).await.unwrap();
    assert!(matches!(
        vault.revoke_key(&key.id).await,
        Err(VaultError::NoKey(_))
    ));
}

#[tokio::test]
async fn secrets_set_at_once_are_all_kept() {
    let vault = vault().await;
    vault
        .add_user(&user("alice"), NewUser::default())
        .await
        .ok()
        .unwrap();
    let sets: Vec<_> = (0..10)
        .map(|i| {
            let vault = vault.clone();
            tokio::spawn(async move { set(&vault, &format!("S{i}"), &format!("v{i}")).await })
        })
        .collect();
    for done in sets {
        done.await.unwrap().unwrap();
    }
    for i in 0..10 {
        assert_eq!(read(&vault, &format!("S{i}")).await, Some(format!("v{i}")));
    }
    assert_eq!(vault.secrets(&user("alice")).await.ok().unwrap().len(), 10);
}

#[tokio::test]
async fn a_secret_is_replaced_and_deleted() {
    let vault = vault().await;
    vault
        .add_user(&user("alice"), NewUser::default())
        .await
        .ok()
        .unwrap();
    set(&vault, "T", "one").await.unwrap();
    set(&vault, "T", "two").await.unwrap();
    assert_eq!(read(&vault, "T").await.as_deref(), Some("two"));
    let name = SecretName::parse("T").unwrap();
    let delete = async || {
        vault
            .delete_secret(&user("alice"), &github(), &main_profile(), &name)
            .await
    };
    delete().await.unwrap();
    assert_eq!(read(&vault, "T").await, None);
    assert!(matches!(delete().await, Err(VaultError::NoSecret { .. })));
}

/// The names of alice's secrets for github, as a request would find them.
async fn listed(vault: &Vault) -> Result<Vec<String>, VaultError> {
    let secrets = vault
        .secrets_for(&user("alice"), &github(), &main_profile())
        .await?;
    Ok(secrets.into_iter().map(|secret| secret.name).collect())
}

#[tokio::test]
async fn a_listed_set_that_is_gone_is_not_an_empty_one() {
    let vault = vault().await;
    let alice = vault
        .add_user(&user("alice"), NewUser::default())
        .await
        .ok()
        .unwrap();
    assert!(listed(&vault).await.is_ok_and(|names| names.is_empty()));
    set(&vault, "T", "x").await.unwrap();
    assert_eq!(listed(&vault).await.unwrap(), ["T"]);
    let id = vault.reader.secrets_record(alice.id, "github", "default");
    vault.delete(&id).await.unwrap();
    let refused = listed(&vault).await.err().unwrap();
    assert!(matches!(refused, VaultError::Gone { .. }), "{refused}");
}

#[tokio::test]
async fn an_earlier_state_put_back_is_not_gone_on_from() {
    let vault = vault().await;
    let alice = vault
        .add_user(&user("alice"), NewUser::default())
        .await
        .ok()
        .unwrap();
    set(&vault, "T", "leaked").await.unwrap();
    let id = vault.reader.secrets_record(alice.id, "github", "default");
    let old = vault.get(&id).await.unwrap().unwrap();
    set(&vault, "T", "new").await.unwrap();
    let new = vault.get(&id).await.unwrap().unwrap();
    vault.store.delete_if(&id, new.version).await.unwrap();
    vault.store.put_if(old, None).await.unwrap();
    let refused = set(&vault, "OTHER", "x").await.err().unwrap();
    assert!(matches!(refused, VaultError::PutBack { .. }), "{refused}");
    let refused = listed(&vault).await.err().unwrap();
    assert!(matches!(refused, VaultError::PutBack { .. }), "{refused}");
    vault
        .delete_secrets(&user("alice"), &github(), &main_profile())
        .await
        .unwrap();
    set(&vault, "OTHER", "x").await.unwrap();
    assert_eq!(read(&vault, "T").await, None);
}

#[tokio::test]
async fn a_deleted_set_put_back_is_not_gone_on_from() {
    let vault = vault().await;
    let alice = vault
        .add_user(&user("alice"), NewUser::default())
        .await
        .ok()
        .unwrap();
    set(&vault, "T", "leaked").await.unwrap();
    let id = vault.reader.secrets_record(alice.id, "github", "default");
    let old = vault.get(&id).await.unwrap().unwrap();
    vault
        .delete_secrets(&user("alice"), &github(), &main_profile())
        .await
        .unwrap();
    vault.store.put_if(old, None).await.unwrap();
    assert!(listed(&vault).await.is_ok_and(|names| names.is_empty()));
    set(&vault, "OTHER", "x").await.unwrap();
    assert_eq!(read(&vault, "OTHER").await.as_deref(), Some("x"));
    assert_eq!(read(&vault, "T").await, None);
}

#[tokio::test]
async fn a_name_that_is_anothers_by_now_is_not_taken_from_him() {
    let vault = vault().await;
    let first = vault
        .add_user(&user("alice"), NewUser::default())
        .await
        .ok()
        .unwrap();
    vault.delete_user(&user("alice")).await.unwrap();
    let second = vault
        .add_user(&user("alice"), NewUser::default())
        .await
        .ok()
        .unwrap();
    // What deleting the first comes to last, had the second been added in between.
    let index = ids::name_index(&vault.reader.mac, "alice");
    vault.release(&index, first.id).await.unwrap();
    assert_eq!(vault.user(&user("alice")).await.ok().unwrap().id, second.id);
}

#[tokio::test]
async fn deleting_a_user_leaves_no_secret_in_the_store() {
    let vault = vault().await;
    vault
        .add_user(&user("alice"), NewUser::with_email("a@x.org"))
        .await
        .ok()
        .unwrap();
    set(&vault, "T", "one").await.unwrap();
    vault
        .issue_key(&user("alice"), KeyRequest::default())
        .await
        .ok()
        .unwrap();
    vault.delete_user(&user("alice")).await.unwrap();
    for prefix in ["k/", "u/", "s/", "n/", "a/"] {
        assert!(
            vault.store.page(prefix, None, 10).await.unwrap().is_empty(),
            "{prefix}"
        );
    }
}

#[tokio::test]
async fn a_store_knows_its_keyring() {
    let store = memory().await;
    let ring = Arc::new(Keyring::generate());
    let right = Vault::new(store.clone(), ring.clone());
    right.check_keyring().await.unwrap();
    right.check_keyring().await.unwrap();
    let part = Keyring::parse(&ring.export(&github()).unwrap()).unwrap();
    Vault::new(store.clone(), Arc::new(part))
        .check_keyring()
        .await
        .unwrap();
    let wrong = Vault::new(store.clone(), Arc::new(Keyring::generate()))
        .check_keyring()
        .await;
    assert!(
        matches!(wrong, Err(CheckError::WrongKeyring(_))),
        "{wrong:?}"
    );
    let renamed = Keyring::generate()
        .to_text()
        .replace("\nr1 ", "\nr9 ")
        .replace("\ni1 ", "\ni9 ");
    let renamed = renamed.replace("\ns1 ", "\ns9 ").replace("\ng1 ", "\ng9 ");
    let other = Vault::new(store, Arc::new(Keyring::parse(&renamed).unwrap()));
    assert!(matches!(
        other.check_keyring().await,
        Err(CheckError::UnknownKeyring)
    ));
}

#[tokio::test]
async fn an_exported_keyring_writes_nothing() {
    let store = memory().await;
    let ring = Arc::new(Keyring::generate());
    Vault::new(store.clone(), ring.clone())
        .add_user(&user("alice"), NewUser::default())
        .await
        .ok()
        .unwrap();
    let part = Arc::new(Keyring::parse(&ring.export(&github()).unwrap()).unwrap());
    let sidecar = Vault::new(store, part);
    assert_eq!(sidecar.users(None, 10).await.ok().unwrap().len(), 1);
    let refused = sidecar
        .issue_key(&user("alice"), KeyRequest::default())
        .await
        .err()
        .unwrap();
    assert!(matches!(refused, VaultError::ReadOnly(_)), "{refused}");
}

// What SECURITY.md says an earlier record brings back, no more and no less.
#[tokio::test]
async fn a_keys_earlier_record_put_back_counts_again() {
    let vault = vault().await;
    vault
        .add_user(&user("alice"), NewUser::default())
        .await
        .ok()
        .unwrap();
    let key = vault
        .issue_key(&user("alice"), KeyRequest::default())
        .await
        .ok()
        .unwrap();
    let id = key_record(&key.key.digest());
    let old = vault.get(&id).await.unwrap().unwrap();
    vault.revoke_key(&key.id).await.ok().unwrap();
    let revoked = vault.get(&id).await.unwrap().unwrap();
    vault.store.delete_if(&id, revoked.version).await.unwrap();
    vault.store.put_if(old, None).await.unwrap();
    let found = vault.get(&id).await.unwrap().unwrap();
    let opened = vault.reader.open_key(&found).ok().unwrap();
    assert!(opened.revoked.is_none());
}

#[tokio::test]
async fn a_survey_counts_all_kinds_and_which_keys_they_need() {
    let vault = vault().await;
    vault.check_keyring().await.unwrap();
    vault
        .add_user(&user("alice"), NewUser::default())
        .await
        .ok()
        .unwrap();
    set(&vault, "T", "one").await.unwrap();
    vault
        .issue_key(&user("alice"), KeyRequest::default())
        .await
        .ok()
        .unwrap();
    let last = std::sync::atomic::AtomicU64::new(0);
    let seen = |count| last.store(count, std::sync::atomic::Ordering::Relaxed);
    let all = survey(&*vault.store, Some(&vault.ring), &seen)
        .await
        .unwrap();
    // alice, her name, her key and that it is hers, her secrets, four check values.
    assert_eq!(
        (
            all.records(),
            last.load(std::sync::atomic::Ordering::Relaxed)
        ),
        (9, 9)
    );
    let needing = |kind, id| {
        let name = KeyName::new(kind, id);
        all.needing(&name).collect::<Vec<_>>()
    };
    let signed = [('a', 1), ('k', 1), ('n', 1), ('u', 1)];
    assert_eq!(needing(KeyKind::Sign, "g1"), signed);
    assert_eq!(needing(KeyKind::Server, "s1"), [('s', 1)]);
    let sealed = [('a', 1), ('c', 4), ('k', 1), ('n', 1), ('u', 1)];
    assert_eq!(needing(KeyKind::Realm, "r1"), sealed);
    assert!(needing(KeyKind::Realm, "r2").is_empty());
    // Without a keyring the signers cannot be seen, everything else can.
    let blind = survey(&*vault.store, None, &|_| {}).await.unwrap();
    let signer = KeyName::new(KeyKind::Sign, "g1");
    assert_eq!((blind.records(), blind.needing(&signer).count()), (9, 0));
    assert_eq!(blind.kinds[&'s'].keys, all.kinds[&'s'].keys);
    assert_eq!(
        all.kinds
            .values()
            .map(|tally| tally.unreadable)
            .sum::<u64>(),
        0
    );
}

// Fails when an e-mail is written that was claimed for another look at the record, or given up under somebody who
// is about to write it: two users would have it.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn an_email_is_one_users_whoever_interferes() {
    const EMAILS: [&str; 2] = ["a@x.org", "b@x.org"];
    let vault = Arc::new(vault().await);
    let mut ids = Vec::new();
    for name in ["alice", "bob"] {
        let added = vault.add_user(&user(name), NewUser::default()).await;
        ids.push(added.ok().unwrap().id);
    }
    for round in 0..200 {
        let acts: Vec<_> = (0..6)
            .map(|act| {
                let (vault, id) = (vault.clone(), ids[act % 2]);
                tokio::spawn(async move {
                    // As an import does: what is there decides.
                    let change = |record: &UserRecord| UserChange {
                        email: match (act / 2, record.email.as_deref()) {
                            (0, None) => Some(Some(EMAILS[round % 2].to_owned())),
                            (0, _) => Some(None),
                            (1, email) => Some(Some(
                                EMAILS[usize::from(email == Some(EMAILS[0]))].to_owned(),
                            )),
                            _ => None,
                        },
                        ..UserChange::default()
                    };
                    match vault.amend_user(&id, change).await {
                        Ok(_) | Err(VaultError::EmailTaken(_)) => {}
                        Err(error) => panic!("{error}"),
                    }
                })
            })
            .collect();
        for act in acts {
            act.await.unwrap();
        }
        for id in &ids {
            let record = vault.user_by_id(id).await.ok().flatten().unwrap().record;
            let Some(email) = record.email else { continue };
            let found = vault.user_with_email(&email).await.ok().unwrap();
            assert!(found.id == *id, "round {round}: {email}");
        }
    }
}
