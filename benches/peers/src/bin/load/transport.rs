//! A connection to the proxy, plain or with TLS.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};

use crate::tls::{self, Session};

/// A connection that does not block once it is open.
pub enum Transport {
    /// TCP.
    Plain(TcpStream),
    /// TLS over it.
    Tls(Box<Session>),
}

impl Transport {
    /// Opens a connection, with the handshake done.
    pub fn open(to: SocketAddr, tls: bool) -> io::Result<Self> {
        let stream = TcpStream::connect(to)?;
        stream.set_nodelay(true)?;
        Ok(if tls {
            Self::Tls(Box::new(tls::open(stream)?))
        } else {
            stream.set_nonblocking(true)?;
            Self::Plain(stream)
        })
    }

    /// Whether there may be more to read after a read, of which epoll knows nothing.
    pub fn holds_back(&self) -> bool {
        matches!(self, Self::Tls(_))
    }
}

impl AsFd for Transport {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Plain(stream) => stream.as_fd(),
            Self::Tls(session) => session.as_fd(),
        }
    }
}

impl Read for Transport {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Tls(session) => session.read(buffer),
        }
    }
}

impl Write for Transport {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Tls(session) => session.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
