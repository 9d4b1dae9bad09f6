//! Whatever goes wrong, as a problem document (RFC 9457). The only place that decides status and words.

use axum::body::Body;
use axum::response::IntoResponse;
use http::header::{CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use http::{Response, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

use crate::store::StoreError;
use crate::vault::{Role, SecretError, VaultError};

/// An error, as its asker sees it.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    kind: &'static str,
    detail: String,
}

/// What went wrong, and what to do about it (RFC 9457).
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
#[serde(deny_unknown_fields)]
pub(super) struct Document<'a> {
    /// Which problem it is, for programs.
    #[schema(pattern = "^/problems/[a-z-]+$")]
    r#type: String,
    /// Its status in words.
    title: &'a str,
    /// The status of the answer.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// What is wrong and what to do.
    detail: &'a str,
}

impl Problem {
    fn new(status: StatusCode, kind: &'static str, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self {
            status,
            kind,
            detail,
        }
    }

    pub(super) fn status(&self) -> u16 {
        self.status.as_u16()
    }

    pub(super) fn response(self) -> Response<Body> {
        let document = Document {
            r#type: format!("/problems/{}", self.kind),
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status(),
            detail: &self.detail,
        };
        let text = serde_json::to_vec(&document).expect("a document of texts and a number");
        let mut response = Response::new(Body::from(text));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        let kind = HeaderValue::from_static("application/problem+json");
        headers.insert(CONTENT_TYPE, kind);
        if self.status == StatusCode::UNAUTHORIZED {
            let wanted = HeaderValue::from_static("Bearer realm=\"cloakroom admin\"");
            headers.insert(WWW_AUTHENTICATE, wanted);
        }
        response
    }

    pub(super) fn foreign_host() -> Self {
        let detail =
            "this host is not one of admin_allowed_hosts: call the API by one that is, or add it";
        Self::new(StatusCode::MISDIRECTED_REQUEST, "foreign-host", detail)
    }

    pub(super) fn foreign_origin() -> Self {
        let detail = "this Origin is not one of admin_allowed_origins: no web page may call the API unless \
                      its origin is listed there";
        Self::new(StatusCode::FORBIDDEN, "foreign-origin", detail)
    }

    pub(super) fn no_key() -> Self {
        let detail = "send an administrator's key as `Authorization: Bearer cla_…`; one is made by \
                      `cloakroom admin key issue NAME`";
        Self::new(StatusCode::UNAUTHORIZED, "no-key", detail)
    }

    pub(super) fn dead_key(status: &str) -> Self {
        let detail = format!("this key is {status}: ask an owner for another");
        Self::new(StatusCode::UNAUTHORIZED, "dead-key", detail)
    }

    pub(super) fn role(has: Role, needs: Role) -> Self {
        let (has, needs) = (has.as_str(), needs.as_str());
        let detail =
            format!("this needs a key of the role {needs}, and this one is of the role {has}");
        Self::new(StatusCode::FORBIDDEN, "role", detail)
    }

    pub(super) fn late() -> Self {
        let detail = "it took longer than 30 s, and may be done or not: look, and try again";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "late", detail)
    }

    pub(super) fn unrecorded() -> Self {
        let detail = "it cannot be recorded in the audit trail, so it was not done: mend the trail and try \
                      again";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unrecorded", detail)
    }

    pub(super) fn internal() -> Self {
        let detail = "something here is broken: tell the operator, and look whether it was done";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
    }

    pub(super) fn no_path() -> Self {
        let detail = "there is no such path: see /openapi.json";
        Self::new(StatusCode::NOT_FOUND, "no-path", detail)
    }

    pub(super) fn no_method() -> Self {
        let detail = "this path does not take this method: see Allow, and /openapi.json";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "no-method", detail)
    }

    pub(super) fn body_too_long() -> Self {
        let detail = "a body may have 256 KiB";
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-long", detail)
    }

    pub(super) fn not_json_type() -> Self {
        let detail = "send JSON, with `Content-Type: application/json`";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not-json", detail)
    }

    /// A request that cannot be read at all.
    pub(super) fn unreadable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "unreadable", detail)
    }

    /// A request that can be read, and asks for what cannot be.
    pub(super) fn wrong(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "wrong", detail)
    }

    pub(super) fn conflict(kind: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, kind, detail)
    }

    pub(super) fn not_there(kind: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, kind, detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response<Body> {
        self.response()
    }
}

impl From<SecretError> for Problem {
    fn from(error: SecretError) -> Self {
        Self::wrong(format!("the secret was not set: {error}"))
    }
}

impl From<VaultError> for Problem {
    fn from(error: VaultError) -> Self {
        let detail = error.to_string();
        let (status, kind) = match error {
            VaultError::NoUser(_) => (StatusCode::NOT_FOUND, "no-user"),
            VaultError::NoGroup(_) => (StatusCode::NOT_FOUND, "no-group"),
            VaultError::NoKey(_) | VaultError::UnknownKey => (StatusCode::NOT_FOUND, "no-such-key"),
            VaultError::NoSecret { .. } => (StatusCode::NOT_FOUND, "no-secret"),
            VaultError::UserExists(_) => (StatusCode::CONFLICT, "user-exists"),
            VaultError::EmailTaken(_) => (StatusCode::CONFLICT, "email-taken"),
            VaultError::GroupExists(_) => (StatusCode::CONFLICT, "group-exists"),
            VaultError::KeyExists(_) => (StatusCode::CONFLICT, "key-exists"),
            VaultError::Contended => (StatusCode::CONFLICT, "contended"),
            VaultError::NoServerKey(_) => (StatusCode::CONFLICT, "no-server-key"),
            VaultError::PutBack { .. } => (StatusCode::CONFLICT, "put-back"),
            VaultError::Gone { .. } | VaultError::GroupGone => (StatusCode::CONFLICT, "gone"),
            VaultError::ReadOnly(_) => (StatusCode::FORBIDDEN, "read-only"),
            VaultError::TooLong(_) | VaultError::Store(StoreError::TooLarge(_)) => {
                (StatusCode::UNPROCESSABLE_ENTITY, "too-long")
            }
            VaultError::TooManyGroups | VaultError::TooManySecrets => {
                (StatusCode::UNPROCESSABLE_ENTITY, "too-many")
            }
            VaultError::Store(_) => (StatusCode::SERVICE_UNAVAILABLE, "store"),
            VaultError::Open { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "damaged"),
        };
        Self::new(status, kind, detail)
    }
}
