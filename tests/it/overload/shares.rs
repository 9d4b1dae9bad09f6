//! One user sends ten times his share, and the others do not notice.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::{Bystander, Raw, head, percentile};
use crate::support::backend::request;
use crate::support::client::{Client, listen, post};
use crate::support::echo::{Manner, echo};
use crate::support::memory;
use crate::support::proxy::{Lines, Place, Proxy, alone};

/// A user's share of requests in these tests, and that of all.
const SHARE: usize = 16;
const ALL: usize = 64;
/// How long the slow server takes.
const SLOW: Duration = Duration::from_millis(500);

/// A server that takes its time.
async fn slow() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut buffer = Vec::new();
                while request(&mut stream, &mut buffer).await.is_some() {
                    sleep(SLOW).await;
                    let answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
                    let _ = stream.write_all(answer).await;
                }
            });
        }
    });
    format!("http://{address}/mcp")
}

/// A call with a body of about so many bytes.
fn big_call(bytes: usize) -> String {
    let pad = "x".repeat(bytes);
    format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"t","arguments":{{"pad":"{pad}"}}}}}}"#
    )
}

/// What a flood was answered.
#[derive(Default)]
struct Answers {
    served: AtomicUsize,
    refused: AtomicUsize,
    other: AtomicUsize,
}

/// Connections that ask again as soon as they are answered.
struct Flood {
    stop: Arc<AtomicBool>,
    answers: Arc<Answers>,
    clients: JoinSet<()>,
}

impl Flood {
    fn start(address: SocketAddr, key: &str, connections: usize) -> Self {
        let (stop, answers) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(Answers::default()),
        );
        let body = big_call(256 << 10);
        let mut clients = JoinSet::new();
        for _ in 0..connections {
            let (stop, answers) = (stop.clone(), answers.clone());
            let (key, body) = (key.to_owned(), body.clone());
            clients.spawn(async move {
                let mut client = Client::new(address);
                while !stop.load(Ordering::Relaxed) {
                    let answer = client.exchange(post("slow", &key, body.clone())).await;
                    let count = match answer.map(|answer| answer.status) {
                        Ok(200) => &answers.served,
                        // Refused before its body was read, he may find the connection closed.
                        Ok(429) | Err(_) => &answers.refused,
                        Ok(_) => &answers.other,
                    };
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        Self {
            stop,
            answers,
            clients,
        }
    }

    async fn stop(self) -> [usize; 3] {
        self.stop.store(true, Ordering::Relaxed);
        self.clients.join_all().await;
        let Answers {
            served,
            refused,
            other,
        } = &*self.answers;
        [served, refused, other].map(|count| count.load(Ordering::Relaxed))
    }
}

/// How long the flood lasts, and whether others' times are compared.
fn lasting() -> (Duration, bool) {
    let named = std::env::var("CLOAKROOM_OVERLOAD_SECONDS").ok();
    let seconds = named
        .as_ref()
        .map(|number| number.parse().expect("a number"));
    (Duration::from_secs(seconds.unwrap_or(3)), named.is_some())
}

// Fails when users have no shares (the flood takes what all may have, and others are told to try again),
// and when who is above his share is refused at once (the flood goes round as fast as it can).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_one_user_slows_himself_and_nobody_else() {
    let _alone = alone().await;
    let root = format!("[limits]\nrequests = {ALL}\nuser_requests = {SHARE}");
    let lines = Lines {
        root: &root,
        ..Lines::default()
    };
    let servers = [("one", echo(Manner::Json).await), ("slow", slow().await)];
    let proxy = Proxy::start(&Place::Sqlite, &lines, &servers).await;
    let flooder = proxy.settle_in("mallory", &["slow"]).await;
    let mut others = Vec::new();
    for name in ["alice", "bob"] {
        others.push(proxy.known(name, "one").await);
    }
    let (lasting, compared) = lasting();
    let round = Duration::from_secs(3);
    let (mut quiet, mut flooded, mut answers) = (Vec::new(), Vec::new(), [0; 3]);
    let mut flooding = Duration::ZERO;
    while flooding < lasting {
        quiet.extend(ask(&proxy, &others, Duration::from_secs(1)).await);
        let begun = Instant::now();
        let flood = Flood::start(proxy.serving.address, &flooder, 10 * SHARE);
        // Until it is as it will be.
        sleep(Duration::from_millis(500)).await;
        flooded.extend(ask(&proxy, &others, round).await);
        for (sum, count) in answers.iter_mut().zip(flood.stop().await) {
            *sum += count;
        }
        flooding += begun.elapsed();
    }
    let [calm, busy] = [&mut quiet, &mut flooded].map(|times| percentile(times, 99));
    let [served, refused, other] = answers;
    let medians = [&mut quiet, &mut flooded].map(|times| percentile(times, 50));
    println!(
        "others' p99: quiet {calm:?}, under the flood {busy:?} (medians {medians:?}, {} requests); the flood: \
         {served} served, {refused} refused in {flooding:?}",
        flooded.len()
    );
    assert_eq!(other, 0, "the flood met with something else");
    assert!(
        flooded.len() > 200 && busy < Duration::from_millis(500),
        "{busy:?}"
    );
    // Each connection is answered twice a second at most: after the server's time, or two seconds.
    let most = 10 * SHARE * 2 * (flooding.as_secs() as usize + 1);
    assert!(
        served > SHARE && served + refused < most,
        "not slowed: {answers:?}"
    );
    if compared {
        assert!(busy < 2 * calm, "{busy:?} is not under twice {calm:?}");
    }
}

/// Asks as these people for so long; how long the answers took.
async fn ask(proxy: &Proxy, people: &[(String, Client)], lasting: Duration) -> Vec<Duration> {
    let start = |(key, _): &(String, Client)| Bystander::start(proxy.client(), "one", key);
    let asking: Vec<_> = people.iter().map(start).collect();
    sleep(lasting).await;
    let mut times = Vec::new();
    for bystander in asking {
        times.extend(bystander.stop().await);
    }
    times
}

// A few too many in parallel are only slower. Fails when the line is not waited in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_few_too_many_in_parallel_are_all_served() {
    let lines = Lines {
        root: "[limits]\nuser_requests = 4",
        ..Lines::default()
    };
    let proxy = Proxy::start(&Place::Sqlite, &lines, &[("slow", slow().await)]).await;
    let key = proxy.settle_in("alice", &["slow"]).await;
    let mut calls = JoinSet::new();
    for _ in 0..10 {
        let (mut client, request) = (proxy.client(), post("slow", &key, big_call(10)));
        calls.spawn(async move { client.exchange(request).await.unwrap().status });
    }
    assert_eq!(calls.join_all().await, [200; 10]);
}

// Fails when bytes are not counted per user.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_one_user_never_finishes_leave_room_for_others() {
    let lines = Lines {
        root: "[limits]\nbody = \"1MiB\"\nin_flight = \"4MiB\"\nuser_in_flight = \"2MiB\"",
        ..Lines::default()
    };
    let proxy = Proxy::start(&Place::Sqlite, &lines, &[("one", echo(Manner::Json).await)]).await;
    let [mallory, alice] = [
        proxy.settle_in("mallory", &["one"]).await,
        proxy.settle_in("alice", &["one"]).await,
    ];
    let body = big_call(1_000_000);
    let mut held = Vec::new();
    for _ in 0..8 {
        let mut raw = Raw::connect(proxy.serving.address).await;
        let head = head("one", &mallory);
        let all_but_the_end = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len() + 1);
        raw.send(all_but_the_end.as_bytes()).await;
        held.push(raw);
    }
    // Of those he cannot have, he is told so.
    let first = futures_util::future::select_all(held.iter_mut().map(|raw| Box::pin(raw.status())));
    assert_eq!(first.await.0, Some(429));
    let answer = proxy.client().exchange(post("one", &alice, body)).await;
    assert_eq!(answer.unwrap().status, 200);
}

