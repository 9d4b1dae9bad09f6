//! Keys are rotated and retired while everything runs, by the real command, and killed half-way.
//!
//! `CLOAKROOM_ROTATION_USERS` sets how many users there are, 2,000 unless said.

mod crowd;
mod deletion;
mod put_back;

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use cloakroom::store::{RecordId, Store};
use cloakroom::vault::{KeyKind, KeyName, Keyring, survey};
use serde_json::Value;

use crate::cli::{Done, cloakroom, run_in};
use crate::support::echo::{Manner, echo};
use crate::support::proxy::{Lines, Place, Proxy, Serving, alone};
use crate::support::redis::Server;
use crowd::Crowd;

const SERVER: &str = "json";

fn users() -> usize {
    let named = std::env::var("CLOAKROOM_ROTATION_USERS").ok();
    named.map_or(2_000, |number| number.parse().expect("a number"))
}

async fn start(redis: &Server) -> Proxy {
    let lines = Lines {
        root: "log = \"warn\"",
        ..Lines::default()
    };
    let servers = [(SERVER, echo(Manner::Json).await)];
    Proxy::start(&Place::Redis(redis), &lines, &servers).await
}

/// Runs `cloakroom keyring …` without holding up the clients of this process.
async fn keyring(proxy: &Proxy, line: &str) -> Done {
    let folder = proxy.folder.path().to_owned();
    let line = format!("keyring {line} --json");
    let run = move || run_in(&folder, line.split(' '), b"");
    tokio::task::spawn_blocking(run).await.unwrap()
}

fn file(proxy: &Proxy) -> String {
    std::fs::read_to_string(proxy.folder.path().join("master.keys")).unwrap()
}

fn ids(text: &str, kind: KeyKind) -> Vec<&str> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let words = lines.map(|line| line.split(' ').collect::<Vec<_>>());
    let of_kind = words.filter(|words| words[1] == kind.as_str());
    of_kind.map(|words| words[0]).collect()
}

/// The id in a blob's header.
fn sealed_by(blob: &[u8]) -> &[u8] {
    &blob[4..4 + usize::from(blob[3])]
}

/// Which keys the records of the store need, but for those of processes; and that all open.
async fn needed(store: &dyn Store, ring: &Keyring) -> Vec<KeyName> {
    let all = survey(store, Some(ring), &|_| {}).await.unwrap();
    let names = all.lasting().flat_map(|(_, tally)| tally.keys.keys());
    let mut keys: Vec<_> = names.cloned().collect();
    keys.sort();
    keys.dedup();
    assert!(all.kinds.values().all(|tally| tally.unreadable == 0));
    keys
}

fn named(document: &Value, list: &str) -> Vec<String> {
    let list = document[list].as_array().unwrap().iter();
    list.map(|name| name.as_str().unwrap().to_owned()).collect()
}

