//! Users who call, change their secrets and have their keys revoked, all at once.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant};

use cloakroom::names::{ProfileName, SecretName, ServerName};
use cloakroom::vault::{IssuedKey, KeyRequest, NewUser, SecretValue, Vault};
use tokio::sync::RwLock as AsyncRwLock;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::SERVER;
use crate::support::client::{Answer, Client, call};
use crate::support::proxy::{Proxy, SECRET, Serving, user};
use crate::support::{Chance, fingerprint};

/// Requests a second.
const RATE: u64 = 500;
const CLIENTS: u64 = 10;
/// Users made at the same moment.
const MAKERS: usize = 16;
/// Pause between two changes of secrets, and between two revocations.
const PAUSE: Duration = Duration::from_millis(20);
/// After so long a revoked key must be refused; pushed it is within 50 ms.
const PUSHED: Duration = Duration::from_secs(2);

/// What is known of a user.
struct Person {
    key: IssuedKey,
    /// The number of his secret that was surely set, and of the last that was begun to be.
    set: u64,
    begun: u64,
    revoking: bool,
    revoked: Option<Instant>,
}

pub(super) struct Crowd {
    people: Vec<Mutex<Person>>,
    addresses: RwLock<Vec<SocketAddr>>,
    /// Held for reading while something is written.
    vault: AsyncRwLock<Arc<Vault>>,
    done: AtomicBool,
    tally: Tally,
    faults: Mutex<Vec<String>>,
}

#[derive(Default)]
struct Tally {
    requests: AtomicU64,
    refused: AtomicU64,
    slowest: AtomicU64,
    changes: AtomicU64,
    revocations: AtomicU64,
}

fn name(n: usize) -> String {
    format!("user-{n}")
}

fn secret(n: usize, number: u64) -> String {
    format!("secret-{number}-of-user-{n}")
}

/// Users whose keys are revoked, and whose secrets change; all others stay as they are.
fn is_revoked(n: usize) -> bool {
    n % 8 == 1
}

fn is_changed(n: usize) -> bool {
    n % 8 == 2
}

impl Crowd {
    pub(super) async fn settle(proxy: &Proxy, users: usize) -> Arc<Self> {
        let mut makers = JoinSet::new();
        for maker in 0..MAKERS {
            let vault = proxy.vault.clone();
            makers.spawn(async move {
                let mut made = Vec::new();
                for n in (maker..users).step_by(MAKERS) {
                    let name = user(&name(n));
                    vault.add_user(&name, NewUser::default()).await.unwrap();
                    set(&vault, n, 0).await;
                    let issued = vault.issue_key(&name, KeyRequest::default()).await;
                    made.push((n, issued.unwrap()));
                }
                made
            });
        }
        let mut keys: Vec<_> = makers.join_all().await.into_iter().flatten().collect();
        keys.sort_by_key(|(n, _)| *n);
        let person = |(_, key)| {
            Mutex::new(Person {
                key,
                set: 0,
                begun: 0,
                revoking: false,
                revoked: None,
            })
        };
        Arc::new(Self {
            people: keys.into_iter().map(person).collect(),
            addresses: RwLock::default(),
            vault: AsyncRwLock::new(proxy.vault.clone()),
            done: AtomicBool::new(false),
            tally: Tally::default(),
            faults: Mutex::default(),
        })
    }

    /// Where requests go from now on.
    pub(super) fn serve_from(&self, replicas: &[Serving]) {
        let addresses = replicas.iter().map(|replica| replica.address);
        *self.addresses.write().unwrap() = addresses.collect();
    }

    /// What is written from now on is written with this vault's keys.
    pub(super) fn write_through(self: &Arc<Self>, vault: Arc<Vault>) {
        let crowd = self.clone();
        tokio::spawn(async move { *crowd.vault.write().await = vault });
    }

    /// Waits until what was begun with an earlier vault is written.
    pub(super) async fn writes_done(&self) {
        tokio::time::sleep(Duration::from_millis(50)).await;
        drop(self.vault.write().await);
    }

