//! What is never overwritten.

use std::sync::Arc;

use cloakroom::store::{CopyError, Record};
use futures_util::FutureExt as _;

use super::meddling::Meddled;
use super::*;

const RULES: [Rule; 4] = [FOLLOW, DELETE, AGAIN, Rule::Fill];

#[tokio::test]
async fn another_installations_store_is_left_alone() {
    let (here, there) = (memory().await, memory().await);
    let town = Town::new(&here, 3).await;
    let other = Town::new(&there, 3).await;
    for rule in RULES {
        let refused = refusal(&here, &there, rule).await;
        assert!(matches!(refused, CopyError::Foreign), "{refused}");
    }
    // Half a copy of it has no check values yet, and is as foreign.
    let half = memory().await;
    for record in all(&there).await {
        if !record.id.as_str().starts_with("c/") {
            half.put_if(record, None).await.unwrap();
        }
    }
    assert!(matches!(
        refusal(&here, &half, DELETE).await,
        CopyError::Foreign
    ));
    town.lives_in(&here).await;
    other.lives_in(&there).await;
}

#[tokio::test]
async fn an_empty_or_half_copied_source_is_no_source() {
    let (empty, to) = (memory().await, memory().await);
    let town = Town::new(&to, 2).await;
    for rule in RULES {
        assert!(matches!(refusal(&empty, &to, rule).await, CopyError::Empty));
    }
    let half = memory().await;
    for record in all(&to).await {
        if record.id.as_str().starts_with("u/") {
            half.put_if(record, None).await.unwrap();
        }
    }
    for rule in RULES {
        assert!(matches!(
            refusal(&half, &to, rule).await,
            CopyError::NotWhole
        ));
    }
    town.lives_in(&to).await;
}

