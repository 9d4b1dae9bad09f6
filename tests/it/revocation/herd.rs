//! Many first requests of one key are one question to the store.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::sleep;

use super::{SERVER, start};
use crate::support::client::{Client, call};
use crate::support::proxy::{Place, Proxy, alone};
use crate::support::redis::Server;
use crate::support::relay::{Door, Faults, Relay};

const HERD: usize = 1000;

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

/// Connections first: only requests shall come in a herd.
async fn herd(proxy: &Proxy) -> Vec<Client> {
    let mut clients = Vec::with_capacity(HERD);
    for _ in 0..HERD {
        let mut client = proxy.client();
        assert_eq!(client.call(SERVER, "clk_wrong", "hello").await.status, 401);
        clients.push(client);
    }
    clients
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
        let mut clients = herd(&proxy).await;
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
        // One for each record (the key, the user, the secrets), and once more where the news of its being
        // made, which the relay held too, arrived during the read.
        assert!((1..=6).contains(&asked), "{asked} questions for one key");
    }
}

/// One who is refused tries again at once, and so do all.
async fn ask_again(mut client: Client, key: String, until: Instant) -> usize {
    let mut asked = 0;
    while Instant::now() < until {
        let answer = client.call(SERVER, &key, "now").await;
        assert_eq!(answer.status, 503, "{}", answer.text());
        assert_eq!(answer.header("retry-after"), Some("1"));
        asked += 1;
        sleep(Duration::from_millis(20)).await;
    }
    asked
}

/// What a herd does to a store whose door is like this.
async fn herd_before(door: Door) {
    const AWAY: Duration = Duration::from_secs(3);
    /// What the watch tries of its own, with pauses of 50, 100, 200, 400, 800 and 1000 ms.
    const WATCH: usize = 7;
    let redis = Server::plain();
    let relay = Relay::to(redis.port).await;
    let proxy = start(&Place::Relayed(&redis, relay.port), "").await;
    let clients = herd(&proxy).await;
    let mut keys = Vec::new();
    for n in 0..10 {
        keys.push(proxy.settle_in(&format!("alice-{n}"), &[SERVER]).await);
    }
    relay.set(Faults {
        door,
        ..Faults::default()
    });
    let before = relay.connections();
    relay.cut();
    sleep(Duration::from_millis(50)).await;
    let until = Instant::now() + AWAY;
    let mut herd = JoinSet::new();
    for (client, key) in clients.into_iter().zip(keys.iter().cycle()) {
        herd.spawn(ask_again(client, key.clone(), until));
    }
    let asked: usize = herd.join_all().await.into_iter().sum();
    let tried = relay.connections() - before;
    println!("{asked} requests, the store was tried {tried} times in {AWAY:?}");
    assert!(asked > HERD, "{asked}");
    let most = AWAY.as_millis() as usize / 250 + 1 + WATCH;
    assert!((2..=most).contains(&tried), "{tried} times");
}

// Fails when `REFUSE_FOR` of a line and `RETRY` of the resolver are 10 ms.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_herd_tries_a_store_that_is_away_four_times_a_second() {
    let _alone = alone().await;
    herd_before(Door::Shut).await;
    herd_before(Door::Deaf).await;
}
