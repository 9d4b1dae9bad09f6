//! Rotation over a store in memory: what it must seal again, and what it must not.

use std::sync::Arc;

use super::*;
use crate::store::{RecordId, Store};
use crate::vault::secret::SecretSet;
use crate::vault::tests::{github, main_profile, memory, read, set, user};
use crate::vault::{
    Anchor, CheckError, KeyKind, KeyRequest, KeyringText, NewUser, UserId, WriterId, key_record,
    needed, now_seconds, survey,
};

/// A store and the text of its keyring.
struct House {
    store: Arc<dyn Store>,
    text: KeyringText,
}

impl House {
    async fn new() -> Self {
        let house = Self {
            store: memory().await,
            text: KeyringText::new(&Keyring::generate().to_text()),
        };
        house.vault().check_keyring().await.unwrap();
        house
    }

    fn vault(&self) -> Vault {
        Vault::new(self.store.clone(), Arc::new(self.text.keyring().unwrap()))
    }

    /// New keys of every kind, active at once.
    fn renew(&mut self) {
        let ring = self.text.keyring().unwrap();
        for kind in KeyKind::ALL {
            let (made, lines) = ring.successors(kind);
            self.text = self.text.with(&lines).promoting(&made);
        }
    }

    /// Without any key but the active ones.
    fn retired(&self) -> Vault {
        let mut text = KeyringText::new(self.text.expose_text());
        for name in self.old() {
            text = text.without(&name);
        }
        Vault::new(self.store.clone(), Arc::new(text.keyring().unwrap()))
    }

    fn old(&self) -> Vec<KeyName> {
        let ring = self.text.keyring().unwrap();
        let old = |kind| ring.succession(kind).old;
        KeyKind::ALL.into_iter().flat_map(old).collect()
    }

    async fn needs_old_keys(&self) -> bool {
        let ring = self.text.keyring().unwrap();
        let all = survey(&*self.store, Some(&ring), &|_| {}).await.unwrap();
        let old = self.old();
        assert_eq!(old.len(), 3);
        let free = |key: &KeyName| needed(&ring, key, &all).by_nothing();
        !old.iter().all(free)
    }
}

async fn rotated(vault: &Vault) -> Rotation {
    vault.rotate(&|_| {}).await.unwrap()
}

async fn set_of(vault: &Vault, name: &str) -> (UserId, RecordId) {
    let id = vault.user(&user(name)).await.unwrap().id;
    (id, vault.reader.secrets_record(id, "github", "default"))
}

/// Puts a record back as somebody who can write to the store would.
async fn put_back(vault: &Vault, old: Record) {
    if let Some(now) = vault.get(&old.id).await.unwrap() {
        vault.store.delete_if(&now.id, now.version).await.unwrap();
    }
    vault.store.put_if(old, None).await.unwrap();
}

#[tokio::test]
async fn everything_is_sealed_again_and_opens_without_the_old_keys() {
    let mut house = House::new().await;
    let vault = house.vault();
    let new = NewUser::with_email("a@x.org");
    vault.add_user(&user("alice"), new).await.ok().unwrap();
    set(&vault, "T", "one").await.unwrap();
    let key = vault.issue_key(&user("alice"), KeyRequest::default()).await;
    let key = key.ok().unwrap();
    house.renew();
    let vault = house.vault();
    vault.note_keys().await.unwrap();
    assert!(house.needs_old_keys().await);
    let seen = std::sync::atomic::AtomicU64::new(0);
    let count = |n| seen.store(n, std::sync::atomic::Ordering::Relaxed);
    let done = vault.rotate(&count).await.unwrap();
    // The user, two names, the key, that it is hers, her secrets, seven check values of which the
    // new keys' were sealed by one of them.
    assert_eq!((done.resealed, done.passed), (10, 3));
    assert!(done.left.is_empty() && done.removed == 0);
    assert_eq!(seen.into_inner(), 13);
    assert!(!house.needs_old_keys().await);
    let again = rotated(&vault).await;
    assert_eq!((again.resealed, again.passed), (0, 13));

    let retired = house.retired();
    retired.check_keyring().await.unwrap();
    assert_eq!(read(&retired, "T").await.as_deref(), Some("one"));
    assert_eq!(retired.keys(&user("alice")).await.ok().unwrap().len(), 1);
    retired.revoke_key(&key.id).await.ok().unwrap();
    retired.delete_user(&user("alice")).await.unwrap();
}

