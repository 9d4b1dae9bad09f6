//! `/users`: add, find, list, change, delete.

use axum::Json as Answer;
use axum::extract::State;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::access::LimitsDocument;
use super::auth::{Administrator, Owner, Reader};
use super::body::{Asked, At, Json};
use super::page::{Page, next};
use super::problem::Problem;
use super::words::{self, Glob, Mail, given};
use super::{Desk, Shared};
use crate::audit::{Act, Deed};
use crate::store::Settled;
use crate::vault::{NewUser, User, UserChange, UserId, date};

pub(super) fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(add, list))
        .routes(routes!(show, change, delete))
        .routes(routes!(enable))
        .routes(routes!(set_acts_for))
}

/// A user to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct UserToAdd {
    username: words::User,
    email: Option<Mail>,
    /// Who it is, in words.
    #[schema(max_length = 4096)]
    description: Option<String>,
    /// What administrators keep in mind.
    #[schema(max_length = 4096)]
    notes: Option<String>,
    /// Whatever other systems want to find: at most 16 KiB of JSON.
    #[schema(value_type = Option<Object>)]
    metadata: Option<Map<String, Value>>,
    limits: Option<LimitsDocument>,
    /// Whether the user's keys are accepted; so unless said.
    enabled: Option<bool>,
}

/// What is to be different; what is not there stays, and null takes away.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct UserToChange {
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<Mail>)]
    email: Option<Option<Mail>>,
    /// Who it is, in words.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, max_length = 4096)]
    description: Option<Option<String>>,
    /// What administrators keep in mind.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, max_length = 4096)]
    notes: Option<Option<String>>,
    /// In place of all that is there.
    #[schema(value_type = Option<Object>)]
    metadata: Option<Map<String, Value>>,
}

/// Whether keys are accepted.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Enable {
    enabled: bool,
}

/// Users in whose name this one may call tools.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ActsFor {
    /// Patterns of names: `*` stands for any characters, `?` for one.
    #[schema(max_items = 256)]
    patterns: Vec<Glob>,
}

/// A user.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UserDocument {
    username: String,
    user_id: String,
    email: Option<String>,
    description: Option<String>,
    notes: Option<String>,
    #[schema(value_type = Object)]
    metadata: Map<String, Value>,
    enabled: bool,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    updated_at: Option<String>,
    allowed_mcps: Vec<Glob>,
    blocked_mcps: Vec<Glob>,
    allowed_tools: Vec<Glob>,
    blocked_tools: Vec<Glob>,
    limits: LimitsDocument,
    /// Users in whose name this one may call tools.
    acts_for: Vec<Glob>,
    /// The groups the user is in; in the answer about one user only.
    #[serde(skip_serializing_if = "Option::is_none")]
    groups: Option<Vec<String>>,
    /// Whether every copy of the store is known to have what was changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    on_all_copies: Option<bool>,
}

/// Users.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UserList {
    users: Vec<UserDocument>,
    /// The cursor of the next page.
    next: Option<String>,
}

/// What was deleted.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Deleted {
    deleted: String,
    /// Whether every copy of the store is known to have it.
    on_all_copies: bool,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Wanted {
    /// Only who has this e-mail.
    #[param(max_length = 254)]
    email: Option<String>,
    /// How many at most.
    #[serde(default = "super::page::usual")]
    #[param(default = 100, minimum = 1, maximum = 1000)]
    limit: u16,
    /// The `next` of the page before.
    #[param(min_length = 1, max_length = 256)]
    cursor: Option<String>,
}

