//! Whom a child serves: one MCP session, or all requests of a user who speaks MCP 2026-07-28.
//!
//! A child may end, sleep or be replaced while its tenant lives on: the next request starts another, and
//! what a session has agreed on is said to it again.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Instant;

use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use super::agreed::Agreed;
use super::child::{Child, Held, Stop};
use super::mailbox::{Front, LOOSE, Mailbox};
use super::pool::Children;
use super::settings::Settings;
use super::sse::Posted;
use super::talk::Unheard;
use super::waiting::waiting_room;
use super::{Owner, told};
use crate::identity::KeyId;
use crate::layer::{Caller, Failure, Lease};
use crate::rejection::Kind;

/// Which tenant: in full, never by a hash of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) owner: Owner,
    /// The session's id; none for who has no sessions.
    pub(super) session: Option<Box<str>>,
}

/// Whom a child serves.
pub(super) struct Tenant {
    pub(super) place: Place,
    pub(super) user_name: Box<str>,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) began: Instant,
    state: Mutex<State>,
    /// Held by whoever starts a child.
    waking: tokio::sync::Mutex<()>,
    over: watch::Sender<bool>,
    /// Where what is posted to a session of HTTP+SSE goes.
    posts: OnceLock<mpsc::Sender<Posted>>,
    /// Room for bytes of them.
    waiting: Arc<Semaphore>,
}

struct State {
    child: Option<Arc<Child>>,
    /// Those before it, which may still finish something.
    retiring: Vec<Weak<Child>>,
    used: Instant,
    /// The keys it was used with, and which still stand.
    keys: HashSet<KeyId>,
    agreed: Agreed,
    starts: u32,
}

/// What is told of a tenant.
pub(super) struct Glance {
    /// The child that runs for it; none while it is asleep.
    pub(super) child: Option<Arc<Child>>,
    pub(super) used: Instant,
    /// How often a child was started for it.
    pub(super) starts: u32,
}

impl Tenant {
    pub(super) fn new(place: Place, caller: &Caller, front: Front) -> Arc<Self> {
        let now = Instant::now();
        Arc::new(Self {
            place,
            user_name: caller.identity.user_name().into(),
            mailbox: Mailbox::new(front),
            began: now,
            state: Mutex::new(State {
                child: None,
                retiring: Vec::new(),
                used: now,
                keys: HashSet::new(),
                agreed: Agreed::default(),
                starts: 0,
            }),
            waking: tokio::sync::Mutex::default(),
            over: watch::Sender::new(false),
            posts: OnceLock::new(),
            waiting: waiting_room(),
        })
    }

    /// What is posted to it goes there.
    pub(super) fn takes_posts(&self, posts: mpsc::Sender<Posted>) {
        let _ = self.posts.set(posts);
    }

    /// Where what is posted to it goes.
    pub(super) fn posts(&self) -> Option<&mpsc::Sender<Posted>> {
        self.posts.get()
    }

    /// Room for bytes of what is posted to it.
    pub(super) fn waiting(&self) -> Arc<Semaphore> {
        self.waiting.clone()
    }

    /// The child for a request with this lease: the one that runs, if it was started as it would be now;
    /// else another in its place.
    ///
    /// # Errors
    /// None can be started, or the session cannot go on with it ([`Failure::Gone`]).
    pub(super) async fn child(
        self: &Arc<Self>,
        children: &Children,
        settings: &Arc<Settings>,
        lease: &Lease,
    ) -> Result<Held, Failure> {
        if let Some(child) = self.fit(settings, lease) {
            return Ok(child);
        }
        // On the runtime of the children, and to its end: who asked may hang up, and others wait too.
        let (tenant, children) = (self.clone(), children.clone());
        let (settings, lease) = (settings.clone(), lease.clone());
        let runtime = children.runtime().clone();
        let (tell, told) = oneshot::channel();
        runtime.spawn(async move {
            let woken = tenant.wake(&children, &settings, &lease, &tell).await;
            // Who asked may have gone meanwhile.
            let _ = tell.send(woken);
        });
        told.await.unwrap_or(Err(Failure::Gone))
    }

    async fn wake(
        self: &Arc<Self>,
        children: &Children,
        settings: &Arc<Settings>,
        lease: &Lease,
        asks: &oneshot::Sender<Result<Held, Failure>>,
    ) -> Result<Held, Failure> {
        let _waking = self.waking.lock().await;
        // Others were before it in line, and it may have given up.
        if asks.is_closed() {
            return Err(Failure::Gone);
        }
        if let Some(child) = self.fit(settings, lease) {
            return Ok(child);
        }
        if self.is_over() {
            return Err(Failure::Gone);
        }
        let before = {
            let mut state = self.lock();
            let before = state.child.take();
            if let Some(before) = &before {
                state.agreed.forget(&before.refused());
            }
            before
        };
        if let Some(before) = before.filter(|child| child.is_open()) {
            let mut state = self.lock();
            state.retiring.retain(|child| child.strong_count() > 0);
            state.retiring.push(Arc::downgrade(&before));
            drop(state);
            before.retire();
        }
        let child = children.start(&self.place.owner, settings, lease).await?;
        let held = child.hold().ok_or_else(|| ended(&child))?;
        let agreed = self.lock().agreed.clone();
        let resumed = tokio::select! {
            resumed = self.resume(&agreed, &child) => resumed,
            () = self.until_over() => {
                child.stop(Stop::Now);
                return Err(Failure::Gone);
            }
        };
        if !matches!(resumed, Ok(true)) {
            child.stop(Stop::Gently);
            resumed?;
            children.remove(self, Stop::Gently);
            return Err(Failure::Gone);
        }
        let mut state = self.lock();
        state.starts += 1;
        state.child = Some(child.clone());
        drop(state);
        // Its key may have fallen while it started.
        if self.is_over() {
            child.stop(Stop::Now);
            return Err(Failure::Gone);
        }
        Ok(held)
    }

