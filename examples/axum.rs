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
//! [`room`](room/mod.rs) has the twenty lines that make the layer. While the example runs, `cargo run -- --config /tmp/room/cloakroom.toml key revoke ID` works on
//! it at once: both share the store.

mod room;

use std::error::Error;

use axum::extract::Extension;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::routing::post;
use axum::{Json, Router};
use cloakroom::layer::Caller;
use serde_json::{Value, json};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    room::serve(Router::new().route("/mcp", post(call))).await
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
