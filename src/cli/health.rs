//! `health`: asks a running proxy whether it is ready, for engines that can only run a command.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use http::{Request, StatusCode, Uri};
use serde_json::json;

use super::open::Source;
use super::{Failure, Output};
use crate::config::Listen;
use crate::probe;

/// Shorter than the intervals in which engines ask.
const PATIENCE: Duration = Duration::from_secs(3);

pub(super) async fn run(url: Option<&Uri>, from: &Source, out: &Output) -> Result<(), Failure> {
    let url = match url {
        Some(url) => url.clone(),
        None => configured(from)?,
    };
    let request = Request::get(url.clone()).body(Default::default());
    let request = request.map_err(Failure::new)?;
    let asked = probe::ask(request, None, None, false, PATIENCE).await;
    match asked.map(|answer| answer.status) {
        Ok(StatusCode::OK) => out.answer(&json!({ "ready": true }), "ready\n"),
        Ok(status) => Err(Failure::new(format!(
            "{url} answers {}: not ready",
            status.as_u16()
        ))),
        Err(trouble) => Err(Failure::new(trouble)),
    }
}

fn configured(from: &Source) -> Result<Uri, Failure> {
    let Some(address) = from.load()?.health_listen else {
        return Err(Failure::new(
            "nothing tells whether it is ready: set health_listen, or name a URL with --url",
        ));
    };
    let Listen::Tcp(address) = address else {
        return Err(Failure::new(
            "health_listen is a Unix socket, which this command does not ask: use an address and a port",
        ));
    };
    let url = format!("http://{}/readyz", reachable(address));
    url.parse().map_err(Failure::new)
}

/// Where a listener on all addresses is reached on this machine.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_addresses_are_asked_on_loopback() {
        for (listen, asked) in [
            ("0.0.0.0:8082", "127.0.0.1:8082"),
            ("[::]:8082", "[::1]:8082"),
            ("10.0.0.7:1", "10.0.0.7:1"),
        ] {
            assert_eq!(reachable(listen.parse().unwrap()).to_string(), asked);
        }
    }
}
