//! The demo's folder: made once, used again, never taken from anything else.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::{SECRET, SERVER};
use crate::cli::{Failure, open, private};

/// The first line of a demo's configuration: by it the folder is known again.
const FIRST_LINE: &str = "# A Cloakroom demo, made by `cloakroom demo`.";
/// Ends the lines that follow the ports each demo finds free. A line without it is the reader's own.
const OURS: &str = "# kept up to date by `cloakroom demo`";

/// A demo's folder, complete.
pub(super) struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Makes the folder, or takes up one of an earlier demo, for a proxy at `listen` and a demo
    /// server at `backend`.
    pub(super) fn prepare(
        path: &Path,
        listen: SocketAddr,
        backend: SocketAddr,
    ) -> Result<Self, Failure> {
        let folder = Self {
            path: path.to_owned(),
        };
        let config = folder.config();
        let told = |error: io::Error| Failure::new(format!("{}: {error}", path.display()));
        let text = match fs::read_to_string(&config) {
            Ok(text) if text.starts_with(FIRST_LINE) => refreshed(&text, listen, backend),
            Err(error) if error.kind() == io::ErrorKind::NotFound && folder.is_free()? => {
                private::make_folder(path).map_err(told)?;
                configuration(listen, backend)
            }
            _ => return Err(folder.taken()),
        };
        private::write_file(&config, &text).map_err(told)?;
        let keyring = path.join("master.keys");
        if !keyring.exists() {
            open::new_keyring(&keyring)?;
        }
        Ok(folder)
    }

    /// The configuration's file.
    pub(super) fn config(&self) -> PathBuf {
        self.path.join("cloakroom.toml")
    }

    /// Whether nothing is there, or an empty folder.
    fn is_free(&self) -> Result<bool, Failure> {
        match fs::read_dir(&self.path) {
            Ok(mut entries) => Ok(entries.next().is_none()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
            Err(_) => Err(self.taken()),
        }
    }

    fn taken(&self) -> Failure {
        Failure::new(format!(
            "{} is there and is not a demo's folder: name another with --dir",
            self.path.display()
        ))
    }
}

fn listen_line(listen: SocketAddr) -> String {
    format!("listen = \"{listen}\" {OURS}")
}

fn backend_line(backend: SocketAddr) -> String {
    format!("url = \"http://{backend}/mcp\" {OURS}")
}

fn configuration(listen: SocketAddr, backend: SocketAddr) -> String {
    let (listen, backend) = (listen_line(listen), backend_line(backend));
    format!(
        "{FIRST_LINE}
# Every setting and its default: config/default.toml of the source. Relative paths start here.

# Where clients connect. On loopback, only from this machine.
{listen}

[store]
# Users, keys and sealed secrets. The commands and a running proxy share the file safely.
url = \"sqlite:cloakroom.db\"

[keyring]
# What seals and opens everything in the store. Real ones: keep a copy, apart from the store's.
file = \"master.keys\"

# The server built into the demo; clients call http://…/{SERVER}/mcp. It runs while the demo does.
[servers.{SERVER}]
{backend}

# Where that server expects its one user's secret: each caller's own {SECRET} goes there.
[servers.{SERVER}.headers]
Authorization = \"Bearer ${{{SECRET}}}\"
"
    )
}

/// The configuration with this demo's addresses; whatever its reader changed stays.
fn refreshed(text: &str, listen: SocketAddr, backend: SocketAddr) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let ours = line.trim_end().ends_with(OURS);
        let written = match line.split(['=', ' ']).next() {
            Some("listen") if ours => listen_line(listen),
            Some("url") if ours => backend_line(backend),
            _ => line.to_owned(),
        };
        let _ = writeln!(out, "{written}");
    }
    out
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::config::Listen;

    fn address(port: u16) -> SocketAddr {
        ([127, 0, 0, 1], port).into()
    }

    #[test]
    fn the_configuration_is_one_and_follows_the_ports() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("demo");
        let folder = Folder::prepare(&path, address(1), address(2)).unwrap();
        let load = || crate::config::load(Some(&folder.config()), std::iter::empty()).unwrap();
        assert_eq!(load().listen, Listen::Tcp(address(1)));
        assert!(load().warnings.is_empty(), "{:?}", load().warnings);
        let mut text = fs::read_to_string(folder.config()).unwrap();
        text.push_str("[servers.mine]\nurl = \"http://127.0.0.1:9/mcp\" # mine\n");
        fs::write(folder.config(), text).unwrap();
        Folder::prepare(&path, address(3), address(4)).unwrap();
        let config = load();
        assert_eq!(
            (config.listen, config.servers.len()),
            (Listen::Tcp(address(3)), 2)
        );
        let text = fs::read_to_string(folder.config()).unwrap();
        assert!(
            text.contains("127.0.0.1:4/mcp") && text.contains("127.0.0.1:9/mcp"),
            "{text}"
        );
    }

    #[test]
    fn what_it_makes_is_its_owners_alone() {
        let root = tempfile::tempdir().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        fs::set_permissions(root.path(), Permissions::from_mode(0o755)).unwrap();
        Folder::prepare(root.path(), address(1), address(2)).unwrap();
        assert_eq!(mode(root.path()), 0o700);
        for file in ["master.keys", "cloakroom.toml"] {
            assert_eq!(mode(&root.path().join(file)), 0o600);
        }
        assert_eq!(
            fs::read_to_string(root.path().join(".gitignore")).unwrap(),
            "*\n"
        );
    }

    #[test]
    fn a_folder_of_something_else_is_left_alone() {
        let root = tempfile::tempdir().unwrap();
        fs::write(
            root.path().join("cloakroom.toml"),
            "listen = \"127.0.0.1:1\"\n",
        )
        .unwrap();
        let error = Folder::prepare(root.path(), address(1), address(2))
            .err()
            .unwrap();
        assert!(error.to_string().contains("--dir"), "{error}");
        let other = tempfile::tempdir().unwrap();
        fs::write(other.path().join("thesis.tex"), "").unwrap();
        assert!(Folder::prepare(other.path(), address(1), address(2)).is_err());
        assert_eq!(fs::read_dir(other.path()).unwrap().count(), 1);
        let file = other.path().join("thesis.tex");
        assert!(Folder::prepare(&file, address(1), address(2)).is_err());
    }
}
