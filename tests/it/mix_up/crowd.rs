//! Many users at once, all with the same ids, whose keys and secrets change meanwhile.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use cloakroom::vault::IssuedKey;
use serde_json::Value;
use tokio::task::JoinSet;

use super::name;
use super::report::{Asked, Call, Report, Verdict};
use super::servers::{PROFILES, SERVERS, Speech};
use super::visitor::Visitor;
use crate::support::client::Answer;
use crate::support::proxy::{Proxy, SECRET};
use crate::support::{Chance, fingerprint};

/// Connections of each user: his requests meet on the idle connection kept for him.
const CLIENTS: usize = 2;

pub(super) struct Crowd(Arc<Inner>);

pub(super) struct Inner {
    pub(super) proxy: Proxy,
    /// Whose a fingerprint is.
    owners: RwLock<HashMap<String, Asked>>,
    keys: Vec<RwLock<IssuedKey>>,
    /// Those whose revocation has at least begun.
    revoked: Mutex<HashSet<String>>,
    left: AtomicUsize,
    done: AtomicBool,
    report: Mutex<Report>,
}

/// Whether a user has what the tool `drop` wants.
pub(super) fn has_admin(user: usize) -> bool {
    user.is_multiple_of(2)
}

impl Crowd {
    pub(super) async fn settle(proxy: Proxy, users: usize) -> Self {
        let mut keys = Vec::new();
        for user in 0..users {
            proxy.add_user(&name(user)).await;
            keys.push(RwLock::new(proxy.issue_key(&name(user), None).await));
        }
        let crowd = Inner {
            proxy,
            owners: RwLock::default(),
            keys,
            revoked: Mutex::default(),
            left: AtomicUsize::new(0),
            done: AtomicBool::new(false),
            report: Mutex::default(),
        };
        for user in 0..users {
            for (server, kind) in SERVERS.iter().enumerate() {
                for profile in 0..PROFILES.len() {
                    let asked = Asked {
                        user,
                        server,
                        profile,
                    };
                    crowd.set_secret(asked, SECRET, "first").await;
                    if kind.drops && has_admin(user) {
                        crowd.set_secret(asked, "ADMIN", "first").await;
                    }
                }
            }
        }
        Self(Arc::new(crowd))
    }

    pub(super) async fn run(&self, requests: usize) -> Report {
        let inner = &self.0;
        inner.left.store(requests, Ordering::SeqCst);
        let churn = tokio::spawn(inner.clone().churn());
        let mut visitors = JoinSet::new();
        for number in 0..inner.keys.len() * CLIENTS {
            let user = number % inner.keys.len();
            visitors.spawn(Visitor::new(inner.clone(), number, user).visit());
        }
        while let Some(ended) = visitors.join_next().await {
            ended.unwrap();
        }
        inner.done.store(true, Ordering::SeqCst);
        churn.await.unwrap();
        std::mem::take(&mut *inner.report())
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

impl Inner {
    /// Whether there is another request to make.
    pub(super) fn take(&self) -> bool {
        let take = |left: usize| left.checked_sub(1);
        let left = &self.left;
        !self.report().is_hopeless()
            && left
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, take)
                .is_ok()
    }

    pub(super) fn key(&self, user: usize) -> String {
        self.keys[user].read().unwrap().key.reveal().to_owned()
    }

    pub(super) fn is_revoked(&self, key: &str) -> bool {
        self.revoked.lock().unwrap().contains(key)
    }

    pub(super) fn report(&self) -> std::sync::MutexGuard<'_, Report> {
        self.report.lock().unwrap()
    }

    pub(super) fn failed(&self, asked: Asked, what: &str) {
        eprintln!("{asked:?}: {what}");
        self.report().failed += 1;
    }

