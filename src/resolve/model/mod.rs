//! The resolver against a model: whatever the store, its watch and the clients do, in any order.
//!
//! A case is a list of steps of a store played by hand ([`script`]): its reads are answered late, in
//! another order, by what was there earlier, or not at all; its watch reports by the rules of
//! [`crate::store`]; it fails over to an earlier state. Time is the test's own. After every step each
//! answer a client got is held against what it may be.
//!
//! Each of these was tried and found, one line of the resolver at a time: an older state takes back a
//! denial (`sticks`), or a later one what is gone; its versions are forgotten with the entry (`seen`),
//! or with a push (`forget` removes it); an outdated entry is served, or one is reminded by it; a change
//! taints no read, a reconnect none; who comes late joins the last read of a storm, or finds what it left
//! in the cache; two reads of a key at once; `Up` moves no epoch; a silent watch counts as up; a blind one
//! does; entries are read again after 4 s; `stale_for` has no end, holds for a store that answers damage,
//! or after a reconnect (`pushed_for`); all try a failing shard, or one shard's failure is every shard's,
//! or outlives a reconnect.
//!
//! Not found, since it keeps the promise all the same: `Down` moves no epoch.

mod script;
mod set_pieces;
mod step;

use std::collections::{BTreeMap, HashMap};
use std::sync::OnceLock;

use proptest::collection::vec;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use tokio::task::{JoinHandle, yield_now};
use tokio::time::Instant;

use self::script::{Belief, RETRY, Script};
use self::step::{Pushed, Step, step};
use super::*;
use crate::names::UserName;
use crate::store::{Event, Record, RecordId};
use crate::vault::{KeyRequest, Keyring, NewUser, Vault, key_record, user_record};

/// `stale_for` of the model.
const STALE_FOR: Duration = Duration::from_secs(10);
/// How long a lost push may go unnoticed, and a read take besides.
const UNNOTICED: Duration = Duration::from_millis(3000 + 900);
/// The same once it is known that the push is lost.
const RECHECKED: Duration = Duration::from_millis(2000 + 900);
/// How long after a reconnect what cannot be read may be served as it was, and until when the watch counts
/// as heard.
const UNCHECKED: Duration = Duration::from_secs(5);
const HEARD: Duration = Duration::from_millis(2900);
const USERS: usize = 3;

struct Waiting {
    user: usize,
    at: Instant,
    /// Of key and user: when the last change that was reported was made.
    told: [u64; 2],
    /// When the push last began.
    up: u64,
    /// Of key and user: what was known.
    beliefs: [Belief; 2],
    /// Whether the shard that keeps them failed, and did not answer since.
    failing: bool,
    /// Since when it is known that nothing is pushed.
    unpushed: Option<Instant>,
    answer: JoinHandle<Result<Served, ResolveError>>,
}

/// What an identity was made of.
struct Served {
    allowed: bool,
    versions: [Option<u64>; 2],
}

struct Player {
    name: UserName,
    digest: KeyDigest,
    /// Of his key and of himself.
    ids: [RecordId; 2],
    /// Who he was when he asked last, if he says so.
    last: Arc<Reminder>,
}

struct World {
    script: Script,
    vault: Vault,
    resolver: Resolver,
    players: Vec<Player>,
    waiting: Vec<Waiting>,
    pushed: Pushed,
    unpushed: Option<Instant>,
    /// When the last change that was reported was made; when the push last began.
    told: HashMap<RecordId, u64>,
    up: u64,
    up_at: Instant,
    /// When the watch last said something.
    heard: Instant,
    replica: BTreeMap<RecordId, Record>,
}

