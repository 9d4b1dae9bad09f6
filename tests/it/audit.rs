//! The audit trail on real files, pipes and full disks, checked by the real command.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use cloakroom::audit::{
    AuditError, Called, End, Figures, Owner, Record, SecretUsed, Settings, Start, Stream, Trail,
};
use cloakroom::names::{ProfileName, SecretName, ServerName};
use cloakroom::store::{self, StoreUrl};
use cloakroom::vault::Vault;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::cli::{Done, run_in};

/// Much more than anybody may be kept waiting, and much less than for ever.
const BOUND: Duration = Duration::from_secs(2);

/// An installation with a store.
struct House {
    folder: tempfile::TempDir,
    vault: Arc<Vault>,
}

impl House {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = "[servers.github]\nurl = 'http://127.0.0.1:9/mcp'\n";
        fs::write(folder.path().join("cloakroom.toml"), config).unwrap();
        let made = run_in(folder.path(), ["keyring", "init"], b"");
        assert_eq!(made.code, 0, "{}", made.err);
        let source = folder.path().join("master.keys").into();
        let ring = cloakroom::cli::open::keyring(&source).unwrap();
        let url = StoreUrl::parse("sqlite:cloakroom.db", folder.path()).unwrap();
        let store = store::open(&store::Settings::new(url)).await.unwrap();
        let vault = Arc::new(Vault::new(store, Arc::new(ring)));
        vault.check_keyring().await.unwrap();
        Self { folder, vault }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn try_trail(
        &self,
        settings: Settings,
        stream: Option<Arc<dyn Stream>>,
    ) -> Result<Trail, AuditError> {
        Trail::start(&settings, self.vault.clone(), stream, &Handle::current()).await
    }

    /// A trail into the file at `path`.
    async fn trail(&self, path: &Path) -> Trail {
        self.try_trail(to(path), None).await.unwrap()
    }

    fn verify(&self, args: &[&str]) -> Done {
        let args = ["audit", "verify"].iter().chain(args);
        run_in(self.folder.path(), args, b"")
    }

    /// What `audit verify --json` says: its exit code, the kinds of what it found, and all of it.
    fn judged(&self, args: &[&str]) -> (i32, Vec<String>, Value) {
        let args = [args, &["--json"]].concat();
        let done = self.verify(&args);
        let document = done.document();
        let findings = document["findings"].as_array().unwrap();
        let kinds = findings.iter().map(|f| f["kind"].as_str().unwrap());
        (done.code, kinds.map(str::to_owned).collect(), document)
    }

    #[track_caller]
    fn whole(&self, args: &[&str]) -> Value {
        let (code, kinds, document) = self.judged(args);
        assert_eq!((code, kinds), (0, Vec::new()), "{document:#}");
        document
    }
}

fn to(path: &Path) -> Settings {
    Settings {
        file: Some(path.to_owned()),
        standard: None,
        required: false,
        sync: false,
        anchors_for: Duration::from_secs(3600),
    }
}

fn required(path: &Path) -> Settings {
    Settings {
        required: true,
        ..to(path)
    }
}

fn start(request: u64) -> Record {
    Record::from(Start {
        request,
        user: "alice".into(),
        user_id: serde_json::from_value(Value::from("00".repeat(16))).unwrap(),
        by: None,
        key: None,
        server: &ServerName::parse("github").unwrap(),
        profile: &ProfileName::default_profile(),
        called: Called::new(vec!["tools/call"], &["create_issue"]),
        secrets: vec![SecretUsed {
            name: SecretName::parse("GITHUB_TOKEN").unwrap(),
            version: 3,
            from: Owner::Group("build".into()),
        }],
        address: Some([127, 0, 0, 1].into()),
        client: Some("a client \u{7f}\n".into()),
    })
}

fn end(request: u64) -> Record {
    Record::from(End {
        request,
        status: Some(200),
        rejection: None,
        bytes_out: 12,
        duration_us: 3456,
        complete: true,
    })
}