#[tokio::test]
async fn a_rotation_of_one_kind_leaves_the_others() {
    let mut house = House::new().await;
    let vault = house.vault();
    vault
        .add_user(&user("alice"), NewUser::default())
        .await
        .ok()
        .unwrap();
    set(&vault, "T", "one").await.unwrap();
    for (kind, resealed) in [
        (KeyKind::Server, 1),
        (KeyKind::Sign, 2),
        (KeyKind::Realm, 6),
    ] {
        let (made, lines) = house.text.keyring().unwrap().successors(kind);
        house.text = house.text.with(&lines).promoting(&made);
        // The user and her name; for the realm also the four check values.
        assert_eq!(rotated(&house.vault()).await.resealed, resealed, "{kind}");
    }
    assert!(!house.needs_old_keys().await);
}

/// Fails when `rotate_record` writes over whatever version there is.
#[tokio::test]
async fn a_key_revoked_after_it_was_read_stays_revoked() {
    let mut house = House::new().await;
    let vault = house.vault();
    vault
        .add_user(&user("alice"), NewUser::default())
        .await
        .ok()
        .unwrap();
    let key = vault.issue_key(&user("alice"), KeyRequest::default()).await;
    let key = key.ok().unwrap();
    let id = key_record(&key.key.digest());
    let read = vault.get(&id).await.unwrap().unwrap();
    vault.revoke_key(&key.id).await.ok().unwrap();
    house.renew();
    let vault = house.vault();
    assert!(matches!(
        vault.rotate_record(read).await,
        Ok(Done::Resealed)
    ));
    let now = vault.get(&id).await.unwrap().unwrap();
    assert_eq!(envelope::sealed_by(&now).unwrap().id, "r2");
    let opened = vault.reader.open_key(&now).ok().unwrap();
    assert!(opened.revoked.is_some());
}

/// Fails without the arm of `fate` that compares the set's version with the listed one.
#[tokio::test]
async fn an_old_set_that_was_put_back_is_not_made_new() {
    let mut house = House::new().await;
    let vault = house.vault();
    vault
        .add_user(&user("alice"), NewUser::default())
        .await
        .ok()
        .unwrap();
    set(&vault, "T", "leaked").await.unwrap();
    let (_, id) = set_of(&vault, "alice").await;
    let old = vault.get(&id).await.unwrap().unwrap();
    set(&vault, "T", "new").await.unwrap();
    put_back(&vault, old.clone()).await;
    house.renew();
    let vault = house.vault();
    let done = rotated(&vault).await;
    let left = &done.left[&Reason::PutBack];
    assert_eq!(
        (left.records, &left.examples[..]),
        (1, &["alice github default".to_owned()][..])
    );
    assert!(vault.get(&id).await.unwrap() == Some(old));
    assert!(house.needs_old_keys().await);
    let refused = vault
        .secrets_for(&user("alice"), &github(), &main_profile())
        .await;
    assert!(matches!(refused, Err(VaultError::PutBack { .. })));
    // The remedy the report names.
    vault
        .delete_secrets(&user("alice"), &github(), &main_profile())
        .await
        .unwrap();
    assert!(rotated(&vault).await.left.is_empty());
    assert!(!house.needs_old_keys().await);
}

/// Fails when the version in `reseal_set` is `next_version(Some(set.version))`.
#[tokio::test]
async fn a_set_put_back_between_reading_and_writing_is_not_made_new() {
    let mut house = House::new().await;
    let vault = house.vault();
    vault
        .add_user(&user("alice"), NewUser::default())
        .await
        .ok()
        .unwrap();
    set(&vault, "T", "leaked").await.unwrap();
    let (_, id) = set_of(&vault, "alice").await;
    let old = vault.get(&id).await.unwrap().unwrap();
    house.renew();
    let vault = house.vault();
    let owners = vault.owners(std::slice::from_ref(&old)).await.unwrap();
    // Now she deletes it, and somebody puts it back before the rotation writes.
    vault
        .delete_secrets(&user("alice"), &github(), &main_profile())
        .await
        .unwrap();
    put_back(&vault, old.clone()).await;
    assert!(matches!(
        vault.rotate_set(&owners, old).await,
        Ok(Done::Resealed)
    ));
    set(&vault, "OTHER", "x").await.unwrap();
    assert_eq!(read(&vault, "OTHER").await.as_deref(), Some("x"));
    assert_eq!(read(&vault, "T").await, None);
}