// Fails when a newer version is overwritten, or only the first pass looks for one.
#[tokio::test]
async fn a_destination_somebody_works_at_is_left_alone() {
    let (from, to) = (memory().await, memory().await);
    let mut town = Town::new(&from, 3).await;
    copied(&from, &to, FOLLOW).await.unwrap();
    let revoked = town.vault(&to);
    let issued = revoked.issue_key(&town.people[0].name, KeyRequest::default());
    let issued = issued.await.unwrap();
    copied(&to, &from, AGAIN).await.unwrap();
    revoked.revoke_key(&issued.id).await.unwrap();
    for rule in [FOLLOW, DELETE, AGAIN] {
        match refusal(&from, &to, rule).await {
            CopyError::Newer { count: 1, first } => {
                assert!(first.as_str().starts_with("k/"), "{first}");
            }
            other => panic!("{other}"),
        }
    }
    assert!(matches!(
        refusal(&from, &to, Rule::Fill).await,
        CopyError::InUse
    ));
    // The source moves on too, past what the destination has: then it is the newer one.
    revoked.settle().await.unwrap();
    copied(&to, &from, FOLLOW).await.unwrap();
    set_secret(
        &town.vault(&from),
        &town.people[0].name,
        "resident-0-canary",
    )
    .await;
    copied(&from, &to, FOLLOW).await.unwrap();
    town.people[0].revoked = issued.key;
    town.lives_in(&to).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_made_at_the_destination_meanwhile_stays() {
    let (from, inner) = (memory().await, memory().await);
    let town = Town::new(&from, 5).await;
    let vault = Arc::new(town.vault(&inner));
    let to = Meddled::store(&inner, move |number| {
        let vault = vault.clone();
        async move {
            if number == 20 {
                arrives(&vault, "stranger").await;
            }
            Ok(())
        }
        .boxed()
    });
    let refused = copied(&from, &to, DELETE).await.err().unwrap();
    assert!(matches!(refused, CopyError::Newer { .. }), "{refused}");
    let stranger = UserName::parse("stranger").unwrap();
    assert!(town.vault(&inner).user(&stranger).await.is_ok());
}

#[tokio::test]
async fn a_blob_that_was_tampered_with_is_named() {
    for kind in ["k/", "s/", "c/"] {
        let (from, to) = (memory().await, memory().await);
        Town::new(&from, 3).await;
        copied(&from, &to, FOLLOW).await.unwrap();
        let victim = to.page(kind, None, 1).await.unwrap().remove(0);
        let mut blob = victim.blob.to_vec();
        *blob.last_mut().unwrap() ^= 1;
        to.delete_if(&victim.id, victim.version).await.unwrap();
        let forged = Record {
            blob: blob.into(),
            ..victim.clone()
        };
        to.put_if(forged, None).await.unwrap();
        let refused = refusal(&from, &to, FOLLOW).await;
        assert!(
            matches!(&refused, CopyError::Differs { count: 1, first } if *first == victim.id),
            "{refused}"
        );
        assert!(
            refused.to_string().contains(victim.id.as_str()),
            "{refused}"
        );
    }
}

// Fails when extra records are deleted without being told to.
#[tokio::test]
async fn who_left_between_two_copies_leaves_when_told_to() {
    let (from, to) = (memory().await, memory().await);
    let mut town = Town::new(&from, 3).await;
    copied(&from, &to, FOLLOW).await.unwrap();
    let gone = town.people.remove(1);
    town.vault(&from).delete_user(&gone.name).await.unwrap();
    let refused = refusal(&from, &to, FOLLOW).await;
    assert!(matches!(refused, CopyError::Extra { .. }), "{refused}");
    assert!(refused.to_string().contains("--delete"), "{refused}");
    let done = copied(&from, &to, DELETE).await.unwrap();
    assert_eq!(sum(&done, |t| t.written), 0);
    same(&all(&from).await, &all(&to).await);
    town.lives_in(&to).await;
}

// Fails when `lost` in `judge.rs` is always `None`, or goes by the latest version at the destination.
#[tokio::test]
async fn who_was_deleted_at_the_destination_does_not_come_back() {
    let (from, to) = (memory().await, memory().await);
    let town = Town::new(&from, 3).await;
    copied(&from, &to, FOLLOW).await.unwrap();
    let there = town.vault(&to);
    // The newest of all: nothing that is left there is as new as she was.
    let gone = &town.people[2].name;
    there.delete_user(gone).await.unwrap();
    for rule in [FOLLOW, DELETE] {
        let refused = refusal(&from, &to, rule).await;
        let lost = matches!(refused, CopyError::Lost { count: 8, .. });
        assert!(lost, "all of hers: {refused}");
        assert!(refused.to_string().contains("--again"), "{refused}");
    }
    assert!(there.user(gone).await.is_err());
}

// Fails when a copy is not asked to go by `again`.
#[tokio::test]
async fn who_came_since_an_earlier_copy_comes_along_when_told_to() {
    let (from, to) = (memory().await, memory().await);
    let mut town = Town::new(&from, 3).await;
    copied(&from, &to, FOLLOW).await.unwrap();
    // Changes alone need no word: nothing that was deleted comes back by them.
    let name = town.people[0].name.clone();
    set_secret(&town.vault(&from), &name, "resident-0-canary").await;
    copied(&from, &to, FOLLOW).await.unwrap();
    town.settle_in(&from, "newcomer").await;
    let refused = refusal(&from, &to, FOLLOW).await;
    assert!(matches!(refused, CopyError::Lost { .. }), "{refused}");
    copied(&from, &to, AGAIN).await.unwrap();
    same(&all(&from).await, &all(&to).await);
    town.lives_in(&to).await;
}

// Fails when heartbeats at the destination are not looked at.
#[tokio::test]
async fn a_destination_somebody_serves_from_is_left_alone() {
    let (from, to) = (memory().await, memory().await);
    let town = Town::new(&from, 3).await;
    copied(&from, &to, FOLLOW).await.unwrap();
    let name = &town.people[0].name;
    set_secret(&town.vault(&from), name, "resident-0-canary").await;
    let heartbeat = |id: &str, age: u64| Record {
        id: self::id(id),
        version: (now() - age) * 1_000_000,
        blob: "alive".into(),
    };
    to.put_if(heartbeat("h/00", 3600), None).await.unwrap();
    to.put_if(heartbeat("h/01", 5), None).await.unwrap();
    for rule in [FOLLOW, DELETE] {
        let refused = refusal(&from, &to, rule).await;
        let serving = matches!(refused, CopyError::Serving { count: 1 });
        assert!(serving, "{refused}");
    }
    copied(&from, &to, AGAIN).await.unwrap();
    town.lives_in(&to).await;
}

// Fails when a store in use, in which only something was deleted, passes for a part of its backup.
#[tokio::test]
async fn an_earlier_state_fills_no_store_that_was_whole() {
    let (backup, live) = (memory().await, memory().await);
    let town = Town::new(&backup, 3).await;
    copied(&backup, &live, FOLLOW).await.unwrap();
    let done = copied(&backup, &live, Rule::Fill).await.unwrap();
    assert_eq!(sum(&done, |t| t.written), 0, "it was restored already");
    let gone = &town.people[0].name;
    town.vault(&live).delete_user(gone).await.unwrap();
    let refused = refusal(&backup, &live, Rule::Fill).await;
    assert!(matches!(refused, CopyError::InUse), "{refused}");
}
