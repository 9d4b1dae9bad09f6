//! Requests of users whose keys the proxy knows, all the time, each answer checked.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::{SERVER, known};
use crate::support::client::{Answer, Client, call};
use crate::support::fingerprint;
use crate::support::proxy::{Proxy, first_secret};

pub(super) struct Load {
    stop: Arc<AtomicBool>,
    clients: JoinSet<Tally>,
}

/// What came of the requests.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) served: usize,
    pub(super) slowest: Duration,
    /// When, since the load began, and how some went wrong; the number of all.
    first_wrong: Vec<String>,
    pub(super) wrong: usize,
}

impl Load {
    /// So many users, each of whom asks again a moment after each answer.
    pub(super) async fn start(proxy: &Proxy, users: usize, pause: Duration) -> Self {
        let mut keys = Vec::with_capacity(users);
        for n in 0..users {
            let name = format!("busy-{n}");
            let (key, _) = known(proxy, &name).await;
            keys.push((name, key));
        }
        let mut load = Self {
            stop: Arc::new(AtomicBool::new(false)),
            clients: JoinSet::new(),
        };
        load.join(proxy.serving.address, &keys, pause);
        load
    }

    fn join(&mut self, address: SocketAddr, keys: &[(String, String)], pause: Duration) {
        for (name, key) in keys {
            let expected = fingerprint(first_secret(name, SERVER).as_bytes());
            let client = Client::new(address);
            let work = ask_on(client, key.clone(), expected, pause, self.stop.clone());
            self.clients.spawn(work);
        }
    }

    pub(super) async fn stop(mut self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Tally::default();
        while let Some(tally) = self.clients.join_next().await {
            let tally = tally.unwrap();
            all.served += tally.served;
            all.wrong += tally.wrong;
            all.slowest = all.slowest.max(tally.slowest);
            all.first_wrong.extend(tally.first_wrong);
        }
        all
    }
}

impl Tally {
    /// Nothing went wrong, and something was asked.
    pub(super) fn assert_clean(&self, what: &str) {
        println!(
            "{what}: {} requests of known keys, the slowest {:?}",
            self.served, self.slowest
        );
        assert_eq!(self.wrong, 0, "{what}: {:#?}", self.first_wrong);
        assert!(self.served > 50, "{what}: only {}", self.served);
    }
}

async fn ask_on(
    mut client: Client,
    key: String,
    expected: String,
    pause: Duration,
    stop: Arc<AtomicBool>,
) -> Tally {
    let mut tally = Tally::default();
    let begun = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        let asked = Instant::now();
        let nonce = tally.served.to_string();
        let answer = client.exchange(call(SERVER, &key, 0, &nonce)).await;
        tally.slowest = tally.slowest.max(asked.elapsed());
        match trouble(answer, &expected, &nonce) {
            None => tally.served += 1,
            Some(trouble) => {
                tally.wrong += 1;
                if tally.first_wrong.len() < 3 {
                    let line = format!("at {:?}: {trouble}", begun.elapsed());
                    tally.first_wrong.push(line);
                }
            }
        }
        tokio::time::sleep(pause).await;
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
