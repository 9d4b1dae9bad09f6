//! What requests carry: path, query, body. None of the errors here repeats what was sent: it may be a secret.

use axum::extract::path::ErrorKind;
use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::request::Parts;
use http_body_util::BodyExt as _;
use serde::de::{DeserializeOwned, Visitor};
use serde::{Deserialize, Deserializer, de};
use serde_json::error::Category;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};
use zeroize::Zeroizing;

use super::Shared;
use super::problem::Problem;
use crate::vault::{SECRET_MAX, SecretValue};

/// The longest body.
const BODY_MAX: usize = 256 << 10;

/// A body of JSON.
pub(super) struct Json<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<Shared> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &Shared) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(Problem::not_json_type());
        }
        let bytes = whole(request).await?;
        serde_json::from_slice(&bytes)
            .map(Self)
            .map_err(|error| refused(&error))
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let value = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let essence = value.and_then(|value| value.split(';').next());
    essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"))
}

/// The whole body, in memory that is cleared when it is dropped.
async fn whole(request: Request) -> Result<Zeroizing<Vec<u8>>, Problem> {
    let length = request.headers().get(CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if length.is_some_and(|length| length > BODY_MAX) {
        return Err(Problem::body_too_long());
    }
    // Made once: one that grows would leave copies behind.
    let mut whole = Zeroizing::new(Vec::with_capacity(length.unwrap_or(BODY_MAX)));
    let mut body = request.into_body();
    while let Some(frame) = body.frame().await {
        let cut = |_| Problem::unreadable("the body ended before its end: send it again");
        let data: Bytes = frame.map_err(cut)?.into_data().unwrap_or_default();
        if whole.len() + data.len() > BODY_MAX {
            return Err(Problem::body_too_long());
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole)
}

fn refused(error: &serde_json::Error) -> Problem {
    let (line, column) = (error.line(), error.column());
    match error.classify() {
        Category::Data => {
            let said = error.to_string();
            let at = format!(" at line {line} column {column}");
            let said = said.strip_suffix(&at).unwrap_or(&said);
            let what = harmless(said).unwrap_or("what stands there is not what this path takes");
            Problem::wrong(format!(
                "line {line}, column {column} of the body: {what} (see /openapi.json)"
            ))
        }
        _ => Problem::unreadable(format!(
            "the body is not JSON from line {line}, column {column} on"
        )),
    }
}

/// The words of a refusal, if they are ours: others repeat the value.
fn harmless(said: &str) -> Option<&str> {
    let ours = ["missing field `", "not a ", "not the id ", "write "];
    ours.iter()
        .any(|start| said.starts_with(start))
        .then_some(said)
}

/// What stands in the path.
pub(super) struct At<T>(pub(super) T);

impl<T: DeserializeOwned + Send> FromRequestParts<Shared> for At<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, desk: &Shared) -> Result<Self, Problem> {
        match Path::from_request_parts(parts, desk).await {
            Ok(Path(path)) => Ok(Self(path)),
            Err(rejection) => Err(bad_path(rejection)),
        }
    }
}

fn bad_path(rejection: PathRejection) -> Problem {
    let wrong = "what stands in the path is not what belongs there";
    let PathRejection::FailedToDeserializePathParams(error) = rejection else {
        return Problem::internal();
    };
    match error.into_kind() {
        ErrorKind::InvalidUtf8InPathParam { .. } => Problem::unreadable("the path is not UTF-8"),
        ErrorKind::Message(said) | ErrorKind::DeserializeError { message: said, .. } => {
            Problem::wrong(format!("in the path: {}", harmless(&said).unwrap_or(wrong)))
        }
        _ => Problem::wrong(wrong),
    }
}

/// What stands behind the question mark.
pub(super) struct Asked<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequestParts<Shared> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, desk: &Shared) -> Result<Self, Problem> {
        let asked = Query::from_request_parts(parts, desk).await;
        let wrong = "the query is not what this path takes (see /openapi.json): `limit` is 1 to 1000, `cursor` \
                     is the `next` of an answer, and nothing stands there twice";
        asked
            .map(|Query(asked)| Self(asked))
            .map_err(|_| Problem::unreadable(wrong))
    }
}

/// Text on its way into the vault. Has no Debug; cleared when it is dropped.
pub(super) struct Hidden(Zeroizing<Vec<u8>>);

impl Hidden {
    pub(super) fn value(self) -> Result<SecretValue, Problem> {
        Ok(SecretValue::new(self.0)?)
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Hidden {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Hidden;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a text")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Hidden, E> {
                Ok(Hidden(Zeroizing::new(text.as_bytes().to_vec())))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

impl PartialSchema for Hidden {
    fn schema() -> RefOr<Schema> {
        let text = ObjectBuilder::new().schema_type(Type::String);
        text.min_length(Some(1))
            .max_length(Some(SECRET_MAX))
            .write_only(true)
            .into()
    }
}

impl ToSchema for Hidden {
    fn name() -> std::borrow::Cow<'static, str> {
        "SecretText".into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Fails when `harmless` lets through what serde says of values.
    #[test]
    fn an_error_never_repeats_the_body() {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Body {
            #[allow(dead_code, reason = "read, and refused")]
            value: bool,
        }
        for body in [
            r#"{"value": "CANARY"}"#,
            r#"{"CANARY": 1}"#,
            r#"{"value": "x, expected CANARY"}"#,
            r#"["CANARY"]"#,
            r#"{"value": CANARY}"#,
            r#""CANARY"#,
        ] {
            let error = serde_json::from_str::<Body>(body).err().unwrap();
            let said = format!("{:?}", refused(&error));
            assert!(!said.contains("CANARY"), "{said}");
        }
        let error = serde_json::from_str::<Body>("{}").err().unwrap();
        assert!(format!("{:?}", refused(&error)).contains("missing field `value`"));
    }
}
