//! Many users at once, all with the same ids, whose keys and secrets change meanwhile.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant};

use cloakroom::vault::IssuedKey;
use tokio::task::JoinSet;

use super::SERVERS;
use crate::support::client::{Answer, Client, call};
use crate::support::proxy::{Proxy, first_secret};
use crate::support::{Chance, fingerprint};

/// Connections of each user: his requests meet on the idle connection kept for him.
const CLIENTS: usize = 2;

/// What was seen.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) answered: usize,
    pub(super) aborted: usize,
    pub(super) refused: usize,
    pub(super) refused_wrongly: usize,
    pub(super) foreign: usize,
    pub(super) wrong_nonce: usize,
    pub(super) failed: usize,
    /// Answers of the chaos backend to the right user, but to another request of his.
    pub(super) chaos_wrong_nonce: usize,
    /// Requests the chaos backend failed.
    pub(super) chaos_failed: usize,
    pub(super) keys_revoked: usize,
    pub(super) secrets_changed: usize,
}

pub(super) struct Crowd(Arc<Inner>);

struct Inner {
    proxy: Proxy,
    /// Whose a fingerprint is: user and server.
    owners: RwLock<HashMap<String, (usize, usize)>>,
    keys: Vec<RwLock<IssuedKey>>,
    /// Those whose revocation has at least begun.
    revoked: Mutex<HashSet<String>>,
    left: AtomicUsize,
    done: AtomicBool,
    report: Mutex<Report>,
}

impl Crowd {
    pub(super) async fn settle(proxy: Proxy, users: usize) -> Self {
        let mut owners = HashMap::new();
        let mut keys = Vec::new();
        for user in 0..users {
            proxy.settle_in(&name(user), &SERVERS).await;
            for (index, server) in SERVERS.iter().enumerate() {
                let secret = first_secret(&name(user), server);
                owners.insert(fingerprint(secret.as_bytes()), (user, index));
            }
            keys.push(RwLock::new(proxy.issue_key(&name(user), None).await));
        }
        Self(Arc::new(Inner {
            proxy,
            owners: RwLock::new(owners),
            keys,
            revoked: Mutex::default(),
            left: AtomicUsize::new(0),
            done: AtomicBool::new(false),
            report: Mutex::default(),
        }))
    }

    pub(super) async fn run(&self, requests: usize) -> Report {
        let inner = &self.0;
        inner.left.store(requests, Ordering::SeqCst);
        let churn = tokio::spawn(inner.clone().churn());
        let mut clients = JoinSet::new();
        for client in 0..inner.keys.len() * CLIENTS {
            clients.spawn(inner.clone().client(client));
        }
        while let Some(ended) = clients.join_next().await {
            ended.unwrap();
        }
        inner.done.store(true, Ordering::SeqCst);
        churn.await.unwrap();
        std::mem::take(&mut *inner.report.lock().unwrap())
    }

    /// How many of the keys revoked while it ran still work.
    pub(super) async fn revoked_keys_accepted(&self) -> usize {
        let keys = std::mem::take(&mut *self.0.revoked.lock().unwrap());
        assert!(!keys.is_empty());
        tokio::time::sleep(Duration::from_millis(500)).await;
        let mut client = self.0.proxy.client();
        let mut accepted = 0;
        for key in keys {
            accepted += usize::from(client.call("json", &key, "late").await.status != 401);
        }
        accepted
    }
}

fn name(user: usize) -> String {
    format!("user-{user}")
}

impl Inner {
    async fn client(self: Arc<Self>, number: usize) {
        let user = number % self.keys.len();
        let mut chance = Chance::new(number as u64 + 1);
        let mut client = self.proxy.client();
        // How long an exchange takes, about: clients that go away shall do so at every moment of it.
        let mut usual = Duration::from_millis(20);
        let take = |left: usize| left.checked_sub(1);
        let mut id = 0;
        while self
            .left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, take)
            .is_ok()
        {
            let server = chance.below(SERVERS.len() as u64) as usize;
            let key = self.keys[user].read().unwrap().key.reveal().to_owned();
            let nonce = format!("{number}-{id}");
            let request = call(SERVERS[server], &key, id, &nonce);
            id += 1;
            let begun = Instant::now();
            let patience = match chance.below(5) {
                0 => usual.mul_f64(chance.below(1000) as f64 / 900.0),
                _ => Duration::from_secs(60),
            };
            match tokio::time::timeout(patience, client.exchange(request)).await {
                Err(_) => {
                    client = Client::new(self.proxy.address);
                    self.report.lock().unwrap().aborted += 1;
                }
                Ok(answer) => {
                    usual = (usual * 7 + begun.elapsed()) / 8;
                    self.judge((user, server), &key, &nonce, answer);
                }
            }
        }
    }

    fn judge(&self, asked: (usize, usize), key: &str, nonce: &str, answer: Result<Answer, String>) {
        let chaos = SERVERS[asked.1] == "chaos";
        let mut report = self.report.lock().unwrap();
        let answer = match answer {
            Ok(answer) => answer,
            Err(_) if chaos => return report.chaos_failed += 1,
            Err(error) => {
                eprintln!("no answer from {}: {error}", SERVERS[asked.1]);
                return report.failed += 1;
            }
        };
        let message = answer.message();
        if let Some(fingerprint) = message["result"]["fingerprint"].as_str() {
            report.answered += 1;
            let owner = self.owners.read().unwrap().get(fingerprint).copied();
            if owner != Some(asked) {
                eprintln!("{asked:?} got an answer made for {owner:?}");
                report.foreign += 1;
            } else if message["result"]["nonce"] != nonce {
                *(if chaos {
                    &mut report.chaos_wrong_nonce
                } else {
                    &mut report.wrong_nonce
                }) += 1;
            }
        } else if answer.status == 401 {
            report.refused += 1;
            let known = self.revoked.lock().unwrap().contains(key);
            report.refused_wrongly += usize::from(!known);
        } else if chaos {
            report.chaos_failed += 1;
        } else {
            eprintln!("from {}: {}", SERVERS[asked.1], answer.text());
            report.failed += 1;
        }
    }

    /// Changes secrets and keys until all requests are made.
    async fn churn(self: Arc<Self>) {
        let mut chance = Chance::new(0);
        let mut round = 0;
        while !self.done.load(Ordering::SeqCst) {
            round += 1;
            let user = chance.below(self.keys.len() as u64) as usize;
            let server = chance.below(SERVERS.len() as u64) as usize;
            let secret = format!("{}-again-{round}", name(user));
            let owners = || self.owners.write().unwrap();
            owners().insert(fingerprint(secret.as_bytes()), (user, server));
            self.proxy
                .set_secret(&name(user), SERVERS[server], &secret)
                .await;
            self.report.lock().unwrap().secrets_changed += 1;
            if round % 3 == 0 {
                let user = chance.below(self.keys.len() as u64) as usize;
                let key = self.proxy.issue_key(&name(user), None).await;
                let old = std::mem::replace(&mut *self.keys[user].write().unwrap(), key);
                let revealed = old.key.reveal().to_owned();
                self.revoked.lock().unwrap().insert(revealed);
                self.proxy.vault.revoke_key(&old.id).await.unwrap();
                self.report.lock().unwrap().keys_revoked += 1;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
