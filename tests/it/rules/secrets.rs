//! Rule 6: secrets that are missing, or do not open, stop their user at that server, and nobody else.

use bytes::Bytes;
use cloakroom::store::Record;

use super::start;
use crate::support::backend::Recorder;
use crate::support::echo::{Manner, echo};
use crate::support::fingerprint;
use crate::support::proxy::{Lines, Place, Proxy, first_secret};
use crate::support::redis::Server;

const SERVERS: [&str; 2] = ["one", "two"];

/// All sets of secrets in the store.
async fn sets(proxy: &Proxy) -> Vec<Record> {
    let mut found = Vec::new();
    for first in 0..=255_u8 {
        let prefix = format!("s/{first:02x}");
        found.extend(proxy.store.page(&prefix, None, 100).await.unwrap());
    }
    found
}

/// Sets a secret, and finds the record that holds it: as it was before, and is now.
async fn changed(proxy: &Proxy, user: &str, server: &str, value: &str) -> (Option<Record>, Record) {
    let before = sets(proxy).await;
    proxy.set_secret(user, server, value).await;
    let after = sets(proxy).await;
    let new = after.into_iter().find(|record| !before.contains(record));
    let new = new.unwrap();
    let old = before.into_iter().find(|record| record.id == new.id);
    (old, new)
}

/// Asks until what was just written to the store is seen.
async fn code_once_seen(proxy: &Proxy, key: &str, expected: u64) -> String {
    let mut client = proxy.client();
    let until = std::time::Instant::now() + std::time::Duration::from_secs(5);
    loop {
        let answer = client.call("one", key, "n").await;
        if answer.message()["error"]["code"] == expected {
            assert_eq!(answer.status, 200, "clients hide the text of a 4xx");
            return answer.text();
        }
        assert!(std::time::Instant::now() < until, "{}", answer.text());
    }
}

/// Everybody else, and the same user elsewhere, is served.
async fn others_are_served(proxy: &Proxy, alice: &str, bob: &str) {
    let mut client = proxy.client();
    for (name, key, server) in [
        ("alice", alice, "two"),
        ("bob", bob, "one"),
        ("bob", bob, "two"),
    ] {
        let answer = client.call(server, key, "n").await;
        let own = fingerprint(first_secret(name, server).as_bytes());
        assert_eq!(answer.message()["result"]["fingerprint"], own.as_str());
    }
}

// Fails when `plan` renders what is missing as nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_secret_stops_one_user_at_one_server() {
    let recorder = Recorder::start().await;
    let two = echo(Manner::Json).await;
    let proxy = start(None, &[("one", recorder.url.clone()), ("two", two)]).await;
    let alice = proxy.settle_in("alice", &["two"]).await;
    let bob = proxy.settle_in("bob", &SERVERS).await;
    let mut client = proxy.client();
    let answer = client.call("one", &alice, "n").await;
    assert_eq!(answer.status, 200);
    let message = answer.message();
    assert_eq!(
        (&message["id"], &message["error"]["code"]),
        (&0.into(), &4240.into())
    );
    let text = message["error"]["message"].as_str().unwrap();
    for part in ["`one`", "`TOKEN`", "`cloakroom secret set alice one TOKEN`"] {
        assert!(text.contains(part), "{text}");
    }
    assert_eq!(
        recorder.received(),
        Vec::<String>::new(),
        "nothing was sent"
    );
    assert_eq!(client.call("one", &bob, "n").await.status, 200);
    assert_eq!(recorder.received().len(), 1);
}

// Fails when the record's id is left out of what a blob is bound to (`moved`), when a blob's tag is
// not checked (`flipped`), when `Resolver::secrets` does not compare versions (`put back`).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tampering_stops_one_user_at_one_server() {
    let redis = Server::plain();
    for place in [Place::Sqlite, Place::Redis(&redis)] {
        let (one, two) = (echo(Manner::Json).await, echo(Manner::Json).await);
        let servers = [("one", one), ("two", two)];
        let proxy = Proxy::start(&place, &Lines::default(), &servers).await;
        let alice = proxy.settle_in("alice", &SERVERS).await;
        let bob = proxy.settle_in("bob", &SERVERS).await;
        let bobs_secret = first_secret("bob", "one");
        let (_, bobs) = changed(&proxy, "bob", "one", &bobs_secret).await;
        assert_eq!(proxy.client().call("one", &alice, "n").await.status, 200);
        let put = async |new: Record, expected: u64| {
            proxy.store.put_if(new, Some(expected)).await.unwrap();
        };

        let (older, newer) = changed(&proxy, "alice", "one", "newer").await;
        let older = older.unwrap();
        let (id, version) = (newer.id.clone(), newer.version);
        // Each byte matters; a few of them, spread over the blob.
        for at in (0..newer.blob.len()).step_by(newer.blob.len() / 12) {
            let mut blob = newer.blob.to_vec();
            blob[at] ^= 1;
            let blob = Bytes::from(blob);
            put(
                Record {
                    id: id.clone(),
                    version,
                    blob,
                },
                version,
            )
            .await;
            let said = code_once_seen(&proxy, &alice, 4241).await;
            assert!(said.contains("secret delete alice one"), "{said}");
            put(newer.clone(), version).await;
            while proxy.client().call("one", &alice, "n").await.message()["error"]
                != serde_json::Value::Null
            {}
        }

        put(older.clone(), version).await;
        let said = code_once_seen(&proxy, &alice, 4241).await;
        assert!(said.contains("earlier state"), "{said}");
        others_are_served(&proxy, &alice, &bob).await;

        // The older blob, said to be the newer one; then another user's, moved here.
        let last = older.version;
        let blob = older.blob.clone();
        put(
            Record {
                id: id.clone(),
                version,
                blob,
            },
            last,
        )
        .await;
        code_once_seen(&proxy, &alice, 4241).await;
        let blob = bobs.blob.clone();
        put(Record { id, version, blob }, version).await;
        code_once_seen(&proxy, &alice, 4241).await;
        others_are_served(&proxy, &alice, &bob).await;

        // What mends it is what the text says.
        let name = crate::support::proxy::user("alice");
        let server = cloakroom::names::ServerName::parse("one").unwrap();
        let profile = cloakroom::names::ProfileName::default_profile();
        let delete = proxy.vault.delete_secrets(&name, &server, &profile);
        delete.await.unwrap();
        proxy.set_secret("alice", "one", "mended").await;
        let own = fingerprint(b"mended");
        let until = std::time::Instant::now() + std::time::Duration::from_secs(5);
        while proxy.client().call("one", &alice, "n").await.message()["result"]["fingerprint"]
            != own.as_str()
        {
            assert!(std::time::Instant::now() < until);
        }
    }
}
