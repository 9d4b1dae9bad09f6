//! Many first requests of one key are one question to the store.

use std::time::Duration;

use tokio::task::JoinSet;

use super::{SERVER, start};
use crate::support::client::call;
use crate::support::proxy::{Place, alone};
use crate::support::redis::Server;
use crate::support::relay::Relay;

const HERD: usize = 500;

/// Questions Redis was asked until now.
fn questions(redis: &Server) -> u64 {
    let mut info = redis::cmd("INFO");
    let text: String = info.arg("commandstats").query(&mut redis.raw()).unwrap();
    let calls = |line: &str| {
        let (name, rest) = line.split_once(":calls=")?;
        let read = ["cmdstat_get", "cmdstat_mget"].contains(&name);
        rest.split(',').next()?.parse::<u64>().ok().filter(|_| read)
    };
    text.lines().filter_map(calls).sum()
}

// Fails when `Flights::join` makes everybody the leader, or when the read is made by the first
// caller instead of a task of its own (then the second half of the test).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_herd_asks_once_even_if_the_first_goes_away() {
    let _alone = alone().await;
    let redis = Server::plain();
    let relay = Relay::to(redis.port).await;
    let proxy = start(&Place::Relayed(&redis, relay.port), "").await;
    for first_leaves in [false, true] {
        let name = format!("alice-{first_leaves}");
        let key = proxy.settle_in(&name, &[SERVER]).await;
        // Connections first: only requests shall come in a herd.
        let mut clients = Vec::with_capacity(HERD);
        for _ in 0..HERD {
            let mut client = proxy.client();
            assert_eq!(client.call(SERVER, "clk_wrong", "hello").await.status, 401);
            clients.push(client);
        }
        let before = questions(&redis);
        relay.hold();
        if first_leaves {
            let mut first = clients.pop().unwrap();
            let request = first.exchange(call(SERVER, &key, 0, "first"));
            let left = tokio::time::timeout(Duration::from_millis(50), request).await;
            assert!(left.is_err(), "nothing is known yet");
        }
        let mut herd = JoinSet::new();
        for mut client in clients {
            let key = key.clone();
            herd.spawn(async move { client.call(SERVER, &key, "now").await });
        }
        tokio::time::sleep(Duration::from_millis(150)).await;
        relay.release();
        while let Some(answer) = herd.join_next().await {
            let answer = answer.unwrap();
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
        let asked = questions(&redis) - before;
        assert!((1..=2).contains(&asked), "{asked} questions for one key");
    }
}