impl UserDocument {
    pub(super) fn of(user: User) -> Self {
        let record = user.record;
        Self {
            username: record.name,
            user_id: user.id.to_string(),
            email: record.email,
            description: record.description,
            notes: record.notes,
            metadata: record.metadata,
            enabled: !record.disabled,
            created_at: date(record.created),
            updated_at: (record.updated > 0).then(|| date(record.updated)),
            allowed_mcps: Glob::all(&record.access.allowed_servers),
            blocked_mcps: Glob::all(&record.access.blocked_servers),
            allowed_tools: Glob::all(&record.access.allowed_tools),
            blocked_tools: Glob::all(&record.access.blocked_tools),
            limits: record.limits.into(),
            acts_for: Glob::all(&record.acts_for),
            groups: None,
            on_all_copies: None,
        }
    }

    pub(super) fn list(users: Vec<User>, next: Option<String>) -> UserList {
        let users = users.into_iter().map(Self::of).collect();
        UserList { users, next }
    }
}

impl Deleted {
    pub(super) fn of(what: impl ToString, on_all_copies: bool) -> Answer<Self> {
        let deleted = what.to_string();
        Answer(Self {
            deleted,
            on_all_copies,
        })
    }
}

impl Desk {
    /// Waits for the store's copies: whether they all have what was taken away.
    pub(super) async fn on_all_copies(&self) -> Result<bool, Problem> {
        Ok(matches!(self.vault.settle().await?, Settled::Everywhere))
    }

    async fn change_user(
        &self,
        name: &words::User,
        change: &UserChange,
    ) -> Result<UserDocument, Problem> {
        let user = self.vault.update_user(&name.0, change).await?;
        let mut document = UserDocument::of(user);
        if change.disabled == Some(true) {
            document.on_all_copies = Some(self.on_all_copies().await?);
        }
        Ok(document)
    }
}

/// Add a user
#[utoipa::path(post, path = "/users", tag = "users", request_body = UserToAdd,
    responses((status = 201, description = "Added", body = UserDocument)))]
async fn add(
    Administrator(actor): Administrator,
    State(desk): State<Shared>,
    Json(body): Json<UserToAdd>,
) -> Result<(StatusCode, Answer<UserDocument>), Problem> {
    let name = body.username.0;
    let deed = Deed::new(Act::UserAdd, &name).changing([
        ("email", body.email.is_some()),
        ("description", body.description.is_some()),
        ("notes", body.notes.is_some()),
        ("metadata", body.metadata.is_some()),
        ("limits", body.limits.is_some()),
        ("disabled", body.enabled == Some(false)),
    ]);
    let new = NewUser {
        email: body.email.map(|email| email.0.to_string()),
        description: body.description,
        notes: body.notes,
        metadata: body.metadata.unwrap_or_default(),
        limits: body.limits.map(Into::into).unwrap_or_default(),
        disabled: body.enabled == Some(false),
        ..NewUser::default()
    };
    let inner = desk.clone();
    let work = async move { Ok(inner.vault.add_user(&name, new).await?) };
    let user = desk.act(&actor, deed, work).await?;
    Ok((StatusCode::CREATED, Answer(UserDocument::of(user))))
}

/// List users
#[utoipa::path(get, path = "/users", tag = "users", params(Wanted),
    responses((status = 200, description = "A page of them", body = UserList)))]
async fn list(
    _: Reader,
    State(desk): State<Shared>,
    Asked(wanted): Asked<Wanted>,
) -> Result<Answer<UserList>, Problem> {
    let page = Page {
        limit: wanted.limit,
        cursor: wanted.cursor,
    };
    let (limit, after) = page.read(UserId::from_hex)?;
    if let Some(email) = wanted.email {
        let found = match desk.vault.user_with_email(&email).await {
            Err(crate::vault::VaultError::NoUser(_)) => Vec::new(),
            found => vec![found?],
        };
        return Ok(Answer(UserDocument::list(found, None)));
    }
    let users = desk.vault.users(after.as_ref(), limit).await?;
    let next = next(users.len(), limit, users.last().map(|user| user.id));
    Ok(Answer(UserDocument::list(users, next)))
}

/// Show a user
#[utoipa::path(get, path = "/users/{user}", tag = "users",
    responses((status = 200, description = "The user", body = UserDocument)))]
