//! The master that sentinels name is lost, replaced, or replaced by one that knows less.

use std::time::{Duration, Instant};

use tokio::task::{JoinSet, block_in_place};
use tokio::time::sleep;

use super::{FROZEN, KILLED, Loss, RECHECKED, SERVER, SOON};
use super::{ask, replaced, served_on, settled, start, strangers};
use crate::support::load::Load;
use crate::support::proxy::{Place, beside_few};
use crate::support::redis::Sentinels;

/// A deposed master is made a replica after some ten seconds; until then a copy is missing.
const ALL_COPIES: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(15);
const USERS: usize = 3;

async fn master_lost(loss: &Loss) {
    let servers = block_in_place(Sentinels::plain);
    let proxy = start(&Place::Sentinels(&servers)).await;
    let later = proxy.known("later", SERVER).await;
    let strangers = strangers(&proxy, 1).await;
    let master = block_in_place(|| servers.master());
    replaced(loss, &proxy, master, later, &strangers[0]).await;
}

/// The master is well, and so are the connections to it; but it is no longer the one.
async fn master_deposed() {
    let what = "deposed";
    let servers = block_in_place(Sentinels::plain);
    let proxy = start(&Place::Sentinels(&servers)).await;
    let load = Load::start(&proxy, SERVER, USERS, PAUSE).await;
    let strangers = strangers(&proxy, 1).await;
    let mut keys = Vec::new();
    for n in 0..5 {
        keys.push(proxy.known(&format!("user-{n}"), SERVER).await);
    }
    settled(&proxy).await;
    block_in_place(|| servers.failover());
    let deposed = Instant::now();
    let revocations = keys.into_iter().zip(0..).map(|((key, mut client), n)| {
        let proxy = &proxy;
        async move {
            sleep(Duration::from_millis(1000 * n)).await;
            // By then the sentinels agree, and the old master is left.
            if n >= 4 {
                let told = proxy.command_revokes(&key).await;
                let took = served_on(&mut client, &key, Instant::now()).await;
                assert!(took < SOON, "{what}: {told:?}, and served for {took:?}");
            }
            // As the command says: again, until all copies have it. Just after the change most sentinels
            // name the old master still, and what is written there is lost.
            while proxy.command_revokes(&key).await != Ok(true) {
                assert!(deposed.elapsed() < ALL_COPIES, "{what}");
                sleep(Duration::from_millis(50)).await;
            }
            let took = served_on(&mut client, &key, Instant::now()).await;
            (key, client, took)
        }
    });
    let took = futures_util::future::join_all(revocations).await;
    for (key, mut client, took) in took {
        assert!(took < RECHECKED, "{what}: revoked, and served for {took:?}");
        assert_eq!(ask(&mut client, &key).await.0.status, 401, "{what}");
    }
    let mut client = proxy.client();
    assert_eq!(ask(&mut client, &strangers[0]).await.0.status, 200);
    load.stop().await.assert_clean(what);
}

// Fails when `confirm` of the servers always agrees.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_is_lost_is_followed_by_another() {
    let _place = beside_few().await;
    let mut all = JoinSet::new();
    all.spawn(master_lost(&KILLED));
    all.spawn(master_lost(&FROZEN));
    all.spawn(master_deposed());
    all.join_all().await;
}
