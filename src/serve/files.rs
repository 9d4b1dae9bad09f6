//! Files that may be changed while the process runs.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

/// What tells one content of a file from another; `None` when it cannot be reached.
type Stamp = Option<(u64, u64, u64, i64, i64, i64, i64)>;

/// The files a configuration was read from, as they were and as they are.
pub(super) struct Files {
    paths: Vec<PathBuf>,
    taken: Vec<Stamp>,
    seen: Vec<Stamp>,
}

impl Files {
    /// As they are now, before they are read.
    pub(super) fn taken(paths: Vec<PathBuf>) -> Self {
        let now = stamps(&paths);
        Self {
            paths,
            taken: now.clone(),
            seen: now,
        }
    }

    /// Which they are.
    pub(super) fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    /// Whether they are others than those taken, and the same as when they were last looked at: what is
    /// still being written is left alone.
    pub(super) fn have_changed(&mut self) -> bool {
        let now = stamps(&self.paths);
        let settled = now == self.seen;
        let changed = now != self.taken;
        self.seen = now;
        settled && changed
    }
}

fn stamps(paths: &[PathBuf]) -> Vec<Stamp> {
    paths
        .iter()
        .map(|path| std::fs::metadata(path).ok().map(stamp))
        .collect()
}

fn stamp(file: Metadata) -> (u64, u64, u64, i64, i64, i64, i64) {
    (
        file.dev(),
        file.ino(),
        file.size(),
        file.mtime(),
        file.mtime_nsec(),
        file.ctime(),
        file.ctime_nsec(),
    )
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_change_counts_once_it_has_settled() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.toml");
        fs::write(&path, "1").unwrap();
        let mut files = Files::taken(vec![path.clone()]);
        assert!(!files.have_changed());
        fs::write(&path, "12").unwrap();
        assert!(!files.have_changed(), "it may not be whole yet");
        fs::write(&path, "123").unwrap();
        assert!(!files.have_changed());
        assert!(files.have_changed());
        assert!(!Files::taken(vec![path.clone()]).have_changed());
        fs::remove_file(&path).unwrap();
        assert!(!files.have_changed());
        assert!(files.have_changed(), "that it is gone is told too");
    }

    // What Kubernetes does with a ConfigMap: FILE -> ..data/FILE, ..data -> ..2026_1, and then ..data is
    // replaced by a rename.
    #[test]
    fn a_swapped_symlink_further_up_is_a_change() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for version in ["..1", "..2"] {
            fs::create_dir(at(version)).unwrap();
            fs::write(at(version).join("a.toml"), "same").unwrap();
        }
        symlink("..1", at("..data")).unwrap();
        symlink("..data/a.toml", at("a.toml")).unwrap();
        let mut files = Files::taken(vec![at("a.toml")]);
        assert!(!files.have_changed() && !files.have_changed());
        symlink("..2", at("..new")).unwrap();
        fs::rename(at("..new"), at("..data")).unwrap();
        assert!(!files.have_changed());
        assert!(files.have_changed());
    }
}
