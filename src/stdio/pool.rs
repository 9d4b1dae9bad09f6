//! All children of this process: how many, for how long, and for whom.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::runtime::Handle as Runtime;
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval};

use super::child::{Child, Stop};
use super::crashes::Crashes;
use super::mailbox::Front;
use super::running::Running;
use super::settings::{Limits, Settings};
use super::spares::Spares;
use super::tenant::{Place, Tenant};
use super::tenants::Tenants;
use super::words::Words;
use super::{Owner, folders, mask::Mask, told};
use crate::launch::{Launcher, Spec};
use crate::layer::{Caller, Failure, Lease};
use crate::names::ServerName;
use crate::rejection::Kind;
use crate::vault::UserId;

/// How often it is looked for who may sleep, and who waits too long.
const TICK: Duration = Duration::from_millis(250);

/// How long a session is known that nobody uses; the id its client has is good for no longer.
const FORGOTTEN: Duration = Duration::from_secs(24 * 60 * 60);

/// All children of this process. Clones are the same.
#[derive(Clone)]
pub struct Children(Arc<Inner>);

struct Inner {
    launcher: Launcher,
    runtime: Runtime,
    limits: Mutex<Limits>,
    tenants: Mutex<Tenants>,
    running: Mutex<Running>,
    crashes: Mutex<Crashes>,
    spares: Mutex<Spares>,
    figures: Mutex<HashMap<ServerName, Figures>>,
    /// Some key has fallen.
    fallen: Notify,
    /// Whose children are known to speak MCP 2026-07-28, or not to. What a child says may depend on its
    /// user's secret, so nothing of it is known of others'.
    modern: Mutex<HashMap<Owner, Known>>,
}

/// What is known of the children of one owner.
struct Known {
    of: Arc<Settings>,
    is_modern: bool,
    until: Instant,
}

/// What is counted of the children of one server.
#[derive(Debug, Clone, Copy, Default)]
pub struct Figures {
    /// Those that run.
    pub running: u64,
    /// Children that were started.
    pub starts: u64,
    /// Children that ended by themselves, or crossed a limit.
    pub failures: u64,
}

/// One line of what is told of children.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Listed {
    /// The user's name.
    pub user: String,
    /// The server.
    pub server: String,
    /// The profile.
    pub profile: String,
    /// `running` or `asleep`.
    pub state: String,
    /// The child's process, if it runs.
    pub pid: Option<u32>,
    /// Seconds since the session began.
    pub age: u64,
    /// Seconds since it was last used.
    pub idle: u64,
    /// Bytes of memory the child has, with all below it.
    pub memory: Option<u64>,
    /// How often a child was started for it again.
    pub restarts: u32,
}

impl Children {
    /// No children yet; all of them are started by `launcher`. To be called on the runtime that is to
    /// serve them.
    #[must_use]
    pub fn new(launcher: Launcher, limits: Limits) -> Self {
        let inner = Arc::new(Inner {
            launcher,
            runtime: Runtime::current(),
            limits: Mutex::new(limits),
            tenants: Mutex::default(),
            running: Mutex::default(),
            crashes: Mutex::default(),
            spares: Mutex::default(),
            figures: Mutex::default(),
            fallen: Notify::new(),
            modern: Mutex::default(),
        });
        let watched = Arc::downgrade(&inner);
        inner.runtime.spawn(keep_order(watched));
        Self(inner)
    }

    /// There may be so many from now on.
    pub fn set_limits(&self, limits: Limits) {
        *lock(&self.0.limits) = limits;
    }

    /// Only these servers are served from now on: the children of others are stopped.
    pub fn keep_only(&self, servers: &[ServerName]) {
        let gone = |place: &Place| !servers.contains(&place.owner.server);
        self.remove_where(|tenant| gone(&tenant.place), Stop::Gently);
        let is_gone = |owner: &Owner, _: &Child| !servers.contains(&owner.server);
        lock(&self.0.spares).stop_where(Stop::Gently, is_gone);
    }

    /// Stops all children, and waits until they ended: at most two seconds.
    pub async fn stop(&self) {
        self.remove_where(|_| true, Stop::Soon);
        let children = lock(&self.0.running).all().to_vec();
        for child in &children {
            child.stop(Stop::Soon);
        }
        let all = futures_util::future::join_all(children.iter().map(|child| child.until_end()));
        let _ = tokio::time::timeout(Duration::from_secs(2), all).await;
    }

    /// Every session, and what is told of it.
    #[must_use]
    pub fn list(&self) -> Vec<Listed> {
        let tenants = lock(&self.0.tenants).all();
        let mut all: Vec<_> = tenants.iter().map(|tenant| listed(tenant)).collect();
        all.sort_by(|a, b| (&a.user, &a.server, b.age).cmp(&(&b.user, &b.server, a.age)));
        all
    }

    /// Whether it has sessions of this user, asleep or not.
    #[must_use]
    pub fn serves(&self, user: &UserId) -> bool {
        !lock(&self.0.tenants).of_user(user).is_empty()
    }

