//! The resolver against a model: whatever the store, its watch and the clients do, in any order.
//!
//! A case is a list of steps of a store played by hand ([`script`]): its reads are answered late, in
//! another order, by what was there earlier, or not at all; its watch reports by the rules of
//! [`crate::store`]; it fails over to an earlier state. Time is the test's own. After every step each
//! answer a client got is held against what it may be.
//!
//! Each of these was tried and found, one line of the resolver at a time: an older state takes back a
//! denial (`sticks`); its versions are forgotten with the entry (`seen`), or with a push (`forget`
//! removes it); an outdated entry is served; a change taints no read, a reconnect none; who comes late
//! joins the last read of a storm, or finds what it left in the cache; two reads of a key at once; `Up`
//! moves no epoch; a silent watch counts as up; a blind one does; entries are read again after 4 s;
//! `stale_for` has no end, or holds for a store that answers damage; all try a failing shard, or one
//! shard's failure is every shard's, or outlives a reconnect.
//!
//! Not found, since it keeps the promise all the same: `Down` moves no epoch.

mod script;

use std::collections::{BTreeMap, HashMap};
use std::sync::OnceLock;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use tokio::task::{JoinHandle, yield_now};
use tokio::time::Instant;

use self::script::{Belief, RETRY, Script};
use super::*;
use crate::names::UserName;
use crate::store::RecordId;
use crate::vault::{KeyRequest, Keyring, Vault, key_record, user_record};

/// `stale_for` of the model.
const STALE_FOR: Duration = Duration::from_secs(10);
/// How long a lost push may go unnoticed, and a read take besides.
const UNNOTICED: Duration = Duration::from_millis(3000 + 900);
/// The same once it is known that the push is lost.
const RECHECKED: Duration = Duration::from_millis(2000 + 900);
const USERS: usize = 3;

#[derive(Debug, Clone)]
enum Step {
    /// A client asks, with secrets in mind or not.
    Ask(usize, bool),
    /// The nth client waiting goes away.
    Cancel(usize),
    Disable(usize),
    Enable(usize),
    Revoke(usize),
    Delete(usize),
    /// The store sees now what it will answer the nth read.
    Look(usize),
    Answer(usize),
    AnswerAll,
    Fail(usize),
    FailAll,
    Damage(usize),
    /// The first change not yet reported is.
    Report,
    /// All are, and the store says so.
    Alive,
    Up,
    Down,
    Blind,
    /// What a fail-over goes back to.
    Replicate,
    FailOver,
    // What chance would seldom bring about, begun from wherever chance led:
    /// A user is changed again and again, always while he is being read.
    Storm(usize, bool),
    /// A key is revoked after the store looked and before it answers; that is told, or the push
    /// begins anew.
    Overtaken(usize, bool),
    /// A user is disabled, or deleted, which is read and then lost.
    Lost(usize, bool),
    /// A user is disabled while the store answers nothing, or damage.
    Outage(usize, bool),
    /// A user is disabled while nothing is pushed; the store may be blind, or its watch down.
    Unpushed(usize, bool),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let user = || 0..USERS;
    let nth = || 0..4_usize;
    prop_oneof![
        12 => (user(), any::<bool>()).prop_map(|(user, wants)| Step::Ask(user, wants)),
        1 => nth().prop_map(Step::Cancel),
        4 => user().prop_map(Step::Disable),
        3 => user().prop_map(Step::Enable),
        1 => user().prop_map(Step::Revoke),
        1 => user().prop_map(Step::Delete),
        4 => nth().prop_map(Step::Look),
        6 => nth().prop_map(Step::Answer),
        12 => Just(Step::AnswerAll),
        2 => nth().prop_map(Step::Fail),
        2 => Just(Step::FailAll),
        1 => nth().prop_map(Step::Damage),
        6 => Just(Step::Report),
        4 => Just(Step::Alive),
        3 => Just(Step::Up),
        2 => Just(Step::Down),
        2 => Just(Step::Blind),
        1 => Just(Step::Replicate),
        1 => Just(Step::FailOver),
        1 => (user(), any::<bool>()).prop_map(|(user, odd)| Step::Storm(user, odd)),
        1 => (user(), any::<bool>()).prop_map(|(user, up)| Step::Overtaken(user, up)),
        1 => (user(), any::<bool>()).prop_map(|(user, gone)| Step::Lost(user, gone)),
        1 => (user(), any::<bool>()).prop_map(|(user, damage)| Step::Outage(user, damage)),
        1 => (user(), any::<bool>()).prop_map(|(user, blind)| Step::Unpushed(user, blind)),
        5 => prop::sample::select(vec![40, 240, 300, 950, 1900, 2100, 3100, 11_000]).prop_map(Step::Wait),
    ]
}

