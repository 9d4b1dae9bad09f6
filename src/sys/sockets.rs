//! What is asked of sockets that the libraries above do not ask.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::net::sockopt;

/// A stream may be silent for hours. A machine that went away without a word is noticed after some two
/// minutes, and the stream ends, instead of waiting for ever.
///
/// # Errors
/// The system's.
pub fn keep_alive(stream: &impl AsFd) -> io::Result<()> {
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, Duration::from_secs(60))?;
    sockopt::set_tcp_keepintvl(stream, Duration::from_secs(15))?;
    sockopt::set_tcp_keepcnt(stream, 4)?;
    Ok(())
}
