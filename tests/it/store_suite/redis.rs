//! What only a server can do: be away, refuse, be replicated.

use std::time::{Duration, Instant};

use cloakroom::store::{Event, OpenError, Settings, Settled, StoreError, open};

use super::places::{documented_rule, refusal, settings};
use super::{await_news, id, news, record};
use crate::support::redis::{Options, Server, authority, free_port};

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
async fn a_wrong_login_is_told() {
    let server = server_with("requirepass right");
    let address = format!("127.0.0.1:{}", server.port);
    for login in ["", ":hunter2@", "nobody:hunter2@"] {
        let error = refusal_within_3_seconds(&settings(&format!("redis://{login}{address}"))).await;
        assert!(
            matches!(error, OpenError::LoginRefused { .. }),
            "{login} {error}"
        );
    }
    open(&settings(&format!("redis://:right@{address}")))
        .await
        .unwrap();
    open(&settings(&format!("redis://default:right@{address}/3")))
        .await
        .unwrap();
}

/// Each part of the documented rule is needed, and its lack is told at start: as a refusal, or as a
/// remark where the store works without it. (Those of a Cluster are tried with a Cluster,
/// `select` below.)
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_permission_is_told() {
    let rule = documented_rule();
    let parts = rule
        .split_whitespace()
        .filter(|word| word.starts_with(['+', '~']));
    let parts: Vec<_> = parts.collect();
    assert!(parts.len() > 10, "{rule}");
    for (n, part) in parts.iter().enumerate() {
        let lines = rule
            .replacen(&format!(" {part}"), "", 1)
            .replace("user cloakroom", "user lacking");
        let server = server_with(&format!("appendonly yes\n{lines}"));
        let url = format!("redis://lacking:p%40ss@127.0.0.1:{}", server.port);
        let opened = open(&settings(&url)).await;
        match *part {
            "+cluster|slots" | "+asking" | "+select" => {
                let store = opened.unwrap();
                assert_eq!(store.remarks().await.unwrap(), Vec::<String>::new());
            }
            "+info" | "+client|tracking" => {
                let remarks = opened.unwrap().remarks().await.unwrap();
                assert!(
                    remarks.len() == 1 && remarks[0].contains(part),
                    "{remarks:?}"
                );
            }
            _ => {
                let error = opened
                    .err()
                    .unwrap_or_else(|| panic!("opened without {part}"));
                assert!(
                    matches!(error, OpenError::NotAllowed { .. }),
                    "{n} without {part}: {error}"
                );
            }
        }
    }
}

/// The advice is the whole rule, for this store's keys, also when it is a database that may not be chosen.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rule_that_is_advised_works_when_it_is_followed() {
    let server = server_with("user cloakroom on >p@ss resetchannels -@all +hello +auth");
    let settings = Settings {
        key_prefix: "other:".to_owned(),
        ..settings(&format!(
            "redis://cloakroom:p%40ss@127.0.0.1:{}/3",
            server.port
        ))
    };
    let error = refusal(&settings).await;
    assert!(error.to_string().contains("refused to switch"), "{error}");
    let OpenError::NotAllowed { rule, .. } = error else {
        panic!("{error}");
    };
    let () = redis::cmd("ACL")
        .arg("SETUSER")
        .arg("cloakroom")
        .arg(rule.split_whitespace().collect::<Vec<_>>())
        .query(&mut server.raw())
        .unwrap();
    open(&settings).await.unwrap();

    // No rule helps where there is no such database.
    let url = format!("redis://127.0.0.1:{}/99", server.port);
    let error = refusal(&super::places::settings(&url)).await;
    assert!(matches!(error, OpenError::Unreachable { .. }), "{error}");
}

