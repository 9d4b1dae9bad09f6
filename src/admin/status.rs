//! `/health`, for whoever asks, and `/status`.

use axum::Json as Answer;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Shared;
use super::auth::Reader;
use super::problem::Problem;

/// Users that are counted.
const COUNTED: usize = 1000;

pub(super) fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(health))
        .routes(routes!(status))
}

/// That the process answers.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Health {
    status: &'static str,
}

/// How this process does.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Status {
    version: &'static str,
    #[schema(minimum = 0)]
    uptime_seconds: u64,
    servers: Vec<ServerDocument>,
    store: StoreDocument,
    users: Count,
}

/// A server.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ServerDocument {
    name: String,
    /// `http`, `sse` or `stdio`.
    transport: &'static str,
    /// The names of the secrets it takes.
    secrets: Vec<String>,
}

/// The store, as this process sees it.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct StoreDocument {
    /// Whether requests of known users are served: it is heard, or was within `store.stale_for`.
    ready: bool,
}

/// How many there are.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Count {
    /// At most 1000.
    #[schema(minimum = 0, maximum = 1000)]
    count: usize,
    /// Whether there are more.
    more: bool,
}

/// Say that the process answers
#[utoipa::path(get, path = "/health", tag = "status", security(()),
    responses((status = 200, description = "It does", body = Health)))]
async fn health() -> Answer<Health> {
    Answer(Health { status: "ok" })
}

/// Say how the process does
#[utoipa::path(get, path = "/status", tag = "status",
    responses((status = 200, description = "How", body = Status)))]
async fn status(_: Reader, State(desk): State<Shared>) -> Result<Answer<Status>, Problem> {
    let found = desk.vault.users(None, COUNTED + 1).await?.len();
    let known = desk.known.now();
    let servers = known.servers.iter().map(|(name, server)| ServerDocument {
        name: name.to_string(),
        transport: server.transport,
        secrets: server.secrets.iter().map(ToString::to_string).collect(),
    });
    Ok(Answer(Status {
        version: env!("CARGO_PKG_VERSION"),
        uptime_seconds: desk.since.elapsed().as_secs(),
        servers: servers.collect(),
        store: StoreDocument {
            ready: (desk.is_ready)(),
        },
        users: Count {
            count: found.min(COUNTED),
            more: found > COUNTED,
        },
    }))
}
