//! What a child may read and run: the system, and what its command needs.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::Containment;
use super::program::{self, ProgramError};
use crate::sys;

/// What every program may need. Folders of links (`/lib`) and those that are not there do no harm.
const SYSTEM: &[&str] = &[
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/etc",
    "/nix/store",
    "/gnu/store",
    "/var/lib/ca-certificates",
    // Resolvers keep what `/etc/resolv.conf` leads to there, and replace it.
    "/run/resolvconf",
    "/run/systemd/resolve",
];

/// Where a proxy's configuration usually is, whatever else is forbidden.
const OURS: &str = "/etc/cloakroom";

/// Folders that are nobody's package: what lies in them has nothing to do with each other.
const WIDE: &[&str] = &[
    "/", "/boot", "/dev", "/home", "/media", "/mnt", "/opt", "/proc", "/root", "/run", "/srv",
    "/sys", "/tmp", "/var", "/var/lib", "/var/run", "/var/tmp",
];

/// Beside a package's `bin`, what belongs to it.
const PARTS: &[&str] = &["bin", "lib", "lib32", "lib64", "libexec", "share"];

/// Files that say that a folder is a package.
const MARKS: &[&str] = &[
    "package.json",
    "pyproject.toml",
    "setup.py",
    "setup.cfg",
    "deno.json",
];

/// Endings of programs that load others from where they lie.
const CODE: &[&str] = &[
    "cjs", "cts", "dll", "jar", "js", "jsx", "lua", "mjs", "mts", "php", "pl", "py", "pyc", "rb",
    "sh", "ts", "tsx",
];

/// Why a command cannot be contained.
#[derive(Debug, thiserror::Error)]
pub enum ReadableError {
    /// It cannot even be run.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// A path that the operator named is not there.
    #[error("{0:?} cannot be made readable: {1}")]
    Missing(PathBuf, #[source] io::Error),
    /// Something would be readable that must not be.
    #[error(
        "{readable:?} would have to be readable for this command, and {forbidden:?} must not be: move \
         one of them, or set sandbox = \"none\""
    )]
    Forbidden {
        /// What the command needs.
        readable: PathBuf,
        /// What it must not read.
        forbidden: PathBuf,
    },
}

/// The files and folders that a child running this command may read and run, links resolved. Reads the file
/// system.
///
/// Of the system, what is forbidden is left out. What the command needs is found by where its program and
/// its arguments lie that are absolute paths: a Python environment, the outermost `node_modules`, a package
/// with `bin` and `lib`, the folder with a script's `package.json`; never a home directory, nor a folder that
/// anybody may write to.
///
/// # Errors
/// The command cannot be run, or could read what is forbidden.
pub fn readable(
    command: &[String],
    containment: &Containment,
) -> Result<Vec<PathBuf>, ReadableError> {
    let (name, arguments) = command.split_first().ok_or(ProgramError::Empty)?;
    let path = &containment.path;
    let programs = program::with_interpreters(program::find(name, path)?, path)?;
    let forbidden: Vec<_> = containment.forbidden.iter().map(|f| settled(f)).collect();
    let mut wanted = Wanted::new();
    for program in &programs {
        let is_code = program::first_line(program).is_some();
        wanted.file(program, is_code);
    }
    for argument in arguments {
        wanted.argument(Path::new(argument));
    }
    for extra in &containment.readable {
        let found = extra.canonicalize();
        let found = found.map_err(|error| ReadableError::Missing(extra.clone(), error))?;
        wanted.found.insert(found);
    }
    refuse(&wanted.found, &forbidden)?;
    let runs_as_root = containment.user.map_or(sys::user(), |(user, _)| user) == 0;
    let mut hidden = forbidden;
    hidden.push(OURS.into());
    if runs_as_root {
        kept_from_others(Path::new("/etc"), &mut hidden);
    }
    let mut all = Vec::new();
    for part in &wanted.system {
        carve(part, &hidden, &mut all);
    }
    // Where else a link there may lead.
    all.extend(fs::canonicalize("/etc/resolv.conf"));
    all.extend(wanted.found);
    Ok(all)
}

