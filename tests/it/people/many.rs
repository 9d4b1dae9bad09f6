//! Very many users: whoever starts, looks one up or lists some asks the store for no more than among a few.
//!
//! Here these are 3000; a million, with the times they take printed, by
//! `CLOAKROOM_USERS=1000000 cargo test --test it people::many -- --nocapture`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cloakroom::cli::open;
use cloakroom::identity::KeyDigest;
use cloakroom::resolve::{self, Resolver, Watch};
use cloakroom::vault::{KeyRequest, Keyring, NewUser, Reader, Vault};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::{BOUND, House, JSON, ask, is_served};
use crate::support::counted::Counted;
use crate::support::memory;
use crate::support::proxy::{Place, Serving, user};
use crate::support::redis::Server;

/// Users there are at first: more than a page.
const FEW: usize = 150;
const PAGE: usize = 100;
/// Written at the same time.
const WRITERS: usize = 32;

fn how_many() -> usize {
    let said = std::env::var("CLOAKROOM_USERS");
    said.map_or(3000, |text| text.parse().unwrap())
}

/// What a step asked of the store, and brought from it.
#[derive(Debug, PartialEq, Eq)]
struct Cost {
    step: &'static str,
    asked: usize,
    brought: usize,
}

impl House {
    /// Users `from` to `to`, each with a key.
    async fn populate(&self, from: usize, to: usize) {
        let mut writers = JoinSet::new();
        for writer in 0..WRITERS {
            let vault = self.proxy.vault.clone();
            writers.spawn(async move {
                for n in (from..to).skip(writer).step_by(WRITERS) {
                    let name = user(&format!("user-{n}"));
                    vault.add_user(&name, NewUser::default()).await.unwrap();
                    let issued = vault.issue_key(&name, KeyRequest::default()).await;
                    issued.unwrap();
                }
            });
        }
        while let Some(done) = writers.join_next().await {
            done.unwrap();
        }
    }

    /// A process begins, serves a key it does not know, and somebody looks around.
    async fn costs(&self, key: &str) -> Vec<Cost> {
        let store = Counted::over(self.proxy.store.clone());
        let ring = self.ring();
        let vault = Vault::new(store.clone(), ring.clone());
        let (mut costs, mut before, mut since) = (Vec::new(), (0, 0), Instant::now());
        let mut done = |step| {
            let now = (store.asked(), store.brought());
            println!("{step}: {:?}", since.elapsed());
            costs.push(Cost {
                step,
                asked: now.0 - before.0,
                brought: now.1 - before.1,
            });
            (before, since) = (now, Instant::now());
        };
        vault.check_keyring().await.unwrap();
        let settings = resolve::Settings::default();
        let resolver = Resolver::new(store.clone(), Reader::new(ring), &settings);
        while resolver.watch() != Watch::Up {
            sleep(Duration::from_millis(1)).await;
        }
        done("begins");
        let digest = KeyDigest::of_presented(key.as_bytes(), &[]).unwrap();
        let identity = resolver.identify(digest, Some((JSON, "default"))).await;
        assert_eq!(identity.unwrap().user_name(), "alice");
        done("serves a key");
        vault.user(&user("user-77")).await.unwrap();
        done("finds a user");
        assert_eq!(vault.keys(&user("user-77")).await.unwrap().len(), 1);
        done("lists keys");
        let first = vault.users(None, PAGE).await.unwrap();
        done("lists a page");
        let next = vault.users(Some(&first[PAGE - 1].id), FEW - PAGE).await;
        assert_eq!(next.unwrap().len(), FEW - PAGE);
        done("lists the next");
        costs
    }

    fn ring(&self) -> Arc<Keyring> {
        let path = self.proxy.folder.path().join("master.keys");
        Arc::new(open::keyring(&path.into()).unwrap())
    }
}

// Fails when anything on these ways reads all users, or one more record for each.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn among_many_users_nothing_asks_for_more_than_among_few() {
    let redis = Server::plain();
    for place in [Place::Sqlite, Place::Redis(&redis)] {
        let house = House::start(&place).await;
        let alice = house.settle_in("alice").await;
        house.populate(0, FEW).await;
        let few = house.costs(&alice).await;
        let serve = async |replica: &Serving| {
            let answer = ask(&mut replica.client(), JSON, &alice, "get_one").await;
            assert!(is_served(&answer), "{}", answer.text());
            memory(replica.pid())
        };
        let among_few = serve(&house.another()).await;
        let since = Instant::now();
        house.populate(FEW, how_many()).await;
        println!("{} users written in {:?}", how_many(), since.elapsed());
        assert_eq!(house.costs(&alice).await, few);
        let since = Instant::now();
        let replica = house.another();
        let among_many = serve(&replica).await;
        println!("a process serves after {:?}", since.elapsed());
        let more = among_many.saturating_sub(among_few);
        assert!(more < 32 << 20, "{more} bytes more, of {among_few}");
        let listed = house.json("user list --limit 1000", "").await;
        let some = listed["users"].as_array().unwrap();
        assert_eq!((some.len(), listed["next"].is_string()), (1000, true));
        assert!(since.elapsed() < BOUND * 20);
    }
}
