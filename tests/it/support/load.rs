//! Requests of users whose keys the proxy knows, all the time, each answer checked.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::sleep;

use super::client::{Answer, Client, call};
use super::fingerprint;
use super::proxy::{Proxy, first_secret};

/// Goes on until it is stopped.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    clients: JoinSet<Tally>,
}

/// What came of the requests.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) served: usize,
    pub(crate) slowest: Duration,
    /// When, since the load began, and how some went wrong; the number of all.
    first_wrong: Vec<String>,
    pub(crate) wrong: usize,
}

/// What a user asks for all the time.
#[derive(Clone)]
struct Wish {
    server: String,
    key: String,
    /// The fingerprint of his secret.
    expected: String,
}

impl Load {
    /// So many users, each of whom asks again a moment after each answer.
    pub(crate) async fn start(proxy: &Proxy, server: &str, users: usize, pause: Duration) -> Self {
        Self::on(proxy, &[proxy.serving.address], server, users, pause).await
    }

    /// The same at each of these replicas.
    pub(crate) async fn on(
        proxy: &Proxy,
        replicas: &[SocketAddr],
        server: &str,
        users: usize,
        pause: Duration,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut clients = JoinSet::new();
        for n in 0..users {
            let name = format!("busy-{n}");
            let (key, _) = proxy.known(&name, server).await;
            let wish = Wish {
                server: server.to_owned(),
                key,
                expected: fingerprint(first_secret(&name, server).as_bytes()),
            };
            for address in replicas {
                let client = Client::new(*address);
                clients.spawn(ask_on(client, wish.clone(), pause, stop.clone()));
            }
        }
        Self { stop, clients }
    }

    /// A user with many keys, each of which is used once: for each the store must be asked.
    pub(crate) fn newcomers(
        proxy: &Proxy,
        server: &str,
        name: &str,
        keys: Vec<String>,
        pause: Duration,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let expected = fingerprint(first_secret(name, server).as_bytes());
        let (client, server, stopped) = (proxy.client(), server.to_owned(), stop.clone());
        let mut clients = JoinSet::new();
        clients.spawn(async move {
            let (mut client, mut tally, begun) = (client, Tally::default(), Instant::now());
            for key in keys {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                tally
                    .ask(&mut client, &server, &key, &expected, begun)
                    .await;
                sleep(pause).await;
            }
            tally
        });
        Self { stop, clients }
    }

    /// Whether those who ask have keys left.
    pub(crate) fn goes_on(&mut self) -> bool {
        self.clients.try_join_next().is_none()
    }

    pub(crate) async fn stop(mut self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Tally::default();
        while let Some(tally) = self.clients.join_next().await {
            all.add(tally.unwrap());
        }
        all
    }
}

impl Tally {
    pub(crate) fn add(&mut self, other: Self) {
        self.served += other.served;
        self.wrong += other.wrong;
        self.slowest = self.slowest.max(other.slowest);
        self.first_wrong.extend(other.first_wrong);
    }

    async fn ask(
        &mut self,
        client: &mut Client,
        server: &str,
        key: &str,
        expected: &str,
        begun: Instant,
    ) {
        let asked = Instant::now();
        let nonce = self.served.to_string();
        let answer = client.exchange(call(server, key, 0, &nonce)).await;
        self.slowest = self.slowest.max(asked.elapsed());
        match trouble(answer, expected, &nonce) {
            None => self.served += 1,
            Some(trouble) => {
                self.wrong += 1;
                if self.first_wrong.len() < 3 {
                    let line = format!("at {:?}: {trouble}", begun.elapsed());
                    self.first_wrong.push(line);
                }
            }
        }
    }

    /// Nothing went wrong, and something was asked.
    pub(crate) fn assert_clean(&self, what: &str) {
        println!(
            "{what}: {} requests, the slowest {:?}",
            self.served, self.slowest
        );
        assert_eq!(self.wrong, 0, "{what}: {:#?}", self.first_wrong);
        assert!(self.served > 50, "{what}: only {}", self.served);
    }
}

async fn ask_on(mut client: Client, wish: Wish, pause: Duration, stop: Arc<AtomicBool>) -> Tally {
    let Wish {
        server,
        key,
        expected,
    } = wish;
    let (mut tally, begun) = (Tally::default(), Instant::now());
    while !stop.load(Ordering::Relaxed) {
        tally
            .ask(&mut client, &server, &key, &expected, begun)
            .await;
        sleep(pause).await;
    }
    tally
}

/// What is wrong with an answer: all must be the user's own, to this request.
fn trouble(answer: Result<Answer, String>, expected: &str, nonce: &str) -> Option<String> {
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => return Some(error),
    };
    let message = answer.message();
    let result = &message["result"];
    let right = answer.status == 200
        && result["fingerprint"] == expected
        && result["seen"]["header"] == expected
        && result["nonce"] == nonce;
    (!right).then(|| format!("{} {}", answer.status, answer.text()))
}
