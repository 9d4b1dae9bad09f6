//! The admin API, on its real listener.

mod documented;
mod doors;
mod ending;
mod lists;
mod recorded;
mod roles;
mod values;

use std::net::SocketAddr;

use bytes::Bytes;
use cloakroom::vault::{IssuedAdminKey, Role};
use http::Request;
use http_body_util::Full;
use serde_json::Value;

use crate::support::client::{Answer, Client};
use crate::support::proxy::{Lines, Place, Proxy, user};

/// A server nobody reaches.
const GITHUB: &str = "[servers.github]\nurl = \"http://127.0.0.1:9/mcp\"\n\
                      headers.Authorization = \"Bearer ${TOKEN}\"\n";

/// An installation with an administrator.
struct Office {
    proxy: Proxy,
    address: SocketAddr,
    owner: String,
}

impl Office {
    async fn open(root: &str) -> Self {
        Self::with(root, GITHUB).await
    }

    async fn with(root: &str, servers: &str) -> Self {
        let root = format!("admin_listen = \"127.0.0.1:0\"\n{root}");
        let lines = Lines {
            root: &root,
            ..Lines::default()
        };
        let proxy = Proxy::configured(&Place::Sqlite, &lines, servers).await;
        let log = proxy.log_with("admin bound=").await;
        let (_, bound) = log.split_once("admin bound=").unwrap();
        let address = bound.split_whitespace().next().unwrap().parse().unwrap();
        let owner = key(&proxy, "root", Role::Owner).await;
        Self {
            proxy,
            address,
            owner: owner.key.reveal().to_owned(),
        }
    }

    /// Asks as the owner.
    async fn ask(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let answer = self.ask_as(&self.owner, method, path, body).await;
        let document = serde_json::from_slice(&answer.body);
        (answer.status, document.unwrap_or(Value::Null))
    }

    async fn ask_as(&self, key: &str, method: &str, path: &str, body: Value) -> Answer {
        self.send(request(key, method, path, body)).await
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Answer {
        let answer = Client::new(self.address).exchange(request).await;
        answer.unwrap()
    }

    /// What must be answered with this status.
    #[track_caller]
    fn is(&self, (status, document): (u16, Value), expected: u16) -> Value {
        assert_eq!(status, expected, "{document}");
        document
    }
}

async fn key(proxy: &Proxy, name: &str, role: Role) -> IssuedAdminKey {
    let issued = proxy.vault.issue_admin_key(&user(name), role, None).await;
    issued.unwrap()
}

/// A request; null is no body.
fn request(key: &str, method: &str, path: &str, body: Value) -> Request<Full<Bytes>> {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "127.0.0.1")
        .header("authorization", format!("Bearer {key}"));
    let (request, body) = match body {
        Value::Null => (request, Bytes::new()),
        body => {
            let request = request.header("content-type", "application/json");
            (request, body.to_string().into())
        }
    };
    request.body(Full::new(body)).unwrap()
}
