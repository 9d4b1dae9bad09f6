//! What a user and a key may ask for over time, counted over all replicas.

use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use cloakroom::vault::{KeyRequest, Limits, UserChange};
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::{House, JSON, ask, call, code, is_served, send};
use crate::support::client::{Answer, Client};
use crate::support::proxy::{Place, alone, user};
use crate::support::redis::Server;

const CLIENTS: usize = 8;
const RUN: Duration = Duration::from_secs(4);
/// A hundred a second.
const RATE: u32 = 6000;
const BURST: u32 = 40;

impl House {
    async fn bound(&self, name: &str, limits: Limits) {
        let change = UserChange {
            limits: Some(limits),
            ..UserChange::default()
        };
        let vault = &self.proxy.vault;
        vault.update_user(&user(name), &change).await.unwrap();
    }
}

fn rate() -> Limits {
    Limits {
        rate: Some(RATE),
        burst: Some(BURST),
        ..Limits::default()
    }
}

fn daily(most: u64) -> Limits {
    Limits {
        daily: Some(most),
        ..Limits::default()
    }
}

/// It is refused for this, and told when to try again.
fn assert_refused(answer: &Answer, why: i64) {
    assert_eq!(
        (answer.status, code(answer)),
        (429, why.into()),
        "{}",
        answer.text()
    );
    let after = answer.header("retry-after").expect("it is told when");
    assert!(after.parse::<u64>().unwrap() >= 1, "{after}");
}

/// How many of the requests of these clients were served, each of whom asks until `goes_on` says no, at one
/// replica after the other.
async fn crowd(
    replicas: &[SocketAddr],
    key: &str,
    why: i64,
    goes_on: impl Fn(usize) -> bool + Clone + Send + 'static,
) -> (u64, u64) {
    let mut clients = JoinSet::new();
    for n in 0..CLIENTS {
        let mut open: Vec<_> = replicas.iter().map(|at| Client::new(*at)).collect();
        let (key, goes_on) = (key.to_owned(), goes_on.clone());
        clients.spawn(async move {
            let (mut granted, mut refused) = (0, 0);
            let mut asked = 0;
            while goes_on(asked) {
                let at = (asked + n) % open.len();
                let answer = ask(&mut open[at], JSON, &key, "get_one").await;
                asked += 1;
                if is_served(&answer) {
                    granted += 1;
                } else {
                    assert_refused(&answer, why);
                    refused += 1;
                    sleep(Duration::from_millis(5)).await;
                }
            }
            (granted, refused)
        });
    }
    let mut both = (0, 0);
    while let Some(done) = clients.join_next().await {
        let (granted, refused) = done.unwrap();
        both = (both.0 + granted, both.1 + refused);
    }
    both
}

fn today() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
        / 86_400
}

// Fails when each replica counts for itself; and when a slice is taken and not used up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_clients_at_three_replicas_get_the_rate_and_no_more_than_one_burst_above() {
    let _alone = alone().await;
    let redis = Server::plain();
    for place in [Place::Sqlite, Place::Redis(&redis)] {
        let house = House::start(&place).await;
        let more = [house.another(), house.another()];
        let alice = house.settle_in("alice").await;
        let bob = house.settle_in("bob").await;
        house.bound("alice", rate()).await;
        house.bound("bob", daily(30)).await;
        let replicas = std::iter::once(&house.proxy.serving).chain(&more);
        let replicas: Vec<_> = replicas.map(|replica| replica.address).collect();
        for address in &replicas {
            // What holds is known everywhere once the last write is.
            let mut client = Client::new(*address);
            let answer = ask(&mut client, JSON, &alice, "get_one").await;
            assert!(is_served(&answer), "{}", answer.text());
        }
        sleep(Duration::from_millis(500)).await;
        let since = Instant::now();
        let (granted, refused) =
            crowd(&replicas, &alice, 4292, move |_| since.elapsed() < RUN).await;
        let took = since.elapsed();
        let at_rate = took.as_secs_f64() * f64::from(RATE) / 60.0;
        println!("{granted} granted in {took:?}, {refused} refused");
        let most = at_rate + 2.0 * f64::from(BURST);
        assert!(granted as f64 <= most, "{granted} in {took:?}");
        assert!(granted as f64 >= at_rate * 0.6, "{granted} in {took:?}");
        assert!(refused > 0);

        // A day's bound is kept to the last one: slices of so small a one are of one request.
        let day = today();
        let (granted, refused) = crowd(&replicas, &bob, 4293, |asked| asked < 15).await;
        let days = today() - day + 1;
        assert!(
            granted <= 30 * days && granted + refused == 120,
            "{granted} {refused}"
        );
        assert!(granted == 30 || days > 1, "{granted}");
    }
}

