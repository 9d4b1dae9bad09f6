//! The store itself forgets a revocation: an older copy of it takes over. Whoever saw the key revoked goes
//! on refusing it; everybody else is served as before.

use std::time::{Duration, Instant};

use tokio::task::block_in_place;
use tokio::time::sleep;

use super::{SERVER, SOON, TAKEN_OVER, ask, served_on, settled, start, strangers, until_served};
use crate::support::load::Load;
use crate::support::proxy::{Place, Proxy, beside_few, user};
use crate::support::redis::{Sentinels, Server};

const PAUSE: Duration = Duration::from_millis(15);
/// How long it is looked at whether what was denied stays so: longer than what is stale is re-read, and
/// than sentinels take to agree.
const LOOKED_AT: Duration = Duration::from_secs(5);

/// Two who were denied, and what the store says of them.
struct Denied {
    revoked: (String, crate::support::client::Client),
    disabled: (String, crate::support::client::Client),
}

impl Denied {
    async fn settle_in(proxy: &Proxy) -> Self {
        Self {
            revoked: proxy.known("revoked", SERVER).await,
            disabled: proxy.known("disabled", SERVER).await,
        }
    }

    /// Revokes and disables, and sees that it holds.
    async fn deny(&mut self, proxy: &Proxy) {
        proxy.revoke(&self.revoked.0).await;
        let vault = &proxy.vault;
        vault.set_disabled(&user("disabled"), true).await.unwrap();
        for (key, client) in [&mut self.revoked, &mut self.disabled] {
            let took = served_on(client, key, Instant::now()).await;
            assert!(took < SOON, "{took:?}");
        }
    }

    /// The store no longer knows, but the proxy does.
    async fn stay_denied(&mut self, proxy: &Proxy) {
        let found = proxy.vault.user(&user("disabled")).await;
        assert!(!found.unwrap().record.disabled, "it was to be forgotten");
        let until = Instant::now() + LOOKED_AT;
        while Instant::now() < until {
            for (key, client) in [&mut self.revoked, &mut self.disabled] {
                let (answer, _) = ask(client, key).await;
                assert_eq!(answer.status, 401, "it came back: {}", answer.text());
            }
            sleep(Duration::from_millis(20)).await;
        }
    }
}

// Fails when `sticks` in `resolve/denial.rs` is never true.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_missed_a_revocation_brings_no_key_back() {
    let _place = beside_few().await;
    let servers = block_in_place(Sentinels::plain);
    let proxy = start(&Place::Sentinels(&servers)).await;
    let load = Load::start(&proxy, SERVER, 2, PAUSE).await;
    let mut denied = Denied::settle_in(&proxy).await;
    let strangers = strangers(&proxy, 1).await;
    settled(&proxy).await;
    let (master, replicas) = block_in_place(|| (servers.master(), servers.replicas()));
    for replica in &replicas {
        replica.freeze();
    }
    // Or the system would keep for them what they are sent.
    master.ask::<u32>("CLIENT KILL TYPE replica").unwrap();
    denied.deny(&proxy).await;
    let told = proxy.command_revokes(&denied.revoked.0).await;
    assert_eq!(told, Ok(false), "copies are missing, and nobody is told");
    master.kill();
    let lost = Instant::now();
    for replica in &replicas {
        replica.thaw();
    }
    until_served(&proxy, &strangers[0], lost, TAKEN_OVER).await;
    denied.stay_denied(&proxy).await;
    load.stop()
        .await
        .assert_clean("a copy that missed a revocation");
}

// Fails when `sticks` in `resolve/denial.rs` is never true.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_restarted_from_an_older_copy_brings_no_key_back() {
    let _place = beside_few().await;
    let redis = Server::plain();
    let proxy = start(&Place::Redis(&redis)).await;
    let load = Load::start(&proxy, SERVER, 2, PAUSE).await;
    let mut denied = Denied::settle_in(&proxy).await;
    let strangers = strangers(&proxy, 1).await;
    redis.ask::<()>("SAVE").unwrap();
    denied.deny(&proxy).await;
    redis.kill();
    redis.restart();
    until_served(&proxy, &strangers[0], Instant::now(), TAKEN_OVER).await;
    denied.stay_denied(&proxy).await;
    load.stop()
        .await
        .assert_clean("restarted from an older copy");
}
