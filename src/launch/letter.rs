//! What a child is told: what to run, where, within which limits, and with which secrets.

use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{Containment, Spec, wire};

/// What a child says when all is done that it does itself. Then either the command runs, and the socket ends,
/// or it says why not.
pub(super) const READY: &str = "\u{6}";

/// All but the secrets.
#[derive(Serialize, Deserialize)]
pub(super) struct Orders {
    /// Whose child it is to be.
    pub(super) supervisor: u32,
    pub(super) command: Vec<String>,
    /// Names, and how long their values are.
    environment: Vec<(String, usize)>,
    pub(super) folder: PathBuf,
    pub(super) containment: Containment,
}

/// A name and a value.
pub(super) type Variable = (String, Zeroizing<Vec<u8>>);

/// As it goes over the socket: two lengths, the orders as JSON, the values one after another.
pub(super) struct Letter {
    orders: usize,
    bytes: Zeroizing<Vec<u8>>,
}

const HEAD: usize = 16;

impl Letter {
    /// To a child of this supervisor.
    ///
    /// # Errors
    /// A path is not UTF-8.
    pub(super) fn of(spec: &Spec, supervisor: u32) -> io::Result<Self> {
        let lengths = spec.environment.iter();
        let orders = Orders {
            supervisor,
            command: spec.command.clone(),
            environment: lengths
                .map(|(name, value)| (name.clone(), value.len()))
                .collect(),
            folder: spec.folder.clone(),
            containment: Containment::clone(&spec.containment),
        };
        let orders = serde_json::to_vec(&orders)?;
        let values = spec.environment.iter().map(|(_, value)| value);
        let length = orders.len() + values.clone().map(|value| value.len()).sum::<usize>();
        // As long as it will be: one that grows leaves copies behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(length));
        bytes.extend_from_slice(&orders);
        for value in values {
            bytes.extend_from_slice(value);
        }
        Ok(Self {
            orders: orders.len(),
            bytes,
        })
    }

    /// What goes first, with the child's standard streams.
    pub(super) fn head(&self) -> [u8; HEAD] {
        let mut head = [0; HEAD];
        head[..8].copy_from_slice(&(self.orders as u64).to_le_bytes());
        head[8..].copy_from_slice(&(self.bytes.len() as u64).to_le_bytes());
        head
    }

    pub(super) fn body(&self) -> &[u8] {
        &self.bytes
    }
}

/// A letter as a child has it.
pub(super) struct Received {
    pub(super) orders: Orders,
    pub(super) environment: Vec<Variable>,
    /// Standard input, output and error.
    pub(super) streams: [OwnedFd; 3],
}

impl Received {
    /// Reads it.
    ///
    /// # Errors
    /// The proxy is gone.
    pub(super) fn from(mut socket: &UnixStream) -> io::Result<Self> {
        let invalid = || io::Error::from(io::ErrorKind::InvalidData);
        let mut head = [0; HEAD];
        let (length, brought) = wire::receive_with(&socket.as_fd(), &mut head)?;
        if length != HEAD {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let streams = brought.try_into().map_err(|_| invalid())?;
        let [orders, all] = [&head[..8], &head[8..]].map(|bytes| {
            let number = bytes.try_into().map(u64::from_le_bytes).ok();
            number.and_then(|number| usize::try_from(number).ok())
        });
        let (Some(orders), Some(all)) = (orders, all) else {
            return Err(invalid());
        };
        let mut bytes = Zeroizing::new(vec![0; all]);
        socket.read_exact(&mut bytes)?;
        let (orders, mut values) = bytes.split_at_checked(orders).ok_or_else(invalid)?;
        let orders: Orders = serde_json::from_slice(orders)?;
        let mut environment = Vec::with_capacity(orders.environment.len());
        for (name, length) in &orders.environment {
            let (value, rest) = values.split_at_checked(*length).ok_or_else(invalid)?;
            environment.push((name.clone(), Zeroizing::new(value.to_vec())));
            values = rest;
        }
        Ok(Self {
            orders,
            environment,
            streams,
        })
    }
}
