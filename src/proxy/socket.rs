//! What is listened on: a TCP port, or a Unix socket that asks who connects.

use std::collections::HashSet;
use std::fmt;
use std::fs::Permissions;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use tokio::net::{TcpListener, UnixListener};

use super::places::Place;

/// Foreign users of whom the log is told.
const TOLD: usize = 64;

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A port.
    Tcp(SocketAddr),
    /// A file, which appears and goes with the listener.
    Unix {
        /// The file.
        path: PathBuf,
        /// The users whose processes may connect. Nobody else may, whatever the file's mode.
        uids: Vec<u32>,
    },
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix { path, .. } => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A connection nobody has read from, and the address it comes from, if it has one.
pub(super) enum Stream {
    Tcp(TcpStream, IpAddr),
    Unix(UnixStream),
}

/// A connection that may be served: it has a place.
pub(super) struct Accepted {
    pub(super) stream: Stream,
    /// One of those there are.
    pub(super) place: Place,
}

/// Something that accepts connections.
pub(super) enum Socket {
    Tcp(TcpListener),
    Unix {
        listener: UnixListener,
        peers: Peers,
        /// There for its drop.
        _file: SocketFile,
    },
}

impl Socket {
    /// Binds `address`. The file of a Unix socket whose process is gone is replaced.
    ///
    /// # Errors
    /// It is taken, or the system does not give it.
    pub(super) async fn bind(address: &Address) -> io::Result<Self> {
        Ok(match address {
            Address::Tcp(address) => Self::Tcp(TcpListener::bind(address).await?),
            Address::Unix { path, uids } => {
                remove_stale(path)?;
                let listener = UnixListener::bind(path)?;
                let file = SocketFile::of(path)?;
                // Who is asked for his uid need not be kept out by a mode; where nobody else may
                // connect, it can as well say so.
                let own = rustix::process::geteuid().as_raw();
                let mode = if uids.iter().all(|&uid| uid == own) {
                    0o600
                } else {
                    0o666
                };
                std::fs::set_permissions(path, Permissions::from_mode(mode))?;
                Self::Unix {
                    listener,
                    peers: Peers::new(uids.clone()),
                    _file: file,
                }
            }
        })
    }

    /// What it is bound to: with the port, if any would do.
    pub(super) fn address(&self, asked: &Address) -> io::Result<Address> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(Address::Tcp),
            Self::Unix { .. } => Ok(asked.clone()),
        }
    }

    /// The next connection of somebody who may connect.
    pub(super) async fn accept(&self) -> io::Result<Stream> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                // An IPv4 client of a socket for both is an IPv4 client.
                Ok(Stream::Tcp(stream.into_std()?, peer.ip().to_canonical()))
            }
            Self::Unix {
                listener, peers, ..
            } => loop {
                let (stream, _) = listener.accept().await?;
                if peers.allow(stream.peer_cred()?.uid()) {
                    return Ok(Stream::Unix(stream.into_std()?));
                }
            },
        }
    }
}

/// Who may connect to a Unix socket.
pub(super) struct Peers {
    allowed: Vec<u32>,
    told: Mutex<HashSet<u32>>,
}

impl Peers {
    fn new(allowed: Vec<u32>) -> Self {
        Self {
            allowed,
            told: Mutex::default(),
        }
    }

    /// The log is told of each refused user once.
    fn allow(&self, uid: u32) -> bool {
        let allowed = self.allowed.contains(&uid);
        if !allowed {
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            if told.len() < TOLD && told.insert(uid) {
                tracing::warn!(
                    uid,
                    "this user may not connect to the socket: see listen_uids"
                );
            }
        }
        allowed
    }
}

/// Removes the file of a socket that nobody listens on any more, and nothing else.
fn remove_stale(path: &Path) -> io::Result<()> {
    let found = match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found?,
    };
    if !found.file_type().is_socket() {
        let message = "something is there that is not a socket";
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(_) => Err(io::ErrorKind::AddrInUse.into()),
    }
}

/// The file of a Unix socket, removed when it is dropped if it still is ours.
pub(super) struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl SocketFile {
    fn of(path: &Path) -> io::Result<Self> {
        let found = std::fs::symlink_metadata(path)?;
        Ok(Self {
            path: path.to_owned(),
            device: found.dev(),
            inode: found.ino(),
        })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = std::fs::symlink_metadata(&self.path)
            .is_ok_and(|found| (found.dev(), found.ino()) == (self.device, self.inode));
        if ours {
            // One that stays is taken for what it is by the next who binds.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(path: &Path, uids: &[u32]) -> Address {
        Address::Unix {
            path: path.to_owned(),
            uids: uids.to_vec(),
        }
    }

    fn own() -> u32 {
        rustix::process::geteuid().as_raw()
    }

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    // Fails when `remove_stale` removes whatever is there, or does not try to connect.
    #[tokio::test]
    async fn only_a_socket_nobody_answers_on_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mcp.sock");
        let first = Socket::bind(&at(&path, &[own()])).await.unwrap();
        let error = Socket::bind(&at(&path, &[own()])).await.err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        drop(first);
        assert!(!path.exists(), "it goes with its listener");

        // As a process leaves it that was killed.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let second = Socket::bind(&at(&path, &[own(), own() + 1])).await.unwrap();
        assert_eq!(mode(&path), 0o666);
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "not ours").unwrap();
        drop(second);
        assert!(path.exists(), "what took its place is not ours");
        let error = Socket::bind(&at(&path, &[own()])).await.err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&path).unwrap(), b"not ours");
        std::fs::remove_file(&path).unwrap();
        let _third = Socket::bind(&at(&path, &[own()])).await.unwrap();
        assert_eq!(mode(&path), 0o600);
    }

    // Fails when `allow` is not asked.
    #[tokio::test]
    async fn whoever_is_not_named_is_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mcp.sock");
        let socket = Socket::bind(&at(&path, &[own() + 1])).await.unwrap();
        let mut stream = tokio::net::UnixStream::connect(&path).await.unwrap();
        let mut byte = [0];
        let cut = tokio::io::AsyncReadExt::read(&mut stream, &mut byte);
        tokio::select! {
            _ = socket.accept() => panic!("accepted"),
            read = cut => assert_eq!(read.unwrap(), 0),
        }
    }
}