    pub(super) fn start(self: Arc<Self>) -> Load {
        let mut clients = JoinSet::new();
        for number in 0..CLIENTS {
            clients.spawn(self.clone().visit(number));
        }
        clients.spawn(self.clone().change());
        clients.spawn(self.clone().revoke());
        Load {
            crowd: self,
            clients,
            begun: Instant::now(),
        }
    }

    async fn visit(self: Arc<Self>, number: u64) {
        let mut chance = Chance::new(number);
        let mut clients: Vec<(SocketAddr, Client)> = Vec::new();
        let mut turn = tokio::time::interval(Duration::from_micros(1_000_000 * CLIENTS / RATE));
        turn.set_missed_tick_behavior(MissedTickBehavior::Burst);
        while !self.done.load(Ordering::Relaxed) {
            turn.tick().await;
            let n = chance.below(self.people.len() as u64) as usize;
            let address = {
                let addresses = self.addresses.read().unwrap();
                addresses[chance.below(addresses.len() as u64) as usize]
            };
            clients.retain(|(known, _)| self.addresses.read().unwrap().contains(known));
            let at = clients.iter().position(|(known, _)| *known == address);
            let at = at.unwrap_or_else(|| {
                clients.push((address, Client::new(address)));
                clients.len() - 1
            });
            self.ask(&mut clients[at].1, n).await;
        }
    }

    /// One request, judged by what was so before it and after it.
    async fn ask(&self, client: &mut Client, n: usize) {
        let (key, least, long_revoked) = {
            let person = self.people[n].lock().unwrap();
            let long = person.revoked.is_some_and(|at| at.elapsed() > PUSHED);
            (person.key.key.reveal().to_owned(), person.set, long)
        };
        let begun = Instant::now();
        let answer = client.exchange(call(SERVER, &key, 0, "n")).await;
        let took = begun.elapsed().as_micros() as u64;
        self.tally.slowest.fetch_max(took, Ordering::Relaxed);
        self.tally.requests.fetch_add(1, Ordering::Relaxed);
        let (most, revoking) = {
            let person = self.people[n].lock().unwrap();
            (person.begun, person.revoking)
        };
        let fault = match answer {
            Err(error) => Some(error),
            Ok(answer) if answer.status == 401 && revoking => {
                self.tally.refused.fetch_add(1, Ordering::Relaxed);
                None
            }
            Ok(answer) if long_revoked => {
                Some(format!("a revoked key came back: {}", answer.text()))
            }
            Ok(answer) if !is_one_of(&answer, n, least..=most) => Some(format!(
                "{} {} for secret {least} to {most}",
                answer.status,
                answer.text()
            )),
            Ok(_) => None,
        };
        if let Some(fault) = fault {
            let fault = format!("{} after {took} µs: {fault}", name(n));
            self.faults.lock().unwrap().push(fault);
        }
    }

