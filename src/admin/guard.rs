//! Host and Origin, checked before anything else on every path: the listener is within reach of every web
//! page its user opens (DNS rebinding).

use std::net::IpAddr;

use http::Request;

use super::problem::Problem;
use crate::proxy::Guard;

/// Whether a request may go on. Who connects to a Unix socket is no browser, and has no host to name.
pub(super) fn check<B>(
    guard: &Guard,
    request: &Request<B>,
    from: Option<IpAddr>,
) -> Result<(), Problem> {
    if from.is_some() && !guard.names_us(request) {
        return Err(Problem::foreign_host());
    }
    if !guard.may_come(request.headers()) {
        return Err(Problem::foreign_origin());
    }
    Ok(())
}
