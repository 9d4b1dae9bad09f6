//! Several replicas of one server: what belongs together stays together, and one that dies is missed by
//! its own sessions only.

mod backend;
mod certificates;
#[cfg(feature = "pingora-lb")]
mod checks;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::support::client::{Answer, Client, call, post};
use crate::support::proxy::{Lines, Place, Proxy};
use crate::support::sse::Sse;
use backend::{HOST, Replica};

const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{}}}"#;
const NAMES: [&str; 3] = ["north", "east", "west"];
/// Longer than a replica is left alone at first, by far.
const PATIENCE: Duration = Duration::from_secs(60);

async fn three() -> [Replica; 3] {
    let [north, east, west] = NAMES.map(Replica::start);
    [north.await, east.await, west.await]
}

/// A proxy before these replicas, by Streamable HTTP as `many` and by HTTP+SSE as `old`.
async fn proxy(replicas: &[Replica], more: &str) -> Proxy {
    let addresses: Vec<_> = replicas.iter().map(|r| r.address.to_string()).collect();
    let table = |name: &str, url: &str| {
        format!(
            "[servers.{name}]\n{url}\nreplicas = {addresses:?}\n{more}\n\
             [servers.{name}.headers]\nAuthorization = \"Bearer ${{TOKEN}}\"\n"
        )
    };
    let many = table("many", &format!("url = \"http://{HOST}/mcp\""));
    let old = table("old", &format!("sse_url = \"http://{HOST}/sse\""));
    // One core, so that all clients meet the same idle connections.
    let lines = Lines {
        root: "threads = 1\nlog = \"warn\"",
        ..Lines::default()
    };
    Proxy::configured(&Place::Sqlite, &lines, &(many + &old)).await
}

async fn users(proxy: &Proxy, number: usize) -> Vec<String> {
    let mut keys = Vec::new();
    for n in 0..number {
        keys.push(
            proxy
                .settle_in(&format!("user-{n}"), &["many", "old"])
                .await,
        );
    }
    keys
}

/// The name of the replica that answered.
fn named(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.message()["result"]["name"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// One session of a client.
struct Session {
    client: Client,
    key: String,
    id: String,
    /// The replica it began with.
    home: String,
}

impl Session {
    async fn begin(proxy: &Proxy, key: &str) -> Self {
        Self::on(proxy.client(), key).await
    }

    async fn on(mut client: Client, key: &str) -> Self {
        let answer = client
            .exchange(post("many", key, INITIALIZE.to_owned()))
            .await;
        let answer = answer.unwrap();
        Self {
            home: named(&answer),
            id: answer.header("mcp-session-id").unwrap().to_owned(),
            key: key.to_owned(),
            client,
        }
    }

    async fn ask(&mut self) -> Answer {
        let mut request = call("many", &self.key, 7, "x");
        request
            .headers_mut()
            .insert("mcp-session-id", self.id.parse().unwrap());
        self.client.exchange(request).await.unwrap()
    }
}

fn wrongs(replicas: &[Replica]) -> usize {
    replicas.iter().flat_map(Replica::wrongs).sum()
}

// Mutations: `affinity` of proxy/forward.rs always `None`; the key of `place` without the user, for then
// all are on one replica.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_stay_where_they_began_and_users_spread() {
    let replicas = three().await;
    let proxy = proxy(&replicas, "").await;
    let keys = users(&proxy, 25).await;
    let mut sessions = Vec::new();
    for key in &keys {
        for _ in 0..4 {
            sessions.push(Session::begin(&proxy, key).await);
        }
    }
    for _ in 0..5 {
        for session in &mut sessions {
            assert_eq!(named(&session.ask().await), session.home);
        }
    }
    let mut shares = BTreeMap::<_, usize>::new();
    for session in &sessions {
        *shares.entry(session.home.clone()).or_default() += 1;
    }
    println!("100 sessions: {shares:?}");
    assert_eq!(shares.len(), 3, "{shares:?}");
    // Without a session, one user's requests go together too.
    for key in &keys {
        let mut seen = BTreeSet::new();
        for _ in 0..4 {
            seen.insert(named(&proxy.client().call("many", key, "x").await));
        }
        assert_eq!(seen.len(), 1, "{seen:?}");
    }
    // Nobody else can use them.
    let foreign = sessions[0].id.clone();
    sessions[99].id = foreign;
    assert_eq!(sessions[99].ask().await.status, 404);
    assert_eq!(wrongs(&replicas), 0);
}

// Mutations: `gone` of proxy/forward.rs always `false` (502 for ever); `Health::failed` does nothing (the
// dead one is asked by every request); `choose` gives up after one try.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_dies_is_missed_by_its_own_sessions_only_and_used_again_when_it_is_back() {
    let mut replicas = three().await;
    let proxy = proxy(&replicas, "").await;
    let keys = users(&proxy, 24).await;
    let mut sessions = Vec::new();
    for key in &keys {
        sessions.push(Session::begin(&proxy, key).await);
    }
    let at_east = |session: &mut Session| session.home == "east";
    let mut orphans: Vec<_> = sessions.extract_if(.., at_east).collect();
    assert!(orphans.len() >= 2 && sessions.len() >= 8);

    // The others go on all the while.
    let (stop, asked) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let others: Vec<_> = sessions
        .into_iter()
        .map(|mut session| {
            let (stop, asked) = (stop.clone(), asked.clone());
            tokio::spawn(async move {
                while !stop.load(Ordering::SeqCst) {
                    assert_eq!(named(&session.ask().await), session.home);
                    asked.fetch_add(1, Ordering::SeqCst);
                }
                session
            })
        })
        .collect();
    replicas[1].kill().await;
    let before = asked.load(Ordering::SeqCst);
    // Who has no session notices nothing, not even the first one.
    for key in &keys {
        assert_ne!(named(&proxy.client().call("many", key, "x").await), "east");
    }
    for session in &mut orphans {
        let lost = session.ask().await;
        assert_eq!(
            (lost.status, &lost.message()["error"]["code"]),
            (404, &4042.into())
        );
        let again = Session::begin(&proxy, &session.key).await;
        assert_ne!(again.home, "east");
        *session = again;
        assert_eq!(named(&session.ask().await), session.home);
    }
    while asked.load(Ordering::SeqCst) < before + 200 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stop.store(true, Ordering::SeqCst);
    for other in others {
        other.await.unwrap();
    }

    replicas[1].serve().await;
    let until = Instant::now() + PATIENCE;
    let key = orphans[0].key.clone();
    while named(&proxy.client().call("many", &key, "x").await) != "east" {
        assert!(Instant::now() < until, "it is not used again");
    }
    // What began elsewhere meanwhile stays there, on connections of its own, although the same user's
    // other requests are back: were they taken for each other, it would be asked for foreign sessions.
    let (mut interleaved, begun) = (proxy.client(), orphans[0].home.clone());
    for _ in 0..20 {
        assert_eq!(named(&orphans[0].ask().await), begun);
        assert_eq!(named(&interleaved.call("many", &key, "x").await), "east");
    }
    assert_eq!(Session::begin(&proxy, &key).await.home, "east");
    assert_eq!(wrongs(&replicas), 0);
}

