//! `data_dir`: what servers that run as children leave on disk, and where each thing lies in it.

use std::path::{Path, PathBuf};

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

    /// The private folders of children.
    #[must_use]
    pub fn children(&self) -> PathBuf {
        self.0.join("children")
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
