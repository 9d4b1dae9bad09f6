//! Cloakroom around a server written with `rmcp`, whose tools want to know who calls.
//!
//! The layer puts a [`Caller`] into the extensions of the HTTP request, and rmcp hands the request's parts to
//! every tool. So a tool can keep something of each user's own, with no secret involved at all. The user's
//! credential, where there is one, is in the headers of the same parts.
//!
//! Try it as `axum.rs` says, with `--example rmcp`.

mod room;

use std::collections::HashMap;
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::Request;
use axum::http::header::{AUTHORIZATION, HOST, HeaderValue};
use axum::http::request::Parts;
use axum::middleware::map_request;
use cloakroom::layer::Caller;
use rmcp::handler::server::tool::Extension;
use rmcp::handler::server::wrapper::Parameters;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{ErrorData, ServerHandler, schemars, tool, tool_handler, tool_router};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let notes = Notes::default();
    let server = StreamableHttpService::new(
        move || Ok(notes.clone()),
        Arc::new(LocalSessionManager::default()),
        StreamableHttpServerConfig::default(),
    );
    let app = Router::new()
        .route_service("/mcp", server)
        // rmcp wants to see a Host of this machine. The client's was judged before the layer.
        .layer(map_request(with_host));
    room::serve(app).await
}

async fn with_host(mut request: Request) -> Request {
    let host = HeaderValue::from_static("localhost");
    request.headers_mut().insert(HOST, host);
    request
}

/// A note of each user's.
#[derive(Clone, Default)]
struct Notes {
    by_user: Arc<Mutex<HashMap<String, String>>>,
}

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Note {
    /// What to keep.
    text: String,
}

#[tool_router]
impl Notes {
    #[tool(description = "Says who is calling")]
    fn whoami(&self, Extension(parts): Extension<Parts>) -> Result<String, ErrorData> {
        let caller = caller(&parts)?;
        let credential = parts.headers.get(AUTHORIZATION).map_or(0, HeaderValue::len);
        let (user, profile) = (caller.identity.user_name(), &caller.profile);
        Ok(format!(
            "{user}, profile {profile}, with a credential of {credential} characters"
        ))
    }

    #[tool(description = "Keeps a note, and gives back the one before")]
    fn keep(
        &self,
        Parameters(Note { text }): Parameters<Note>,
        Extension(parts): Extension<Parts>,
    ) -> Result<String, ErrorData> {
        // By the user, never by a session: whoever had another's session id would have his note too.
        let user = caller(&parts)?.identity.user_name().to_string();
        let mut notes = self.by_user.lock().unwrap_or_else(PoisonError::into_inner);
        let before = notes.insert(user, text);
        Ok(before.unwrap_or_else(|| "nothing".to_owned()))
    }
}

#[tool_handler]
impl ServerHandler for Notes {}

/// Who calls. It is there for every request the layer let through.
fn caller(parts: &Parts) -> Result<&Caller, ErrorData> {
    let found = parts.extensions.get();
    found.ok_or_else(|| ErrorData::internal_error("no Cloakroom before this server", None))
}