#[derive(Clone, Copy, PartialEq)]
enum Pushed {
    Up,
    Blind,
    Down,
}

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
            vault.add_user(&name, None).await.ok().unwrap();
            let key = vault.issue_key(&name, KeyRequest::default()).await;
            let digest = key.ok().unwrap().key.digest();
            let id = vault.user(&name).await.ok().unwrap().id;
            let ids = [key_record(&digest), user_record(&id)];
            let mut stage = script.stage();
            for id in &ids {
                let owner = id.as_str().split('/').nth(1).unwrap().to_owned();
                stage.shards.insert(owner, n as u16 % 2);
            }
            players.push(Player { name, digest, ids });
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
            Step::Unpushed(user, blind) => self.unpushed(*user, *blind).await?,
            Step::Wait(millis) => sleep(Duration::from_millis(*millis)).await,
            Step::Cancel(_) => {}
        }
        self.settle().await
    }

    fn ask(&mut self, user: usize, wants: bool) {
        let player = &self.players[user];
        let (resolver, digest) = (self.resolver.clone(), player.digest);
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
                let identity = resolver.identify(digest, wants).await?;
                Ok(Served {
                    allowed: !identity.disabled() && identity.key().revoked.is_none(),
                    versions: identity.entries().each_ref().map(|entry| entry.version),
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

    /// Asks, and is answered.
    async fn visit(&mut self, user: usize) {
        self.ask(user, false);
        breathe().await;
        self.answer_all().await;
    }

    async fn overtaken(&mut self, user: usize, up: bool) {
        self.push(Pushed::Up);
        breathe().await;
        self.ask(user, false);
        breathe().await;
        let count = self.script.stage().pending.len();
        (0..count).for_each(|n| self.with_read(n, |stage, n| stage.look(n)));
        self.revoke(user).await;
        if up {
            self.push(Pushed::Up);
        } else {
            self.alive().await;
        }
        breathe().await;
        self.visit(user).await;
    }

    async fn lost(&mut self, user: usize, gone: bool) {
        self.visit(user).await;
        if gone {
            let _ = self.vault.delete_user(&self.players[user].name).await;
        } else {
            self.disable(user, true).await;
        }
        self.alive().await;
        self.visit(user).await;
        self.disable(user, true).await;
        self.alive().await;
        self.fail_over();
    }

    async fn outage(&mut self, user: usize, damage: bool) -> Result<(), String> {
        self.visit(user).await;
        self.push(Pushed::Down);
        self.disable(user, true).await;
        let (wait, error) = if damage {
            (5, StoreError::Damaged("as told".into()))
        } else {
            (11, away())
        };
        sleep(Duration::from_secs(wait)).await;
        self.settle().await?;
        self.ask(user, false);
        breathe().await;
        self.fail_all(&error).await;
        Ok(())
    }

    async fn unpushed(&mut self, user: usize, blind: bool) -> Result<(), String> {
        self.visit(user).await;
        self.push(if blind { Pushed::Blind } else { Pushed::Down });
        self.disable(user, true).await;
        for _ in 0..4 {
            sleep(Duration::from_secs(1)).await;
            self.alive().await;
        }
        self.settle().await?;
        self.visit(user).await;
        Ok(())
    }

    async fn storm(&mut self, user: usize, odd: bool) -> Result<(), String> {
        self.ask(user, false);
        breathe().await;
        for n in 0..7 {
            let count = self.script.stage().pending.len();
            (0..count).for_each(|n| self.with_read(n, |stage, n| stage.look(n)));
            self.disable(user, (n % 2 == 0) != odd).await;
            self.alive().await;
            breathe().await;
            self.ask(user, false);
            breathe().await;
            let count = self.script.stage().pending.len();
            (0..count).for_each(|_| self.with_read(0, |stage, n| stage.answer(n)));
            self.settle().await?;
        }
        Ok(())
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
