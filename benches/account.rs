//! What the account of a request costs: metrics, the audit trail into a file, usage.
//!
//! Run with `cargo bench --bench account`. Says how many allocations it takes, what it costs the thread that
//! serves requests, and what the trail's own thread, at a pace such as a busy server has.
#![allow(clippy::unwrap_used, reason = "a panic is how a bench fails")]
#![allow(clippy::print_stdout, reason = "a bench tells")]

use std::alloc::System;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use cloakroom::audit::{self, Trail};
use cloakroom::gate::{Door, Gate, Rules, Used};
use cloakroom::identity::KeyDigest;
use cloakroom::inject::{Arguments, Slots};
use cloakroom::layer::{Forwarded, Observer, Seen};
use cloakroom::mcp::revision::Era;
use cloakroom::names::{ProfileName, SecretName, ServerName, UserName};
use cloakroom::proxy::{Account, Keepers};
use cloakroom::resolve::{Identity, Resolver, Settings as Cache};
use cloakroom::store::{self, Settings, StoreUrl};
use cloakroom::telemetry::Metrics;
use cloakroom::usage::Usage;
use cloakroom::vault::{KeyRequest, Keyring, NewUser, Reader, Vault};
use criterion::{Criterion, criterion_group};
use http::request::Parts;
use http::{HeaderMap, Request};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tokio::runtime::Runtime;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Requests a second, each of which leaves two records.
const PACES: [u32; 3] = [14_000, 50_000, 100_000];
const FOR: Duration = Duration::from_secs(2);

/// An account of everything, and a caller.
struct House {
    runtime: Runtime,
    _folder: tempfile::TempDir,
    account: Arc<Account>,
    trail: Option<Trail>,
    caller: Identity,
    server: ServerName,
    profile: ProfileName,
    secret: SecretName,
}

impl House {
    fn new(is_recorded: bool) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let entered = runtime.enter();
        let folder = tempfile::tempdir().unwrap();
        let url = StoreUrl::parse("memory:", Path::new("")).unwrap();
        let store = runtime.block_on(store::open(&Settings::new(url))).unwrap();
        let ring = Arc::new(Keyring::generate());
        let vault = Vault::new(store.clone(), ring.clone());
        let server = ServerName::parse("github").unwrap();
        let key = runtime.block_on(key(&vault));
        let cache = Cache {
            cache_bytes: 64 << 20,
            stale_for: Duration::from_secs(60),
            lag: None,
        };
        let resolver = Resolver::new(store.clone(), Reader::new(ring.clone()), &cache);
        let slots = Slots::new(Vec::new(), Vec::new(), Arguments::default());
        let door = Door::open(&ring, server.clone(), slots).unwrap();
        let gate = Gate::new(resolver, [door], Rules::default());
        let mut headers = HeaderMap::new();
        headers.insert("authorization", format!("Bearer {key}").parse().unwrap());
        let caller = runtime.block_on(gate.authenticate(&headers, Some(&server)));
        let settings = audit::Settings {
            file: Some(folder.path().join("audit.jsonl")),
            standard: None,
            required: false,
            sync: false,
            anchors_for: Duration::from_secs(3600),
        };
        let trail = is_recorded.then(|| {
            let vault = Arc::new(Vault::new(store.clone(), ring.clone()));
            let trail = Trail::start(&settings, vault, None, runtime.handle());
            runtime.block_on(trail).unwrap()
        });
        let keepers = Keepers {
            tracer: None,
            trail: trail.clone(),
            usage: Some(Usage::new(vault)),
        };
        let metrics = Arc::new(Metrics::new());
        let account = Arc::new(Account::new(metrics, [&server], None, keepers));
        drop(entered);
        Self {
            runtime,
            _folder: folder,
            account,
            trail,
            caller: caller.ok().unwrap(),
            server,
            profile: ProfileName::default_profile(),
            secret: SecretName::parse("GITHUB_TOKEN").unwrap(),
        }
    }

    /// The account of one request, as the layer has it kept.
    fn one(&self, head: &Parts) {
        let address = Some([127, 0, 0, 1].into());
        self.account
            .rehearse(head, address, |observer| self.layer(observer));
    }

    fn layer(&self, observer: &dyn Observer) {
        observer.authenticated(&self.caller);
        observer.judged(&Seen {
            method: Some("tools/call"),
            era: Era::Legacy,
            bytes: 350,
            trace_parent: None,
            trace_state: None,
            client: None,
        });
        if observer.records() {
            let told = observer.forwarding(Forwarded {
                caller: &self.caller,
                server: &self.server,
                profile: &self.profile,
                methods: vec!["tools/call"],
                tools: vec!["create_issue"],
                secrets: vec![Used {
                    name: self.secret.clone(),
                    version: 3,
                    group: None,
                }],
            });
            assert!(told.is_none());
        }
    }

    fn close(self) {
        if let Some(trail) = &self.trail {
            self.runtime.block_on(trail.close());
        }
    }
}

