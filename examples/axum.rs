//! Cloakroom inside your own axum service, without a proxy.
//!
//! You have an MCP server in axum that was written for one user: it takes a credential from the
//! `Authorization` header of each request. Wrap it in [`CloakroomLayer`], and it serves many. Each
//! client sends a Cloakroom key of its own; your handler sees that person's credential in the place
//! where it always was, and never the key.
//!
//! To try it, let the demo make a store, a keyring and two users with a secret each. It prints a
//! `curl` with alice's key; leave it running, or end it with Ctrl-C: the store stays.
//!
//! ```text
//! cargo run -- demo --dir /tmp/room
//! cargo run --example axum -- /tmp/room
//! ```
//!
//! Then take the demo's `curl` and write port 9090 for its own. The answer comes from `call` below.
//! While the example runs, `cargo run -- --config /tmp/room/cloakroom.toml key revoke ID` works on
//! it at once: both share the store.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

use axum::extract::Extension;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::routing::post;
use axum::{Json, Router};
use cloakroom::cli::open;
use cloakroom::gate::{Door, Gate};
use cloakroom::inject::Slots;
use cloakroom::layer::{Caller, CloakroomLayer, Limits, Routes};
use cloakroom::names::ServerName;
use cloakroom::resolve::{Resolver, Settings};
use cloakroom::store::{self, StoreUrl};
use cloakroom::vault::{Beacon, Reader, Vault};
use serde_json::{Value, json};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let room = PathBuf::from(std::env::args_os().nth(1).ok_or("usage: axum FOLDER")?);
    let app = Router::new()
        .route("/mcp", post(call))
        .layer(cloakroom(room).await?);
    // On loopback a web page could reach it: a service for browsers checks Host and Origin too.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:9090").await?;
    Ok(axum::serve(listener, app).await?)
}

/// The layer before a server called `demo`.
async fn cloakroom(room: PathBuf) -> Result<CloakroomLayer, Box<dyn Error>> {
    // Who there is and what they keep, sealed; and the keys that open it. A keyring that is not
    // this store's is refused here and not by every request.
    let ring = Arc::new(open::keyring(&room.join("master.keys").into())?);
    let url = StoreUrl::parse("sqlite:cloakroom.db", &room)?;
    let store = store::open(&store::Settings::new(url)).await?;
    let vault = Vault::new(store.clone(), ring.clone());
    vault.check_keyring().await?;

    // Where the server expects what: the names in ${…} are those of `cloakroom secret set`.
    let server = ServerName::parse("demo")?;
    let slots = Slots::parse([("Authorization", "Bearer ${DEMO_TOKEN}")])?;
    let door = Door::open(&ring, server.clone(), slots)?;

    // `keyring rotate` waits for every process that says it is there, and for no other.
    let mut beacon = Beacon::new(vault, "axum".to_owned(), std::slice::from_ref(&server));
    tokio::spawn(async move {
        loop {
            if let Err(error) = beacon.show().await {
                eprintln!("the store could not be told that this process serves: {error}");
            }
            tokio::time::sleep(Beacon::EVERY).await;
        }
    });

    let resolver = Resolver::new(store, Reader::new(ring), &Settings::default());
    let gate = Gate::new(resolver, [door], Vec::new());
    let routes = Routes::One(server);
    Ok(CloakroomLayer::new(
        Arc::new(gate),
        routes,
        Limits::default(),
    ))
}

/// Your server as it was, but for the caller, who is there for those who want to know.
async fn call(
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    Json(message): Json<Value>,
) -> Json<Value> {
    // Whoever has no secret was told so and is not here.
    let credential = &headers[AUTHORIZATION];
    let text = format!(
        "{} has a credential of {} characters",
        caller.identity.user_name(),
        credential.len()
    );
    Json(json!({
        "jsonrpc": "2.0",
        "id": message["id"],
        "result": {"content": [{"type": "text", "text": text}]}
    }))
}