// Fails when a batch counts as one request, or a key's own bounds are not read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_has_bounds_of_its_own_and_a_batch_counts_as_what_is_in_it() {
    let redis = Server::plain();
    for place in [Place::Sqlite, Place::Redis(&redis)] {
        let house = House::start(&place).await;
        let free = house.settle_in("alice").await;
        let request = KeyRequest {
            limits: daily(3),
            ..KeyRequest::default()
        };
        let issued = house
            .proxy
            .vault
            .issue_key(&user("alice"), request)
            .await
            .unwrap();
        let key = issued.key.reveal();
        let mut client = house.proxy.client();
        let batch = |size: u64| Value::from_iter((0..size).map(|id| call(id, "get_one")));
        let answer = send(&mut client, JSON, key, &batch(4)).await;
        assert_eq!(answer.status, 429, "{}", answer.text());
        assert_eq!(answer.messages().len(), 4, "an error for each");
        assert!(house.backend.reached().is_empty());
        let answer = send(&mut client, JSON, key, &batch(2)).await;
        assert_eq!(answer.messages().len(), 2, "{}", answer.text());
        assert!(is_served(&ask(&mut client, JSON, key, "get_one").await));
        let answer = ask(&mut client, JSON, key, "get_one").await;
        assert_refused(&answer, 4293);
        assert_eq!(answer.message()["id"], 7);
        assert_eq!(house.backend.reached().len(), 3);
        for _ in 0..10 {
            let answer = ask(&mut client, JSON, &free, "get_one").await;
            assert!(is_served(&answer), "the other key: {}", answer.text());
        }
        // A command changes the bounds, and 0 is none.
        house.ok("user update alice --daily 1", "").await;
        house
            .until(JSON, &free, "bound", |answer| answer.status == 429)
            .await;
        house.ok("user update alice --daily 0", "").await;
        house.until(JSON, &free, "not bound", is_served).await;
    }
}

/// Commands Redis was given until now, but for those of who watches and says that he is there.
fn commands(redis: &Server) -> u64 {
    let text: String = redis.ask("INFO commandstats").unwrap();
    let calls = |line: &str| {
        let (name, rest) = line.split_once(":calls=")?;
        let counts = ["get", "mget", "set", "eval", "evalsha", "evalsha_ro"];
        let counts = counts.contains(&name.strip_prefix("cmdstat_")?);
        rest.split(',')
            .next()?
            .parse::<u64>()
            .ok()
            .filter(|_| counts)
    };
    text.lines().filter_map(calls).sum()
}

// Fails when who has no bound is given a bucket.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_no_bound_never_touches_the_store() {
    const READS: &str = "cloakroom_store_reads_total";
    let redis = Server::plain();
    for place in [Place::Sqlite, Place::Redis(&redis)] {
        let house = House::start(&place).await;
        let (alice, bob) = (house.settle_in("alice").await, house.settle_in("bob").await);
        house.bound("bob", daily(1_000_000)).await;
        let mut client = house.proxy.client();
        let mut cost = async |key: &str| {
            for _ in 0..3 {
                assert!(is_served(&ask(&mut client, JSON, key, "get_one").await));
                sleep(Duration::from_millis(100)).await;
            }
            let (reads, before) = (house.health.figure(READS).await, commands(&redis));
            for _ in 0..300 {
                assert!(is_served(&ask(&mut client, JSON, key, "get_one").await));
            }
            let reads = house.health.figure(READS).await - reads;
            assert!(reads <= 2.0, "{reads}");
            commands(&redis) - before
        };
        let (unbound, bound) = (cost(&alice).await, cost(&bob).await);
        println!("commands for 300 requests: {unbound} without a bound, {bound} with one");
        // What is counted of usage, and what others write, is a few; and a slice is of many.
        assert!(unbound <= 40 && bound <= 60, "{unbound} {bound}");
    }
}

// Fails when `rate_store_down` is not asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_bounds_are_kept_locally_or_requests_denied_as_the_operator_says() {
    for deny in [false, true] {
        let redis = Server::plain();
        let root = match deny {
            true => "[limits]\nrate_store_down = \"deny\"\n",
            false => "[limits]\nrate_store_down = \"local\"\n",
        };
        let house = House::with(&Place::Redis(&redis), root).await;
        let (alice, bob) = (house.settle_in("alice").await, house.settle_in("bob").await);
        // One in ten seconds, six at once.
        let limits = Limits {
            rate: Some(6),
            burst: Some(6),
            ..Limits::default()
        };
        house.bound("alice", limits).await;
        let mut client = house.proxy.client();
        for key in [&alice, &bob] {
            for _ in 0..2 {
                assert!(is_served(&ask(&mut client, JSON, key, "get_one").await));
                sleep(Duration::from_millis(200)).await;
            }
        }
        redis.kill();
        let since = Instant::now();
        let mut answers = Vec::new();
        for _ in 0..12 {
            answers.push(ask(&mut client, JSON, &alice, "get_one").await);
            let answer = ask(&mut client, JSON, &bob, "get_one").await;
            assert!(is_served(&answer), "who has no bound: {}", answer.text());
        }
        let served = answers.iter().filter(|answer| is_served(answer)).count();
        println!("deny {deny}: {served} served, in {:?}", since.elapsed());
        if deny {
            // What was leased before is used up.
            assert!(served <= 4, "{served}");
            let last = answers.last().unwrap();
            assert_eq!(
                (last.status, code(last)),
                (503, 5032.into()),
                "{}",
                last.text()
            );
            assert!(last.header("retry-after").is_some());
        } else {
            assert!((6..=11).contains(&served), "{served}");
            assert_refused(answers.last().unwrap(), 4292);
        }
    }
}