// Fails when streams are not counted for their user, or for ever; also when those that answer a POST are
// not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_too_many_is_refused_before_the_server_is_asked() {
    let lines = Lines {
        root: "[limits]\nuser_streams = 2",
        ..Lines::default()
    };
    let servers = [("one", echo(Manner::Events).await)];
    let proxy = Proxy::start(&Place::Sqlite, &lines, &servers).await;
    let [alice, bob] = [
        proxy.settle_in("alice", &["one"]).await,
        proxy.settle_in("bob", &["one"]).await,
    ];
    let mut open = Vec::new();
    for _ in 0..2 {
        assert_eq!(
            proxy.client().call("one", &alice, "before").await.status,
            200
        );
        open.push(proxy.client().open(listen("one", &alice)).await.unwrap());
    }
    for request in [listen("one", &alice), post("one", &alice, big_call(1))] {
        let refused = proxy.client().exchange(request).await.unwrap();
        assert_eq!(refused.status, 429);
        assert_eq!(refused.header("retry-after"), Some("1"));
        assert!(
            refused.text().contains("`limits.user_streams`"),
            "{}",
            refused.text()
        );
        assert_eq!(refused.message()["error"]["code"], 4290);
    }
    let note = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    let passed = proxy
        .client()
        .exchange(post("one", &alice, note.to_owned()))
        .await;
    assert_eq!(
        passed.unwrap().status,
        200,
        "nothing answers a notification"
    );
    assert_eq!(proxy.client().call("one", &bob, "other").await.status, 200);
    open.clear();
    let begun = Instant::now();
    while proxy.client().call("one", &alice, "after").await.status != 200 {
        assert!(begun.elapsed() < Duration::from_secs(10), "still counted");
        sleep(Duration::from_millis(20)).await;
    }
}

// Whoever does not read his answers uses up his own share of requests, and no memory to speak of.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_one_user_never_reads_are_his_own_affair() {
    let endless = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", endless.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = endless.accept().await {
            tokio::spawn(async move {
                let _ = stream.read(&mut [0; 4096]).await;
                let head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 10000000000\r\n\r\n";
                let mut more = stream.write_all(head).await.is_ok();
                while more {
                    more = stream.write_all(&[b' '; 1 << 16]).await.is_ok();
                }
            });
        }
    });
    let lines = Lines {
        root: "[limits]\nuser_requests = 40",
        ..Lines::default()
    };
    let servers = [("endless", url), ("one", echo(Manner::Json).await)];
    let proxy = Proxy::start(&Place::Sqlite, &lines, &servers).await;
    let mallory = proxy.settle_in("mallory", &["endless"]).await;
    let alice = proxy.settle_in("alice", &["one"]).await;
    let before = memory(proxy.serving.pid());
    let mut unread = Vec::new();
    for _ in 0..40 {
        unread.push(
            proxy
                .client()
                .open(post("endless", &mallory, big_call(1)))
                .await
                .unwrap(),
        );
    }
    sleep(Duration::from_secs(1)).await;
    let grown = memory(proxy.serving.pid()).saturating_sub(before) >> 10;
    println!("40 answers nobody reads: {grown} KiB");
    assert!(grown < 40 * 512, "{grown} KiB");
    let refused = proxy
        .client()
        .exchange(post("endless", &mallory, big_call(1)))
        .await;
    assert_eq!(refused.unwrap().status, 429);
    assert_eq!(
        proxy.client().call("one", &alice, "other").await.status,
        200
    );
}
