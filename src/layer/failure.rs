//! What may go wrong with a backend, in the words of the layer.

use crate::names::ServerName;
use crate::rejection::{Kind, Rejection};

/// Anything a service or body may fail with.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why there is no answer from the backend. A service inside the layer that fails with this tells
/// the client so; any other error counts as [`Failure::Broken`].
#[derive(Debug, Clone, thiserror::Error)]
pub enum Failure {
    /// No connection.
    #[error("cannot be reached: {0}")]
    Down(String),
    /// The replica that holds the session or stream is not there any more, and another may be: the
    /// client is to begin anew.
    #[error("the replica it belongs to is gone")]
    Gone,
    /// A connection, but no answer in time.
    #[error("did not answer within {0:?}")]
    Silent(std::time::Duration),
    /// A reason the client can be told as it is; the text holds nothing a client sent and no secret.
    #[error("{1}")]
    Told(Kind, String),
    /// An answer that is not HTTP, or cut short.
    #[error("answered with something that cannot be used: {0}")]
    Broken(String),
}

impl Failure {
    /// What the client of `server` is told: what kind of failure it is; addresses and system errors are
    /// for the log.
    #[must_use]
    pub fn rejection(&self, server: &ServerName) -> Rejection {
        let (kind, text) = match self {
            Self::Gone => return Rejection::new(Kind::UnknownSession),
            Self::Told(kind, text) => (*kind, text.clone()),
            Self::Down(_) => (
                Kind::BackendDown,
                format!("the server `{server}` cannot be reached at the moment"),
            ),
            Self::Silent(after) => (
                Kind::BackendSilent,
                format!(
                    "the server `{server}` did not answer within {} s",
                    after.as_secs_f32()
                ),
            ),
            Self::Broken(_) => return broken(server),
        };
        Rejection::with_text(kind, text)
    }
}

/// The rejection for a failure, whatever it is; the log is told too, where that is worth a line.
pub(super) fn rejection(server: &ServerName, error: &BoxError) -> Rejection {
    let failure = error.downcast_ref::<Failure>();
    match failure {
        // Said when the replica went; its clients need not fill the log.
        Some(Failure::Gone) => tracing::debug!(%server, "a session whose replica is gone"),
        Some(Failure::Told(_, text)) => {
            tracing::debug!(%server, %text, "the server gives no answer");
        }
        _ => tracing::warn!(%server, error = %error, "no answer from the server"),
    }
    failure.map_or_else(|| broken(server), |failure| failure.rejection(server))
}

fn broken(server: &ServerName) -> Rejection {
    let text = format!("the server `{server}` gave an answer that cannot be used");
    Rejection::with_text(Kind::BackendBroken, text)
}
