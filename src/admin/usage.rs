//! Who used what.

use axum::Json as Answer;
use axum::extract::State;
use axum::response::IntoResponse;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Shared;
use super::auth::Reader;
use super::body::{Asked, At};
use super::page::{Page, next};
use super::problem::Problem;
use super::words::User;
use crate::usage::csv;
use crate::vault::{Use, UserId, date};

pub(super) fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(everybody))
        .routes(routes!(table))
        .routes(routes!(one))
}

/// What was used with one key of one server.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct UseDocument {
    username: String,
    key_id: String,
    server: String,
    #[schema(minimum = 0)]
    requests: u64,
    /// Requests that were answered by an error of HTTP, or refused.
    #[schema(minimum = 0)]
    errors: u64,
    first_seen: String,
    last_seen: String,
    /// Where the last came from.
    address: Option<String>,
    /// What the client last called itself.
    client: Option<String>,
}

/// A page of what was used.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct UsageList {
    usage: Vec<UseDocument>,
    /// The `cursor` of the next page.
    next: Option<String>,
}

impl UseDocument {
    fn of(user: &str, used: &Use) -> Self {
        Self {
            username: user.to_owned(),
            key_id: used.key.clone(),
            server: used.server.clone(),
            requests: used.requests,
            errors: used.errors,
            first_seen: date(used.first),
            last_seen: date(used.last),
            address: used.address.map(|address| address.to_string()),
            client: used.client.clone(),
        }
    }
}

/// List what users used
///
/// A page is of so many users, of each of whom all is listed: up to 512 pairs of a key and a server.
#[utoipa::path(get, path = "/usage", tag = "usage", params(Page),
    responses((status = 200, description = "A page of it", body = UsageList)))]
async fn everybody(
    _: Reader,
    State(desk): State<Shared>,
    Asked(page): Asked<Page>,
) -> Result<Answer<UsageList>, Problem> {
    let (limit, after) = page.read(UserId::from_hex)?;
    let found = desk.vault.usage(after.as_ref(), limit).await?;
    let next = next(found.len(), limit, found.last().map(|used| used.user.id));
    let usage = found.iter().flat_map(|used| {
        let name = &used.user.record.name;
        used.uses.iter().map(|one| UseDocument::of(name, one))
    });
    Ok(Answer(UsageList {
        usage: usage.collect(),
        next,
    }))
}

/// List what users used as CSV
///
/// A page is of so many users, as at /usage; where the next begins is not in it, so ask for up to 1000.
#[utoipa::path(get, path = "/usage.csv", tag = "usage", params(Page),
    responses((status = 200, description = "A page of it", body = String, content_type = "text/csv")))]
async fn table(
    _: Reader,
    State(desk): State<Shared>,
    Asked(page): Asked<Page>,
) -> Result<impl IntoResponse, Problem> {
    let (limit, after) = page.read(UserId::from_hex)?;
    let found = desk.vault.usage(after.as_ref(), limit).await?;
    let rows = found.iter().flat_map(|used| {
        let name = used.user.record.name.as_str();
        used.uses.iter().map(move |one| (name, one))
    });
    let headers = [
        (CONTENT_TYPE, "text/csv"),
        (CONTENT_DISPOSITION, "attachment; filename=\"usage.csv\""),
    ];
    Ok((headers, csv(rows)))
}

/// List what a user used
#[utoipa::path(get, path = "/users/{user}/usage", tag = "usage",
    responses((status = 200, description = "All of it, the last used first", body = UsageList)))]
async fn one(
    _: Reader,
    State(desk): State<Shared>,
    At(User(name)): At<User>,
) -> Result<Answer<UsageList>, Problem> {
    let user = desk.vault.user(&name).await?;
    let uses = desk.vault.usage_of(&user.id).await?;
    let usage = uses
        .iter()
        .map(|used| UseDocument::of(&user.record.name, used));
    Ok(Answer(UsageList {
        usage: usage.collect(),
        next: None,
    }))
}
