//! `/admin/keys`: who may use this API. For owners.

use axum::Json as Answer;
use axum::body::Body;
use axum::extract::State;
use http::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::Owner;
use super::body::{Asked, At, Json};
use super::keys::{shown_once, ttl};
use super::page::{Page, next};
use super::problem::Problem;
use super::words::{KeyName, User};
use super::{Desk, Shared};
use crate::audit::{Act, Deed};
use crate::identity::KeyId;
use crate::vault::{AdminKeyInfo, IssuedAdminKey, Role, VaultError, date};

/// Keys read at once while looking for another owner.
const PAGE: usize = 256;

pub(super) fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(issue, list))
        .routes(routes!(revoke))
}

/// What an administrator may do; each may do what those before may.
#[derive(Deserialize, Serialize, ToSchema, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum RoleName {
    /// Look.
    Reader,
    /// Change users, groups, access, limits and secrets; revoke.
    Admin,
    /// Act as others, and manage administrators.
    Owner,
}

/// An administrator's key to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct AdminKeyToIssue {
    /// Who will hold it. One who is called as a user may issue keys for that user.
    name: User,
    /// `admin` unless said.
    role: Option<RoleName>,
    /// How long it lives; until revoked unless said.
    #[schema(minimum = 1, maximum = 36500)]
    ttl_days: Option<u32>,
}

/// An administrator's key that was made. It can be read here and never again.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct AdminKeyIssued<'a> {
    /// The key itself.
    key: &'a str,
    id: &'a str,
    name: &'a str,
    role: RoleName,
    #[schema(format = DateTime)]
    expires_at: Option<String>,
}

/// An administrator's key, without itself.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct AdminKeyDocument {
    id: String,
    name: String,
    role: RoleName,
    /// `usable`, `revoked` or `expired`.
    status: &'static str,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    expires_at: Option<String>,
    #[schema(format = DateTime)]
    revoked_at: Option<String>,
    /// Whether every copy of the store is known to have what was changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    on_all_copies: Option<bool>,
}

/// Administrators' keys.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct AdminKeyList {
    keys: Vec<AdminKeyDocument>,
    /// The cursor of the next page.
    next: Option<String>,
}

impl From<Role> for RoleName {
    fn from(role: Role) -> Self {
        match role {
            Role::Reader => Self::Reader,
            Role::Admin => Self::Admin,
            Role::Owner => Self::Owner,
        }
    }
}

impl From<RoleName> for Role {
    fn from(role: RoleName) -> Self {
        match role {
            RoleName::Reader => Self::Reader,
            RoleName::Admin => Self::Admin,
            RoleName::Owner => Self::Owner,
        }
    }
}

impl AdminKeyDocument {
    fn of(key: AdminKeyInfo) -> Self {
        Self {
            status: key.status(),
            id: key.id.to_string(),
            name: key.record.name,
            role: key.record.role.into(),
            created_at: date(key.record.created),
            expires_at: key.record.expires.map(date),
            revoked_at: key.record.revoked.map(date),
            on_all_copies: None,
        }
    }
}

impl Desk {
    /// That an owner's key is left when this one is gone.
    async fn leaves_an_owner(&self, gone: &KeyId) -> Result<(), Problem> {
        let (mut after, mut is_owner, mut is_there) = (None, false, false);
        loop {
            let keys = self.vault.admin_keys(after.as_ref(), PAGE).await?;
            for key in &keys {
                let owns = key.record.role == Role::Owner && key.stands();
                if key.id == *gone {
                    (is_there, is_owner) = (true, owns);
                } else if owns {
                    return Ok(());
                }
            }
            match keys.last() {
                Some(last) if keys.len() == PAGE => after = Some(last.id.clone()),
                _ => break,
            }
        }
        if is_there && !is_owner {
            return Ok(());
        }
        if !is_there {
            return Err(VaultError::NoKey(gone.clone()).into());
        }
        Err(Problem::conflict(
            "last-owner",
            "this is the last key of an owner, without which nobody could manage administrators over this API: \
             issue another first, or revoke it with `cloakroom admin key revoke`",
        ))
    }
}

/// Make a key for an administrator; it is shown this once
#[utoipa::path(post, path = "/admin/keys", tag = "admin", request_body = AdminKeyToIssue,
    responses((status = 201, description = "Made", body = AdminKeyIssued)))]
async fn issue(
    Owner(actor): Owner,
    State(desk): State<Shared>,
    Json(body): Json<AdminKeyToIssue>,
) -> Result<Response<Body>, Problem> {
    let (name, role) = (body.name.0, body.role.unwrap_or(RoleName::Admin));
    let ttl = ttl(body.ttl_days)?;
    let deed = Deed::admin_key_issue(&name, role.into(), ttl);
    let (inner, holder) = (desk.clone(), name.clone());
    let work = async move {
        Ok(inner
            .vault
            .issue_admin_key(&holder, role.into(), ttl)
            .await?)
    };
    let issued = desk
        .issue(&actor, deed, work, |issued: &IssuedAdminKey| {
            Some(&issued.id)
        })
        .await?;
    Ok(shown_once(&AdminKeyIssued {
        key: issued.key.reveal(),
        id: issued.id.as_str(),
        name: name.as_str(),
        role,
        expires_at: issued.expires.map(date),
    }))
}

/// List the keys of administrators
#[utoipa::path(get, path = "/admin/keys", tag = "admin", params(Page),
    responses((status = 200, description = "A page of them", body = AdminKeyList)))]
async fn list(
    _: Owner,
    State(desk): State<Shared>,
    Asked(page): Asked<Page>,
) -> Result<Answer<AdminKeyList>, Problem> {
    let (limit, after) = page.read(KeyId::parse)?;
    let keys = desk.vault.admin_keys(after.as_ref(), limit).await?;
    let next = next(keys.len(), limit, keys.last().map(|key| &key.id));
    let keys = keys.into_iter().map(AdminKeyDocument::of).collect();
    Ok(Answer(AdminKeyList { keys, next }))
}

/// Revoke the key of an administrator for good; not the last one of an owner
#[utoipa::path(delete, path = "/admin/keys/{key_id}", tag = "admin",
    responses((status = 200, description = "The key as it is now", body = AdminKeyDocument)))]
async fn revoke(
    Owner(actor): Owner,
    State(desk): State<Shared>,
    At(id): At<KeyName>,
) -> Result<Answer<AdminKeyDocument>, Problem> {
    let deed = Deed::revocation(Act::AdminKeyRevoke, &id.0);
    let inner = desk.clone();
    let work = async move {
        inner.leaves_an_owner(&id.0).await?;
        let key = inner.vault.revoke_admin_key(&id.0).await?;
        let mut document = AdminKeyDocument::of(key);
        document.on_all_copies = Some(inner.on_all_copies().await?);
        Ok(document)
    };
    desk.act(&actor, deed, work).await.map(Answer)
}