/// It works on, and says that changes have to be looked for; then that they are reported again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_refuses_to_report_changes_is_watched_blindly() {
    let rule = documented_rule().replace("+client|tracking", "");
    let server = server_with(&rule);
    let url = format!("redis://cloakroom:p%40ss@127.0.0.1:{}", server.port);
    let store = open(&settings(&url)).await.unwrap();
    let mut events = store.watch();
    assert_eq!(events.recv().await, Some(Event::Blind));
    assert_eq!(events.recv().await, Some(Event::Alive));
    store.put_if(record("k/ab", 1, "x"), None).await.unwrap();
    assert_eq!(events.recv().await, Some(Event::Alive));
    let () = redis::cmd("ACL")
        .arg(&["SETUSER", "cloakroom", "+client|tracking"])
        .query(&mut server.raw())
        .unwrap();
    assert_eq!(news(&mut events, LONG).await, Event::Up);
    store.delete_if(&id("k/ab"), 1).await.unwrap();
    assert_eq!(news(&mut events, LONG).await, Event::Changed(id("k/ab")));
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
async fn a_wrong_certificate_is_told() {
    let server = Server::start(Options {
        tls: true,
        lines: "",
    });
    let right = Settings {
        ca_file: Some(server.ca_file()),
        ..settings(&format!("rediss://localhost:{}", server.port))
    };
    open(&right).await.unwrap();

    let folder = tempfile::tempdir().unwrap();
    let other_ca = folder.path().join("other.pem");
    std::fs::write(&other_ca, authority().1).unwrap();
    let wrong_host = settings(&format!("rediss://127.0.0.1:{}", server.port)).url;
    for wrong in [
        Settings {
            ca_file: Some(other_ca.clone()),
            ..right.clone()
        },
        Settings {
            ca_file: None,
            ..right.clone()
        },
        Settings {
            url: wrong_host,
            ..right.clone()
        },
    ] {
        let error = refusal_within_3_seconds(&wrong).await;
        assert!(matches!(error, OpenError::Tls { .. }), "{error}");
    }
    // TLS where the server speaks none.
    let plain = Server::plain();
    let url = settings(&format!("rediss://localhost:{}", plain.port)).url;
    let error = refusal_within_3_seconds(&Settings {
        url,
        ..right.clone()
    })
    .await;
    assert!(matches!(error, OpenError::Tls { .. }), "{error}");
    // And no TLS where it speaks nothing else.
    let error = refusal_within_3_seconds(&settings(&server.url())).await;
    assert!(matches!(error, OpenError::Unreachable { .. }), "{error}");

    std::fs::write(&other_ca, "no certificate").unwrap();
    for ca_file in [other_ca, folder.path().join("missing.pem")] {
        let error = refusal(&Settings {
            ca_file: Some(ca_file),
            ..right.clone()
        })
        .await;
        assert!(matches!(error, OpenError::Certificates(_)), "{error}");
    }
}

// Fails when `client_config` shows no certificate, or `from_answer` does not know what TLS says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_asks_is_shown_a_certificate() {
    let server = Server::start(Options {
        tls: true,
        lines: "tls-auth-clients yes",
    });
    let nobody = Settings {
        ca_file: Some(server.ca_file()),
        ..settings(&format!("rediss://localhost:{}", server.port))
    };
    let right = Settings {
        identity: Some(server.identity()),
        ..nobody.clone()
    };
    let store = open(&right).await.unwrap();
    let mut events = store.watch();
    assert_eq!(news(&mut events, LONG).await, Event::Up);
    store.put_if(record("k/ab", 1, "x"), None).await.unwrap();
    assert_eq!(news(&mut events, LONG).await, Event::Changed(id("k/ab")));

    let error = refusal_within_3_seconds(&nobody).await;
    assert!(matches!(error, OpenError::Tls { .. }), "{error}");
    assert!(error.to_string().contains("store.cert_file"), "{error}");
    let foreign = Server::start(Options {
        tls: true,
        lines: "",
    });
    let foreign = Settings {
        identity: Some(foreign.identity()),
        ..right.clone()
    };
    let error = refusal_within_3_seconds(&foreign).await;
    assert!(matches!(error, OpenError::Tls { .. }), "{error}");
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
