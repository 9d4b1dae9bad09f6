//! Which servers and tools users and groups may use, and how much users may ask.

use axum::Json as Answer;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Shared;
use super::auth::{Administrator, Reader};
use super::body::{At, Json};
use super::problem::Problem;
use super::words::{Glob, Group, User};
use crate::audit::{Act, Deed};
use crate::vault::{Access, AccessChange, GroupChange, Limits, UserChange};

pub(super) fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(show_of_user, set_of_user))
        .routes(routes!(show_of_group, set_of_group))
        .routes(routes!(show_limits, set_limits))
}

/// Lists of patterns in place of those there are; what is not there stays. `*` stands for any characters,
/// `?` for one; a tool's pattern is `SERVER/TOOL`, or of every server.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct AccessToSet {
    #[schema(max_items = 256)]
    allowed_mcps: Option<Vec<Glob>>,
    #[schema(max_items = 256)]
    blocked_mcps: Option<Vec<Glob>>,
    #[schema(max_items = 256)]
    allowed_tools: Option<Vec<Glob>>,
    #[schema(max_items = 256)]
    blocked_tools: Option<Vec<Glob>>,
}

/// What is allowed and blocked; an empty list of what is allowed restricts nothing.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct AccessDocument {
    name: String,
    allowed_mcps: Vec<Glob>,
    blocked_mcps: Vec<Glob>,
    allowed_tools: Vec<Glob>,
    blocked_tools: Vec<Glob>,
    /// What is probably not meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    warning: Option<&'static str>,
}

/// Bounds: null is as the configuration says, 0 is no bound.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LimitsDocument {
    /// Requests a minute.
    #[schema(minimum = 0, maximum = 4294967295_u64)]
    rate: Option<u32>,
    /// Of these, how many at once.
    #[schema(minimum = 0, maximum = 4294967295_u64)]
    burst: Option<u32>,
    /// Requests a day (UTC).
    #[schema(minimum = 0)]
    daily: Option<u64>,
    /// Requests under way at one moment, in each process.
    #[schema(minimum = 0, maximum = 4294967295_u64)]
    concurrent: Option<u32>,
}

impl From<Limits> for LimitsDocument {
    fn from(limits: Limits) -> Self {
        let Limits {
            rate,
            burst,
            daily,
            concurrent,
        } = limits;
        Self {
            rate,
            burst,
            daily,
            concurrent,
        }
    }
}

impl From<LimitsDocument> for Limits {
    fn from(document: LimitsDocument) -> Self {
        let LimitsDocument {
            rate,
            burst,
            daily,
            concurrent,
        } = document;
        Self {
            rate,
            burst,
            daily,
            concurrent,
        }
    }
}

impl From<AccessToSet> for AccessChange {
    fn from(body: AccessToSet) -> Self {
        Self {
            allowed_servers: body.allowed_mcps.map(Glob::patterns),
            blocked_servers: body.blocked_mcps.map(Glob::patterns),
            allowed_tools: body.allowed_tools.map(Glob::patterns),
            blocked_tools: body.blocked_tools.map(Glob::patterns),
        }
    }
}

impl AccessDocument {
    fn of(name: String, access: &Access) -> Answer<Self> {
        const OPEN: &str = "nothing is allowed or blocked here, so this restricts nothing: every server and tool \
                            may be used, unless a group or default_access says otherwise";
        Answer(Self {
            name,
            allowed_mcps: Glob::all(&access.allowed_servers),
            blocked_mcps: Glob::all(&access.blocked_servers),
            allowed_tools: Glob::all(&access.allowed_tools),
            blocked_tools: Glob::all(&access.blocked_tools),
            warning: access.is_empty().then_some(OPEN),
        })
    }
}

/// Show what a user may use
#[utoipa::path(get, path = "/users/{user}/mcp-access", tag = "access",
    responses((status = 200, description = "The lists", body = AccessDocument)))]