    /// What is counted, by server.
    #[must_use]
    pub fn figures(&self) -> Vec<(ServerName, Figures)> {
        let mut figures = lock(&self.0.figures).clone();
        for child in lock(&self.0.running).open() {
            let server = child.owner.server.clone();
            figures.entry(server).or_default().running += 1;
        }
        figures.into_iter().collect()
    }

    /// Resolves when a key falls with which children were used.
    pub async fn until_key_falls(&self) {
        self.0.fallen.notified().await;
    }

    pub(super) fn runtime(&self) -> &Runtime {
        &self.0.runtime
    }

    /// The tenant at `place`, if there is one.
    pub(super) fn find(&self, place: &Place) -> Option<Arc<Tenant>> {
        lock(&self.0.tenants).get(place).cloned()
    }

    /// The tenant at `place`, made if there is none.
    pub(super) fn settle(&self, place: Place, caller: &Caller, front: Front) -> Arc<Tenant> {
        let most = lock(&self.0.limits).sessions;
        let mut tenants = lock(&self.0.tenants);
        if let Some(tenant) = tenants.get(&place) {
            return tenant.clone();
        }
        let tenant = Tenant::new(place, caller, front);
        let forgotten = tenants.add(&tenant, most);
        drop(tenants);
        for forgotten in forgotten {
            self.end(&forgotten, Stop::Gently);
        }
        tenant
    }

    /// Notes that the caller uses `tenant`, which ends when no key is left that it was used with.
    pub(super) fn hold(&self, tenant: &Arc<Tenant>, caller: &Caller, lease: &Lease) {
        if !tenant.hold(caller) {
            return;
        }
        let (denied, over) = (lease.until_denied(), tenant.until_over());
        let (key, tenant) = (caller.identity.key_id(), Arc::downgrade(tenant));
        let children = Arc::downgrade(&self.0);
        self.0.runtime.spawn(async move {
            tokio::select! {
                () = over => return,
                () = denied => {}
            }
            if let (Some(tenant), Some(inner)) = (tenant.upgrade(), children.upgrade())
                && tenant.let_go(&key)
            {
                let server = &tenant.place.owner.server;
                tracing::info!(%server, "a session ends: its key no longer stands");
                let owner = &tenant.place.owner;
                lock(&inner.spares).stop_where(Stop::Now, |other, _| other == owner);
                Self(inner.clone()).remove(&tenant, Stop::Now);
                inner.fallen.notify_one();
            }
        });
    }

    /// `tenant` is over.
    pub(super) fn remove(&self, tenant: &Tenant, how: Stop) {
        lock(&self.0.tenants).remove(tenant);
        self.end(tenant, how);
    }

    /// A tenant is over: its child ends, and those before it that still finish something.
    fn end(&self, tenant: &Tenant, how: Stop) {
        tenant.end(how);
        let running = lock(&self.0.running);
        let own = |child: &&Arc<Child>| {
            let mailbox = child.mailbox();
            mailbox.is_some_and(|mailbox| Arc::ptr_eq(mailbox, &tenant.mailbox))
        };
        for child in running.all().iter().filter(own) {
            child.stop(how);
        }
    }

    fn remove_where(&self, which: impl Fn(&Tenant) -> bool, how: Stop) {
        let mut all = lock(&self.0.tenants).all();
        all.retain(|tenant| which(tenant));
        for tenant in all {
            self.remove(&tenant, how);
        }
    }

    /// Whether the children of `owner` speak MCP 2026-07-28, as far as it is known.
    pub(super) fn is_modern(&self, settings: &Arc<Settings>, owner: &Owner) -> Option<bool> {
        let modern = lock(&self.0.modern);
        let known = modern.get(owner)?;
        (known.of == *settings).then_some(known.is_modern)
    }

    /// It is known now, and for so long.
    pub(super) fn learn(
        &self,
        settings: &Arc<Settings>,
        owner: &Owner,
        is_modern: bool,
        until: Instant,
    ) {
        let known = Known {
            of: settings.clone(),
            is_modern,
            until,
        };
        lock(&self.0.modern).insert(owner.clone(), known);
    }

    /// A child nobody has spoken to: one that was started ahead, or a new one.
    ///
    /// # Errors
    /// It would be one too many, it failed too often before, or it cannot be started.
    pub(super) async fn start(
        &self,
        owner: &Owner,
        settings: &Arc<Settings>,
        lease: &Lease,
    ) -> Result<Arc<Child>, Failure> {
        let spare = lock(&self.0.spares).take(owner, settings, lease.version());
        let child = match spare {
            Some(spare) => spare,
            None => self.start_new(owner, settings, lease).await?,
        };
        if settings.prewarm {
            self.start_ahead(owner, settings, lease);
        }
        Ok(child)
    }

