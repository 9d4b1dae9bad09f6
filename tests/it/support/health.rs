//! What a replica says of itself to probers and scrapers.

use std::net::SocketAddr;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;

use super::client::Client;
use super::redis::free_port;

/// The health listener of one replica.
#[derive(Clone, Copy)]
pub(crate) struct Health(pub(crate) SocketAddr);

impl Health {
    /// On a port that was free a moment ago.
    pub(crate) fn somewhere() -> Self {
        Self(SocketAddr::from(([127, 0, 0, 1], free_port())))
    }

    /// The line of the configuration.
    pub(crate) fn line(self) -> String {
        format!("health_listen = \"{}\"\n", self.0)
    }

    /// The status and the text of `path`; `None` when nobody listens.
    pub(crate) async fn get(self, path: &str) -> Option<(u16, String)> {
        let request = Request::get(path).header("host", "h");
        let request = request.body(Full::<Bytes>::default()).unwrap();
        let answer = Client::new(self.0).exchange(request).await.ok()?;
        Some((answer.status, answer.text()))
    }

    pub(crate) async fn is_ready(self) -> bool {
        matches!(self.get("/readyz").await, Some((200, _)))
    }

    /// The value of a figure, with its labels as they are written.
    pub(crate) async fn figure(self, name: &str) -> f64 {
        let (_, page) = self.get("/metrics").await.expect("it answers");
        let mut lines = page.lines().filter_map(|line| line.rsplit_once(' '));
        let value = lines.find(|(found, _)| *found == name);
        let (_, value) = value.unwrap_or_else(|| panic!("no {name} in\n{page}"));
        value.parse().unwrap()
    }
}
