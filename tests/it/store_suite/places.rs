//! The kinds of stores, and the rules instantiated for each.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use cloakroom::store::{Login, OpenError, REDIS_ACL_RULE, Settings, Store, StoreUrl, open};

use crate::support::folder_in_memory;
use crate::support::redis::{Cluster, Fleet, Options, Sentinels, Server};

/// Where a store is, for the time of one test.
pub(super) struct Place {
    pub(super) settings: Settings,
    /// How soon a change made elsewhere must be reported.
    pub(super) heard_within: Duration,
    /// Two opens of `memory:` are two stores, so there it is one.
    only: Option<Arc<dyn Store>>,
    _keep: Keep,
}

#[allow(
    dead_code,
    reason = "only kept: dropping them ends the server or removes the folder"
)]
enum Keep {
    Nothing,
    Folder(tempfile::TempDir),
    Server(Server),
    Sentinels(Arc<Sentinels>),
    Cluster(Arc<Cluster>),
}

impl Place {
    pub(super) async fn open(&self) -> Arc<dyn Store> {
        match &self.only {
            Some(store) => Arc::clone(store),
            None => open(&self.settings).await.unwrap(),
        }
    }
}

pub(super) fn settings(url: &str) -> Settings {
    Settings::new(StoreUrl::parse(url, Path::new("/nonexistent")).unwrap())
}

pub(super) async fn refusal(settings: &Settings) -> OpenError {
    match open(settings).await {
        Ok(_) => panic!("it was opened"),
        Err(error) => error,
    }
}

pub(super) async fn memory() -> Place {
    let settings = settings("memory:");
    let only = Some(open(&settings).await.unwrap());
    Place {
        settings,
        heard_within: Duration::from_millis(50),
        only,
        _keep: Keep::Nothing,
    }
}

pub(super) async fn sqlite() -> Place {
    let folder = folder_in_memory();
    let settings = settings(&format!("sqlite:{}/store.db", folder.path().display()));
    let heard_within = Duration::from_millis(150);
    Place {
        settings,
        heard_within,
        only: None,
        _keep: Keep::Folder(folder),
    }
}

pub(super) async fn redis() -> Place {
    let server = Server::plain();
    let settings = settings(&server.url());
    let heard_within = Duration::from_millis(50);
    Place {
        settings,
        heard_within,
        only: None,
        _keep: Keep::Server(server),
    }
}

/// TLS, and exactly the user the documentation tells to make.
pub(super) async fn redis_tls_acl() -> Place {
    let lines = format!("user default off\n{}", documented_rule());
    let server = Server::start(Options {
        tls: true,
        lines: &lines,
    });
    let url = format!("rediss://cloakroom:p%40ss@localhost:{}", server.port);
    let settings = Settings {
        ca_file: Some(server.ca_file()),
        ..settings(&url)
    };
    let heard_within = Duration::from_millis(50);
    Place {
        settings,
        heard_within,
        only: None,
        _keep: Keep::Server(server),
    }
}

/// What takes seconds to start, and is shared by tests that run at the same time. It ends with the last
/// of them: what is in a `static` is never dropped, and its processes would go on.
struct Common<T>(Mutex<Weak<T>>);

impl<T> Common<T> {
    const fn new() -> Self {
        Self(Mutex::new(Weak::new()))
    }

    fn get(&self, start: impl FnOnce() -> T) -> Arc<T> {
        let mut common = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        common.upgrade().unwrap_or_else(|| {
            let started = Arc::new(start());
            *common = Arc::downgrade(&started);
            started
        })
    }
}

/// A place of its own in servers that are shared.
fn in_common(url: &str, ca_file: Option<PathBuf>, keep: Keep) -> Place {
    static PLACES: AtomicUsize = AtomicUsize::new(0);
    let number = PLACES.fetch_add(1, Ordering::Relaxed);
    Place {
        settings: Settings {
            ca_file,
            key_prefix: format!("cloakroom:{number}:"),
            ..settings(url)
        },
        heard_within: Duration::from_millis(50),
        only: None,
        _keep: keep,
    }
}

pub(super) async fn sentinels() -> Place {
    static COMMON: Common<Sentinels> = Common::new();
    let servers = COMMON.get(Sentinels::plain);
    in_common(&servers.url(), None, Keep::Sentinels(servers))
}

pub(super) async fn sentinels_tls_acl() -> Place {
    static COMMON: Common<Sentinels> = Common::new();
    let servers = COMMON.get(|| Sentinels::start(SECURED));
    let mut place = in_common(
        &servers.url(),
        Some(servers.ca_file()),
        Keep::Sentinels(servers),
    );
    place.settings.sentinel_login = Some(Login {
        user: Some("cloakroom".to_owned()),
        password: "p@ss".to_owned().into(),
    });
    place
}

pub(super) async fn cluster() -> Place {
    static COMMON: Common<Cluster> = Common::new();
    let cluster = COMMON.get(Cluster::plain);
    in_common(&cluster.url(), None, Keep::Cluster(cluster))
}

pub(super) async fn cluster_tls_acl() -> Place {
    static COMMON: Common<Cluster> = Common::new();
    let cluster = COMMON.get(|| Cluster::start(SECURED));
    in_common(
        &cluster.url(),
        Some(cluster.ca_file()),
        Keep::Cluster(cluster),
    )
}

/// TLS, and exactly the users the documentation tells to make.
const SECURED: Fleet<'_> = Fleet {
    login: crate::support::redis::Login::User {
        rule: REDIS_ACL_RULE,
        sentinel_rule: "resetchannels -@all +sentinel|get-master-addr-by-name \
            +sentinel|master +sentinel|replicas",
    },
    tls: true,
};

/// The user the documentation tells to make, with the password `p@ss`.
pub(super) fn documented_rule() -> String {
    format!("user cloakroom on >p@ss {REDIS_ACL_RULE}")
}

/// Runs each rule of `$rules` in every kind of store.
macro_rules! for_every_place {
    ($($rules:ident :: $rule:ident),+ $(,)?) => {
        for_every_place!(@ memory [$($rules::$rule)+]);
        for_every_place!(@ sqlite [$($rules::$rule)+]);
        for_every_place!(@ redis [$($rules::$rule)+]);
        for_every_place!(@ redis_tls_acl [$($rules::$rule)+]);
        for_every_place!(@ sentinels [$($rules::$rule)+]);
        for_every_place!(@ sentinels_tls_acl [$($rules::$rule)+]);
        for_every_place!(@ cluster [$($rules::$rule)+]);
        for_every_place!(@ cluster_tls_acl [$($rules::$rule)+]);
    };
    (@ $place:ident [$($rules:ident :: $rule:ident)+]) => {
        mod $place {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $rule() {
                    let place = super::$place().await;
                    super::super::$rules::$rule(&place).await;
                }
            )+
        }
    };
}

for_every_place!(
    rules::compares_and_swaps,
    rules::one_writer_wins_each_round,
    rules::no_update_is_lost,
    rules::pages_are_ordered_and_complete,
    rules::a_walk_sees_what_stays,
    rules::handles_see_each_other,
    rules::takes_any_size_up_to_the_limit,
    rules::works_from_another_runtime,
    rules::settles,
    meters::a_rate_holds_whoever_takes,
    meters::a_quota_is_exact_whoever_takes,
    meters::a_denial_says_how_long,
    meters::the_rule_is_the_same_everywhere,
    meters::one_trip_takes_from_many_meters,
    meters::lines_go_to_redis_alone,
    watching::hears_every_change_in_time,
    watching::quiet_records_are_not_heard_of,
    watching::says_it_is_alive,
    watching::ends_with_its_receiver,
);
