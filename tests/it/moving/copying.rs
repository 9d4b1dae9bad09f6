use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cloakroom::store::{self, CopyError, Record, Settled, StoreError};
use futures_util::FutureExt as _;

use super::meddling::Meddled;
use super::*;
use crate::support::redis;

// Fails when a kind is left out of the walk, or when it reads one page of each.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_moves_from_sqlite_to_redis_and_back() {
    let folder = tempfile::tempdir().unwrap();
    let first = sqlite(&folder.path().join("first.db")).await;
    let town = Town::new(&first, 100).await;
    let heartbeat = Record {
        id: id("h/00"),
        version: 1,
        blob: "alive".into(),
    };
    first.put_if(heartbeat, None).await.unwrap();
    let server = redis::Server::plain();
    let second = store::open(&settings(&server.url())).await.unwrap();
    let third = sqlite(&folder.path().join("third.db")).await;
    let done = copied(&first, &second, FOLLOW).await.unwrap();
    assert_eq!(done.settled, Settled::Everywhere);
    copied(&second, &third, FOLLOW).await.unwrap();
    drop(server);

    let mut expected = all(&first).await;
    expected.retain(|record| !record.id.as_str().starts_with("h/"));
    same(&expected, &all(&third).await);
    assert_eq!(sum(&done, |t| t.records), expected.len() as u64);
    assert_eq!(sum(&done, |t| t.written), expected.len() as u64);
    town.lives_in(&third).await;
    // And home again, where somebody moved in meanwhile: nothing but her is written.
    let mut town = town;
    town.settle_in(&third, "newcomer").await;
    let back = copied(&third, &first, AGAIN).await.unwrap();
    assert_eq!(sum(&back, |t| t.records), all(&third).await.len() as u64);
    let of_hers = all(&third).await.len() - expected.len();
    assert_eq!(sum(&back, |t| t.written), of_hers as u64);
    town.lives_in(&first).await;
}

// Fails when a copy ends after the pass that wrote, or deletes nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happens_at_the_source_meanwhile_happens_at_the_destination() {
    let from = memory().await;
    let mut town = Town::new(&from, 30).await;
    let inner = memory().await;
    let gone = town.people.swap_remove(3);
    let name = gone.name.clone();
    // From the last records on, when users and keys have been copied.
    let last = all(&from).await.len() - 5;
    let (vault, deleted) = (Arc::new(town.vault(&from)), name.clone());
    let issued = vault.issue_key(&town.people[0].name, KeyRequest::default());
    let revoked = issued.await.unwrap();
    let last = last + 2;
    let id = revoked.id.clone();
    let to = Meddled::store(&inner, move |number| {
        let (vault, deleted, id) = (vault.clone(), deleted.clone(), id.clone());
        async move {
            if number == last {
                vault.delete_user(&deleted).await.unwrap();
                vault.revoke_key(&id).await.unwrap();
                arrives(&vault, "newcomer").await;
            }
            Ok(())
        }
        .boxed()
    });
    let done = copied(&from, &to, FOLLOW).await.unwrap();
    assert!(
        sum(&done, |t| t.deleted) >= 5,
        "the user, name, e-mail, keys"
    );
    same(&all(&from).await, &all(&inner).await);
    town.lives_in(&inner).await;
    let there = town.vault(&inner);
    assert!(
        there.user(&name).await.is_err(),
        "the deleted user is there"
    );
    assert!(
        there
            .user(&UserName::parse("newcomer").unwrap())
            .await
            .is_ok()
    );
    town.people[0].revoked = revoked.key;
    town.lives_in(&inner).await;
    let resolver = Resolver::new(
        inner.clone(),
        Reader::new(town.ring.clone()),
        &resolve::Settings::default(),
    );
    assert!(resolver.identify(gone.key.digest(), None).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_under_load_is_copied_equal_once_its_writers_stop() {
    let folder = tempfile::tempdir().unwrap();
    let from = sqlite(&folder.path().join("from.db")).await;
    let town = Town::new(&from, 20).await;
    let to = sqlite(&folder.path().join("to.db")).await;
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..3)
        .map(|writer| {
            let (vault, stop) = (town.vault(&from), stop.clone());
            tokio::spawn(async move {
                for n in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let person = arrives(&vault, &format!("writer-{writer}-{n}")).await;
                    if n % 2 == 0 {
                        vault.delete_user(&person.name).await.unwrap();
                    }
                }
            })
        })
        .collect();
    match copied(&from, &to, FOLLOW).await {
        Ok(_) | Err(CopyError::KeepsChanging { .. }) => {}
        Err(other) => panic!("{other}"),
    }
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.unwrap();
    }
    // Some of them came, and some went, since the first copy was whole.
    copied(&from, &to, follow(true, true)).await.unwrap();
    same(&all(&from).await, &all(&to).await);
    town.lives_in(&to).await;
}

#[tokio::test]
async fn a_source_that_never_rests_is_not_called_equal() {
    let from = memory().await;
    let town = Town::new(&from, 2).await;
    let inner = memory().await;
    let busy = (town.vault(&from), town.people[0].name.clone());
    let busy = Arc::new(busy);
    let to = Meddled::store(&inner, move |number| {
        let busy = busy.clone();
        async move {
            set_secret(&busy.0, &busy.1, &format!("value {number}")).await;
            Ok(())
        }
        .boxed()
    });
    let refused = copied(&from, &to, FOLLOW).await.err().unwrap();
    assert!(
        matches!(refused, CopyError::KeepsChanging { left } if left > 0),
        "{refused}"
    );
    assert!(
        refused.to_string().contains("stop the writers"),
        "{refused}"
    );
}

/// One per key of a keyring.
const CHECK_VALUES: usize = 4;

// Fails when the check values are not copied last, or when every record is written again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_was_cut_short_serves_nobody_and_goes_on() {
    for rule in [FOLLOW, Rule::Fill] {
        for cut in [1, 20, 150, 208, 210] {
            let from = memory().await;
            let town = Town::new(&from, 26).await;
            let whole = all(&from).await.len();
            assert_eq!(whole, 8 * 26 + CHECK_VALUES);
            let inner = memory().await;
            let to = Meddled::store(&inner, move |number| {
                let down = || StoreError::Unreachable("it went down".to_owned());
                let answer = if number > cut { Err(down()) } else { Ok(()) };
                async move { answer }.boxed()
            });
            let refused = copied(&from, &to, rule).await.err().unwrap();
            assert!(refused.to_string().contains("it went down"), "{refused}");
            assert_eq!(all(&inner).await.len(), cut);
            // With any of the check values all that a proxy reads is there.
            if cut <= whole - CHECK_VALUES {
                let begun = town.vault(&inner).check_keyring().await;
                assert!(begun.is_err(), "a proxy would start on {cut} of {whole}");
            }
            let done = copied(&from, &inner, rule).await.unwrap();
            assert_eq!(sum(&done, |t| t.written), (whole - cut) as u64);
            same(&all(&from).await, &all(&inner).await);
            town.lives_in(&inner).await;
        }
    }
}
