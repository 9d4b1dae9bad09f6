//! Keys of users: issue, list, revoke.

use std::time::Duration;

use axum::Json as Answer;
use axum::body::Body;
use axum::extract::State;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use zeroize::Zeroizing;

use super::access::LimitsDocument;
use super::auth::{Administrator, Reader};
use super::body::{Asked, At, Hidden, Json};
use super::page::Page;
use super::problem::Problem;
use super::words::{KeyLabel, KeyName, Profile, User};
use super::{Desk, Shared};
use crate::audit::{Act, Deed};
use crate::identity::KeyDigest;
use crate::vault::{IssuedKey, KeyInfo, KeyRequest, Role, date};

pub(super) fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(issue, list))
        .routes(routes!(revoke))
        .routes(routes!(revoke_by_id))
}

/// A key to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct KeyToIssue {
    key_name: Option<KeyLabel>,
    /// How long it lives; until revoked unless said.
    #[schema(minimum = 1, maximum = 36500)]
    ttl_days: Option<u32>,
    /// The profile it uses where the path names none.
    profile: Option<Profile>,
    /// Bounds of this key alone.
    limits: Option<LimitsDocument>,
}

/// A key that was made. It can be read here and never again.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct KeyIssued<'a> {
    status: &'a str,
    username: &'a str,
    /// The key itself.
    api_key: &'a str,
    key_id: &'a str,
    #[schema(format = DateTime)]
    expires_at: Option<String>,
    note: &'a str,
}

/// A key, without itself.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct KeyDocument {
    key_id: String,
    /// `usable`, `revoked` or `expired`.
    status: &'static str,
    key_name: Option<String>,
    profile: Option<String>,
    limits: LimitsDocument,
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

/// Keys.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct KeyList {
    keys: Vec<KeyDocument>,
    /// The cursor of the next page.
    next: Option<String>,
}

/// A key, by itself or by its id: one of the two.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct KeyToRevoke {
    api_key: Option<Hidden>,
    key_id: Option<KeyName>,
}

impl KeyDocument {
    fn of(key: KeyInfo) -> Self {
        Self {
            status: key.status(),
            key_id: key.id.to_string(),
            key_name: key.record.name,
            profile: key.record.profile,
            limits: key.record.limits.into(),
            created_at: date(key.record.created),
            expires_at: key.record.expires.map(date),
            revoked_at: key.record.revoked.map(date),
            on_all_copies: None,
        }
    }
}

impl Desk {
    async fn revoked(&self, key: KeyInfo) -> Result<KeyDocument, Problem> {
        let mut document = KeyDocument::of(key);
        document.on_all_copies = Some(self.on_all_copies().await?);
        Ok(document)
    }
}

/// How long a key lives that is to live so many days.
pub(super) fn ttl(days: Option<u32>) -> Result<Option<Duration>, Problem> {
    match days {
        None => Ok(None),
        Some(days) if (1..=36_500).contains(&days) => {
            Ok(Some(Duration::from_secs(u64::from(days) * 24 * 60 * 60)))
        }
        Some(_) => Err(Problem::wrong("`ttl_days` is 1 to 36500")),
    }
}

/// An answer with a key in it, in memory that is cleared when it was sent.
pub(super) fn shown_once(document: &impl Serialize) -> Response<Body> {
    let mut text = Zeroizing::new(Vec::with_capacity(4096));
    serde_json::to_writer(&mut *text, document).expect("a document of texts");
    let mut response = Response::new(Body::from(Bytes::from_owner(text)));
    *response.status_mut() = StatusCode::CREATED;
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

/// Make a key; it is shown this once
///
/// For somebody else (the administrator's key has another name than the user) this needs the role owner.
#[utoipa::path(post, path = "/users/{user}/keys", tag = "keys", request_body = KeyToIssue,
    responses((status = 201, description = "Made", body = KeyIssued)))]