/// Whether what is forbidden can be read when that can: by lying beneath it, or around it.
fn refuse(readable: &BTreeSet<PathBuf>, forbidden: &[PathBuf]) -> Result<(), ReadableError> {
    for readable in readable {
        let meets = |forbidden: &&PathBuf| {
            forbidden.starts_with(readable) || readable.starts_with(forbidden)
        };
        if let Some(forbidden) = forbidden.iter().find(meets) {
            return Err(ReadableError::Forbidden {
                readable: readable.clone(),
                forbidden: forbidden.clone(),
            });
        }
    }
    Ok(())
}

/// Whether a child could read what is forbidden because it lies in its own folder.
///
/// # Errors
/// It does.
pub(super) fn refuse_folder(folder: &Path, containment: &Containment) -> Result<(), ReadableError> {
    let folder = settled(folder);
    let mut forbidden = containment.forbidden.iter();
    let inside = forbidden.find(|forbidden| settled(forbidden).starts_with(&folder));
    inside.map_or(Ok(()), |forbidden| {
        Err(ReadableError::Forbidden {
            readable: folder,
            forbidden: forbidden.clone(),
        })
    })
}

/// A folder of the system, or all in it but what is hidden, as it is now: what is put there later, or in the
/// place of a file, is then not readable to a child that runs already. Links are left out: where they lead is readable
/// by itself, or is not to be.
fn carve(part: &Path, hidden: &[PathBuf], into: &mut Vec<PathBuf>) {
    if hidden.iter().any(|hidden| is_or_is_beside(part, hidden)) {
        return;
    }
    if !hidden.iter().any(|hidden| hidden.starts_with(part)) {
        into.push(part.to_owned());
        return;
    }
    let entries = fs::read_dir(part).into_iter().flatten().flatten();
    for entry in entries {
        if entry.file_type().is_ok_and(|kind| !kind.is_symlink()) {
            carve(&entry.path(), hidden, into);
        }
    }
}

/// What others than its owner and group may not read: keys and passwords that a child must not read either
/// because it runs as root.
fn kept_from_others(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(found) = entry.metadata() else {
            continue;
        };
        let needed = if found.is_dir() { 0o5 } else { 0o4 };
        if found.permissions().mode() & needed != needed {
            into.push(entry.path());
        } else if found.is_dir() {
            kept_from_others(&entry.path(), into);
        }
    }
}

/// Itself, and what belongs to it by name: `store.db-wal`, `master.keys.bak`.
fn is_or_is_beside(path: &Path, hidden: &Path) -> bool {
    let (Some(name), Some(hidden_name)) = (path.file_name(), hidden.file_name()) else {
        return false;
    };
    let rest = name
        .as_encoded_bytes()
        .strip_prefix(hidden_name.as_encoded_bytes());
    let is_its_own = |rest: &[u8]| rest.first().is_none_or(|next| b"-.~".contains(next));
    rest.is_some_and(is_its_own) && path.parent() == hidden.parent()
}

/// The path with its links resolved, as far as it is there.
fn settled(path: &Path) -> PathBuf {
    for above in path.ancestors() {
        if let (Ok(found), Ok(rest)) = (above.canonicalize(), path.strip_prefix(above)) {
            // Joining nothing would add a slash.
            return found.components().chain(rest.components()).collect();
        }
    }
    path.to_owned()
}

/// What a command needs besides the system.
struct Wanted {
    system: BTreeSet<PathBuf>,
    homes: Vec<PathBuf>,
    found: BTreeSet<PathBuf>,
}

impl Wanted {
    fn new() -> Self {
        let system = SYSTEM.iter().filter_map(|path| fs::canonicalize(path).ok());
        Self {
            system: system.collect(),
            homes: homes(),
            found: BTreeSet::new(),
        }
    }

    fn argument(&mut self, path: &Path) {
        let found = path.canonicalize().ok().filter(|_| path.is_absolute());
        let Some(found) = found else { return };
        if !found.is_dir() {
            let ending = found.extension().and_then(|ending| ending.to_str());
            let is_code = ending.is_some_and(|ending| CODE.contains(&ending));
            self.file(path, is_code || program::first_line(&found).is_some());
        } else if !self.is_wide(&found) && !self.is_of_system(&found) {
            self.found.insert(found);
        }
    }

