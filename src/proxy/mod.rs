//! STAND-IN, replaced as a whole when the proxy is merged: the shape the commands call.

use std::net::SocketAddr;

use crate::config::Config;

/// A proxy that listens.
pub struct Running(SocketAddr);

/// Why it does not listen.
#[derive(Debug, thiserror::Error)]
#[error("this build holds no proxy")]
pub struct StartError;

impl Running {
    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.0
    }

    /// Blocks until SIGINT or SIGTERM.
    pub fn wait(self) {}
}

/// Returns once it listens.
///
/// # Errors
/// Always, here.
pub fn start(_config: Config) -> Result<Running, StartError> {
    Err(StartError)
}
