//! What is known of a server at the gate.

use http::Uri;

use crate::inject::Slots;
use crate::names::ServerName;
use crate::vault::{Keyring, Sealer, SecretOpener};

/// The keyring has no key for a server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the keyring holds no key for the server `{0}`: use the whole keyring, or one exported for it \
     (cloakroom keyring export --server {0})"
)]
pub struct NoServerKey(pub ServerName);

/// What the gate knows of a server.
pub struct Door {
    pub(super) name: ServerName,
    pub(super) slots: Slots,
    discovery: Discovery,
    reach: Reach,
    pub(super) opener: SecretOpener,
    sealer: Sealer,
}

/// How a server is spoken to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
enum Reach {
    #[default]
    Streamable,
    Sse(Uri),
    Child,
}

/// What becomes of requests that only look around (initialize, server/discover, ping, notifications,
/// the lists) while a secret is missing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Discovery {
    /// They are refused like any other.
    #[default]
    Secret,
    /// They go without the slots whose secrets are missing.
    Omit,
}

impl Door {
    /// A door to the server `name`, which expects secrets in `slots`.
    ///
    /// # Errors
    /// When `ring` holds no key for this server.
    pub fn open(ring: &Keyring, name: ServerName, slots: Slots) -> Result<Self, NoServerKey> {
        let keys = SecretOpener::new(ring, &name).zip(Sealer::new(ring, &name));
        let Some((opener, sealer)) = keys else {
            return Err(NoServerKey(name));
        };
        Ok(Self {
            name,
            slots,
            discovery: Discovery::default(),
            reach: Reach::default(),
            opener,
            sealer,
        })
    }

    /// The same door, with what is done about discovery.
    #[must_use]
    pub fn with_discovery(self, discovery: Discovery) -> Self {
        Self { discovery, ..self }
    }

    /// The same door to a server that speaks HTTP+SSE (MCP 2024-11-05), its stream at `url`.
    #[must_use]
    pub fn with_sse(self, url: Uri) -> Self {
        Self {
            reach: Reach::Sse(url),
            ..self
        }
    }

    /// The same door to a server that runs as a child process of each user, and is spoken to by either
    /// transport.
    #[must_use]
    pub fn with_children(self) -> Self {
        Self {
            reach: Reach::Child,
            ..self
        }
    }

    /// Whether the server runs as a child process of each user.
    #[must_use]
    pub fn has_children(&self) -> bool {
        self.reach == Reach::Child
    }

    /// Where the stream of a server is that speaks HTTP+SSE and nothing else.
    #[must_use]
    pub fn sse_url(&self) -> Option<&Uri> {
        match &self.reach {
            Reach::Sse(url) => Some(url),
            Reach::Streamable | Reach::Child => None,
        }
    }

    /// What is done about discovery while a secret is missing.
    #[must_use]
    pub fn discovery(&self) -> Discovery {
        self.discovery
    }

    /// The server's name.
    #[must_use]
    pub fn server(&self) -> &ServerName {
        &self.name
    }

    /// Where the server expects secrets.
    #[must_use]
    pub fn slots(&self) -> &Slots {
        &self.slots
    }

    /// What seals ids of this server's sessions and events.
    #[must_use]
    pub fn sealer(&self) -> &Sealer {
        &self.sealer
    }
}