// Each of these one-line mutations makes it fail:
//
// - `cli/rotate.rs`, `refuse_any` refuses nothing: the second command succeeds, and with the old processes
//   requests fail;
// - `vault/rotate.rs`, `is_current` always `Ok(false)`: the second run begins anew;
// - `cli/retire.rs`, without the replicas that would be hurt: the first `retire` takes the old keys from
//   under them.
//
// That a write which came in between is not undone is too rare to be met here: `vault/rotate/tests.rs`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_rotated_while_everything_runs() {
    let _alone = alone().await;
    let redis = Server::plain();
    let mut proxy = start(&redis).await;
    let begun = Instant::now();
    let crowd = Crowd::settle(&proxy, users()).await;
    println!("{} users settled in {:?}", users(), begun.elapsed());
    let mut replicas = vec![proxy.replica(None), proxy.replica(None)];
    proxy.serving.stop().await;
    crowd.serve_from(&replicas);
    let load = crowd.clone().start();

    // New keys are made, and only open until every replica has them.
    let made = keyring(&proxy, "rotate").await;
    assert_eq!(made.code, 0, "{}", made.err);
    let document = made.document();
    assert_eq!(document["state"], "made");
    assert_eq!(
        named(&document, "made"),
        ["realm:r2", "server:s2", "sign:g2"]
    );
    assert_eq!(document["waiting_for"].as_array().unwrap().len(), 2);
    assert_eq!(ids(&file(&proxy), KeyKind::Realm), ["r1", "r2"]);
    refused(&proxy, &[replicas[0].pid(), replicas[1].pid()], &[]).await;
    roll_one(&proxy, &crowd, &mut replicas).await;
    refused(&proxy, &[replicas[0].pid()], &[replicas[1].pid()]).await;
    roll_one(&proxy, &crowd, &mut replicas).await;
    // Whoever writes from now on has both keys, the old one first: what he seals needs the old one.
    crowd.write_through(proxy.reopened());

    let begun = Instant::now();
    killed_half_way(&proxy).await;
    println!("killed after {:?}", begun.elapsed());
    let first = load.figures();
    let resumed = keyring(&proxy, "rotate").await;
    assert_eq!(resumed.code, 0, "{} {}", resumed.out, resumed.err);
    println!(
        "rotated after {:?}, {}",
        begun.elapsed(),
        resumed.out.trim()
    );
    println!("meanwhile {}", load.since(&first));
    let document = resumed.document();
    assert_eq!(document["state"], "done");
    // It went on, and did not begin anew.
    assert!(document["resealed"].as_u64() > Some(0) && document["passed"].as_u64() > Some(0));
    // The replicas read the file when the old keys were first, so they still seal by them.
    let kept = keyring(&proxy, "retire").await;
    assert_eq!(kept.code, 1, "{}", kept.out);
    assert!(
        named(&kept.document(), "retired").is_empty(),
        "{}",
        kept.out
    );
    assert!(
        kept.err.contains("still seals or signs by it"),
        "{}",
        kept.err
    );
    crowd.write_through(proxy.reopened());
    crowd.writes_done().await;
    roll(&proxy, &crowd, &mut replicas).await;
    // What was written with the old keys meanwhile is found.
    let again = keyring(&proxy, "rotate").await;
    assert_eq!(again.code, 0, "{}", again.err);
    let retired = keyring(&proxy, "retire").await;
    assert_eq!(retired.code, 0, "{}", retired.err);
    assert!(named(&retired.document(), "kept").is_empty());
    for (kind, id) in [
        (KeyKind::Realm, "r2"),
        (KeyKind::Server, "s2"),
        (KeyKind::Sign, "g2"),
    ] {
        assert_eq!(ids(&file(&proxy), kind), [id]);
    }
    roll(&proxy, &crowd, &mut replicas).await;
    crowd.write_through(proxy.reopened());
    tokio::time::sleep(Duration::from_secs(1)).await;

    let report = load.stop().await;
    println!("{report}");
    report.assert_faultless();
    let ring =
        cloakroom::cli::open::keyring(&proxy.folder.path().join("master.keys").into()).unwrap();
    let needed = needed(&*proxy.store, &ring).await;
    let needed: Vec<_> = needed.iter().map(KeyName::to_string).collect();
    assert_eq!(needed, ["realm:r2", "server:s2", "sign:g2"]);
    crowd.look_at_everybody().await;
    assert!(
        keyring(&proxy, "retire")
            .await
            .out
            .contains("\"retired\":[]")
    );
}

/// `rotate` seals nothing, and names those that wait but not the others.
async fn refused(proxy: &Proxy, waiting: &[u32], ready: &[u32]) {
    let before = file(proxy);
    let refused = keyring(proxy, "rotate").await;
    assert_eq!(
        (refused.code, refused.out.as_str()),
        (1, ""),
        "{}",
        refused.err
    );
    let says = |pid: &u32| refused.err.contains(&format!("(pid {pid}, "));
    assert!(waiting.iter().all(says), "{}", refused.err);
    assert!(!ready.iter().any(says), "{}", refused.err);
    assert!(
        refused.err.contains("lacks realm:r2, server:s2, sign:g2"),
        "{}",
        refused.err
    );
    assert_eq!(file(proxy), before);
}

/// Puts a new process in the place of the first, as an orchestrator does: no request goes to the old one
/// any more, those under way end, then it is stopped.
async fn roll_one(proxy: &Proxy, crowd: &Crowd, replicas: &mut Vec<Serving>) {
    let mut old = replicas.remove(0);
    replicas.push(proxy.replica(None));
    crowd.serve_from(replicas);
    tokio::time::sleep(Duration::from_millis(500)).await;
    old.stop().await;
}

async fn roll(proxy: &Proxy, crowd: &Crowd, replicas: &mut Vec<Serving>) {
    for _ in 0..replicas.len() {
        roll_one(proxy, crowd, replicas).await;
    }
}

/// Starts `rotate` and kills it when it has sealed the keys' records, and none of the secrets'.
async fn killed_half_way(proxy: &Proxy) {
    let first = |prefix: &'static str| async move {
        let page = proxy.store.page(prefix, None, 1).await.unwrap();
        page[0].blob.clone()
    };
    let mut child = rotate_in(proxy.folder.path());
    let patience = Instant::now() + Duration::from_secs(600);
    while sealed_by(&first("n/").await) != b"r2" {
        assert!(Instant::now() < patience && child.try_wait().unwrap().is_none());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(ids(&file(proxy), KeyKind::Realm), ["r2", "r1"]);
    let last = RecordId::parse("s/ff").unwrap();
    let sets = proxy.store.page("s/", Some(&last), 1).await.unwrap();
    let set = sets.first().map(|set| set.blob.clone());
    let set = match set {
        Some(set) => set,
        None => first("s/").await,
    };
    assert_eq!(sealed_by(&set), b"s1", "it had done everything");
}

fn rotate_in(folder: &Path) -> std::process::Child {
    let mut command = cloakroom();
    command
        .current_dir(folder)
        .args(["keyring", "rotate", "--json"]);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command.stderr(Stdio::null()).spawn().unwrap()
}
