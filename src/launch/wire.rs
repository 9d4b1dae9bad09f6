//! What the proxy and the supervisor tell each other: packets of 16 bytes, one of which may bring a file
//! descriptor. Both ends are the same program, so there is no version.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use rustix::cmsg_space;
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use tokio::io::Interest;
use tokio::net::UnixStream;

use super::Exit;

/// What the proxy asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// A child; the packet brings the socket over which it is told what to run.
    Start,
    /// SIGTERM to its process group.
    Terminate,
    /// SIGKILL to it, its process group and all below it.
    Kill,
}

/// What the supervisor answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Report {
    /// There is a process of this number.
    Started(i32),
    /// There is none. The system's number for the reason.
    NotStarted(i32),
    /// It ended.
    Exited(Exit),
}

/// What is said of the child of this number, which the proxy gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Packet<T> {
    pub(super) id: u64,
    pub(super) what: T,
}

const PACKET: usize = 16;

/// What a packet can say.
pub(super) trait Said: Sized {
    fn encode(&self) -> (u32, i32);
    fn decode(kind: u32, value: i32) -> Option<Self>;
}

impl Said for Order {
    fn encode(&self) -> (u32, i32) {
        match self {
            Self::Start => (0, 0),
            Self::Terminate => (1, 0),
            Self::Kill => (2, 0),
        }
    }

    fn decode(kind: u32, _: i32) -> Option<Self> {
        match kind {
            0 => Some(Self::Start),
            1 => Some(Self::Terminate),
            2 => Some(Self::Kill),
            _ => None,
        }
    }
}

impl Said for Report {
    fn encode(&self) -> (u32, i32) {
        match *self {
            Self::Started(pid) => (0, pid),
            Self::NotStarted(errno) => (1, errno),
            Self::Exited(Exit::Code(code)) => (2, code),
            Self::Exited(Exit::Signal(signal)) => (3, signal),
        }
    }

    fn decode(kind: u32, value: i32) -> Option<Self> {
        match kind {
            0 => Some(Self::Started(value)),
            1 => Some(Self::NotStarted(value)),
            2 => Some(Self::Exited(Exit::Code(value))),
            3 => Some(Self::Exited(Exit::Signal(value))),
            _ => None,
        }
    }
}

impl<T: Said> Packet<T> {
    fn encode(&self) -> [u8; PACKET] {
        let (kind, value) = self.what.encode();
        let mut bytes = [0; PACKET];
        bytes[..8].copy_from_slice(&self.id.to_le_bytes());
        bytes[8..12].copy_from_slice(&kind.to_le_bytes());
        bytes[12..].copy_from_slice(&value.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (id, rest) = bytes.split_first_chunk()?;
        let (kind, rest) = rest.split_first_chunk()?;
        let value = rest.try_into().ok()?;
        let what = T::decode(u32::from_le_bytes(*kind), i32::from_le_bytes(value))?;
        let id = u64::from_le_bytes(*id);
        Some(Self { id, what })
    }
}

/// One end of the connection between proxy and supervisor.
///
/// Tokio has no type for a `SOCK_SEQPACKET`; that of a stream is used to wait for it, for nothing else.
pub(super) struct Socket(UnixStream);

impl Socket {
    /// Of a `SOCK_SEQPACKET`. To be called inside a runtime.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn new(socket: OwnedFd) -> io::Result<Self> {
        let socket = std::os::unix::net::UnixStream::from(socket);
        socket.set_nonblocking(true)?;
        UnixStream::from_std(socket).map(Self)
    }

    /// Sends a packet whole, or not at all if it is dropped before.
    ///
    /// # Errors
    /// The other end is gone.
    pub(super) async fn send<T: Said>(
        &self,
        packet: &Packet<T>,
        brings: Option<&OwnedFd>,
    ) -> io::Result<()> {
        let bytes = packet.encode();
        let send = || send_with(&self.0, &bytes, brings.map(std::slice::from_ref));
        self.0.async_io(Interest::WRITABLE, send).await
    }

    /// The next packet, and what it brings; nothing when the other end is gone. Nothing is lost when it is
    /// dropped.
    ///
    /// # Errors
    /// The system's, and packets that say nothing.
    pub(super) async fn receive<T: Said>(
        &self,
    ) -> io::Result<Option<(Packet<T>, Option<OwnedFd>)>> {
        let mut bytes = [0; PACKET];
        let receive = || receive_with(&self.0, &mut bytes);
        let (length, brought) = self.0.async_io(Interest::READABLE, receive).await?;
        if length == 0 {
            return Ok(None);
        }
        let packet = Packet::decode(&bytes[..length]).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Some((packet, brought.into_iter().next())))
    }
}

/// How many descriptors one message brings at most.
const BROUGHT: usize = 3;

/// Sends these bytes, which a socket takes at once, and descriptors with them.
///
/// # Errors
/// The system's.
pub(super) fn send_with(
    socket: &impl AsFd,
    bytes: &[u8],
    brings: Option<&[OwnedFd]>,
) -> io::Result<()> {
    let borrowed: Vec<_> = brings.into_iter().flatten().map(|fd| fd.as_fd()).collect();
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(BROUGHT))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !borrowed.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&borrowed)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let sent = sendmsg(
        socket,
        &[IoSlice::new(bytes)],
        &mut control,
        SendFlags::NOSIGNAL,
    )?;
    if sent == bytes.len() {
        Ok(())
    } else {
        Err(io::ErrorKind::WriteZero.into())
    }
}

/// The length of what came next, 0 when the other end is gone, and the descriptors that came with it.
///
/// # Errors
/// The system's.
pub(super) fn receive_with(
    socket: &impl AsFd,
    bytes: &mut [u8],
) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(BROUGHT))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut into = [IoSliceMut::new(bytes)];
    let received = match recvmsg(socket, &mut into, &mut control, RecvFlags::CMSG_CLOEXEC) {
        // The other end closed before it read everything.
        Err(Errno::CONNRESET) => return Ok((0, Vec::new())),
        received => received?,
    };
    let mut brought = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            brought.extend(descriptors);
        }
    }
    Ok((received.bytes, brought))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_understood() {
        fn heard<T: Said + Copy + PartialEq + std::fmt::Debug>(what: T) {
            let packet = Packet { id: 1 << 40, what };
            assert_eq!(Packet::decode(&packet.encode()), Some(packet));
        }
        heard(Order::Start);
        heard(Order::Terminate);
        heard(Order::Kill);
        heard(Report::Started(7));
        heard(Report::NotStarted(11));
        heard(Report::Exited(Exit::Code(-1)));
        heard(Report::Exited(Exit::Signal(9)));
        assert_eq!(Packet::<Order>::decode(&[9; PACKET]), None);
        assert_eq!(Packet::<Order>::decode(&[0; PACKET - 1]), None);
        assert_eq!(Packet::<Order>::decode(&[0; PACKET + 1]), None);
    }
}