async fn issue(
    Administrator(actor): Administrator,
    State(desk): State<Shared>,
    At(user): At<User>,
    Json(body): Json<KeyToIssue>,
) -> Result<Response<Body>, Problem> {
    let user = user.0;
    // Whom he calls himself decides what he may, and nothing of what is recorded: the key is a user's.
    if actor.name != user.as_str()
        && let Err(problem) = actor.needs(Role::Owner)
    {
        let deed = Deed::key_issue(&user, &KeyRequest::default());
        desk.trail.refuse(&actor.doer(), &deed);
        return Err(problem);
    }
    let ttl = ttl(body.ttl_days)?;
    let request = KeyRequest {
        name: body.key_name.map(|name| name.0.to_string()),
        ttl,
        profile: body.profile.map(|profile| profile.0),
        limits: body.limits.map(Into::into).unwrap_or_default(),
    };
    let deed = Deed::key_issue(&user, &request);
    let (inner, name) = (desk.clone(), user.clone());
    let work = async move { Ok(inner.vault.issue_key(&name, request).await?) };
    let issued = desk
        .issue(&actor, deed, work, |issued: &IssuedKey| Some(&issued.id))
        .await?;
    Ok(shown_once(&KeyIssued {
        status: "created",
        username: user.as_str(),
        api_key: issued.key.reveal(),
        key_id: issued.id.as_str(),
        expires_at: issued.expires.map(date),
        note: "keep the key now: it is shown this once, and cannot be read again",
    }))
}

/// List a user's keys, also those that are revoked or have expired
#[utoipa::path(get, path = "/users/{user}/keys", tag = "keys", params(Page),
    responses((status = 200, description = "A page of them", body = KeyList)))]
async fn list(
    _: Reader,
    State(desk): State<Shared>,
    At(user): At<User>,
    Asked(page): Asked<Page>,
) -> Result<Answer<KeyList>, Problem> {
    let keys = desk.vault.keys(&user.0).await?;
    // In the order in which they were made.
    let place = |key: &KeyInfo| format!("{:020}-{}", key.record.created, key.id);
    let (keys, next) = page.of(keys, place)?;
    let keys = keys.into_iter().map(KeyDocument::of).collect();
    Ok(Answer(KeyList { keys, next }))
}

/// Revoke a key for good: by itself, if it was found in a leak, or by its id
#[utoipa::path(post, path = "/keys/revoke", tag = "keys", request_body = KeyToRevoke,
    responses((status = 200, description = "The key as it is now", body = KeyDocument)))]
async fn revoke(
    Administrator(actor): Administrator,
    State(desk): State<Shared>,
    Json(body): Json<KeyToRevoke>,
) -> Result<Answer<KeyDocument>, Problem> {
    let digest = match body {
        KeyToRevoke {
            api_key: None,
            key_id: Some(id),
        } => return revoke_id(&actor, &desk, id).await,
        KeyToRevoke {
            api_key: Some(key),
            key_id: None,
        } => {
            let prefixes = &desk.known.now().key_prefixes;
            let digest = KeyDigest::of_presented(key.bytes().trim_ascii(), prefixes);
            digest.map_err(|error| Problem::wrong(format!("`api_key` is {error}")))?
        }
        _ => return Err(Problem::wrong("send either `api_key` or `key_id`")),
    };
    let deed = Deed::revocation(Act::KeyRevoke, &digest.key_id());
    let inner = desk.clone();
    let work = async move {
        let key = inner.vault.revoke_digest(&digest).await?;
        inner.revoked(key).await
    };
    desk.act(&actor, deed, work).await.map(Answer)
}

/// Revoke a key for good
#[utoipa::path(delete, path = "/keys/{key_id}", tag = "keys",
    responses((status = 200, description = "The key as it is now", body = KeyDocument)))]
async fn revoke_by_id(
    Administrator(actor): Administrator,
    State(desk): State<Shared>,
    At(id): At<KeyName>,
) -> Result<Answer<KeyDocument>, Problem> {
    revoke_id(&actor, &desk, id).await
}

async fn revoke_id(
    actor: &super::auth::Actor,
    desk: &Shared,
    id: KeyName,
) -> Result<Answer<KeyDocument>, Problem> {
    let deed = Deed::revocation(Act::KeyRevoke, &id.0);
    let inner = desk.clone();
    let work = async move {
        let key = inner.vault.revoke_key(&id.0).await?;
        inner.revoked(key).await
    };
    desk.act(actor, deed, work).await.map(Answer)
}
