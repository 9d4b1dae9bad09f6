//! `/groups`: add, list, change, delete; and who is in them.

use axum::Json as Answer;
use axum::extract::State;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Shared;
use super::auth::{Administrator, Reader};
use super::body::{Asked, At, Json};
use super::page::{Page, next};
use super::problem::Problem;
use super::users::{Deleted, UserDocument, UserList};
use super::words::{self, Glob, given};
use crate::audit::{Act, Deed};
use crate::vault::{Access, Group, GroupChange, GroupId, UserId, date};

pub(super) fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(add, list))
        .routes(routes!(show, change, delete))
        .routes(routes!(members))
        .routes(routes!(add_member, remove_member))
}

/// A group to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct GroupToAdd {
    name: words::Group,
    /// What it is for, in words.
    #[schema(max_length = 4096)]
    description: Option<String>,
}

/// What is to be different; what is not there stays, and null takes away.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct GroupToChange {
    /// What it is for, in words.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, max_length = 4096)]
    description: Option<Option<String>>,
}

/// A group.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct GroupDocument {
    name: String,
    group_id: String,
    description: Option<String>,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    updated_at: Option<String>,
    allowed_mcps: Vec<Glob>,
    blocked_mcps: Vec<Glob>,
    allowed_tools: Vec<Glob>,
    blocked_tools: Vec<Glob>,
}

/// Groups.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct GroupList {
    groups: Vec<GroupDocument>,
    /// The cursor of the next page.
    next: Option<String>,
}

/// Whether somebody is in a group.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Membership {
    group: String,
    username: String,
    member: bool,
    /// Whether every copy of the store is known to have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    on_all_copies: Option<bool>,
}

impl GroupDocument {
    fn of(group: Group) -> Self {
        let record = group.record;
        Self {
            name: record.name,
            group_id: group.id.to_string(),
            description: record.description,
            created_at: date(record.created),
            updated_at: (record.updated > 0).then(|| date(record.updated)),
            allowed_mcps: Glob::all(&record.access.allowed_servers),
            blocked_mcps: Glob::all(&record.access.blocked_servers),
            allowed_tools: Glob::all(&record.access.allowed_tools),
            blocked_tools: Glob::all(&record.access.blocked_tools),
        }
    }
}

/// Add a group
#[utoipa::path(post, path = "/groups", tag = "groups", request_body = GroupToAdd,
    responses((status = 201, description = "Added", body = GroupDocument)))]
async fn add(
    Administrator(actor): Administrator,
    State(desk): State<Shared>,
    Json(body): Json<GroupToAdd>,
) -> Result<(StatusCode, Answer<GroupDocument>), Problem> {
    let deed = Deed::new(Act::GroupAdd, &body.name.0)
        .changing([("description", body.description.is_some())]);
    let inner = desk.clone();
    let work = async move {
        Ok(inner
            .vault
            .add_group(&body.name.0, body.description, Access::default())
            .await?)
    };
    let group = desk.act(&actor, deed, work).await?;
    Ok((StatusCode::CREATED, Answer(GroupDocument::of(group))))
}

/// List groups
#[utoipa::path(get, path = "/groups", tag = "groups", params(Page),
    responses((status = 200, description = "A page of them", body = GroupList)))]
async fn list(
    _: Reader,
    State(desk): State<Shared>,
    Asked(page): Asked<Page>,
) -> Result<Answer<GroupList>, Problem> {
    let (limit, after) = page.read(GroupId::from_hex)?;
    let groups = desk.vault.groups(after.as_ref(), limit).await?;
    let next = next(groups.len(), limit, groups.last().map(|group| group.id));
    let groups = groups.into_iter().map(GroupDocument::of).collect();
    Ok(Answer(GroupList { groups, next }))
}

/// Show a group
#[utoipa::path(get, path = "/groups/{group}", tag = "groups",
    responses((status = 200, description = "The group", body = GroupDocument)))]
async fn show(
    _: Reader,
    State(desk): State<Shared>,
    At(name): At<words::Group>,
) -> Result<Answer<GroupDocument>, Problem> {
    let group = desk.vault.group(&name.0).await?;
    Ok(Answer(GroupDocument::of(group)))
}