async fn show(
    _: Reader,
    State(desk): State<Shared>,
    At(name): At<words::User>,
) -> Result<Answer<UserDocument>, Problem> {
    let user = desk.vault.user(&name.0).await?;
    let groups = desk.vault.groups_of(&user).await?;
    let mut document = UserDocument::of(user);
    document.groups = Some(groups.into_keys().collect());
    Ok(Answer(document))
}

/// Change what is known of a user
#[utoipa::path(patch, path = "/users/{user}", tag = "users", request_body = UserToChange,
    responses((status = 200, description = "The user as he is now", body = UserDocument)))]
async fn change(
    Administrator(actor): Administrator,
    State(desk): State<Shared>,
    At(name): At<words::User>,
    Json(body): Json<UserToChange>,
) -> Result<Answer<UserDocument>, Problem> {
    let change = UserChange {
        email: body
            .email
            .map(|email| email.map(|email| email.0.to_string())),
        description: body.description,
        notes: body.notes,
        metadata: body.metadata,
        ..UserChange::default()
    };
    let deed = Deed::new(Act::UserUpdate, &name.0).changing([
        ("email", change.email.is_some()),
        ("description", change.description.is_some()),
        ("notes", change.notes.is_some()),
        ("metadata", change.metadata.is_some()),
    ]);
    let inner = desk.clone();
    let work = async move { inner.change_user(&name, &change).await };
    desk.act(&actor, deed, work).await.map(Answer)
}

/// Delete a user with all keys and secrets
#[utoipa::path(delete, path = "/users/{user}", tag = "users",
    responses((status = 200, description = "Deleted", body = Deleted)))]
async fn delete(
    Administrator(actor): Administrator,
    State(desk): State<Shared>,
    At(name): At<words::User>,
) -> Result<Answer<Deleted>, Problem> {
    let deed = Deed::new(Act::UserDelete, &name.0);
    let inner = desk.clone();
    let work = async move {
        inner.vault.delete_user(&name.0).await?;
        Ok(Deleted::of(&name.0, inner.on_all_copies().await?))
    };
    desk.act(&actor, deed, work).await
}

/// Accept a user's keys, or refuse them until enabled again
#[utoipa::path(patch, path = "/users/{user}/enable", tag = "users", request_body = Enable,
    responses((status = 200, description = "The user as he is now", body = UserDocument)))]
async fn enable(
    Administrator(actor): Administrator,
    State(desk): State<Shared>,
    At(name): At<words::User>,
    Json(body): Json<Enable>,
) -> Result<Answer<UserDocument>, Problem> {
    let change = UserChange {
        disabled: Some(!body.enabled),
        ..UserChange::default()
    };
    let act = if body.enabled {
        Act::UserEnable
    } else {
        Act::UserDisable
    };
    let deed = Deed::new(act, &name.0);
    let inner = desk.clone();
    let work = async move { inner.change_user(&name, &change).await };
    desk.act(&actor, deed, work).await.map(Answer)
}

/// Say in whose name a user may call tools
#[utoipa::path(put, path = "/users/{user}/acts-for", tag = "access", request_body = ActsFor,
    responses((status = 200, description = "The user as he is now", body = UserDocument)))]
async fn set_acts_for(
    Owner(actor): Owner,
    State(desk): State<Shared>,
    At(name): At<words::User>,
    Json(body): Json<ActsFor>,
) -> Result<Answer<UserDocument>, Problem> {
    let patterns = Glob::patterns(body.patterns);
    let deed = Deed::new(Act::UserUpdate, &name.0)
        .changing([("acts_for", true)])
        .acting_for(Some(&patterns));
    let change = UserChange {
        acts_for: Some(patterns),
        ..UserChange::default()
    };
    let inner = desk.clone();
    let work = async move { inner.change_user(&name, &change).await };
    desk.act(&actor, deed, work).await.map(Answer)
}