    /// Takes a child on, with what was agreed with another; whether the session can go on with it.
    async fn resume(&self, agreed: &Agreed, child: &Child) -> Result<bool, Failure> {
        if !agreed.greet(child).await? {
            return Ok(false);
        }
        child.adopt(&self.mailbox);
        agreed.remind(child).await?;
        Ok(true)
    }

    fn fit(&self, settings: &Arc<Settings>, lease: &Lease) -> Option<Held> {
        let mut state = self.lock();
        state.used = Instant::now();
        let child = state.child.clone()?;
        state.agreed.forget(&child.refused());
        let has = (child.version, child.made);
        let same = child.settings == *settings && serves(has, (lease.version(), lease.made()));
        child.hold().filter(|_| same)
    }

    /// Notes that it is used with the caller's key; whether that is the first time.
    pub(super) fn hold(&self, caller: &Caller) -> bool {
        self.lock().keys.insert(caller.identity.key_id())
    }

    /// A key no longer stands; whether no other is left.
    pub(super) fn let_go(&self, key: &KeyId) -> bool {
        let mut state = self.lock();
        state.keys.remove(key);
        state.keys.is_empty()
    }

    /// Changes what the session has agreed on.
    pub(super) fn agree(&self, change: impl FnOnce(&mut Agreed)) {
        change(&mut self.lock().agreed);
    }

    /// What the session has agreed on.
    pub(super) fn agreed<T>(&self, look: impl FnOnce(&Agreed) -> T) -> T {
        look(&self.lock().agreed)
    }

    /// As it is now.
    pub(super) fn glance(&self) -> Glance {
        let mut glance = {
            let state = self.lock();
            Glance {
                child: state.child.clone(),
                used: state.used,
                starts: state.starts,
            }
        };
        glance.child = glance.child.filter(|child| child.is_open());
        glance
    }

    /// Whether its child may be put to sleep: nothing is under way, and it tells nobody of changes.
    pub(super) fn may_sleep(&self, child: &Child) -> bool {
        let mut state = self.lock();
        state.agreed.forget(&child.refused());
        child.is_idle() && !state.agreed.has_subscriptions()
    }

    /// The children before the one that is spoken to, as far as they are there: what they asked, and what is
    /// under way with them, only they know of.
    pub(super) fn retiring(&self) -> Vec<Arc<Child>> {
        let state = self.lock();
        state.retiring.iter().filter_map(Weak::upgrade).collect()
    }

    /// It is over: its child is stopped.
    pub(super) fn end(&self, how: Stop) {
        self.over.send_replace(true);
        let child = self.lock().child.take();
        if let Some(child) = child {
            child.stop(how);
        }
        // Whoever listens is to know; what is under way is told by the child's end.
        self.mailbox.end(LOOSE);
    }

    pub(super) fn is_over(&self) -> bool {
        *self.over.borrow()
    }

    /// Resolves when it is over.
    pub(super) fn until_over(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut over = self.over.subscribe();
        async move {
            let _ = over.wait_for(|over| *over).await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a child with this version of the secrets, looked up then, does for a lease of that version, looked
/// up then: it has the same, or newer ones. A request that waited in line must not bring the older ones
/// back. By its number alone no version is known to be older, for numbers follow clocks, and a set of
/// secrets may have been deleted and made again.
fn serves((version, made): (u64, Instant), (wanted, asked): (u64, Instant)) -> bool {
    let is_outdated = wanted < version && asked < made;
    is_outdated || wanted == version
}

/// Why a child was not told something, as its client is told.
pub(super) fn unheard(child: &Child, why: Unheard) -> Failure {
    let server = &child.settings.server;
    match why {
        Unheard::Closed => ended(child),
        Unheard::TooMany => told(
            Kind::TooManyRequests,
            format!("too many requests are under way with your process of the server `{server}`"),
        ),
        Unheard::Id => told(
            Kind::NotAMessage,
            "a request needs an id; that and its progress token may have 1024 bytes".to_owned(),
        ),
    }
}

/// The child's end came before the request was sent, as its next one would.
fn ended(child: &Child) -> Failure {
    match child.end() {
        Some(end) => told(end.kind, end.text.clone()),
        None => told(
            Kind::ChildFails,
            format!(
                "the process of the server `{}` was stopped: send the request again",
                child.settings.server
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    // Mutation: leave out either comparison.
    #[test]
    fn a_request_that_waited_brings_no_older_secret_back() {
        let made = Instant::now() + Duration::from_secs(60);
        let before = made - Duration::from_secs(1);
        let after = made + Duration::from_secs(1);
        for (wanted, asked, is_served) in [
            (7, before, true),
            (7, after, true),
            (6, before, true),
            // Deleted and made again, by a clock that is behind.
            (6, after, false),
            (8, before, false),
            (8, after, false),
        ] {
            assert_eq!(serves((7, made), (wanted, asked)), is_served, "{wanted}");
        }
    }
}