impl World {
    async fn new() -> Self {
        static RING: OnceLock<Arc<Keyring>> = OnceLock::new();
        let ring = RING.get_or_init(|| Arc::new(Keyring::generate())).clone();
        let script = Script::new();
        let vault = Vault::new(Arc::new(script.direct()), ring.clone());
        let mut players = Vec::new();
        for n in 0..USERS {
            let name = UserName::parse(&format!("user-{n}")).unwrap();
            vault
                .add_user(&name, NewUser::default())
                .await
                .ok()
                .unwrap();
            let key = vault.issue_key(&name, KeyRequest::default()).await;
            let digest = key.ok().unwrap().key.digest();
            let id = vault.user(&name).await.ok().unwrap().id;
            let ids = [key_record(&digest), user_record(&id)];
            let mut stage = script.stage();
            for id in &ids {
                let owner = id.as_str().split('/').nth(1).unwrap().to_owned();
                stage.shards.insert(owner, n as u16 % 2);
            }
            let last = Arc::default();
            players.push(Player {
                name,
                digest,
                ids,
                last,
            });
        }
        let settings = Settings {
            stale_for: STALE_FOR,
            ..Settings::default()
        };
        let resolver = Resolver::new(Arc::new(script.clone()), Reader::new(ring), &settings);
        let replica = script.stage().records.clone();
        Self {
            script,
            vault,
            resolver,
            players,
            waiting: Vec::new(),
            pushed: Pushed::Down,
            unpushed: Some(Instant::now()),
            told: HashMap::new(),
            up: 0,
            up_at: Instant::now(),
            heard: Instant::now(),
            replica,
        }
    }

