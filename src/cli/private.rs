//! A folder and files that are their owner's alone.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

/// Makes a folder (0700) that git leaves alone. One that is there already loses the rights of others.
///
/// # Errors
/// What the system says.
pub fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    // It may have been there, empty, and open to others.
    fs::set_permissions(path, Permissions::from_mode(0o700))?;
    fs::write(path.join(".gitignore"), "*\n")
}

/// Replaces a file (0600) at once, so that whoever is killed leaves the old one or the new one.
///
/// # Errors
/// What the system says.
pub fn write_file(path: &Path, text: &str) -> io::Result<()> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(".new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&draft)?;
    file.write_all(text.as_bytes())?;
    fs::rename(draft, path)
}
