//! Nodes of a cluster are lost or replaced, and records move between them.

use std::time::{Duration, Instant};

use tokio::task::{JoinSet, block_in_place};
use tokio::time::sleep;

use super::{FROZEN, KILLED, Loss, RECHECKED, SERVER, SOON};
use super::{ask, replaced, revoked, served_on, start, strangers};
use crate::support::load::{Load, Tally};
use crate::support::proxy::{Place, alone};
use crate::support::redis::{Cluster, Move, slot_of};

const PAUSE: Duration = Duration::from_millis(15);
const USERS: usize = 3;

/// The slots of all records, by the first two digits of their ids.
fn slots() -> impl Iterator<Item = u16> {
    (0..=255).map(|tag| slot_of(&format!("{{{tag:02x}}}")))
}

/// The first two digits of the id of a key's record.
fn tag_of(key: &str) -> String {
    let digest = cloakroom::identity::KeyDigest::of_presented(key.as_bytes(), &[]);
    let id = cloakroom::vault::key_record(&digest.ok().unwrap());
    id.as_str()[2..4].to_owned()
}

/// The master that keeps a key's record.
fn keeper(cluster: &Cluster, key: &str) -> usize {
    block_in_place(|| cluster.owner(slot_of(&format!("{{{}}}", tag_of(key)))))
}

async fn master_lost(loss: &Loss) {
    let cluster = block_in_place(Cluster::plain);
    let proxy = start(&Place::Cluster(&cluster)).await;
    let later = proxy.known("later", SERVER).await;
    let lost = keeper(&cluster, &later.0);
    let strangers = strangers(&proxy, 40).await;
    let stranger = strangers.iter().find(|key| keeper(&cluster, key) == lost);
    let stranger = stranger.expect("one of so many lies there");
    replaced(loss, &proxy, cluster.node(lost), later, stranger).await;
}

// Fails when the watch does not ask with a ping for other masters.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_is_lost_is_replaced() {
    let _alone = alone().await;
    let mut all = JoinSet::new();
    all.spawn(master_lost(&KILLED));
    all.spawn(master_lost(&FROZEN));
    all.join_all().await;
}

// The connections to it stay. Fails when the watch does not ask with a ping whether a server still is a master.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_steps_back_is_followed_and_nobody_notices() {
    let _alone = alone().await;
    let what = "deposed";
    let cluster = block_in_place(Cluster::plain);
    let proxy = start(&Place::Cluster(&cluster)).await;
    let load = Load::start(&proxy, SERVER, USERS, PAUSE).await;
    let mut keys = Vec::new();
    for n in 0..4 {
        keys.push(proxy.known(&format!("user-{n}"), SERVER).await);
    }
    let newcomers = strangers(&proxy, 400).await;
    let newcomers = Load::newcomers(&proxy, SERVER, "stranger", newcomers, PAUSE);
    for (n, (key, client)) in keys.iter_mut().enumerate() {
        let master = keeper(&cluster, key);
        block_in_place(|| cluster.failover(master));
        // Before it is noticed, and after.
        sleep(Duration::from_millis(300 * n as u64)).await;
        revoked(what, &proxy, (key, client), RECHECKED).await;
    }
    for (key, client) in &mut keys {
        assert_eq!(ask(client, key).await.0.status, 401, "{what}");
    }
    newcomers
        .stop()
        .await
        .assert_clean("newcomers while masters step back");
    load.stop().await.assert_clean(what);
}

// Most nodes still name the old master when the watch leaves it.
//
// Fails when `Way::Member` refuses a replica, or a gap in what most say is not filled from what others say.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_notices_that_most_nodes_learn_late_of_another_master() {
    let _alone = alone().await;
    let cluster = block_in_place(Cluster::plain);
    let proxy = start(&Place::Cluster(&cluster)).await;
    let newcomers = strangers(&proxy, 800).await;
    let mut all = Tally::default();
    for (master, newcomers) in newcomers.chunks(200).enumerate() {
        // No keys are used up while the nodes agree again, which takes them a quarter of a minute at worst.
        block_in_place(|| cluster.wait_settled());
        let mut newcomers = Load::newcomers(&proxy, SERVER, "stranger", newcomers.to_vec(), PAUSE);
        block_in_place(|| cluster.failover_unheard(master, Duration::from_millis(900)));
        // While they learn of it.
        sleep(Duration::from_millis(500)).await;
        assert!(newcomers.goes_on());
        all.add(newcomers.stop().await);
    }
    all.assert_clean("newcomers");
}

// Fails when `ASKING` is not sent, or a redirection is taken for an answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_notices_that_records_move() {
    let _alone = alone().await;
    let cluster = std::sync::Arc::new(block_in_place(Cluster::plain));
    let proxy = start(&Place::Cluster(&cluster)).await;
    let load = Load::start(&proxy, SERVER, 10, PAUSE).await;
    let mut keys = Vec::new();
    for n in 0..10 {
        keys.push(proxy.known(&format!("user-{n}"), SERVER).await);
    }
    let newcomers = strangers(&proxy, 600).await;
    let newcomers = Load::newcomers(&proxy, SERVER, "stranger", newcomers, PAUSE);
    let moving = tokio::task::spawn_blocking({
        let cluster = cluster.clone();
        let pause = Duration::from_millis(2);
        move || cluster.reshard(slots(), Move { pause })
    });
    let mut longest = Duration::ZERO;
    for (key, client) in &mut keys {
        sleep(Duration::from_millis(400)).await;
        // Also while the record itself is moving.
        let told = proxy.command_revokes(key).await;
        assert!(told.is_ok(), "{told:?}");
        longest = longest.max(served_on(client, key, Instant::now()).await);
    }
    let moved = moving.await.unwrap();
    assert!(moved > 600, "{moved}");
    assert!(longest < SOON, "{longest:?}");
    for (key, client) in &mut keys {
        assert_eq!(ask(client, key).await.0.status, 401);
    }
    newcomers.stop().await.assert_clean("newcomers");
    load.stop().await.assert_clean("known");
}

/// One node is silent, but none of those that keep the record.
///
/// Fails when `LAGGARDS` of a cluster is a second: then whoever is sent elsewhere waits for that node.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_node_holds_up_nobody_whose_record_just_moved() {
    let _alone = alone().await;
    let cluster = block_in_place(Cluster::plain);
    let proxy = start(&Place::Cluster(&cluster)).await;
    let newcomers = strangers(&proxy, 40).await;
    let mut client = proxy.client();
    // Whose keys they are is known then.
    assert_eq!(ask(&mut client, &newcomers[0]).await.0.status, 200);
    let [from, to, silent] = [0, 1, 2];
    let moved: Vec<_> = newcomers[1..]
        .iter()
        .filter(|key| keeper(&cluster, key) == from)
        .take(3)
        .collect();
    assert!(!moved.is_empty());
    cluster.node(silent).freeze();
    for key in moved {
        let slot = slot_of(&format!("{{{}}}", tag_of(key)));
        block_in_place(|| cluster.move_slot(slot, to, Move::default()));
        let (answer, took) = ask(&mut client, key).await;
        assert_eq!(answer.status, 200, "{took:?}: {}", answer.text());
    }
    cluster.node(silent).thaw();
}