    /// A file, as it was named and where it really is: either may lie in a package.
    fn file(&mut self, path: &Path, is_code: bool) {
        let named = path.parent().zip(path.file_name());
        let named = named.and_then(|(above, name)| Some(above.canonicalize().ok()?.join(name)));
        let places: BTreeSet<_> = named.into_iter().chain(path.canonicalize()).collect();
        for place in places {
            if !self.is_of_system(&place) {
                self.place(&place, is_code);
                self.found.insert(place);
            }
        }
    }

    fn place(&mut self, file: &Path, is_code: bool) {
        if let Some(modules) = outermost_modules(file) {
            self.found.insert(modules);
            return;
        }
        let Some(folder) = file.parent() else { return };
        let name = folder.file_name().unwrap_or_default();
        if let Some(package) = folder.parent().filter(|above| !self.is_wide(above)) {
            if name == "shims" && package.join("libexec").is_dir() {
                // pyenv and its like: shims run what is in `versions`.
                self.found.insert(package.to_owned());
                return;
            }
            if package.join("pyvenv.cfg").is_file() {
                self.environment(package);
                return;
            }
            if (name == "bin" || name == "sbin") && self.parts(package) {
                return;
            }
        }
        if is_code {
            self.package(folder);
        }
    }

    /// A Python environment, and the Python it was made with.
    fn environment(&mut self, folder: &Path) {
        self.found.insert(folder.to_owned());
        let text = fs::read_to_string(folder.join("pyvenv.cfg")).unwrap_or_default();
        let homes = text.lines().filter_map(|line| line.split_once('='));
        for (_, home) in homes.filter(|(key, _)| key.trim() == "home") {
            let Ok(home) = Path::new(home.trim()).canonicalize() else {
                continue;
            };
            if let Some(base) = home.parent().filter(|_| !self.is_of_system(&home)) {
                self.parts(base);
            }
        }
    }

    /// The parts of a package with `bin` and `lib`, and whether it is one.
    fn parts(&mut self, package: &Path) -> bool {
        let is_package = package.join("lib").is_dir() || package.join("lib64").is_dir();
        if is_package {
            // `~/.local/share` has anything.
            let is_in_home = package.parent().is_some_and(|above| self.is_wide(above));
            let parts = PARTS.iter().filter(|part| !is_in_home || **part != "share");
            let parts = parts.filter_map(|part| package.join(part).canonicalize().ok());
            self.found.extend(parts.filter(|part| part.is_dir()));
        }
        is_package
    }

    /// The package a script in this folder belongs to, and where it finds others.
    fn package(&mut self, folder: &Path) {
        let narrow = folder.ancestors().take_while(|above| !self.is_wide(above));
        let narrow: Vec<_> = narrow.map(Path::to_owned).collect();
        let modules = narrow.iter().map(|above| above.join("node_modules"));
        let modules: Vec<_> = modules.filter(|modules| modules.is_dir()).collect();
        let marked = |above: &&PathBuf| MARKS.iter().any(|mark| above.join(mark).is_file());
        let package = narrow.iter().find(marked).or(narrow.first());
        self.found.extend(package.cloned());
        self.found.extend(modules);
    }

    fn is_of_system(&self, path: &Path) -> bool {
        self.system.iter().any(|part| path.starts_with(part))
    }

    /// Whether a folder holds more than one thing.
    fn is_wide(&self, folder: &Path) -> bool {
        let named = WIDE.iter().any(|wide| folder == Path::new(wide));
        let home = folder.parent() == Some(Path::new("/home"));
        let open = fs::metadata(folder).is_ok_and(|found| found.permissions().mode() & 0o2 != 0);
        named || home || open || self.homes.iter().any(|home| home == folder)
    }
}

/// The home directories the system knows.
fn homes() -> Vec<PathBuf> {
    let text = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let homes = text.lines().filter_map(|line| line.split(':').nth(5));
    homes
        .filter_map(|home| fs::canonicalize(home).ok())
        .collect()
}

fn outermost_modules(file: &Path) -> Option<PathBuf> {
    let mut above: Vec<_> = file.ancestors().skip(1).collect();
    above.reverse();
    let is_modules = |folder: &&Path| folder.file_name().is_some_and(|n| n == "node_modules");
    above.into_iter().find(is_modules).map(Path::to_owned)
}

#[cfg(test)]
mod tests;
