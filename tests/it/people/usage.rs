//! What was used, by whom, as `cloakroom usage` tells it, and what telling the store costs.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use cloakroom::usage::EVERY;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{EVENTS, House, JSON, ask, blocks_tools, code, is_served, send};
use crate::support::proxy::{Place, beside_few};
use crate::support::redis::Server;
use crate::support::relay::{Door, Faults, Relay};

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

fn hello(name: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-06-18", "capabilities": {},
        "clientInfo": {"name": name, "version": "1"},
    }})
}

impl House {
    /// The row of a user and a server.
    async fn row(&self, who: &str, server: &str) -> Option<Value> {
        let document = self.json("usage", "").await;
        let rows = document["usage"].as_array().unwrap().clone();
        rows.into_iter()
            .find(|row| row["user"] == who && row["server"] == server)
    }
}

// Fails when refusals are no errors, what one process counted takes the place of what another did, or a client's
// name is shown as it came.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn usage_tells_who_used_what_and_survives_restarts() {
    let redis = Server::plain();
    for place in [Place::Sqlite, Place::Redis(&redis)] {
        let mut house = House::start(&place).await;
        let (alice, bob) = (house.settle_in("alice").await, house.settle_in("bob").await);
        house.access("bob", blocks_tools(&["drop"])).await;
        let begun = now();
        let mut client = house.proxy.client();
        let name = "=cmd|'\u{1b}[31m\"x\"\n";
        assert_eq!(
            send(&mut client, JSON, &alice, &hello(name)).await.status,
            200
        );
        for _ in 0..4 {
            assert!(is_served(&ask(&mut client, JSON, &alice, "get_one").await));
        }
        assert!(is_served(
            &ask(&mut client, EVENTS, &alice, "get_one").await
        ));
        house.until(EVENTS, &bob, "no errors yet", is_served).await;
        for _ in 0..3 {
            assert_eq!(code(&ask(&mut client, JSON, &bob, "drop").await), 4032);
        }
        assert!(is_served(&ask(&mut client, JSON, &bob, "get_one").await));
        // Nobody's.
        assert_eq!(
            ask(&mut client, JSON, "clk_wrong", "get_one").await.status,
            401
        );
        house.proxy.serving.stop().await;

        let row = house.row("alice", JSON).await.unwrap();
        assert_eq!(
            (&row["requests"], &row["errors"]),
            (&5.into(), &0.into()),
            "{row}"
        );
        assert_eq!(row["address"], "127.0.0.1");
        assert_eq!(row["client"], "=cmd|'\\u{1b}[31m\"x\"\\n 1");
        let row = house.row("alice", EVENTS).await.unwrap();
        assert_eq!(
            (&row["requests"], &row["errors"]),
            (&1.into(), &0.into()),
            "{row}"
        );
        assert_eq!(row["client"], Value::Null);
        let row = house.row("bob", JSON).await.unwrap();
        assert_eq!(
            (&row["requests"], &row["errors"]),
            (&4.into(), &3.into()),
            "{row}"
        );

        // What another process counts is added.
        let mut next = house.proxy.replica(None);
        assert!(is_served(
            &ask(&mut next.client(), JSON, &alice, "get_one").await
        ));
        next.stop().await;
        let row = house.row("alice", JSON).await.unwrap();
        assert_eq!(row["requests"], 6);
        assert!(row["client"].as_str().unwrap().starts_with("=cmd"));
        let csv = house.ok("usage --csv", "").await;
        assert_eq!(csv.lines().count(), 5, "{csv}");
        assert!(csv.starts_with("\"user\",\"key\",\"server\",\"requests\",\"errors\""));
        let line = csv
            .lines()
            .find(|line| line.contains("\"alice\"") && line.contains("\"json\""));
        let line = line.unwrap();
        let cells = "\"json\",\"6\",\"0\"";
        let client = "\"127.0.0.1\",\"'=cmd|'\\u{1b}[31m\"\"x\"\"\\n 1\"";
        assert!(line.contains(cells) && line.ends_with(client), "{line}");
        let cells: Vec<_> = line.split(',').collect();
        for seen in &cells[5..7] {
            let at: u64 = seen.trim_matches('"').parse().unwrap();
            assert!((begun..=now()).contains(&at), "{line}");
        }
        let of_bob = house.ok("usage bob", "").await;
        assert!(
            of_bob.contains("bob") && !of_bob.contains("alice"),
            "{of_bob}"
        );
        assert!(!csv.contains('\u{1b}'));
    }
}

/// Scripts and writes Redis was asked for until now.
fn writes(redis: &Server) -> u64 {
    let text: String = redis.ask("INFO commandstats").unwrap();
    let calls = |line: &str| {
        let (name, rest) = line.split_once(":calls=")?;
        let writes = ["set", "eval", "evalsha"].contains(&name.strip_prefix("cmdstat_")?);
        rest.split(',')
            .next()?
            .parse::<u64>()
            .ok()
            .filter(|_| writes)
    };
    text.lines().filter_map(calls).sum()
}

// Fails when a request writes, or what cannot be written is forgotten.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn usage_costs_few_writes_and_waits_for_a_store_that_is_away() {
    let _few = beside_few().await;
    let redis = Server::plain();
    let relay = Relay::to(redis.port).await;
    let mut house = House::start(&Place::Relayed(&redis, relay.port)).await;
    let (alice, bob) = (house.settle_in("alice").await, house.settle_in("bob").await);
    let mut client = house.proxy.client();
    for key in [&alice, &bob] {
        assert!(is_served(&ask(&mut client, JSON, key, "get_one").await));
    }
    sleep(Duration::from_millis(500)).await;
    let before = writes(&redis);
    for n in 0..500 {
        let key = [&alice, &bob][n % 2];
        assert!(is_served(&ask(&mut client, JSON, key, "get_one").await));
    }
    let cost = writes(&redis) - before;
    println!("{cost} writes for 500 requests");
    assert!(cost <= 20, "{cost} writes for 500 requests");

    // Longer than the store is told every time.
    relay.set(Faults {
        door: Door::Shut,
        ..Faults::default()
    });
    relay.cut();
    for _ in 0..50 {
        assert!(is_served(&ask(&mut client, JSON, &alice, "get_one").await));
    }
    let since = Instant::now();
    let told =
        |printed: Vec<u8>| String::from_utf8_lossy(&printed).contains("usage cannot be written");
    while !told(house.proxy.printed()) {
        assert!(since.elapsed() < 3 * EVERY, "nobody says that usage waits");
        sleep(Duration::from_millis(50)).await;
    }
    relay.release();
    house.proxy.serving.stop().await;
    let vault = &house.proxy.vault;
    for (who, requests) in [("alice", 301), ("bob", 251)] {
        let id = vault
            .user(&crate::support::proxy::user(who))
            .await
            .unwrap()
            .id;
        let uses = vault.usage_of(&id).await.unwrap();
        let counted: u64 = uses.iter().map(|used| used.requests).sum();
        assert_eq!(counted, requests, "{who}");
    }
}
