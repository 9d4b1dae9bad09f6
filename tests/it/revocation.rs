//! Rule 7: a key that was revoked stops, in time, and for ever.

mod herd;
mod outage;
mod streams;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cloakroom::vault::IssuedKey;
use tokio::task::JoinSet;

use crate::support::Chance;
use crate::support::client::Client;
use crate::support::echo::{Manner, echo};
use crate::support::proxy::{Lines, Place, Proxy, alone, user};
use crate::support::redis::Server;

const SERVER: &str = "json";
const REVOCATIONS: usize = 1000;
const DISABLED: usize = 100;
/// Keys that are watched at one moment.
const WATCHERS: usize = 4;

/// What happens to a key.
#[derive(Clone, Copy)]
enum End {
    Revoked,
    UserDisabled,
}

// Fails when `forget` in the resolver does not remove the entry.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_key_stops_within_50_ms_on_redis() {
    let redis = Server::plain();
    revoked_keys_stop(&Place::Redis(&redis), Duration::from_millis(50)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_key_stops_within_150_ms_on_sqlite() {
    revoked_keys_stop(&Place::Sqlite, Duration::from_millis(150)).await;
}

async fn start(place: &Place<'_>, store: &str) -> Proxy {
    let lines = Lines {
        root: "log = \"warn\"",
        store,
        slots: None,
    };
    let servers = [(SERVER, echo(Manner::Json).await)];
    Proxy::start(place, &lines, &servers).await
}

async fn revoked_keys_stop(place: &Place<'_>, bound: Duration) {
    let _alone = alone().await;
    let proxy = Arc::new(start(place, "").await);
    let load = Load::start(&proxy).await;
    let mut keys = Vec::with_capacity(REVOCATIONS + DISABLED);
    for n in 0..DISABLED {
        let name = format!("user-{n}");
        proxy.settle_in(&name, &[SERVER]).await;
        for _ in 0..REVOCATIONS / DISABLED {
            keys.push((name.clone(), proxy.issue_key(&name, None).await));
        }
    }
    let revoked = watch_all(&proxy, keys, End::Revoked).await;
    let mut keys = Vec::new();
    for n in 0..DISABLED {
        let name = format!("user-{n}");
        let key = proxy.issue_key(&name, None).await;
        keys.push((name, key));
    }
    let disabled = watch_all(&proxy, keys, End::UserDisabled).await;
    let requests = load.stop().await;
    let (p99, most) = figures("revoked", &revoked);
    let (p99_disabled, _) = figures("disabled", &disabled);
    println!("{requests} requests of others meanwhile");
    assert!(p99 < bound, "{p99:?}");
    assert!(most < Duration::from_secs(5), "{most:?}");
    assert!(p99_disabled < bound, "{p99_disabled:?}");
    // For ever: also when the entries were long read again.
    let mut client = proxy.client();
    for (key, _) in &revoked {
        let answer = client.call(SERVER, key, "again").await;
        assert_eq!(answer.status, 401, "{}", answer.text());
    }
}

/// Requests of somebody else, all the time.
struct Load {
    stop: Arc<AtomicBool>,
    clients: JoinSet<usize>,
}

impl Load {
    async fn start(proxy: &Arc<Proxy>) -> Self {
        let key = proxy.settle_in("busy", &[SERVER]).await;
        let stop = Arc::new(AtomicBool::new(false));
        let mut clients = JoinSet::new();
        for _ in 0..2 {
            let (mut client, key, stop) = (proxy.client(), key.clone(), stop.clone());
            clients.spawn(async move {
                let mut requests = 0;
                while !stop.load(Ordering::Relaxed) {
                    assert_eq!(client.call(SERVER, &key, "busy").await.status, 200);
                    requests += 1;
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                requests
            });
        }
        Self { stop, clients }
    }

    async fn stop(mut self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        let mut requests = 0;
        while let Some(done) = self.clients.join_next().await {
            requests += done.unwrap();
        }
        requests
    }
}

async fn watch_all(
    proxy: &Arc<Proxy>,
    mut keys: Vec<(String, IssuedKey)>,
    end: End,
) -> Vec<(String, Duration)> {
    let mut watching = JoinSet::new();
    let mut took = Vec::with_capacity(keys.len());
    while !keys.is_empty() || !watching.is_empty() {
        if watching.len() < WATCHERS
            && let Some((name, key)) = keys.pop()
        {
            watching.spawn(watch(proxy.clone(), name, key, end));
        } else if let Some(done) = watching.join_next().await {
            took.push(done.unwrap());
        }
    }
    took
}

/// From the write being done to the first refusal, for a client that asks all the time.
async fn watch(proxy: Arc<Proxy>, name: String, key: IssuedKey, end: End) -> (String, Duration) {
    let mut client = proxy.client();
    let revealed = key.key.reveal().to_owned();
    assert_eq!(client.call(SERVER, &revealed, "first").await.status, 200);
    let write = async {
        let pause = Chance::new(key.expires.unwrap_or(7)).below(5000);
        tokio::time::sleep(Duration::from_micros(pause)).await;
        match end {
            End::Revoked => drop(proxy.vault.revoke_key(&key.id).await.unwrap()),
            End::UserDisabled => proxy.vault.set_disabled(&user(&name), true).await.unwrap(),
        }
        Instant::now()
    };
    let (written, refused) = tokio::join!(write, until_refused(&mut client, &revealed));
    let word = match end {
        End::Revoked => "revoked",
        End::UserDisabled => "disabled",
    };
    for _ in 0..3 {
        let answer = client.call(SERVER, &revealed, "after").await;
        assert_eq!(answer.status, 401);
        assert!(answer.text().contains(word), "{}", answer.text());
    }
    (revealed, refused.saturating_duration_since(written))
}

/// When a client that asks all the time is first refused.
async fn until_refused(client: &mut Client, key: &str) -> Instant {
    let patience = Instant::now() + Duration::from_secs(10);
    loop {
        assert!(Instant::now() < patience, "it is never refused");
        let answer = client.call(SERVER, key, "still").await;
        match answer.status {
            401 => return Instant::now(),
            status => assert_eq!(status, 200, "{}", answer.text()),
        }
    }
}

/// p99 and the most, printed with the median.
fn figures(what: &str, took: &[(String, Duration)]) -> (Duration, Duration) {
    let mut times: Vec<_> = took.iter().map(|(_, time)| *time).collect();
    times.sort();
    let at =
        |share: f64| times[((times.len() as f64 * share).ceil() as usize - 1).min(times.len() - 1)];
    println!(
        "{what}: {} keys, p50 {:?}, p99 {:?}, at most {:?}",
        times.len(),
        at(0.5),
        at(0.99),
        at(1.0)
    );
    (at(0.99), at(1.0))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_ends_with_its_time() {
    let proxy = start(&Place::Sqlite, "").await;
    proxy.settle_in("alice", &[SERVER]).await;
    let key = proxy.issue_key("alice", Some(Duration::from_secs(1))).await;
    let issued = Instant::now();
    let mut client = proxy.client();
    until_refused(&mut client, key.key.reveal()).await;
    // Counted in whole seconds: it may be refused early by less than one.
    assert!(
        issued.elapsed() < Duration::from_secs(2),
        "{:?}",
        issued.elapsed()
    );
    let answer = client.call(SERVER, key.key.reveal(), "after").await;
    assert!(answer.text().contains("expired"), "{}", answer.text());
    assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
}
