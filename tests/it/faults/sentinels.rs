//! The master that sentinels name is lost, replaced, or replaced by one that knows less.

use std::time::{Duration, Instant};

use tokio::task::block_in_place;
use tokio::time::sleep;

use super::{RECHECKED, SERVER, ask, assert_unavailable, away_for, served_on, start, strangers};
use crate::support::client::Client;
use crate::support::load::Load;
use crate::support::proxy::{Place, Proxy, alone};
use crate::support::redis::{Sentinels, Server};

/// From the loss of a master to the first answer for which the store was asked.
const TAKEN_OVER: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(15);
const USERS: usize = 3;

/// Asks with keys the proxy never saw until one is served.
async fn until_taken_over(proxy: &Proxy, key: &str, since: Instant) -> Duration {
    let mut client = proxy.client();
    loop {
        let (answer, took) = ask(&mut client, key).await;
        if answer.status == 200 {
            return since.elapsed();
        }
        assert_unavailable(&answer, took);
        assert!(since.elapsed() < TAKEN_OVER, "not within {TAKEN_OVER:?}");
        sleep(Duration::from_millis(20)).await;
    }
}

async fn master_lost(what: &str, lose: fn(&Server), back: fn(&Server)) {
    let servers = block_in_place(Sentinels::plain);
    let proxy = start(&Place::Sentinels(&servers)).await;
    let load = Load::start(&proxy, SERVER, USERS, PAUSE).await;
    let strangers = strangers(&proxy, 2).await;
    let (later, mut client) = proxy.known("later", SERVER).await;
    let (last, mut lasts) = proxy.known("last", SERVER).await;
    assert!(proxy.store.settle().await.is_ok());
    let old = block_in_place(|| servers.master());
    lose(old);
    let lost = Instant::now();
    // What was sent before may still be answered.
    sleep(Duration::from_millis(20)).await;
    let took = until_taken_over(&proxy, &strangers[0], lost).await;
    println!("{what}: taken over after {took:?}");
    revoked_at_once(what, &proxy, &later, &mut client).await;
    // It comes back, and thinks it is the master still.
    back(old);
    let until = Instant::now() + away_for();
    while Instant::now() < until {
        assert_eq!(ask(&mut client, &later).await.0.status, 401, "{what}");
        sleep(Duration::from_millis(20)).await;
    }
    revoked_at_once(what, &proxy, &last, &mut lasts).await;
    load.stop().await.assert_clean(what);
}

/// The news comes at once, as ever.
async fn revoked_at_once(what: &str, proxy: &Proxy, key: &str, client: &mut Client) {
    let revoked = proxy.command_revokes(key).await;
    assert!(revoked.is_ok(), "{what}: {revoked:?}");
    let took = served_on(client, key, Instant::now()).await;
    println!("{what}: a revocation held after {took:?}");
    assert!(took < RECHECKED, "{what}: revoked, and served for {took:?}");
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
    assert!(proxy.store.settle().await.is_ok());
    block_in_place(|| servers.failover());
    let deposed = Instant::now();
    let revocations = keys.into_iter().zip(0..).map(|((key, mut client), n)| {
        let proxy = &proxy;
        async move {
            sleep(Duration::from_millis(1000 * n)).await;
            // As the command says: until all copies have it.
            loop {
                let told = proxy.command_revokes(&key).await;
                println!("{what}: key {n} at {:?}: {told:?}", deposed.elapsed());
                if told == Ok(true) {
                    break;
                }
                assert!(deposed.elapsed() < TAKEN_OVER, "{told:?}");
                sleep(Duration::from_millis(50)).await;
            }
            served_on(&mut client, &key, Instant::now()).await
        }
    });
    let took = futures_util::future::join_all(revocations).await;
    println!("{what}: revocations held after {took:?}");
    assert!(took.iter().all(|took| *took < RECHECKED), "{took:?}");
    let mut client = proxy.client();
    assert_eq!(ask(&mut client, &strangers[0]).await.0.status, 200);
    load.stop().await.assert_clean(what);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_is_lost_is_followed_by_another() {
    let _alone = alone().await;
    tokio::join!(
        master_lost("killed", Server::kill, Server::restart),
        master_lost("frozen", Server::freeze, Server::thaw),
        master_deposed(),
    );
}