    async fn change(self: Arc<Self>) {
        let mut chance = Chance::new(99);
        while !self.done.load(Ordering::Relaxed) {
            let n = chance.below(self.people.len() as u64) as usize / 8 * 8 + 2;
            if let Some(person) = self.people.get(n) {
                assert!(is_changed(n));
                let number = {
                    let mut person = person.lock().unwrap();
                    person.begun += 1;
                    person.begun
                };
                let vault = self.vault.read().await;
                set(&vault, n, number).await;
                drop(vault);
                // The old one is served until the change is pushed.
                tokio::time::sleep(PAUSE).await;
                self.tally.changes.fetch_add(1, Ordering::Relaxed);
                let crowd = self.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(PUSHED).await;
                    let mut person = crowd.people[n].lock().unwrap();
                    person.set = person.set.max(number);
                });
            }
        }
    }

    async fn revoke(self: Arc<Self>) {
        for (n, person) in self.people.iter().enumerate() {
            if !is_revoked(n) {
                continue;
            }
            if self.done.load(Ordering::Relaxed) {
                return;
            }
            let id = {
                let mut person = person.lock().unwrap();
                person.revoking = true;
                person.key.id.clone()
            };
            let vault = self.vault.read().await;
            vault.revoke_key(&id).await.unwrap();
            drop(vault);
            person.lock().unwrap().revoked = Some(Instant::now());
            self.tally.revocations.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Every revoked key is refused, every other one gets its own last secret; at most 4,000 are asked.
    pub(super) async fn look_at_everybody(&self) {
        let address = self.addresses.read().unwrap()[0];
        let mut client = Client::new(address);
        let step = self.people.len().div_ceil(4_000);
        let (mut refused, mut answered) = (0, 0);
        for n in 0..self.people.len() {
            let (key, number, revoked) = {
                let person = self.people[n].lock().unwrap();
                let key = person.key.key.reveal().to_owned();
                (key, person.begun, person.revoked.is_some())
            };
            if !revoked && n % step != 0 {
                continue;
            }
            let answer = client.call(SERVER, &key, "end").await;
            if revoked {
                assert_eq!(answer.status, 401, "{} came back", name(n));
                refused += 1;
            } else {
                let right = is_one_of(&answer, n, number..=number);
                assert!(right, "{}: {} {}", name(n), answer.status, answer.text());
                answered += 1;
            }
        }
        println!("at the end {refused} revoked keys refused, {answered} others answered");
        assert!(refused > 0 && answered > 0);
    }
}

fn is_one_of(answer: &Answer, n: usize, numbers: std::ops::RangeInclusive<u64>) -> bool {
    let message = answer.message();
    let seen = message["result"]["fingerprint"].as_str();
    let own = |number| fingerprint(secret(n, number).as_bytes());
    answer.status == 200 && numbers.into_iter().any(|number| seen == Some(&own(number)))
}

async fn set(vault: &Vault, n: usize, number: u64) {
    let value = SecretValue::new(secret(n, number).into_bytes().into()).unwrap();
    let server = ServerName::parse(SERVER).unwrap();
    let profile = ProfileName::default_profile();
    let name = (user(&name(n)), SecretName::parse(SECRET).unwrap());
    let set = vault.set_secret(&name.0, &server, &profile, &name.1, &value);
    set.await.unwrap();
}

/// Requests under way.
pub(super) struct Load {
    crowd: Arc<Crowd>,
    clients: JoinSet<()>,
    begun: Instant,
}

/// What happened so far.
pub(super) struct Figures {
    at: Instant,
    requests: u64,
}

impl Load {
    pub(super) fn figures(&self) -> Figures {
        Figures {
            at: Instant::now(),
            requests: self.crowd.tally.requests.load(Ordering::Relaxed),
        }
    }

    pub(super) fn since(&self, then: &Figures) -> String {
        let now = self.figures();
        let requests = now.requests - then.requests;
        let took = now.at - then.at;
        let rate = requests as f64 / took.as_secs_f64();
        format!("{requests} requests in {took:?}, {rate:.0} a second")
    }

    pub(super) async fn stop(mut self) -> Report {
        let took = self.begun.elapsed();
        self.crowd.done.store(true, Ordering::Relaxed);
        while let Some(ended) = self.clients.join_next().await {
            ended.unwrap();
        }
        let tally = &self.crowd.tally;
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Report {
            took,
            requests: of(&tally.requests),
            refused: of(&tally.refused),
            slowest: Duration::from_micros(of(&tally.slowest)),
            changes: of(&tally.changes),
            revocations: of(&tally.revocations),
            faults: std::mem::take(&mut self.crowd.faults.lock().unwrap()),
        }
    }
}

/// What came of it.
pub(super) struct Report {
    took: Duration,
    requests: u64,
    refused: u64,
    slowest: Duration,
    changes: u64,
    revocations: u64,
    faults: Vec<String>,
}

impl Report {
    pub(super) fn assert_faultless(&self) {
        let some: Vec<_> = self.faults.iter().take(10).collect();
        assert!(some.is_empty(), "{} faults: {some:#?}", self.faults.len());
        assert!(self.requests > 100 && self.changes > 10 && self.revocations > 10);
        assert!(self.refused > 0, "no revoked key was ever tried");
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rate = self.requests as f64 / self.took.as_secs_f64();
        write!(
            f,
            "{} requests in {:?} ({rate:.0} a second), the slowest {:?}, {} refused as they should be, \
             {} failed; {} secrets changed, {} keys revoked",
            self.requests,
            self.took,
            self.slowest,
            self.refused,
            self.faults.len(),
            self.changes,
            self.revocations
        )
    }
}