async fn show_of_user(
    _: Reader,
    State(desk): State<Shared>,
    At(name): At<User>,
) -> Result<Answer<AccessDocument>, Problem> {
    let user = desk.vault.user(&name.0).await?;
    Ok(AccessDocument::of(user.record.name, &user.record.access))
}

/// Say what a user may use
#[utoipa::path(put, path = "/users/{user}/mcp-access", tag = "access", request_body = AccessToSet,
    responses((status = 200, description = "The lists as they are now", body = AccessDocument)))]
async fn set_of_user(
    Administrator(actor): Administrator,
    State(desk): State<Shared>,
    At(name): At<User>,
    Json(body): Json<AccessToSet>,
) -> Result<Answer<AccessDocument>, Problem> {
    let access = AccessChange::from(body);
    let deed = Deed::access(&(&name.0).into(), &access);
    let change = UserChange {
        access: Some(access),
        ..UserChange::default()
    };
    let inner = desk.clone();
    let work = async move { Ok(inner.vault.update_user(&name.0, &change).await?) };
    let user = desk.act(&actor, deed, work).await?;
    Ok(AccessDocument::of(user.record.name, &user.record.access))
}

/// Show what the members of a group may use
#[utoipa::path(get, path = "/groups/{group}/mcp-access", tag = "access",
    responses((status = 200, description = "The lists", body = AccessDocument)))]
async fn show_of_group(
    _: Reader,
    State(desk): State<Shared>,
    At(name): At<Group>,
) -> Result<Answer<AccessDocument>, Problem> {
    let group = desk.vault.group(&name.0).await?;
    Ok(AccessDocument::of(group.record.name, &group.record.access))
}

/// Say what the members of a group may use
#[utoipa::path(put, path = "/groups/{group}/mcp-access", tag = "access", request_body = AccessToSet,
    responses((status = 200, description = "The lists as they are now", body = AccessDocument)))]
async fn set_of_group(
    Administrator(actor): Administrator,
    State(desk): State<Shared>,
    At(name): At<Group>,
    Json(body): Json<AccessToSet>,
) -> Result<Answer<AccessDocument>, Problem> {
    let access = AccessChange::from(body);
    let deed = Deed::access(&(&name.0).into(), &access);
    let change = GroupChange {
        access: Some(access),
        ..GroupChange::default()
    };
    let inner = desk.clone();
    let work = async move { Ok(inner.vault.update_group(&name.0, &change).await?) };
    let group = desk.act(&actor, deed, work).await?;
    Ok(AccessDocument::of(group.record.name, &group.record.access))
}

/// Show how much a user may ask
#[utoipa::path(get, path = "/users/{user}/limits", tag = "access",
    responses((status = 200, description = "The bounds", body = LimitsDocument)))]
async fn show_limits(
    _: Reader,
    State(desk): State<Shared>,
    At(name): At<User>,
) -> Result<Answer<LimitsDocument>, Problem> {
    let user = desk.vault.user(&name.0).await?;
    Ok(Answer(user.record.limits.into()))
}

/// Say how much a user may ask, in place of all that was said
#[utoipa::path(put, path = "/users/{user}/limits", tag = "access", request_body = LimitsDocument,
    responses((status = 200, description = "The bounds as they are now", body = LimitsDocument)))]
async fn set_limits(
    Administrator(actor): Administrator,
    State(desk): State<Shared>,
    At(name): At<User>,
    Json(body): Json<LimitsDocument>,
) -> Result<Answer<LimitsDocument>, Problem> {
    let limits = Limits::from(body);
    let deed = Deed::new(Act::UserUpdate, &name.0)
        .changing([("limits", true)])
        .with("limits", json!(limits));
    let change = UserChange {
        limits: Some(limits),
        ..UserChange::default()
    };
    let inner = desk.clone();
    let work = async move { Ok(inner.vault.update_user(&name.0, &change).await?) };
    let user = desk.act(&actor, deed, work).await?;
    Ok(Answer(user.record.limits.into()))
}