// Mutation: `another_is_up` always `true`: sessions end though nobody could serve new ones.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_all_are_down_that_is_said_and_it_is_tried_all_the_same() {
    let mut replicas = three().await;
    let proxy = proxy(&replicas, "").await;
    let keys = users(&proxy, 6).await;
    let mut session = Session::begin(&proxy, &keys[0]).await;
    for replica in &mut replicas {
        replica.kill().await;
    }
    for key in keys.iter().chain(&keys) {
        let down = proxy.client().call("many", key, "x").await;
        assert_eq!(
            (down.status, &down.message()["error"]["code"]),
            (502, &5020.into())
        );
    }
    assert_eq!(session.ask().await.status, 502);
    for replica in &mut replicas {
        replica.serve().await;
    }
    for key in &keys {
        named(&proxy.client().call("many", key, "x").await);
    }
}

// Mutation: `served_by` of `Messages` always `None`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_of_the_older_transport_reach_the_replica_of_their_stream() {
    let mut replicas = three().await;
    let proxy = proxy(&replicas, "").await;
    let keys = users(&proxy, 30).await;
    let open = async |key: &str| {
        Sse::open(proxy.client(), "old", key)
            .await
            .unwrap()
            .unwrap()
    };
    let mut streams = Vec::new();
    for key in &keys {
        streams.push((open(key).await, key));
    }
    let mut poster = proxy.client();
    let message = || r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#.to_owned();
    let mut homes = BTreeMap::new();
    for (index, (stream, key)) in streams.iter_mut().enumerate() {
        let accepted = poster.exchange(stream.post(key, message())).await.unwrap();
        assert_eq!(accepted.status, 202, "{}", accepted.text());
        let event = stream.next().await.unwrap();
        let name = NAMES.iter().find(|name| event.contains(**name)).unwrap();
        homes.insert(index, *name);
    }
    assert_eq!(
        homes.values().collect::<BTreeSet<_>>().len(),
        3,
        "{homes:?}"
    );
    assert_eq!(wrongs(&replicas), 0);

    replicas[0].kill().await;
    for (index, (stream, key)) in streams.iter_mut().enumerate() {
        let posted = poster.exchange(stream.post(key, message())).await.unwrap();
        if homes[&index] != "north" {
            assert!(posted.status == 202 && stream.next().await.is_some());
            continue;
        }
        // Told where its sender listens, if that is still open, else in the answer.
        assert!(stream.next().await.is_none() || posted.status == 202);
        let posted = poster.exchange(stream.post(key, message())).await.unwrap();
        assert_eq!(
            (posted.status, &posted.message()["error"]["code"]),
            (404, &4044.into())
        );
        *stream = open(key).await;
        let accepted = poster.exchange(stream.post(key, message())).await.unwrap();
        assert!(accepted.status == 202 && !stream.next().await.unwrap().contains("north"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_stands_for_the_addresses_it_has() {
    let replica = Replica::start("north").await;
    let servers = format!(
        "[servers.many]\nurl = \"http://localhost:{}/mcp\"\nreplicas = \"dns\"\n\
         [servers.many.headers]\nAuthorization = \"Bearer ${{TOKEN}}\"\n",
        replica.address.port()
    );
    let proxy = Proxy::configured(&Place::Sqlite, &Lines::default(), &servers).await;
    let key = proxy.settle_in("alice", &["many"]).await;
    let mut session = Session::begin(&proxy, &key).await;
    assert_eq!(named(&session.ask().await), "north");
    assert_eq!(wrongs(&[replica]), 0);
}
