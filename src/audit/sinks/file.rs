//! A file, that other processes may write to as well, and that others may rename or delete.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::{Sink, Wrote, patient};

/// Which file it is, whatever it is called.
type Inode = (u64, u64);

/// Appends to the file at a path.
pub(crate) struct FileSink {
    path: PathBuf,
    sync: bool,
    open: Option<Open>,
    /// The file last written to.
    last: Option<Inode>,
    /// Whether what was written there ends within a line.
    is_torn: bool,
}

struct Open {
    file: File,
    inode: Inode,
    /// Not a pipe or terminal.
    is_regular: bool,
}

impl FileSink {
    /// The file at `path`; with `sync`, what it took is on the disk.
    pub(crate) fn new(path: PathBuf, sync: bool) -> Self {
        Self {
            path,
            sync,
            open: None,
            last: None,
            is_torn: false,
        }
    }

    /// Opens the file anew where the path leads to another one by now.
    fn reopen(&mut self) -> io::Result<()> {
        // Looked at for every batch: what is written to a file that was deleted is gone.
        let there = std::fs::metadata(&self.path);
        let there = there.map(|found| inode(&found)).ok();
        if self.open.as_ref().map(|open| open.inode) == there && there.is_some() {
            return Ok(());
        }
        self.open = None;
        let file = match create(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make_folder(&self.path)?;
                create(&self.path)
            }
            other => other,
        }?;
        let found = file.metadata()?;
        let open = Open {
            inode: inode(&found),
            is_regular: found.is_file(),
            file,
        };
        self.is_torn = if open.is_regular {
            found.size() > 0 && !ends_with_newline(&self.path, &open.inode)
        } else {
            self.is_torn && self.last == Some(open.inode)
        };
        self.open = Some(open);
        Ok(())
    }
}

impl Open {
    /// How much was written, and why no more was.
    fn write(&self, bytes: &[u8]) -> (usize, Option<io::Error>) {
        if !self.is_regular {
            return patient::write(&self.file, bytes);
        }
        let mut written = 0;
        while written < bytes.len() {
            match (&self.file).write(&bytes[written..]) {
                Ok(0) => return (written, Some(io::ErrorKind::WriteZero.into())),
                Ok(some) => written += some,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return (written, Some(error)),
            }
        }
        (written, None)
    }
}

impl Sink for FileSink {
    fn ready(&mut self) -> Result<bool, String> {
        let opened = self.reopen();
        opened.map_err(|why| format!("{}: {why}", self.path.display()))?;
        let inode = self.open.as_ref().map(|open| open.inode);
        Ok(self.last.is_some() && self.last != inode)
    }

    fn write(&mut self, bytes: &[u8], _ends: &[usize]) -> Wrote {
        let Some(open) = &self.open else {
            return Wrote::only(0, "not open");
        };
        let newline: &[u8] = if self.is_torn { b"\n" } else { b"" };
        // One write, and not two: others may write between them.
        let joined;
        let whole = if self.is_torn {
            joined = [newline, bytes].concat();
            &joined
        } else {
            bytes
        };
        let (written, mut trouble) = open.write(whole);
        self.last = Some(open.inode);
        if written > 0 {
            self.is_torn = whole[written - 1] != b'\n';
        }
        if trouble.is_none() && self.sync && open.is_regular {
            trouble = open.file.sync_data().err();
        }
        let Some(why) = trouble else {
            return Wrote::all(bytes);
        };
        // A pipe without a reader gets one only by being opened again.
        self.open = None;
        let why = format!("{}: {why}", self.path.display());
        Wrote::only(written.saturating_sub(newline.len()), why)
    }
}

/// For its owner's eyes alone. Opening a pipe does not wait for its reader.
fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
        .open(path)
}

/// As `data_dir` is made, where the file is by default.
fn make_folder(path: &Path) -> io::Result<()> {
    let Some(folder) = path.parent() else {
        return Ok(());
    };
    DirBuilder::new().recursive(true).mode(0o711).create(folder)
}

fn inode(found: &std::fs::Metadata) -> Inode {
    (found.dev(), found.ino())
}

/// Whether the file there ends a line; `false` when that cannot be seen: a line too many does no harm.
fn ends_with_newline(path: &Path, of: &Inode) -> bool {
    let last = || -> io::Result<bool> {
        let file = File::open(path)?;
        let found = file.metadata()?;
        let mut last = [0];
        file.read_exact_at(&mut last, found.size().saturating_sub(1))?;
        Ok(inode(&found) == *of && last == *b"\n")
    };
    last().unwrap_or(false)
}