    /// Starts one more for later, if there is room without anybody's sleep.
    fn start_ahead(&self, owner: &Owner, settings: &Arc<Settings>, lease: &Lease) {
        let limits = *lock(&self.0.limits);
        let has_room = lock(&self.0.running).has_room(&owner.user, limits);
        if !has_room || lock(&self.0.spares).has(owner) {
            return;
        }
        let (children, owner) = (self.clone(), owner.clone());
        let (settings, lease) = (settings.clone(), lease.clone());
        self.0.runtime.spawn(async move {
            // Why it does not start is told to who needs one.
            let Ok(child) = children.start_new(&owner, &settings, &lease).await else {
                return;
            };
            lock(&children.0.spares).keep(child.clone());
            // With it goes the environment: the secrets in it are not to wait here.
            let denied = lease.until_denied();
            drop(lease);
            let children = Arc::downgrade(&children.0);
            tokio::select! {
                () = denied => {}
                _ = child.until_end() => {}
            }
            if let Some(inner) = children.upgrade() {
                lock(&inner.spares).discard(&child);
            }
        });
    }

    async fn start_new(
        &self,
        owner: &Owner,
        settings: &Arc<Settings>,
        lease: &Lease,
    ) -> Result<Arc<Child>, Failure> {
        lock(&self.0.crashes).may_start(owner, lease.version(), Instant::now())?;
        let _room = self.room(owner)?;
        let environment = lease.environment();
        let mask = Mask::of(environment.expose_secrets().iter().map(|value| &value[..]));
        let spec = Spec {
            command: settings.command.clone(),
            environment: environment.expose_variables().to_vec(),
            folder: folders::of(settings, owner),
            containment: settings.containment.clone(),
        };
        let process = self.0.launcher.launch(spec).await.map_err(|error| {
            let server = &settings.server;
            tracing::warn!(%server, %error, "a child cannot be started");
            told(
                Kind::ChildFails,
                format!(
                    "the process of the server `{server}` cannot be started: the operator finds why in \
                     the log"
                ),
            )
        })?;
        let whose = owner.whose(process.handle.pid());
        let child = Child::new(
            process,
            settings,
            owner,
            (lease.version(), lease.made()),
            Words::new(mask, whose, Instant::now()),
            &self.0.runtime,
        );
        lock(&self.0.running).add(child.clone());
        self.figure(&settings.server, |figures| figures.starts += 1);
        self.0
            .runtime
            .spawn(see_off(Arc::downgrade(&self.0), child.clone()));
        Ok(child)
    }

    fn figure(&self, server: &ServerName, change: impl FnOnce(&mut Figures)) {
        let mut figures = lock(&self.0.figures);
        change(figures.entry(server.clone()).or_default());
    }

    /// Room for one more child of `owner`.
    fn room(&self, owner: &Owner) -> Result<Room, Failure> {
        let limits = *lock(&self.0.limits);
        let mut running = lock(&self.0.running);
        running.make_room(owner, limits)?;
        running.starts(owner.user);
        Ok(Room {
            inner: self.0.clone(),
            user: owner.user,
        })
    }

    fn look_around(&self, now: Instant) {
        let children = lock(&self.0.running).all().to_vec();
        for child in children {
            child.give_up(now);
        }
        let tenants = lock(&self.0.tenants).all();
        for tenant in tenants {
            let glance = tenant.glance();
            if let Some(child) = glance.child {
                let sleep = child.settings.sleep;
                let is_due = sleep.is_some_and(|sleep| now.duration_since(child.used()) >= sleep);
                if is_due && tenant.may_sleep(&child) && child.close_if_idle() {
                    child.stop(Stop::Gently);
                }
            } else if now.duration_since(glance.used) >= FORGOTTEN {
                self.remove(&tenant, Stop::Gently);
            }
        }
        lock(&self.0.spares).tidy(now);
        lock(&self.0.crashes).forget(now);
        lock(&self.0.modern).retain(|_, known| now < known.until);
    }
}

/// A place among those that are being started.
struct Room {
    inner: Arc<Inner>,
    user: UserId,
}

impl Drop for Room {
    fn drop(&mut self) {
        lock(&self.inner.running).started(self.user);
    }
}

/// Looks around for as long as there are children.
async fn keep_order(inner: Weak<Inner>) {
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let Some(inner) = inner.upgrade() else {
            return;
        };
        Children(inner).look_around(Instant::now());
    }
}

/// Waits for a child's end, and notes it.
async fn see_off(inner: Weak<Inner>, child: Arc<Child>) {
    let end = child.until_end().await;
    let Some(inner) = inner.upgrade() else {
        return;
    };
    lock(&inner.running).remove(&child);
    if end.is_failure {
        let server = &child.settings.server;
        tracing::warn!(%server, why = end.text, "a child ended by itself");
        lock(&inner.crashes).note(&child, &end, Instant::now());
        Children(inner.clone()).figure(server, |figures| figures.failures += 1);
    }
}

fn listed(tenant: &Tenant) -> Listed {
    let glance = tenant.glance();
    let child = glance.child;
    let owner = &tenant.place.owner;
    Listed {
        user: tenant.user_name.to_string(),
        server: owner.server.to_string(),
        profile: owner.profile.to_string(),
        state: if child.is_some() { "running" } else { "asleep" }.to_owned(),
        pid: child.as_ref().map(|child| child.handle().pid()),
        age: tenant.began.elapsed().as_secs(),
        idle: glance.used.elapsed().as_secs(),
        memory: child.and_then(|child| child.handle().memory()),
        restarts: glance.starts.saturating_sub(1),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
