//! Real runtimes work within a domain.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::*;

const NODE: &str = r#"
const fs = require("fs"), os = require("os"), { execFileSync } = require("child_process");
const { Worker } = require("worker_threads");
require("https"); require("crypto").randomBytes(16);
if (!(os.cpus().length > 0 && os.totalmem() > 0 && os.freemem() > 0)) throw new Error("os");
if (!(process.memoryUsage().rss > 0)) throw new Error("memory");
os.uptime(); os.loadavg(); os.hostname(); os.networkInterfaces();
os.userInfo();
if (os.homedir() != process.cwd() || os.tmpdir() != process.cwd() + "/tmp") throw new Error(os.tmpdir());
fs.writeFileSync("kept", "x"); fs.mkdtempSync(os.tmpdir() + "/a-");
fs.readFileSync("/etc/hosts");
if (execFileSync("node", ["-p", "process.version"]).toString().trim() != process.version) throw new Error("child");
new Worker('require("worker_threads").parentPort.postMessage(7)', { eval: true }).on("message", (seven) => {
  require("dns").lookup("localhost", (error, address) => {
    if (error) throw error;
    const server = require("net").createServer().listen(0, "127.0.0.1", () => {
      require("net").connect(server.address().port, "127.0.0.1", () => { console.log("fine", seven); process.exit(0); });
    });
  });
});
"#;

#[tokio::test]
async fn node_runs() {
    let room = Room::new();
    let left = room.run(&["node", "-e", NODE]).await;
    assert_eq!(
        (left.out.as_str(), left.exit),
        ("fine 7\n", Exit::Code(0)),
        "{left:?}"
    );
    assert!(fs::exists(room.at("own/kept")).unwrap());
}

const PYTHON: &str = r#"
import ctypes, hashlib, json, locale, multiprocessing, os, pathlib, platform, random, resource, socket, ssl
import sqlite3, subprocess, sys, tempfile, threading, time, urllib.request, uuid, zoneinfo
ssl.create_default_context()
assert pathlib.Path.home() == pathlib.Path.cwd(), pathlib.Path.home()
assert tempfile.gettempdir() == os.getcwd() + "/tmp", tempfile.gettempdir()
with tempfile.TemporaryDirectory() as folder, sqlite3.connect(folder + "/a.db") as db:
    db.execute("create table a (b)")
assert subprocess.run(["sh", "-c", "exit 5"], close_fds=True).returncode == 5
thread = threading.Thread(target=lambda: None); thread.start(); thread.join()
socket.getaddrinfo("localhost", 80)
os.cpu_count(); platform.platform(); uuid.uuid4(); zoneinfo.ZoneInfo("Europe/Paris"); os.urandom(8)
print("fine", sys.prefix == sys.base_prefix)
"#;

#[tokio::test]
async fn python_runs_and_environments_do() {
    let mut room = Room::new();
    let left = room.run(&["/usr/bin/python3", "-c", PYTHON]).await;
    assert_eq!(
        (left.out.as_str(), left.exit),
        ("fine True\n", Exit::Code(0)),
        "{left:?}"
    );
    // One that lies elsewhere, with a module of its own and a script.
    let made = std::process::Command::new("/usr/bin/python3")
        .args(["-m", "venv", "--without-pip", "--symlinks"])
        .arg(room.at("tools/env"))
        .status();
    assert!(made.unwrap().success());
    let version = room
        .run(&[
            "/usr/bin/python3",
            "-c",
            "import sys; print('%d.%d' % sys.version_info[:2])",
        ])
        .await;
    let packages = format!("tools/env/lib/python{}/site-packages", version.out.trim());
    fs::write(room.at(&packages).join("served.py"), "word = 'served'").unwrap();
    let script = room.at("tools/env/bin/mcp-server");
    let text = format!(
        "#!{}\nimport served; print(served.word)",
        room.at("tools/env/bin/python").display()
    );
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    room.containment.forbidden = vec![room.at("tools/cloakroom.toml")];
    let python = room.at("tools/env/bin/python").display().to_string();
    for command in [
        vec![script.to_str().unwrap()],
        vec![&python, "-m", "served"],
    ] {
        let left = room.run(&command).await;
        assert_eq!(left.exit, Exit::Code(0), "{left:?}");
    }
    assert_eq!(room.run(&[script.to_str().unwrap()]).await.out, "served\n");
    let left = room.run(&[&python, "-c", PYTHON]).await;
    assert_eq!(left.out, "fine False\n", "{left:?}");
}

#[tokio::test]
async fn a_package_of_npm_runs_and_sees_nothing_beside_it() {
    let room = Room::new();
    let write = |path: &str, text: &str| {
        let path = room.at(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    };
    let modules = "app/node_modules";
    write(
        &format!("{modules}/helper/package.json"),
        r#"{"type":"module","main":"index.js"}"#,
    );
    write(
        &format!("{modules}/helper/index.js"),
        "export default 'helped';",
    );
    write(
        &format!("{modules}/server/package.json"),
        r#"{"type":"module","bin":"cli.js"}"#,
    );
    let script = "#!/usr/bin/env node\nimport helper from 'helper'; import fs from 'fs';\n\
                  let seen = 'nothing'; try { seen = fs.readFileSync(process.argv[2]) } catch {}\n\
                  console.log(helper, `${seen}`);";
    write(&format!("{modules}/server/cli.js"), script);
    write("app/.env", "TOKEN=1");
    let bin = room.at(&format!("{modules}/.bin/server"));
    fs::create_dir_all(bin.parent().unwrap()).unwrap();
    symlink("../server/cli.js", &bin).unwrap();
    let secret = room.at("app/.env").display().to_string();
    // Named, it may be read; otherwise not.
    let left = room.run(&[bin.to_str().unwrap(), &secret]).await;
    assert_eq!(left.out, "helped TOKEN=1\n", "{left:?}");
    let left = room
        .run(&[bin.to_str().unwrap(), &format!("{modules}/../../app/.env")])
        .await;
    assert_eq!(left.out, "helped nothing\n", "{left:?}");
    let script = room
        .at(&format!("{modules}/server/cli.js"))
        .display()
        .to_string();
    let left = room.run(&["node", &script, ""]).await;
    assert_eq!(left.out, "helped nothing\n", "{left:?}");
}
