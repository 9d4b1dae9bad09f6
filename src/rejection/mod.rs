//! The one error a client ever sees, and the one place that decides how it looks.
//!
//! A rejection is answered as a JSON-RPC error with the request's id, so that clients show its text.
//! Codes lie outside -32768..-32000, which JSON-RPC and MCP keep for themselves (MCP 2026-07-28,
//! basic "Error Codes"), save three: MCP names the code for headers that contradict the body, JSON-RPC the
//! one for a method that is not there, and a client that asks in words of 2026-07-28 begins anew in
//! earlier ones only when the error is none of that revision. The first three digits of ours are the HTTP status that fits
//! best.

mod kind;

use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{Response, StatusCode};
use http_body_util::Full;
use serde_json::json;
use serde_json::value::RawValue;

pub use kind::{Kind, Row};

/// Why a request was refused, with what its sender is told. Also in the extensions of the response,
/// for outer layers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    kind: Kind,
    text: Option<String>,
    ids: Ids,
    form: Option<Box<Form>>,
    not_found: bool,
    retry_after: Option<u64>,
}

/// A form in which a client can do more with a rejection of one request than show its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Form {
    /// The result of a tool that failed: a model reads it, and can tell the user what to do.
    ToolResult,
    /// A request to send the user to a page first (MCP 2025-11-25, client/elicitation
    /// "URLElicitationRequiredError").
    UrlElicitation {
        /// The page.
        url: String,
        /// A name for this request, never used twice.
        id: String,
    },
    /// A result that asks the client to send the user to a page and then to try again (MCP 2026-07-28,
    /// basic/patterns/mrtr).
    InputRequired {
        /// The page.
        url: String,
        /// The `requestState` it is to bring back.
        state: String,
    },
}

/// The name under which [`Form::InputRequired`] asks, and is answered.
pub const SETUP_REQUEST: &str = "cloakroom_setup";

/// The ids of the requests an answer is owed to, as they were written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Ids {
    /// There is no request: a notification, a response, GET, DELETE, or nothing was read yet.
    #[default]
    None,
    /// One.
    One(Box<str>),
    /// Those of a batch.
    Batch(Vec<Box<str>>),
}

impl Rejection {
    /// With the text of the table.
    #[must_use]
    pub fn new(kind: Kind) -> Self {
        Self {
            kind,
            text: None,
            ids: Ids::None,
            form: None,
            not_found: false,
            retry_after: None,
        }
    }

    /// With a text that says more than the table. It must hold nothing a client sent and no secret.
    #[must_use]
    pub fn with_text(kind: Kind, text: String) -> Self {
        Self {
            kind,
            text: Some(text),
            ids: Ids::None,
            form: None,
            not_found: false,
            retry_after: None,
        }
    }

    /// To be answered to these requests.
    #[must_use]
    pub fn for_ids(mut self, ids: &Ids) -> Self {
        self.ids = ids.clone();
        self
    }

    /// Put in another form than a JSON-RPC error, if it answers one request.
    #[must_use]
    pub fn in_form(mut self, form: Form) -> Self {
        self.form = Some(Box::new(form));
        self
    }