/// A list that was read before the set was changed says nothing against the set.
#[tokio::test]
async fn a_set_changed_after_its_list_was_read_is_not_taken_for_one_put_back() {
    let mut house = House::new().await;
    let vault = house.vault();
    vault
        .add_user(&user("alice"), NewUser::default())
        .await
        .ok()
        .unwrap();
    set(&vault, "T", "one").await.unwrap();
    let (_, id) = set_of(&vault, "alice").await;
    let read_first = vault.get(&id).await.unwrap().unwrap();
    set(&vault, "T", "two").await.unwrap();
    house.renew();
    let vault = house.vault();
    let owners = vault
        .owners(std::slice::from_ref(&read_first))
        .await
        .unwrap();
    let done = vault.rotate_set(&owners, read_first).await;
    assert!(matches!(done, Ok(Done::Resealed)));
    assert_eq!(read(&vault, "T").await.as_deref(), Some("two"));
}

#[tokio::test]
async fn what_nobody_lists_goes_when_it_is_old_and_is_reported_while_it_is_young() {
    let mut house = House::new().await;
    let vault = house.vault();
    vault
        .add_user(&user("alice"), NewUser::default())
        .await
        .ok()
        .unwrap();
    let (alice, id) = set_of(&vault, "alice").await;
    let elsewhere = vault.reader.secrets_record(alice, "jira", "default");
    let nobodys = vault
        .reader
        .secrets_record(UserId::generate(), "github", "default");
    let now = next_version(None);
    let minute = 60_000_000;
    for (id, age) in [(&id, 59), (&elsewhere, 61), (&nobodys, 61)] {
        let server = github();
        let version = now - age * minute;
        let made = envelope::seal_secrets(&vault.ring, &server, id, version, &SecretSet::empty());
        vault.store.put_if(made.unwrap(), None).await.unwrap();
    }
    house.renew();
    let done = rotated(&house.vault()).await;
    assert_eq!((done.removed, done.left[&Reason::Unlisted].records), (2, 1));
    assert!(vault.get(&id).await.unwrap().is_some());
    for gone in [&elsewhere, &nobodys] {
        assert!(vault.get(gone).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn what_cannot_be_sealed_again_is_reported_and_keeps_its_key() {
    let mut house = House::new().await;
    let vault = house.vault();
    vault
        .add_user(&user("alice"), NewUser::default())
        .await
        .ok()
        .unwrap();
    set(&vault, "T", "one").await.unwrap();
    let (_, id) = set_of(&vault, "alice").await;
    // A record that was changed in the store.
    let name = ids::name_index(&vault.reader.mac, "alice");
    let mut damaged = vault.get(&name).await.unwrap().unwrap();
    let mut blob = damaged.blob.to_vec();
    *blob.last_mut().unwrap() ^= 1;
    damaged.blob = blob.into();
    put_back(&vault, damaged).await;
    house.renew();
    // A keyring whose server keys are another server's.
    let text: String = house
        .text
        .expose_text()
        .lines()
        .map(|line| format!("{}\n", line.replace(" server * ", " server jira ")))
        .collect();
    house.text = KeyringText::new(&text);
    let done = rotated(&house.vault()).await;
    assert_eq!(
        done.left[&Reason::NoServerKey].examples,
        ["alice github default"]
    );
    assert_eq!(done.left[&Reason::Unreadable].examples, [name.to_string()]);
    assert_eq!(done.left.len(), 2);
    assert!(house.needs_old_keys().await);
    // Who wants to retire the key is told which record stands in the way for ever.
    let ring = house.text.keyring().unwrap();
    let all = survey(&*house.store, Some(&ring), &|_| {}).await.unwrap();
    let r1 = KeyName::new(KeyKind::Realm, "r1");
    assert_eq!(needed(&ring, &r1, &all).unopened, [name]);
    assert!(vault.get(&id).await.unwrap().is_some());
}

#[tokio::test]
async fn who_lacks_the_new_keys_is_told_so_at_start() {
    let mut house = House::new().await;
    let old = house.vault();
    old.add_user(&user("alice"), NewUser::default())
        .await
        .ok()
        .unwrap();
    let first = KeyringText::new(house.text.expose_text());
    house.renew();
    let vault = house.vault();
    vault.note_keys().await.unwrap();
    rotated(&vault).await;
    let refused = old.check_keyring().await.err();
    let named = matches!(&refused, Some(CheckError::OldKeyring(key)) if key == "realm:r2");
    assert!(named, "{refused:?}");
    // Who holds both, in the order of before, goes on; and so does a sidecar, also after the end.
    let mut both = KeyringText::new(first.expose_text());
    for kind in KeyKind::ALL {
        let line = |l: &&str| l.contains(&format!("2 {kind} "));
        let text: String = house.text.expose_text().lines().filter(line).collect();
        both = both.with(&KeyringText::new(&text));
    }
    let both = Vault::new(house.store.clone(), Arc::new(both.keyring().unwrap()));
    let part = Keyring::parse(&both.ring.export(&github()).unwrap()).unwrap();
    let part = Vault::new(house.store.clone(), Arc::new(part));
    let all = [&both, &part, &house.retired()];
    for vault in all {
        vault.check_keyring().await.unwrap();
        assert!(vault.user(&user("alice")).await.is_ok());
    }
    for name in house.old() {
        vault.retire_key(&name).await.unwrap();
    }
    // Once they are retired, who still writes with the old keys is refused; who only holds them is not.
    for old in [&both, &part] {
        let refused = old.check_keyring().await.err();
        let named = matches!(&refused, Some(CheckError::RetiredKey(key)) if key.id == "r1");
        assert!(named, "{refused:?}");
    }
    house.retired().check_keyring().await.unwrap();
    vault.check_keyring().await.unwrap();
    // Another key of the same name is refused.
    let (_, lines) = first.keyring().unwrap().successors(KeyKind::Sign);
    let wrong = house.text.without(&KeyName::new(KeyKind::Sign, "g2"));
    let wrong = wrong.with(&lines).keyring().unwrap();
    let wrong = Vault::new(house.store.clone(), Arc::new(wrong));
    let refused = wrong.check_keyring().await.err();
    assert!(matches!(refused, Some(CheckError::WrongKeyring(key)) if key == "verify:g2"));
}

#[tokio::test]
async fn replicas_are_seen_while_they_live_and_with_what_they_lack() {
    let mut house = House::new().await;
    let mut beacon = super::super::Beacon::new(house.vault(), "host-1".into(), &[github()]);
    beacon.show().await.unwrap();
    let version = house.store.page("h/", None, 9).await.unwrap()[0].version;
    beacon.show().await.unwrap();
    house.renew();
    let vault = house.vault();
    let replicas = vault.replicas().await.unwrap();
    let presence = replicas[0].presence.as_ref().unwrap();
    assert_eq!((replicas.len(), presence.host.as_str()), (1, "host-1"));
    assert!(now_seconds() - presence.started < 60 && replicas[0].is_recent());
    let lacks = presence.lacking(&vault.ring);
    let lacks: Vec<_> = lacks.iter().map(KeyName::to_string).collect();
    assert_eq!(lacks, ["realm:r2", "server:s2", "sign:g2"]);
    assert!(house.store.page("h/", None, 9).await.unwrap()[0].version > version);
    // Rotation leaves the record to its process, and nothing is kept for it.
    rotated(&vault).await;
    assert!(!house.needs_old_keys().await);
    beacon.withdraw().await.unwrap();
    assert!(vault.replicas().await.unwrap().is_empty());
    // One whose clock is an hour behind: its record looks old, but it moves.
    let id = ids::presence();
    let behind = |version| envelope::seal_plain(&vault.ring, &id, version, b"{}");
    let hour = next_version(None) - 3_600_000_000;
    vault.store.put_if(behind(hour), None).await.unwrap();
    let before = vault.replicas().await.unwrap();
    assert!(!before[0].is_recent());
    let same = vault.replicas().await.unwrap();
    assert!(super::super::live(&before, same).is_empty());
    vault
        .store
        .put_if(behind(hour + 1), Some(hour))
        .await
        .unwrap();
    let moved = vault.replicas().await.unwrap();
    assert_eq!(super::super::live(&before, moved).len(), 1);
    // Killed long ago: the next process to start clears it away.
    vault
        .store
        .put_if(behind(hour + 2), Some(hour + 1))
        .await
        .unwrap();
    beacon.sweep().await.unwrap();
    assert!(vault.replicas().await.unwrap().is_empty());
}

// Fails when a rotation leaves out what only the realm key seals: it would be gone with the old key.
#[tokio::test]
async fn anchors_of_the_audit_trail_are_sealed_again() {
    let mut house = House::new().await;
    let writer = WriterId::generate();
    let anchor = Anchor {
        seq: 17,
        mac: "00".repeat(32),
        at: now_seconds(),
        host: "host-1".to_owned(),
        sink: "file".to_owned(),
        file: None,
        ended: true,
    };
    house.vault().anchor(&writer, &anchor).await.unwrap();
    house.renew();
    house.vault().note_keys().await.unwrap();
    assert!(house.needs_old_keys().await);
    assert!(rotated(&house.vault()).await.left.is_empty());
    assert!(!house.needs_old_keys().await);
    let found = house.retired().anchors().await.unwrap();
    assert_eq!(found, [(writer, Ok(anchor))]);
}