fn records(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    let lines = text.lines().map(serde_json::from_str);
    lines.collect::<Result<_, _>>().unwrap()
}

fn figures(trail: &Trail) -> Figures {
    trail.figures()[0]
}

/// Waits until `what` is so.
async fn until(what: impl Fn() -> bool) {
    let since = Instant::now();
    while !what() {
        assert!(since.elapsed() < 10 * BOUND, "it never came");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_is_in_the_file_and_any_change_of_it_is_named() {
    let house = House::new().await;
    let file = house.path("new/audit.jsonl");
    let trail = house.trail(&file).await;
    for _ in 0..3 {
        let request = trail.next_request();
        trail.record(start(request)).await.unwrap();
        trail.note(&end(request));
    }
    trail.close().await;
    assert!(trail.record(start(9)).await.is_err());
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let all = records(&file);
    let events: Vec<_> = all.iter().map(|r| r["event"].as_str().unwrap()).collect();
    assert_eq!((events[0], events[events.len() - 1]), ("open", "close"));
    let one = all.iter().find(|r| r["event"] == "start").unwrap();
    assert_eq!(
        (&one["user"], &one["server"]),
        (&"alice".into(), &"github".into())
    );
    assert_eq!(one["tools"][0], "create_issue");
    assert_eq!(one["secrets"][0]["from"], "group:build");
    assert_eq!(one["client"], "a client \u{7f}\n");
    let of = |request: u64| all.iter().filter(move |r| r["request"] == request).count();
    assert_eq!((of(0), of(1), of(2)), (2, 2, 2));
    assert_eq!(figures(&trail).written, 6);

    let document = house.whole(&["new/audit.jsonl"]);
    assert_eq!(document["chains"][0]["closed"], true);
    assert_eq!(document["chains"][0]["anchored"], all.len() - 1);
    let text = fs::read_to_string(&file).unwrap();
    let line = 1 + events.iter().position(|event| *event == "end").unwrap();
    fs::write(&file, text.replacen("3456", "3457", 1)).unwrap();
    let done = house.verify(&["new/audit.jsonl"]);
    let says = format!("new/audit.jsonl:{line}: writer ");
    assert!(done.code == 1 && done.out.contains(&says), "{}", done.out);
    assert!(
        done.out
            .contains(&format!("record {}: is not what was written", line - 1))
    );
    // The end is gone, and the store knows of it.
    let cut: String = text
        .lines()
        .take(4)
        .map(|line| format!("{line}\n"))
        .collect();
    fs::write(&file, cut).unwrap();
    let (code, kinds, document) = house.judged(&["new/audit.jsonl"]);
    assert_eq!((code, kinds), (1, vec!["cut_off".to_owned()]));
    assert_eq!(document["findings"][0]["line"], 4);
    house.whole(&["new/audit.jsonl", "--offline"]);
    // All of it is gone.
    fs::write(&file, "").unwrap();
    assert_eq!(house.judged(&["new/audit.jsonl"]).1, ["not_there"]);
    let (code, ..) = house.judged(&["new/audit.jsonl", "--from-middle"]);
    assert_eq!(
        code, 0,
        "it ended before what was given begins, for all one can tell"
    );
    assert_eq!(house.verify(&["none.jsonl"]).code, 1);
    let piped = run_in(
        house.folder.path(),
        ["audit", "verify", "-"],
        text.as_bytes(),
    );
    assert_eq!(piped.code, 0, "{}", piped.out);
}

// Fails when a chain that was not closed counts as cut off, or an anchor beyond its end does not.
#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_was_killed_leaves_an_open_chain() {
    let house = House::new().await;
    let file = house.path("audit.jsonl");
    let trail = house.trail(&file).await;
    trail.record(start(0)).await.unwrap();
    trail.anchor().await;
    let is_told = || {
        let all = records(&file);
        let start = all.iter().position(|r| r["event"] == "start").unwrap();
        all.iter()
            .any(|r| r["anchored"].as_u64() >= Some(start as u64))
    };
    until(is_told).await;
    let running = house.whole(&["audit.jsonl"]);
    drop(trail);
    let document = house.whole(&["audit.jsonl"]);
    assert_eq!(document["chains"], running["chains"]);
    assert_eq!(document["chains"][0]["closed"], false);
    let text = fs::read_to_string(&file).unwrap();
    let at = records(&file).iter().position(|r| r["event"] == "start");
    let cut = text
        .lines()
        .take(at.unwrap())
        .map(|line| format!("{line}\n"));
    fs::write(&file, cut.collect::<String>()).unwrap();
    assert_eq!(house.judged(&["audit.jsonl"]).1, ["cut_off"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_write_to_one_file_and_each_has_its_chain() {
    let house = House::new().await;
    let file = house.path("audit.jsonl");
    let mut writing = Vec::new();
    for _ in 0..3 {
        let trail = house.trail(&file).await;
        writing.push(tokio::spawn(async move {
            for request in 0..300 {
                trail.note(&start(request));
                trail.record(end(request)).await.unwrap();
            }
            trail.close().await;
            figures(&trail)
        }));
    }
    for done in writing {
        let figures = done.await.unwrap();
        assert_eq!((figures.written, figures.lost), (600, 0));
    }
    let document = house.whole(&["audit.jsonl"]);
    assert_eq!(document["chains"].as_array().unwrap().len(), 3);
}

// Fails when the path is looked at only when it is opened, or the new file begins without its tag.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_renamed_or_deleted_is_made_anew() {
    let house = House::new().await;
    let file = house.path("audit.jsonl");
    let trail = house.trail(&file).await;
    trail.record(start(0)).await.unwrap();
    fs::rename(&file, house.path("audit.jsonl.1")).unwrap();
    trail.record(end(0)).await.unwrap();
    trail.record(start(1)).await.unwrap();
    let found = |name: &str| records(&house.path(name)).len();
    assert!(found("audit.jsonl.1") >= 2 && found("audit.jsonl") >= 3);
    house.whole(&["audit.jsonl.1", "audit.jsonl"]);
    assert_eq!(house.judged(&["audit.jsonl"]).1, ["beginning"]);
    house.whole(&["audit.jsonl", "--from-middle"]);
    assert!(!house.judged(&["audit.jsonl", "audit.jsonl.1"]).1.is_empty());
    fs::remove_file(&file).unwrap();
    trail.record(end(1)).await.unwrap();
    trail.close().await;
    house.whole(&["audit.jsonl", "--from-middle"]);
    assert_eq!(
        house.judged(&["audit.jsonl.1", "audit.jsonl"]).1,
        ["missing"]
    );
}

/// A disk of 64 KiB, if we may have one.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path) -> Option<Self> {
        fs::create_dir(at).unwrap();
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"]);
        let done = command.arg(at).status();
        done.is_ok_and(|status| status.success())
            .then(|| Self(at.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

// Fails when a line cut by a full disk stays in the chain, or the loss is not told.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_at_once_and_leaves_a_chain_that_goes_on() {
    let house = House::new().await;
    let Some(disk) = SmallDisk::mount(&house.path("disk")) else {
        println!("only root may mount: the full disk is /dev/full");
        return full_from_the_start(&house).await;
    };
    full_from_the_start(&house).await;
    let file = disk.0.join("audit.jsonl");
    fs::write(disk.0.join("ballast"), vec![0; 20 << 10]).unwrap();
    let settings = Settings {
        sync: true,
        ..required(&file)
    };
    let trail = house.try_trail(settings, None).await.unwrap();
    let since = Instant::now();
    let mut taken = 0;
    while trail.record(start(taken)).await.is_ok() {
        taken += 1;
        assert!(taken < 1000, "64 KiB never end");
    }
    assert!(taken > 20 && since.elapsed() < 10 * BOUND);
    assert!(figures(&trail).failing);
    // While it fails nobody waits, and what nobody waits for is kept.
    let since = Instant::now();
    for request in 0..50 {
        assert!(trail.record(start(request)).await.is_err());
        trail.note(&end(request));
    }
    assert!(since.elapsed() < BOUND);
    assert_eq!(figures(&trail).lost, 0);
    let text = fs::read(&file).unwrap();
    assert_ne!(text.last(), Some(&b'\n'), "the disk was full within a line");
    fs::remove_file(disk.0.join("ballast")).unwrap();
    until(|| !figures(&trail).failing).await;
    trail.record(start(9)).await.unwrap();
    trail.close().await;
    let document = house.whole(&["disk/audit.jsonl"]);
    assert_eq!(document["chains"][0]["closed"], true);
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains("\"event\":\"lost\",\"records\":0,\"torn\":1"));
    assert_eq!(text.matches("\"event\":\"end\"").count(), 50);
    // Without its writer's word the torn line is what it looks like.
    let declared = text
        .lines()
        .position(|l| l.contains("\"event\":\"lost\""))
        .unwrap();
    let before: String = text
        .lines()
        .take(declared)
        .map(|l| format!("{l}\n"))
        .collect();
    fs::write(house.path("before.jsonl"), before).unwrap();
    assert_eq!(house.judged(&["before.jsonl", "--offline"]).1, ["torn"]);
}

async fn full_from_the_start(house: &House) {
    let full = Path::new("/dev/full");
    let refused = house.try_trail(required(full), None).await.err().unwrap();
    let said = refused.to_string();
    assert!(
        said.contains("/dev/full") && said.contains("No space left"),
        "{said}"
    );
    assert!(said.contains("required = false"), "{said}");
    let trail = house.trail(full).await;
    assert!(trail.record(start(0)).await.is_err());
    let since = Instant::now();
    (0..80_000).for_each(|request| trail.note(&end(request)));
    assert!(since.elapsed() < BOUND);
    assert!(figures(&trail).lost > 0);
    assert_eq!(
        (figures(&trail).written, figures(&trail).failing),
        (0, true)
    );
}

// Fails when a pipe is opened so that it waits for its reader, or written to so that it does.
#[tokio::test(flavor = "multi_thread")]
async fn a_pipe_without_a_reader_or_with_a_slow_one_holds_nobody_up() {
    let house = House::new().await;
    let pipe = house.path("pipe");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    let since = Instant::now();
    assert!(house.try_trail(required(&pipe), None).await.is_err());
    let trail = house.trail(&pipe).await;
    assert!(trail.record(start(0)).await.is_err());
    assert!(since.elapsed() < 2 * BOUND, "{:?}", since.elapsed());
    trail.note(&end(0));
    let mut options = fs::OpenOptions::new();
    let options = options.read(true).custom_flags(0o4000 /* O_NONBLOCK */);
    let mut reader = options.open(&pipe).unwrap();
    until(|| !figures(&trail).failing).await;
    // Nobody reads: the pipe fills up (64 KiB), and then every record is refused, soon at once.
    let since = Instant::now();
    let mut taken = 0;
    while trail.record(start(taken)).await.is_ok() {
        taken += 1;
    }
    for _ in 0..20 {
        assert!(trail.record(start(taken)).await.is_err());
    }
    assert!(since.elapsed() < 5 * BOUND, "{:?}", since.elapsed());
    let mut text = Vec::new();
    let mut drain = || {
        let mut some = vec![0; 1 << 20];
        while let Ok(count @ 1..) = reader.read(&mut some) {
            text.extend(&some[..count]);
        }
        text.clone()
    };
    drain();
    until(|| !figures(&trail).failing).await;
    trail.close().await;
    let text = drain();
    let done = run_in(
        house.folder.path(),
        ["audit", "verify", "-", "--json"],
        &text,
    );
    let document = done.document();
    // The first attempt may have begun a chain once somebody read.
    let mut chains = document["chains"].as_array().unwrap().iter();
    let is_closed = chains.any(|chain| chain["closed"] == true);
    assert!(done.code == 0 && is_closed, "{document:#}");
}

/// A stream that does what it is told.
struct Told {
    lines: Mutex<Vec<Bytes>>,
    /// Takes the lines, and says that it did not.
    lies: AtomicBool,
    /// One permit for each append.
    goes: Semaphore,
}

impl Stream for Told {
    fn append(&self, lines: Vec<Bytes>) -> BoxFuture<'_, Result<(), String>> {
        async move {
            let permit = self.goes.acquire().await.map_err(|e| e.to_string())?;
            permit.forget();
            self.lines.lock().unwrap().extend(lines);
            if self.lies.load(Ordering::Relaxed) {
                return Err("the connection was lost".to_owned());
            }
            Ok(())
        }
        .boxed()
    }
}

impl Told {
    fn with(permits: usize) -> Arc<Self> {
        Arc::new(Self {
            lines: Mutex::default(),
            lies: AtomicBool::new(false),
            goes: Semaphore::new(permits),
        })
    }

    fn text(&self) -> Vec<u8> {
        let lines = self.lines.lock().unwrap();
        lines
            .iter()
            .flat_map(|line| [line, &b"\n"[..]].concat())
            .collect()
    }
}

fn nowhere() -> Settings {
    Settings {
        file: None,
        ..to(Path::new(""))
    }
}

// Fails when lines that may be there already are appended again as the same chain: two records of one number.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_may_have_taken_them_gets_no_record_twice() {
    let house = House::new().await;
    let told = Told::with(Semaphore::MAX_PERMITS);
    let trail = house
        .try_trail(nowhere(), Some(told.clone()))
        .await
        .unwrap();
    trail.record(start(0)).await.unwrap();
    told.lies.store(true, Ordering::Relaxed);
    assert!(trail.record(start(1)).await.is_err());
    told.lies.store(false, Ordering::Relaxed);
    until(|| !figures(&trail).failing).await;
    trail.record(start(2)).await.unwrap();
    trail.close().await;
    let done = run_in(
        house.folder.path(),
        ["audit", "verify", "-", "--json"],
        &told.text(),
    );
    let document = done.document();
    assert_eq!(done.code, 0, "{document:#}");
    let chains = document["chains"].as_array().unwrap();
    assert!(chains.len() >= 2, "{document:#}");
    assert_eq!(
        chains
            .iter()
            .filter(|chain| chain["closed"] == true)
            .count(),
        1
    );
}

// Fails when a queue grows without end, what finds no room is not counted, or the chain does not tell.
#[tokio::test(flavor = "multi_thread")]
async fn what_finds_no_room_is_counted_and_the_chain_says_so() {
    let house = House::new().await;
    // It takes the first record, and then nothing.
    let told = Told::with(1);
    let trail = house
        .try_trail(nowhere(), Some(told.clone()))
        .await
        .unwrap();
    trail.note(&start(0));
    let since = Instant::now();
    (0..80_000).for_each(|request| trail.note(&end(request)));
    assert!(since.elapsed() < BOUND);
    assert!(figures(&trail).lost >= 40_000);
    let since = Instant::now();
    for request in 0..20 {
        assert!(trail.record(start(request)).await.is_err());
    }
    assert!(since.elapsed() < 4 * BOUND, "{:?}", since.elapsed());
    told.goes.add_permits(1 << 20);
    until(|| !figures(&trail).failing).await;
    // What waits in the channel goes first, and may take longer than a record is waited for.
    let begun = Instant::now();
    while trail.record(start(0)).await.is_err() {
        assert!(begun.elapsed() < Duration::from_secs(60));
    }
    trail.close().await;
    let text = told.text();
    let done = run_in(
        house.folder.path(),
        ["audit", "verify", "-", "--json"],
        &text,
    );
    let document = done.document();
    assert_eq!(done.code, 0, "{document:#}");
    assert_eq!(document["lost"], figures(&trail).lost, "{document:#}");
}