    /// With how long its sender is to wait, which is told in whole seconds, rounded up.
    #[must_use]
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait.as_secs() + u64::from(wait.subsec_nanos() > 0));
        self
    }

    /// Answered with 404 if `so`: what MCP 2026-07-28 (basic/transports/streamable-http) wants for a
    /// method that is not there, and what would end the session of an earlier client.
    #[must_use]
    pub fn with_not_found(mut self, so: bool) -> Self {
        self.not_found = so;
        self
    }

    /// Whether there is a request it answers.
    #[must_use]
    pub fn is_answer(&self) -> bool {
        !matches!(self.ids, Ids::None)
    }

    /// What the request was refused for.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What its sender is told.
    #[must_use]
    pub fn text(&self) -> &str {
        self.text.as_deref().unwrap_or(self.kind.row().text)
    }

    /// The HTTP status it is answered with.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        let row = self.kind.row();
        let status = if self.not_found {
            404
        } else if self.is_answer() {
            row.status
        } else {
            row.status_without_id
        };
        StatusCode::from_u16(status).expect("the table holds HTTP statuses, which a test checks")
    }

    /// The answer.
    #[must_use]
    pub fn into_response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(self.body()));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        match self.kind {
            Kind::Unauthenticated | Kind::KeyExpired | Kind::KeyRevoked | Kind::UserDisabled => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            Kind::TooManyRequests
            | Kind::RateLimited
            | Kind::QuotaSpent
            | Kind::AuditUnavailable
            | Kind::Overloaded
            | Kind::StoreUnreachable
            | Kind::RecordUnreadable
            | Kind::ChildRests
            | Kind::TooManyChildren => {
                headers.insert(RETRY_AFTER, self.retry_after.unwrap_or(1).max(1).into());
            }
            Kind::MethodNotAllowed => {
                headers.insert(ALLOW, HeaderValue::from_static("POST, GET, DELETE"));
            }
            Kind::NoSuchPath => {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
            }
            _ => {}
        }
        response.extensions_mut().insert(self);
        response
    }

    /// The answer for who does not speak JSON-RPC: the same status and headers, `{"error": {"code",
    /// "message"}}`.
    #[must_use]
    pub fn into_plain_response(self) -> Response<Full<Bytes>> {
        let error = json!({"code": self.kind.row().code, "message": self.text()});
        let body = json!({ "error": error }).to_string();
        let own = Self {
            ids: Ids::None,
            not_found: false,
            ..self
        };
        let mut response = own.into_response();
        *response.body_mut() = Full::from(body);
        response
    }

    /// The body it is answered with: JSON without a line break, but for a path where nothing is.
    #[must_use]
    pub fn body(&self) -> Bytes {
        if self.kind == Kind::NoSuchPath {
            return format!("{}\n", self.text()).into();
        }
        let text = match &self.ids {
            Ids::None => self.error("null"),
            Ids::One(id) => match self.form.as_deref() {
                Some(form) => self.formed(id, form),
                None => self.error(id),
            },
            Ids::Batch(ids) => {
                let errors: Vec<_> = ids.iter().map(|id| self.error(id)).collect();
                format!("[{}]", errors.join(","))
            }
        };
        text.into()
    }

    fn error(&self, id: &str) -> String {
        let error = json!({"code": self.kind.row().code, "message": self.text()});
        message(id, "error", &error)
    }

    fn formed(&self, id: &str, form: &Form) -> String {
        let text = self.text();
        match form {
            Form::ToolResult => {
                let content = json!([{"type": "text", "text": text}]);
                // Earlier revisions know no `resultType`, and ignore what they do not know.
                let result = json!({"resultType": "complete", "content": content, "isError": true});
                message(id, "result", &result)
            }
            Form::UrlElicitation { url, id: name } => {
                let page =
                    json!({"mode": "url", "elicitationId": name, "url": url, "message": text});
                let data = json!({"elicitations": [page]});
                let error =
                    json!({"code": URL_ELICITATION_REQUIRED, "message": text, "data": data});
                message(id, "error", &error)
            }
            Form::InputRequired { url, state } => {
                let page = json!({"mode": "url", "url": url, "message": text});
                let asks = json!({SETUP_REQUEST: {"method": "elicitation/create", "params": page}});
                let result = json!({"resultType": "input_required", "inputRequests": asks, "requestState": state});
                message(id, "result", &result)
            }
        }
    }
}

/// MCP 2025-11-25, client/elicitation "URLElicitationRequiredError".
const URL_ELICITATION_REQUIRED: i32 = -32042;