async fn key(vault: &Vault) -> String {
    let user = UserName::parse("alice").unwrap();
    vault
        .add_user(&user, NewUser::default())
        .await
        .ok()
        .unwrap();
    let key = vault.issue_key(&user, KeyRequest::default()).await;
    let key = key.ok().unwrap().key.reveal().to_owned();
    assert_ne!(
        KeyDigest::of_presented(key.as_bytes(), &[]).ok(),
        Some(KeyDigest::of_nothing())
    );
    key
}

fn request() -> Parts {
    let request = Request::post("/github/mcp").body(()).unwrap();
    request.into_parts().0
}

/// What a thread of this process did so far: nanoseconds on a core, and how often it slept.
fn thread(name: Option<&str>) -> (u64, u64) {
    let folder = match name {
        None => "/proc/thread-self".into(),
        Some(name) => fs::read_dir("/proc/self/task")
            .unwrap()
            .map(|task| task.unwrap().path())
            .find(|task| fs::read_to_string(task.join("comm")).is_ok_and(|is| is.trim() == name))
            .unwrap(),
    };
    let ran = fs::read_to_string(folder.join("schedstat")).unwrap();
    let status = fs::read_to_string(folder.join("status")).unwrap();
    let slept = status
        .lines()
        .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    let first = |text: &str| text.split_whitespace().next().unwrap().parse().unwrap();
    (first(&ran), first(slept.unwrap()))
}

/// Requests at an even pace, and what each of them took of the two threads.
fn paced(pace: u32) {
    let house = House::new(true);
    let each = Duration::from_millis(1);
    let at_once = pace / 1000;
    let mut on_worker = Duration::ZERO;
    let (wrote_before, woke_before) = thread(Some("audit"));
    let begun = Instant::now();
    let mut due = begun;
    let mut requests = 0;
    let mut ready: Vec<_> = (0..at_once).map(|_| request()).collect();
    while begun.elapsed() < FOR {
        ready
            .iter_mut()
            .for_each(|request| *request = self::request());
        let since = Instant::now();
        for request in &ready {
            house.one(request);
        }
        on_worker += since.elapsed();
        requests += at_once;
        due += each;
        sleep(due.saturating_duration_since(Instant::now()));
    }
    let took = begun.elapsed();
    sleep(Duration::from_millis(100));
    let (wrote, woke) = thread(Some("audit"));
    let figures = house.trail.as_ref().unwrap().figures()[0];
    println!(
        "{:>7.0} requests/s: worker {:.2} µs, writer {:.2} µs, {:.0} wake-ups/s, {} of {} records lost",
        f64::from(requests) / took.as_secs_f64(),
        on_worker.as_secs_f64() * 1e6 / f64::from(requests),
        (wrote - wrote_before) as f64 / 1e3 / f64::from(requests),
        (woke - woke_before) as f64 / took.as_secs_f64(),
        figures.lost,
        2 * requests,
    );
    house.close();
}

fn allocations() {
    for (what, is_recorded) in [("metrics and usage", false), ("with the trail", true)] {
        let house = House::new(is_recorded);
        let requests: Vec<_> = (0..100).map(|_| request()).collect();
        house.one(&request());
        sleep(Duration::from_millis(100));
        let region = Region::new(ALLOCATOR);
        requests.iter().for_each(|request| house.one(request));
        let counted = region.change();
        println!(
            "{what}: {} allocations of 100 requests, {} bytes (and the writer's meanwhile)",
            counted.allocations, counted.bytes_allocated
        );
        house.close();
    }
}

fn steps(c: &mut Criterion) {
    for (name, is_recorded) in [
        ("account: metrics and usage", false),
        ("account: with the trail", true),
    ] {
        let house = House::new(is_recorded);
        // Few enough at once that the trail keeps up.
        c.bench_function(name, |b| {
            b.iter_batched(
                request,
                |request| house.one(&request),
                criterion::BatchSize::NumIterations(50),
            );
        });
        house.close();
    }
}

criterion_group!(benches, steps);

fn main() {
    allocations();
    PACES.into_iter().for_each(paced);
    benches();
    Criterion::default().configure_from_args().final_summary();
}
