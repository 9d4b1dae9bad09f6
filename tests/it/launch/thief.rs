//! A server that was written to steal: what it gets. As root the files' owner is the thief, so that Landlock
//! alone stands between.

use std::collections::BTreeMap;
use std::fs;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};

use serde_json::json;

use super::*;
use crate::support::Chance;

/// What nobody may see.
const LOOT: &str = "loot-5f3a";

/// A proxy's things, a neighbour that runs, and what of them a thief is told.
struct Scene {
    room: Room,
    neighbour: Process,
    told: serde_json::Value,
    _listener: UnixListener,
    _tmp: TempDir,
}

impl Scene {
    async fn new(sandbox: Sandbox) -> Self {
        let mut room = Room::new();
        room.containment.sandbox = sandbox;
        let private = |path: &str| {
            let path = room.at(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, LOOT).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            path
        };
        let mut files: Vec<_> = [
            "proxy/master.keys",
            "proxy/store.db",
            "proxy/store.db-wal",
            "proxy/cloakroom.toml",
            "neighbour/token.json",
            "neighbour/tmp/token.json",
        ]
        .map(private)
        .into();
        let tmp = tempfile::tempdir_in("/tmp").unwrap();
        fs::write(tmp.path().join("left"), LOOT).unwrap();
        files.push(tmp.path().join("left"));
        let folders = ["proxy", "neighbour", "neighbour/tmp"].map(|path| room.at(path));
        let contained = sandbox == Sandbox::Landlock;
        let of_system = ["/tmp", "/root", "/home", "/dev", "/dev/shm", "/run"];
        let of_system = of_system.iter().filter(|_| contained);
        let folders: Vec<_> = folders
            .into_iter()
            .chain(of_system.map(PathBuf::from))
            .collect();
        let programs = ["/usr/bin/env", "/etc/hosts"];
        let programs: Vec<_> = programs.iter().filter(|_| contained).collect();
        room.containment.forbidden = files.clone();

        let mut spec = room.spec(&["sh", "-c", "echo up; cat; :"], &[("NOTION_TOKEN", LOOT)]);
        spec.folder = room.at("neighbour");
        // Its folder may hold what the thief must not read.
        let mut containment = room.containment.clone();
        containment.forbidden.clear();
        spec.containment = Arc::new(containment);
        let mut neighbour = room.launcher.launch(spec).await.unwrap();
        neighbour.stdout.read_exact(&mut [0; 3]).await.unwrap();

        let name = format!("cloakroom-{:x}", Chance::new(11).next());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let listener = UnixListener::bind_addr(&address).unwrap();
        let serving = listener.try_clone().unwrap();
        std::thread::spawn(move || {
            while let Ok((mut connection, _)) = serving.accept() {
                let _ = std::io::Write::write_all(&mut connection, LOOT.as_bytes());
            }
        });
        let told = json!({
            "files": files,
            "folders": folders,
            "programs": programs,
            "processes": {
                "proxy": std::process::id(),
                "supervisor": room.launcher.supervisor_pid(),
                "neighbour": neighbour.handle.pid(),
            },
            "abstract": name,
            "address": LOOT.as_ptr().addr(),
            "deadly": contained,
        });
        Self {
            room,
            neighbour,
            told,
            _listener: listener,
            _tmp: tmp,
        }
    }

    /// What came of each attempt.
    async fn steal(&self, command: Vec<String>) -> BTreeMap<String, String> {
        let told = self.told.to_string();
        let mut spec = self.room.spec(&[], &[("ROOM", &told)]);
        spec.command = command;
        let left = finish(self.room.launcher.launch(spec).await.unwrap()).await;
        assert_eq!(left.exit, Exit::Code(0), "{left:?}");
        serde_json::from_str(&left.out).unwrap()
    }
}

fn python() -> Vec<String> {
    let script = fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/it/launch/thief.py"
    ));
    ["/usr/bin/python3", "-c", &script.unwrap()]
        .map(str::to_owned)
        .into()
}

// Fails when any rule of the domain is wider, or its scopes are left out (`domain::enter`).
#[tokio::test]
async fn a_thief_gets_nothing() {
    let scene = Scene::new(Sandbox::Landlock).await;
    let said = scene.steal(python()).await;
    let got = |(_, came): &(&String, &String)| came.starts_with("GOT");
    let got: Vec<_> = said.iter().filter(got).collect();
    assert!(got.is_empty(), "{got:#?}");
    assert!(said.len() > 130, "{}", said.len());
    for name in ["proxy", "supervisor", "neighbour"] {
        // Not for want of a right address.
        let why = &said[&format!("memory of {name}")];
        assert_eq!(why, "Operation not permitted", "{name}");
    }
    // Whom he tried to kill lives.
    drop(scene.neighbour.stdin);
    assert_eq!(scene.neighbour.handle.exited().await, Exit::Code(0));
}

#[tokio::test]
async fn without_a_sandbox_the_same_thief_gets_what_he_tries_for() {
    let scene = Scene::new(Sandbox::None).await;
    let said = scene.steal(python()).await;
    let key = scene.room.at("proxy/master.keys").display().to_string();
    for attempt in [
        format!("read {key}"),
        format!("write {key}"),
        format!("through a link {key}"),
        format!("by a child {key}"),
        "environ of neighbour".to_owned(),
        "cmdline of supervisor".to_owned(),
        "find neighbour".to_owned(),
        "abstract socket".to_owned(),
        "list /proc".to_owned(),
    ] {
        assert!(
            said[&attempt].starts_with("GOT"),
            "{attempt}: {}",
            said[&attempt]
        );
    }
}

const NODE: &str = r#"
const fs = require("fs"), { execFileSync } = require("child_process");
const room = JSON.parse(process.env.ROOM), said = {};
const attempt = (name, steal) => {
  try { said[name] = "GOT " + String(steal()).slice(0, 80); } catch (error) { said[name] = String(error.code ?? error); }
};
for (const path of room.files) {
  attempt("read " + path, () => fs.readFileSync(path));
  attempt("write " + path, () => fs.openSync(path, "r+"));
  attempt("by a shell " + path, () => execFileSync("sh", ["-c", 'cat < "$0"', path], { stdio: "pipe" }));
  attempt("copy " + path, () => fs.copyFileSync(path, "copy"));
}
for (const path of room.folders) attempt("list " + path, () => fs.readdirSync(path));
for (const [name, pid] of Object.entries(room.processes)) {
  for (const what of ["environ", "mem", "maps", "cmdline", "fd/0"])
    attempt(what + " of " + name, () => fs.readFileSync(`/proc/${pid}/${what}`));
  attempt("debug " + name, () => process._debugProcess(pid));
  if (room.deadly && name != "proxy") attempt("kill " + name, () => process.kill(pid, "SIGKILL"));
}
console.log(JSON.stringify(said));
"#;

#[tokio::test]
async fn nor_does_a_thief_of_another_language() {
    let scene = Scene::new(Sandbox::Landlock).await;
    let said = scene
        .steal(["node", "-e", NODE].map(str::to_owned).into())
        .await;
    let got = |(_, came): &(&String, &String)| came.starts_with("GOT");
    let got: Vec<_> = said.iter().filter(got).collect();
    assert!(got.is_empty(), "{got:#?}");
    assert!(said.len() > 50, "{}", said.len());
    drop(scene.neighbour.stdin);
    assert_eq!(scene.neighbour.handle.exited().await, Exit::Code(0));
}