    /// Sets a secret nobody else has, and remembers whose it is.
    async fn set_secret(&self, asked: Asked, secret: &str, round: &str) {
        let (user, server) = (name(asked.user), SERVERS[asked.server].name);
        let profile = PROFILES[asked.profile];
        let value = format!("{user}-{server}-{profile}-{secret}-{round}");
        let owner = fingerprint(value.as_bytes());
        self.owners.write().unwrap().insert(owner, asked);
        let at = (server, profile);
        self.proxy.set_named(&user, at, secret, &value).await;
    }

    /// The answer to a request over Streamable HTTP.
    pub(super) fn judge(
        &self,
        asked: Asked,
        key: &str,
        calls: &[Call],
        answer: Result<Answer, String>,
    ) {
        let chaos = asked.speech() == Speech::Chaos;
        let answer = match answer {
            Ok(answer) => answer,
            Err(_) if chaos => return self.report().chaos_failed += 1,
            // Answers under way are cut when their key is revoked.
            Err(_) if self.is_revoked(key) => return self.report().cut += 1,
            Err(error) => return self.failed(asked, &error),
        };
        if answer.status == 401 {
            return self.refused(key);
        }
        let is_answer = |message: &Value| message.get("id").is_some();
        let messages: Vec<_> = answer.messages().into_iter().filter(is_answer).collect();
        if chaos
            && messages
                .iter()
                .all(|message| message.get("result").is_none())
        {
            return self.report().chaos_failed += 1;
        }
        if messages.len() < calls.len() && self.is_revoked(key) {
            return self.report().cut += 1;
        }
        if messages.len() != calls.len() {
            return self.failed(asked, &answer.text());
        }
        self.report().batches += usize::from(calls.len() > 1);
        for message in &messages {
            self.judge_message(asked, calls, message);
        }
    }

    /// One answer to one of `calls`.
    pub(super) fn judge_message(&self, asked: Asked, calls: &[Call], message: &Value) {
        let verdict = asked.judge(calls, message, &self.owners.read().unwrap());
        let (chaos, stream) = match asked.speech() {
            Speech::Chaos => (true, false),
            speech => (false, speech == Speech::Streams),
        };
        if !matches!(verdict, Verdict::Own | Verdict::Lacking) && !chaos {
            eprintln!("{asked:?}, {verdict:?}: {message}, of {calls:?}");
        }
        let mut report = self.report();
        match verdict {
            Verdict::Own => {
                report.answered += 1;
                report.on_streams += usize::from(stream);
            }
            Verdict::Lacking => {
                report.lacking += 1;
                report.lacking_on_streams += usize::from(stream);
            }
            Verdict::Foreign => report.foreign += 1,
            Verdict::WrongNonce if chaos => report.chaos_wrong_nonce += 1,
            Verdict::WrongNonce => report.wrong_nonce += 1,
            Verdict::Unusable => report.failed += 1,
        }
    }

    /// The key was refused.
    pub(super) fn refused(&self, key: &str) {
        let known = self.is_revoked(key);
        let mut report = self.report();
        report.refused += 1;
        report.refused_wrongly += usize::from(!known);
    }

    /// Changes secrets and keys until all requests are made.
    async fn churn(self: Arc<Self>) {
        let mut chance = Chance::new(0);
        let mut round = 0;
        let users = self.keys.len() as u64;
        while !self.done.load(Ordering::SeqCst) {
            round += 1;
            let asked = Asked {
                user: chance.below(users) as usize,
                server: chance.below(SERVERS.len() as u64) as usize,
                profile: chance.below(PROFILES.len() as u64) as usize,
            };
            self.set_secret(asked, SECRET, &round.to_string()).await;
            self.report().secrets_changed += 1;
            if round % 3 == 0 {
                let user = chance.below(users) as usize;
                let key = self.proxy.issue_key(&name(user), None).await;
                let old = std::mem::replace(&mut *self.keys[user].write().unwrap(), key);
                let revealed = old.key.reveal().to_owned();
                self.revoked.lock().unwrap().insert(revealed);
                self.proxy.vault.revoke_key(&old.id).await.unwrap();
                self.report().keys_revoked += 1;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
