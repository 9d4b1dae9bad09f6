//! `cloakroom demo`, as somebody meets it who has just built it.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::cli::cloakroom;

/// A demo that runs, until dropped.
struct Demo {
    child: Child,
    printed: String,
}

impl Demo {
    /// Starts it and reads what it prints, down to the last line.
    fn start(folder: &Path) -> Self {
        let mut child = cloakroom()
            .args(["demo", "--dir"])
            .arg(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut printed = String::new();
        while !printed.contains("user add --help") {
            if lines.read_line(&mut printed).unwrap() == 0 {
                let mut said = String::new();
                child
                    .stderr
                    .take()
                    .unwrap()
                    .read_to_string(&mut said)
                    .unwrap();
                panic!("the demo ended: {said}");
            }
        }
        Self { child, printed }
    }

    /// What comes back when the lines that begin with `curl` are pasted in a shell.
    fn pasted(&self) -> Vec<String> {
        let lines = self
            .printed
            .lines()
            .filter(|line| line.starts_with("curl "));
        lines.map(paste).collect()
    }
}

fn paste(line: &str) -> String {
    let done = Command::new("sh")
        .args(["-c", line])
        .env_clear()
        .output()
        .unwrap();
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
    String::from_utf8(done.stdout).unwrap()
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn fingerprint(answer: &str) -> &str {
    let start = answer
        .find("fingerprint ")
        .unwrap_or_else(|| panic!("no result: {answer}"))
        + 12;
    let found = &answer[start..start + 12];
    assert!(found.bytes().all(|b| b.is_ascii_hexdigit()), "{answer}");
    found
}

#[test]
fn what_it_prints_can_be_pasted_and_everybody_gets_their_own() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("a demo");
    let demo = Demo::start(&folder);
    let answers = demo.pasted();
    let [alice, bob] = &answers[..] else {
        panic!("two lines to paste: {}", demo.printed)
    };
    assert!(alice.contains("\"result\""), "{alice}");
    assert_ne!(fingerprint(alice), fingerprint(bob));
    for part in [
        "claude mcp add",
        ".cursor/mcp.json",
        ".vscode/mcp.json",
        "secret set alice mine",
    ] {
        assert!(demo.printed.contains(part), "{part}: {}", demo.printed);
    }
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(
        (mode(&folder), mode(&folder.join("master.keys"))),
        (0o700, 0o600)
    );

    // Beside it, in the same moment: another one, on another port.
    let other = Demo::start(&root.path().join("other"));
    assert_ne!(fingerprint(&other.pasted()[0]), fingerprint(alice));
    assert_eq!(fingerprint(&demo.pasted()[0]), fingerprint(alice));
}

#[test]
fn it_goes_on_in_its_folder_with_new_keys() {
    let root = tempfile::tempdir().unwrap();
    let first = Demo::start(root.path());
    let before = first.pasted();
    let key = |demo: &Demo| {
        let start = demo.printed.find("clk_").unwrap();
        demo.printed[start..start + 40].to_owned()
    };
    let old = key(&first);
    drop(first);
    let second = Demo::start(root.path());
    let after = second.pasted();
    assert_eq!(
        fingerprint(&before[0]),
        fingerprint(&after[0]),
        "the secret stays"
    );
    assert_ne!(old, key(&second));
    let line = second
        .printed
        .lines()
        .find(|line| line.starts_with("curl "))
        .unwrap();
    let answer = paste(&line.replace(&key(&second), &old));
    assert!(answer.contains("revoked"), "{answer}");
}

#[test]
fn a_folder_of_something_else_is_refused() {
    let root = tempfile::tempdir().unwrap();
    std::fs::write(root.path().join("thesis.tex"), "").unwrap();
    let done = cloakroom()
        .args(["demo", "--dir"])
        .arg(root.path())
        .output()
        .unwrap();
    assert_eq!(done.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&done.stderr).contains("--dir"));
    assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 1);
}
