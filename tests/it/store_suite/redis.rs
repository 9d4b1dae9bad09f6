//! What only a server can do: be away, refuse, be replicated.

mod login;
mod meters;

use std::time::{Duration, Instant};

use cloakroom::store::{Event, OpenError, Settings, Settled, StoreError, open};

use super::places::{refusal, settings};
use super::{await_news, id, news, record};
use crate::support::redis::{Options, Server, free_port};

const LONG: Duration = Duration::from_secs(8);

fn server_with(lines: &str) -> Server {
    Server::start(Options { tls: false, lines })
}

/// What tells that a server is our store, where it came back without its data.
fn give_back(server: &Server) {
    server.ask::<()>("SET cloakroom:schema 1").unwrap();
}

async fn refusal_within_3_seconds(settings: &Settings) -> OpenError {
    let since = Instant::now();
    let error = refusal(settings).await;
    assert!(
        since.elapsed() < Duration::from_secs(3),
        "it took {:?}",
        since.elapsed()
    );
    assert!(!error.to_string().contains("hunter2"), "{error}");
    error
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_away_is_told() {
    let nobody = settings(&format!("redis://127.0.0.1:{}", free_port()));
    let error = refusal_within_3_seconds(&nobody).await;
    assert!(matches!(&error, OpenError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains("refused"), "{error}");

    let server = Server::plain();
    server.freeze();
    let error = refusal_within_3_seconds(&settings(&server.url())).await;
    assert!(matches!(error, OpenError::Unreachable { .. }), "{error}");

    let error = refusal_within_3_seconds(&settings("redis://name.invalid")).await;
    assert!(matches!(error, OpenError::Unreachable { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_may_lose_records_is_remarked_on() {
    let server = server_with("maxmemory-policy allkeys-lru");
    let store = open(&settings(&server.url())).await.unwrap();
    let remarks = store.remarks().await.unwrap().join("\n");
    assert!(
        remarks.contains("maxmemory-policy is allkeys-lru"),
        "{remarks}"
    );
    assert!(remarks.contains("set appendonly to yes"), "{remarks}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_schema_is_told() {
    let server = Server::plain();
    let settings = settings(&server.url());
    open(&settings).await.unwrap();
    let mut raw = server.raw();
    let schema: String = redis::cmd("GET")
        .arg("cloakroom:schema")
        .query(&mut raw)
        .unwrap();
    assert_eq!(schema, "1");
    let mut refused = async |value: &str| {
        let () = redis::cmd("SET")
            .arg("cloakroom:schema")
            .arg(value)
            .query(&mut raw)
            .unwrap();
        refusal(&settings).await
    };
    let error = refused("0").await;
    assert!(
        matches!(error, OpenError::SchemaOlder { found: 0, .. }),
        "{error}"
    );
    let error = refused("2").await;
    assert!(
        matches!(error, OpenError::SchemaNewer { found: 2, .. }),
        "{error}"
    );
    let error = refused("what").await;
    assert!(matches!(error, OpenError::NotOurs { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn installations_share_a_server() {
    let server = Server::plain();
    let one = settings(&server.url());
    let two = Settings {
        key_prefix: "cloakroom:two:".to_owned(),
        ..one.clone()
    };
    let (one, two) = (open(&one).await.unwrap(), open(&two).await.unwrap());
    let mut events = one.watch();
    assert_eq!(news(&mut events, LONG).await, Event::Up);
    two.put_if(record("k/ab", 1, "two"), None).await.unwrap();
    assert!(one.get_many(&[id("k/ab")]).await.unwrap() == [None]);
    assert!(one.page("k/", None, 9).await.unwrap().is_empty());
    one.put_if(record("k/cd", 1, "one"), None).await.unwrap();
    assert_eq!(news(&mut events, LONG).await, Event::Changed(id("k/cd")));
    assert_eq!(two.page("k/", None, 9).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_prefix_may_be_empty() {
    let server = Server::plain();
    let settings = Settings {
        key_prefix: String::new(),
        ..settings(&server.url())
    };
    let store = open(&settings).await.unwrap();
    let mut events = store.watch();
    assert_eq!(news(&mut events, LONG).await, Event::Up);
    store.put_if(record("i/ab", 1, "x"), None).await.unwrap();
    assert_eq!(news(&mut events, LONG).await, Event::Changed(id("i/ab")));
    assert_eq!(store.page("i/", None, 9).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_value_is_damage_not_absence() {
    let server = Server::plain();
    let store = open(&settings(&server.url())).await.unwrap();
    let mut raw = server.raw();
    let () = redis::cmd("SET")
        .arg("cloakroom:k/{ab}")
        .arg("short")
        .query(&mut raw)
        .unwrap();
    let found = store.get_many(&[id("k/ab")]).await;
    assert!(matches!(found, Err(StoreError::Damaged(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_is_noticed_and_found_again() {
    let server = Server::plain();
    let store = open(&settings(&server.url())).await.unwrap();
    let mut events = store.watch();
    assert_eq!(news(&mut events, LONG).await, Event::Up);
    store.put_if(record("k/ab", 1, "x"), None).await.unwrap();
    assert_eq!(news(&mut events, LONG).await, Event::Changed(id("k/ab")));

    server.kill();
    assert_eq!(news(&mut events, Duration::from_secs(1)).await, Event::Down);
    let since = Instant::now();
    let away = store.get_many(&[id("k/ab")]).await;
    assert!(
        matches!(away, Err(StoreError::Unreachable(_))),
        "away is not the same as unknown"
    );
    assert!(since.elapsed() < Duration::from_secs(1));

    // It comes back empty, so it is not our store: were it, every key would be unknown.
    server.restart();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert!(store.get_many(&[id("k/ab")]).await.is_err());
    assert!(events.try_recv().is_err(), "it is not watched");
    // With records again, of which we need none but this, and knowing no script.
    give_back(&server);
    assert_eq!(news(&mut events, Duration::from_secs(3)).await, Event::Up);
    assert!(store.get_many(&[id("k/ab")]).await.unwrap() == [None]);
    store.put_if(record("k/ab", 2, "y"), None).await.unwrap();
    assert_eq!(news(&mut events, LONG).await, Event::Changed(id("k/ab")));
}

/// Without a watcher, which would drop the dead connections first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_between_two_requests_is_not_felt() {
    let server = Server::plain();
    let store = open(&settings(&server.url())).await.unwrap();
    for version in 1..5 {
        assert!(store.get_many(&[id("k/ab")]).await.unwrap() == [None]);
        store
            .put_if(record("k/ab", version, "x"), None)
            .await
            .unwrap();
        server.kill();
        server.restart();
        give_back(&server);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_server_is_noticed_and_found_again() {
    let server = Server::plain();
    let store = open(&settings(&server.url())).await.unwrap();
    let mut events = store.watch();
    assert_eq!(news(&mut events, LONG).await, Event::Up);
    store.put_if(record("k/ab", 1, "x"), None).await.unwrap();
    assert_eq!(news(&mut events, LONG).await, Event::Changed(id("k/ab")));

    server.freeze();
    let since = Instant::now();
    let herd: Vec<_> = (0..100)
        .map(|_| {
            let store = std::sync::Arc::clone(&store);
            tokio::spawn(async move { store.get_many(&[id("k/ab")]).await.is_err() })
        })
        .collect();
    for one in herd {
        assert!(one.await.unwrap());
    }
    assert!(
        since.elapsed() < Duration::from_secs(2),
        "a herd waits no longer than one: {:?}",
        since.elapsed()
    );
    assert_eq!(news(&mut events, Duration::from_secs(3)).await, Event::Down);
    assert!(
        since.elapsed() < Duration::from_secs(3),
        "it took {:?}",
        since.elapsed()
    );

    server.thaw();
    assert_eq!(news(&mut events, Duration::from_secs(4)).await, Event::Up);
    assert!(store.get_many(&[id("k/ab")]).await.unwrap()[0].is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flush_means_everything_may_have_changed() {
    let server = Server::plain();
    let store = open(&settings(&server.url())).await.unwrap();
    let mut events = store.watch();
    assert_eq!(news(&mut events, LONG).await, Event::Up);
    let () = redis::cmd("FLUSHALL").query(&mut server.raw()).unwrap();
    assert_eq!(news(&mut events, LONG).await, Event::Down);
    assert!(store.get_many(&[id("k/ab")]).await.is_err());
    give_back(&server);
    assert_eq!(news(&mut events, LONG).await, Event::Up);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settling_waits_for_replicas() {
    let server = Server::plain();
    let replica = server_with(&format!("replicaof 127.0.0.1 {}", server.port));
    let store = open(&settings(&server.url())).await.unwrap();
    let mut raw = server.raw();
    let until = Instant::now() + Duration::from_secs(20);
    while redis::cmd("WAIT")
        .arg(1)
        .arg(100)
        .query::<u32>(&mut raw)
        .unwrap()
        == 0
    {
        assert!(Instant::now() < until, "the replica does not follow");
    }
    store.put_if(record("k/ab", 1, "x"), None).await.unwrap();
    assert_eq!(store.settle().await.unwrap(), Settled::Everywhere);
    let kept: Vec<u8> = redis::cmd("GET")
        .arg("cloakroom:k/{ab}")
        .query(&mut replica.raw())
        .unwrap();
    assert_eq!(kept[8..], *b"x");

    replica.freeze();
    store.put_if(record("k/ab", 2, "y"), Some(1)).await.unwrap();
    let since = Instant::now();
    assert_eq!(
        store.settle().await.unwrap(),
        Settled::Partly {
            confirmed: 0,
            of: 1
        }
    );
    assert!(
        since.elapsed() < Duration::from_millis(1500),
        "{:?}",
        since.elapsed()
    );
    // Meanwhile others are not held up.
    let (_, since) = (store.settle(), Instant::now());
    store.get_many(&[id("k/ab")]).await.unwrap();
    store.put_if(record("k/ab", 3, "z"), Some(2)).await.unwrap();
    assert!(
        since.elapsed() < Duration::from_millis(500),
        "{:?}",
        since.elapsed()
    );
    replica.thaw();
}

/// A replica answers with old records, so it is no store; nor is a master that became one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_is_no_store() {
    let (server, other) = (Server::plain(), Server::plain());
    let store = open(&settings(&server.url())).await.unwrap();
    let mut events = store.watch();
    assert_eq!(news(&mut events, LONG).await, Event::Up);
    let mut raw = server.raw();
    let mut replica_of = |host: &str, port: &str| {
        let () = redis::cmd("REPLICAOF")
            .arg(host)
            .arg(port)
            .query(&mut raw)
            .unwrap();
    };
    replica_of("127.0.0.1", &other.port.to_string());
    await_news(&mut events, &Event::Down, LONG).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(store.get_many(&[id("k/ab")]).await.is_err());
    let error = refusal_within_3_seconds(&settings(&server.url())).await;
    assert!(error.to_string().contains("replica"), "{error}");
    replica_of("NO", "ONE");
    give_back(&server);
    await_news(&mut events, &Event::Up, LONG).await;
    assert!(store.get_many(&[id("k/ab")]).await.unwrap() == [None]);
}

// Fails when the watch leaves a server only after the first failure.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_master_for_a_moment_is_not_read_after() {
    let (server, other) = (Server::plain(), Server::plain());
    give_back(&other);
    let store = open(&settings(&server.url())).await.unwrap();
    let mut events = store.watch();
    assert_eq!(news(&mut events, LONG).await, Event::Up);
    let read = async || store.get_many(&[id("k/ab")]).await;
    let follow = format!("REPLICAOF 127.0.0.1 {}", other.port);
    for _ in 0..4 {
        server.ask::<()>(&follow).unwrap();
        tokio::time::sleep(Duration::from_millis(1500)).await;
        server.ask::<()>("REPLICAOF NO ONE").unwrap();
        while read().await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    server.ask::<()>(&follow).unwrap();
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert!(read().await.is_err(), "it is a replica");
}