/// Change what is known of a group
#[utoipa::path(patch, path = "/groups/{group}", tag = "groups", request_body = GroupToChange,
    responses((status = 200, description = "The group as it is now", body = GroupDocument)))]
async fn change(
    Administrator(actor): Administrator,
    State(desk): State<Shared>,
    At(name): At<words::Group>,
    Json(body): Json<GroupToChange>,
) -> Result<Answer<GroupDocument>, Problem> {
    let change = GroupChange {
        description: body.description,
        ..GroupChange::default()
    };
    let deed = Deed::new(Act::GroupUpdate, &name.0)
        .changing([("description", change.description.is_some())]);
    let inner = desk.clone();
    let work = async move { Ok(inner.vault.update_group(&name.0, &change).await?) };
    let group = desk.act(&actor, deed, work).await?;
    Ok(Answer(GroupDocument::of(group)))
}

/// Delete a group with what its members share
#[utoipa::path(delete, path = "/groups/{group}", tag = "groups",
    responses((status = 200, description = "Deleted", body = Deleted)))]
async fn delete(
    Administrator(actor): Administrator,
    State(desk): State<Shared>,
    At(name): At<words::Group>,
) -> Result<Answer<Deleted>, Problem> {
    let deed = Deed::new(Act::GroupDelete, &name.0);
    let inner = desk.clone();
    let work = async move {
        inner.vault.delete_group(&name.0).await?;
        Ok(Deleted::of(&name.0, inner.on_all_copies().await?))
    };
    desk.act(&actor, deed, work).await
}

/// List the members of a group
#[utoipa::path(get, path = "/groups/{group}/members", tag = "groups", params(Page),
    responses((status = 200, description = "A page of them", body = UserList)))]
async fn members(
    _: Reader,
    State(desk): State<Shared>,
    At(name): At<words::Group>,
    Asked(page): Asked<Page>,
) -> Result<Answer<UserList>, Problem> {
    let (limit, after) = page.read(UserId::from_hex)?;
    let group = desk.vault.group(&name.0).await?;
    let users = desk.vault.members(&group, after.as_ref(), limit).await?;
    let next = next(users.len(), limit, users.last().map(|user| user.id));
    Ok(Answer(UserDocument::list(users, next)))
}

/// Put a user into a group
#[utoipa::path(put, path = "/groups/{group}/members/{user}", tag = "groups",
    responses((status = 200, description = "A member now", body = Membership)))]
async fn add_member(
    Administrator(actor): Administrator,
    State(desk): State<Shared>,
    At((group, user)): At<(words::Group, words::User)>,
) -> Result<Answer<Membership>, Problem> {
    let deed = Deed::members(Act::GroupJoin, &group.0, std::slice::from_ref(&user.0));
    let inner = desk.clone();
    let work = async move {
        inner.vault.add_member(&group.0, &user.0).await?;
        Ok(Membership {
            group: group.0.to_string(),
            username: user.0.to_string(),
            member: true,
            on_all_copies: None,
        })
    };
    desk.act(&actor, deed, work).await.map(Answer)
}

/// Take a user out of a group
#[utoipa::path(delete, path = "/groups/{group}/members/{user}", tag = "groups",
    responses((status = 200, description = "No member any more", body = Membership)))]
async fn remove_member(
    Administrator(actor): Administrator,
    State(desk): State<Shared>,
    At((group, user)): At<(words::Group, words::User)>,
) -> Result<Answer<Membership>, Problem> {
    let deed = Deed::members(Act::GroupLeave, &group.0, std::slice::from_ref(&user.0));
    let inner = desk.clone();
    let work = async move {
        inner.vault.remove_member(&group.0, &user.0).await?;
        Ok(Membership {
            group: group.0.to_string(),
            username: user.0.to_string(),
            member: false,
            on_all_copies: Some(inner.on_all_copies().await?),
        })
    };
    desk.act(&actor, deed, work).await.map(Answer)
}