    async fn play(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::Ask(user, wants) => self.ask(*user, *wants),
            Step::Cancel(n) if *n < self.waiting.len() => self.waiting.remove(*n).answer.abort(),
            Step::Disable(user) => self.disable(*user, true).await,
            Step::Enable(user) => self.disable(*user, false).await,
            Step::Revoke(user) => self.revoke(*user).await,
            Step::Delete(user) => {
                let _ = self.vault.delete_user(&self.players[*user].name).await;
            }
            Step::Look(n) => self.with_read(*n, |stage, n| stage.look(n)),
            Step::Answer(n) => self.with_read(*n, |stage, n| stage.answer(n)),
            Step::AnswerAll => self.answer_all().await,
            Step::Fail(n) => self.with_read(*n, |stage, n| stage.fail(n, away())),
            Step::FailAll => self.fail_all(&away()).await,
            Step::Damage(n) => {
                let damaged = StoreError::Damaged("as told".into());
                self.with_read(*n, |stage, n| stage.fail(n, damaged));
            }
            Step::Report => self.report(),
            Step::Alive => self.alive().await,
            Step::Up => self.push(Pushed::Up),
            Step::Down => self.push(Pushed::Down),
            Step::Blind => self.push(Pushed::Blind),
            Step::Replicate => self.replica = self.script.stage().records.clone(),
            Step::FailOver => self.fail_over(),
            Step::Storm(user, odd) => self.storm(*user, *odd).await?,
            Step::Overtaken(user, up) => self.overtaken(*user, *up).await,
            Step::Lost(user, gone) => self.lost(*user, *gone).await,
            Step::Outage(user, damage) => self.outage(*user, *damage).await?,
            Step::Unreadable(user) => self.unreadable(*user).await?,
            Step::Unpushed(user, pushed) => self.unpushed(*user, *pushed).await?,
            Step::Wait(millis) => sleep(Duration::from_millis(*millis)).await,
            Step::Cancel(_) => {}
        }
        self.settle().await
    }

    fn ask(&mut self, user: usize, wants: bool) {
        let player = &self.players[user];
        let (resolver, digest) = (self.resolver.clone(), player.digest);
        let last = player.last.clone();
        let stage = self.script.stage();
        let told = |id| self.told.get(id).copied().unwrap_or(0);
        let belief = |id| stage.beliefs.get(id).copied().unwrap_or_default();
        self.waiting.push(Waiting {
            user,
            at: Instant::now(),
            told: player.ids.each_ref().map(told),
            up: self.up,
            beliefs: player.ids.each_ref().map(belief),
            failing: stage.is_failing(&player.ids[0]),
            unpushed: self.unpushed,
            answer: tokio::spawn(async move {
                let wants = wants.then_some(("github", "default"));
                let identity = match wants {
                    None => resolver.identify(digest, None).await?,
                    wants => resolver.identify_again(digest, wants, &last).await?,
                };
                Ok(Served {
                    allowed: !identity.disabled() && identity.key().revoked.is_none(),
                    versions: [1, 0].map(|at| identity.entries()[at].entry.version),
                })
            }),
        });
    }

    async fn disable(&mut self, user: usize, disabled: bool) {
        let name = &self.players[user].name;
        let done = self.vault.set_disabled(name, disabled).await;
        if done.is_ok() && disabled {
            self.note_denial(user, 1);
        }
    }

    async fn revoke(&mut self, user: usize) {
        let digest = self.players[user].digest;
        let _ = self.vault.revoke_digest(&digest).await;
        self.note_denial(user, 0);
    }

    fn note_denial(&self, user: usize, which: usize) {
        let mut stage = self.script.stage();
        let id = &self.players[user].ids[which];
        let version = stage.records.get(id).map(|record| record.version);
        if let Some(version) = version {
            stage.denying.insert((id.clone(), version));
        }
    }

    fn with_read(&self, n: usize, act: impl FnOnce(&mut script::Stage, usize)) {
        let mut stage = self.script.stage();
        if n < stage.pending.len() {
            act(&mut stage, n);
        }
    }

    /// Also what is read next because of it.
    async fn answer_all(&self) {
        for _ in 0..12 {
            let count = self.script.stage().pending.len();
            (0..count).for_each(|_| self.with_read(0, |stage, n| stage.answer(n)));
            breathe().await;
        }
    }

    fn report(&mut self) {
        let mut stage = self.script.stage();
        if let Some(news) = stage.news.as_mut().filter(|news| !news.is_empty()) {
            let (id, seq) = news.remove(0);
            self.told.insert(id.clone(), seq);
            stage.tell(Event::Changed(id));
        }
    }

    async fn alive(&mut self) {
        while self
            .script
            .stage()
            .news
            .as_ref()
            .is_some_and(|news| !news.is_empty())
        {
            self.report();
            breathe().await;
        }
        if self.pushed != Pushed::Down {
            self.heard = Instant::now();
            self.script.stage().tell(Event::Alive);
        }
    }

    fn push(&mut self, pushed: Pushed) {
        let mut stage = self.script.stage();
        let (event, news) = match pushed {
            Pushed::Up => (Event::Up, Some(Vec::new())),
            Pushed::Blind => (Event::Blind, None),
            Pushed::Down => (Event::Down, None),
        };
        stage.news = news;
        stage.tell(event);
        if pushed == Pushed::Up {
            self.up = stage.seq;
            (self.up_at, self.heard) = (Instant::now(), Instant::now());
            self.unpushed = None;
        } else {
            self.unpushed.get_or_insert_with(Instant::now);
        }
        self.pushed = pushed;
    }

    fn fail_over(&mut self) {
        self.push(Pushed::Down);
        let mut stage = self.script.stage();
        let ids: Vec<_> = stage
            .records
            .keys()
            .chain(self.replica.keys())
            .cloned()
            .collect();
        for id in ids {
            let before = self.replica.get(&id).cloned();
            if stage.records.get(&id) != before.as_ref() {
                stage.set(&id, before);
            }
        }
    }

    async fn fail_all(&self, error: &StoreError) {
        for _ in 0..6 {
            self.with_read(0, |stage, n| stage.fail(n, error.clone()));
            breathe().await;
        }
    }

    /// Lets everybody go on, and judges the answers there are.
    async fn settle(&mut self) -> Result<(), String> {
        breathe().await;
        let mut left = Vec::new();
        for waiting in std::mem::take(&mut self.waiting) {
            if waiting.answer.is_finished() {
                self.judge(waiting).await?;
            } else {
                left.push(waiting);
            }
        }
        self.waiting = left;
        match self.script.stage().violations.first() {
            Some(violation) => Err(violation.clone()),
            None => Ok(()),
        }
    }

    async fn judge(&self, mut waiting: Waiting) -> Result<(), String> {
        let answer = (&mut waiting.answer)
            .await
            .map_err(|error| error.to_string())?;
        let stage = self.script.stage();
        let player = &self.players[waiting.user];
        let shard = stage.shard(&player.ids[0]);
        let lately = |since: u64, unreachable: bool| {
            let failed = stage.failed.iter().filter(|failed| {
                failed.shard == shard && failed.begun >= since && failed.at + RETRY >= waiting.at
            });
            let mut failed = failed.filter(|failed| failed.unreachable || !unreachable);
            waiting.failing || failed.next().is_some()
        };
        let served = match answer {
            Ok(served) if served.allowed => served,
            Err(ResolveError::Store(error)) if !lately(0, false) => {
                return Err(format!("told {error}, but his shard answered"));
            }
            _ => return Ok(()),
        };
        for which in 0..2 {
            let version = served.versions[which];
            let least = stage.least(&player.ids[which], waiting.beliefs[which]);
            if version < Some(least) {
                return Err(format!("a denial of record {which} was taken back"));
            }
            let history = &stage.history[&player.ids[which]];
            let last = history
                .iter()
                .rposition(|state| state.version == version)
                .unwrap();
            // Still so: nothing to be said against it.
            let Some(ended) = history.get(last + 1) else {
                continue;
            };
            if ended.seq <= waiting.told[which] {
                return Err(format!("record {which} is from before its change was told"));
            }
            if ended.seq <= waiting.up && self.is_read_since(&waiting) {
                return Err(format!(
                    "record {which} was never read since the push began"
                ));
            }
            let away = lately(waiting.up, true);
            if ended.seq <= waiting.up && !away {
                return Err(format!("record {which} is from before the push began"));
            }
            let wrong = waiting.at.saturating_duration_since(ended.at);
            let unpushed = waiting.unpushed.is_some_and(|since| since <= ended.at);
            let bound = match (away, unpushed) {
                (true, _) => STALE_FOR,
                (false, true) => RECHECKED,
                (false, false) => UNNOTICED,
            };
            if wrong >= bound {
                return Err(format!("record {which} was wrong for {wrong:?}"));
            }
        }
        Ok(())
    }

    /// Whether what he is served must have been read since the push began, however that failed: it
    /// had begun long before he asked, and is heard.
    fn is_read_since(&self, waiting: &Waiting) -> bool {
        waiting.up == self.up
            && self.pushed == Pushed::Up
            && self.heard.elapsed() < HEARD
            && waiting.at >= self.up_at + UNCHECKED
    }

    /// All is well again: everybody is answered, and by what is true.
    async fn end(&mut self) -> Result<(), String> {
        self.script.stage().healthy = true;
        self.answer_all().await;
        sleep(RETRY + Duration::from_millis(10)).await;
        self.push(Pushed::Up);
        self.settle().await?;
        sleep(Duration::from_secs(1)).await;
        self.settle().await?;
        if !self.waiting.is_empty() {
            return Err("somebody is never answered".into());
        }
        for user in 0..USERS {
            self.ask(user, user % 2 == 0);
            breathe().await;
            let waiting = self.waiting.pop().unwrap();
            if !waiting.answer.is_finished() {
                return Err("a healthy store does not answer".into());
            }
            let served = waiting.answer.await.unwrap();
            let allowed = served.as_ref().is_ok_and(|served| served.allowed);
            let stage = self.script.stage();
            let right = self.players[user].ids.iter().all(|id| {
                let version = stage.records.get(id).map(|record| record.version);
                let least = stage.beliefs.get(id).map_or(0, |belief| belief.least);
                version.is_some_and(|version| {
                    version >= least && !stage.denying.contains(&(id.clone(), version))
                })
            });
            if allowed != right || matches!(served, Err(ResolveError::Store(_))) {
                return Err(format!(
                    "in the end user {user}: allowed {allowed}, right {right}"
                ));
            }
        }
        Ok(())
    }
}

fn away() -> StoreError {
    StoreError::Unreachable("as told".into())
}

/// Lets every task run until it waits for something.
async fn breathe() {
    for _ in 0..40 {
        yield_now().await;
    }
}

#[test]
fn whatever_happens_nobody_is_served_what_he_must_not() {
    let config = Config {
        cases: 400,
        failure_persistence: None,
        ..Config::default()
    };
    let run = |steps: Vec<Step>| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut world = World::new().await;
            for (n, step) in steps.iter().enumerate() {
                let played = world.play(step).await;
                played.map_err(|why| TestCaseError::fail(format!("step {n}, {step:?}: {why}")))?;
            }
            world.end().await.map_err(TestCaseError::fail)
        })
    };
    let played = TestRunner::new(config).run(&vec(step(), 1..80), run);
    played.unwrap_or_else(|error| panic!("{error}"));
}