fn message(id: &str, member: &str, value: &serde_json::Value) -> String {
    // The id goes back byte for byte: a number must not go through a float.
    let id: Option<&RawValue> = serde_json::from_str(id).ok();
    let id = id.map_or("null", RawValue::get);
    format!(r#"{{"jsonrpc":"2.0","id":{id},"{member}":{value}}}"#)
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    fn answer(rejection: Rejection) -> (http::response::Parts, String) {
        let (parts, body) = rejection.into_response().into_parts();
        let body = futures_util::FutureExt::now_or_never(body.collect())
            .unwrap()
            .unwrap();
        (parts, String::from_utf8(body.to_bytes().to_vec()).unwrap())
    }

    fn capitalised(word: &str) -> String {
        let (first, rest) = word.split_at(1);
        first.to_ascii_uppercase() + rest
    }

    #[test]
    fn every_row_is_a_fit_answer() {
        let mut codes = std::collections::HashSet::new();
        for kind in Kind::ALL {
            let row = kind.row();
            assert!(codes.insert(row.code), "{kind:?}: a code of its own");
            let pascal: String = kind.name().split('_').map(capitalised).collect();
            assert_eq!(pascal, format!("{kind:?}"));
            if !matches!(
                kind,
                Kind::HeaderMismatch | Kind::MethodNotFound | Kind::EarlierEra
            ) {
                assert!(!(-32768..=-32000).contains(&row.code), "{kind:?}");
            }
            assert!(row.text.len() > 15, "{kind:?}: a text to act on");
            let (parts, body) = answer(Rejection::new(kind));
            assert_eq!(parts.status.as_u16(), row.status_without_id, "{kind:?}");
            let challenged = parts
                .headers
                .get(WWW_AUTHENTICATE)
                .map(HeaderValue::as_bytes);
            assert_eq!(
                challenged,
                (row.status == 401).then_some(&b"Bearer"[..]),
                "{kind:?}"
            );
            assert_eq!(
                parts.headers.contains_key(RETRY_AFTER),
                matches!(row.status_without_id, 429 | 503),
                "{kind:?}"
            );
            assert_eq!(parts.extensions.get::<Rejection>().unwrap().kind(), kind);
            let (plain, said) = {
                let plain = Rejection::new(kind).for_ids(&Ids::One("1".into()));
                let (parts, body) = plain.into_plain_response().into_parts();
                let body = futures_util::FutureExt::now_or_never(body.collect());
                (parts, body.unwrap().unwrap().to_bytes())
            };
            let error = json!({"error": {"code": row.code, "message": row.text}});
            assert_eq!(
                (plain.status, plain.headers),
                (parts.status, parts.headers),
                "{kind:?}"
            );
            assert_eq!(said, error.to_string());
            if kind != Kind::NoSuchPath {
                let json: serde_json::Value = serde_json::from_str(&body).unwrap();
                assert_eq!(json["error"]["code"], row.code);
                assert_eq!(json["error"]["message"], row.text);
                assert_eq!(json["id"], serde_json::Value::Null);
            }
        }
    }

    #[test]
    fn an_answerable_request_gets_its_id_back_as_written() {
        let rejection = Rejection::new(Kind::SecretMissing);
        let (parts, body) = answer(
            rejection
                .clone()
                .for_ids(&Ids::One("12345678901234567890123".into())),
        );
        assert_eq!(parts.status, 200);
        assert!(body.contains(r#""id":12345678901234567890123,"#), "{body}");
        let (parts, body) = answer(
            rejection
                .clone()
                .for_ids(&Ids::Batch(vec!["1".into(), "\"a\"".into()])),
        );
        assert_eq!(parts.status, 200);
        let json: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!((&json[0]["id"], &json[1]["id"]), (&json!(1), &json!("a")));
        assert_eq!(answer(rejection).0.status, 403);
    }

    #[test]
    fn a_form_answers_one_request_and_only_one() {
        let asked = Form::InputRequired {
            url: "https://setup.example".into(),
            state: "s".into(),
        };
        let rejection = Rejection::new(Kind::SecretMissing).in_form(asked);
        let (parts, body) = answer(rejection.clone().for_ids(&Ids::One("7".into())));
        assert_eq!(parts.status, 200);
        let json: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(json["id"], 7);
        assert_eq!(json["result"]["resultType"], "input_required");
        let page = &json["result"]["inputRequests"][SETUP_REQUEST]["params"];
        assert_eq!(
            (&page["mode"], &page["url"]),
            (&json!("url"), &json!("https://setup.example"))
        );
        let (_, body) = answer(rejection.clone().for_ids(&Ids::Batch(vec!["1".into()])));
        assert!(
            body.contains("4240") && !body.contains("setup.example"),
            "{body}"
        );
        let (parts, _) = answer(rejection);
        assert_eq!(parts.status, 403);
    }
}
