//! Packages from the real registries: npm's and PyPI's.

mod npm;
mod python;

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use cloakroom::packages::{PackageError, Packages, Resolved};

/// The variables of this process, but for `changed`.
fn environment(changed: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    let ours =
        std::env::vars_os().filter(|(name, _)| changed.iter().all(|(other, _)| name != other));
    let changed = changed
        .iter()
        .map(|(name, value)| (name.into(), value.into()));
    ours.chain(changed).collect()
}

/// One that leads to no registry, and to no program but those in `path`.
fn offline(path: &str) -> Vec<(OsString, OsString)> {
    environment(&[
        ("PATH", path),
        ("npm_config_registry", "http://127.0.0.1:9"),
        ("npm_config_fetch_retries", "0"),
        ("PIP_INDEX_URL", "http://127.0.0.1:9/simple"),
        ("PIP_RETRIES", "0"),
        ("PIP_FIND_LINKS", ""),
        ("UV_INDEX_URL", "http://127.0.0.1:9/simple"),
        ("UV_HTTP_RETRIES", "0"),
    ])
}

async fn resolve(packages: &Packages, line: &str) -> Result<Resolved, PackageError> {
    let command: Vec<_> = line.split(' ').map(str::to_owned).collect();
    let resolved = packages.resolve(&command, |_| {}).await?;
    Ok(resolved.unwrap_or_else(|| panic!("{line} is taken for something else")))
}

/// What it writes to standard output when it is started with nothing in its environment.
fn said(resolved: &Resolved) -> String {
    let done = Command::new(&resolved.command[0])
        .args(&resolved.command[1..])
        .env_clear()
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{resolved:?}: {stderr}");
    String::from_utf8(done.stdout).unwrap()
}

/// Every file and folder below that somebody may write to.
fn writable(folder: &Path) -> Vec<std::path::PathBuf> {
    let found = folder.symlink_metadata().unwrap();
    let mut all = Vec::new();
    if found.is_dir() {
        for entry in fs::read_dir(folder).unwrap() {
            all.extend(writable(&entry.unwrap().path()));
        }
    }
    if !found.is_symlink() && found.mode() & 0o222 != 0 {
        all.push(folder.to_owned());
    }
    all
}

/// A folder with `program` of this machine's `PATH` in it, and nothing else.
pub(crate) fn only(program: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = std::env::var_os("PATH").unwrap();
    let found = std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
        .unwrap();
    std::os::unix::fs::symlink(found, folder.path().join(program)).unwrap();
    folder
}

#[tokio::test]
async fn other_commands_are_left_as_they_are() {
    let root = tempfile::tempdir().unwrap();
    let packages = Packages::at(&root.path().join("cache"), environment(&[]));
    for line in [
        "node server.js",
        "npm start",
        "uv run x.py",
        "/opt/npx-like",
        "docker run npx",
    ] {
        let command: Vec<_> = line.split(' ').map(str::to_owned).collect();
        assert_eq!(packages.resolve(&command, |_| {}).await.unwrap(), None);
    }
    assert!(
        !root.path().join("cache").exists(),
        "nothing was to be kept"
    );
}
