//! `data_dir`: what servers that run as children leave on disk, the audit trail unless it goes elsewhere, and
//! where each thing lies in it.

use std::path::{Path, PathBuf, absolute};

use crate::store::Settings;

/// The folder of what servers that run as children leave on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataDir(PathBuf);

const CONTROL: (&str, &str) = ("serve-", ".sock");

impl DataDir {
    /// The folder at `path`, whether it is there or not.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// The folder itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The private folders of all children.
    #[must_use]
    pub fn all_children(&self) -> PathBuf {
        self.0.join("children")
    }

    /// The private folders of children whose users are kept in `store`: those of another store's users are
    /// not this one's to clear up.
    #[must_use]
    pub fn children(&self, store: &Settings) -> PathBuf {
        let file = store.url.file().and_then(|file| absolute(file).ok());
        let place = file.map_or_else(|| store.url.shown(), |file| file.display().to_string());
        let place = crc32fast::hash(format!("{place} {}", store.key_prefix).as_bytes());
        self.all_children().join(format!("{place:08x}"))
    }

    /// The audit trail.
    #[must_use]
    pub fn audit(&self) -> PathBuf {
        self.0.join("audit.jsonl")
    }

    /// Packages of npx and uvx.
    #[must_use]
    pub fn packages(&self) -> PathBuf {
        self.0.join("packages")
    }

    /// The socket on which the process `pid` tells of its children.
    #[must_use]
    pub fn control(&self, pid: u32) -> PathBuf {
        let (before, after) = CONTROL;
        self.0.join(format!("{before}{pid}{after}"))
    }

    /// What whoever asks there is to know: a file beside the socket at `control`.
    #[must_use]
    pub fn control_key(control: &Path) -> PathBuf {
        control.with_extension("key")
    }

    /// The sockets that are there, by processes that may be gone.
    #[must_use]
    pub fn controls(&self) -> Vec<PathBuf> {
        let (before, after) = CONTROL;
        let all = std::fs::read_dir(&self.0).into_iter().flatten().flatten();
        let mut found: Vec<_> = all
            .filter(|entry| {
                let name = entry.file_name();
                let name = name.to_string_lossy();
                name.starts_with(before) && name.ends_with(after)
            })
            .map(|entry| entry.path())
            .collect();
        found.sort();
        found
    }
}
