//! Files that may be changed while the process runs.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

/// What tells one content of a file from another; `None` when it cannot be reached.
type Stamp = Option<(u64, u64, u64, i64, i64, i64, i64)>;

/// Files that were read, as they were and as they are. They are looked at, not watched: that costs a system
/// call each, and sees what watching misses: a symlink swapped further up, as Kubernetes does with what it
/// mounts, and network file systems.
pub struct Watched {
    paths: Vec<PathBuf>,
    taken: Vec<Stamp>,
    seen: Vec<Stamp>,
}

impl Watched {
    /// As they are now, before they are read.
    #[must_use]
    pub fn taken(paths: Vec<PathBuf>) -> Self {
        let now = stamps(&paths);
        Self {
            paths,
            taken: now.clone(),
            seen: now,
        }
    }

    /// Takes them as they are now, to be called before they are read again: what changes meanwhile is
    /// then a change.
    pub fn take(&mut self) {
        self.taken = stamps(&self.paths);
        self.seen.clone_from(&self.taken);
    }

    /// These files from now on. Of those that were looked at before it is remembered what was taken.
    #[must_use]
    pub fn among(&self, paths: Vec<PathBuf>) -> Self {
        let mut taken = stamps(&paths);
        for (path, stamp) in paths.iter().zip(&mut taken) {
            if let Some(before) = self.paths.iter().position(|known| known == path) {
                *stamp = self.taken[before];
            }
        }
        Self {
            paths,
            seen: taken.clone(),
            taken,
        }
    }

    /// Whether they are others than those taken, and the same as when they were last looked at: what is
    /// still being written is left alone.
    pub fn have_changed(&mut self) -> bool {
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
        let mut files = Watched::taken(vec![path.clone()]);
        assert!(!files.have_changed());
        fs::write(&path, "12").unwrap();
        assert!(!files.have_changed(), "it may not be whole yet");
        fs::write(&path, "123").unwrap();
        assert!(!files.have_changed());
        assert!(files.have_changed());
        assert!(!Watched::taken(vec![path.clone()]).have_changed());
        fs::remove_file(&path).unwrap();
        assert!(!files.have_changed());
        assert!(files.have_changed(), "that it is gone is told too");
    }

    // Fails when `among` looks at a file again that was read before it was changed.
    #[test]
    fn a_change_between_reading_and_looking_again_is_not_lost() {
        let folder = tempfile::tempdir().unwrap();
        let [first, second] = ["a", "b"].map(|name| folder.path().join(name));
        fs::write(&first, "1").unwrap();
        fs::write(&second, "1").unwrap();
        let files = Watched::taken(vec![first.clone()]);
        fs::write(&first, "12").unwrap();
        let mut files = files.among(vec![first, second]);
        assert!(!files.have_changed());
        assert!(files.have_changed());
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
        let mut files = Watched::taken(vec![at("a.toml")]);
        assert!(!files.have_changed() && !files.have_changed());
        symlink("..2", at("..new")).unwrap();
        fs::rename(at("..new"), at("..data")).unwrap();
        assert!(!files.have_changed());
        assert!(files.have_changed());
    }
}
