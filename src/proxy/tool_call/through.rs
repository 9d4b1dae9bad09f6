//! Requests of our own through the layer, with the key of whoever asked.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::request::Parts;
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, Request};
use http_body_util::Full;
use tokio::time::timeout;

use super::asked::Asked;
use super::{Answer, patience};
use crate::identity::X_API_KEY;
use crate::layer::{Cloakroom, Failure, Observed, OnBehalf, Unmetered};
use crate::names::{ServerName, UserName};
use crate::proxy::forward::Forward;
use crate::proxy::serving::Core;
use crate::rejection::{Kind, Rejection};

/// What every request is sent with, of what came.
const KEPT: [HeaderName; 5] = [
    AUTHORIZATION,
    X_API_KEY,
    USER_AGENT,
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
];

/// The way to one server in one user's name.
pub(super) struct Through {
    cloakroom: Cloakroom<Forward>,
    headers: HeaderMap,
    on_behalf: Option<OnBehalf>,
    pub(super) server: ServerName,
    /// The path above its endpoints.
    folder: String,
    pub(super) patience: Duration,
}

/// A request.
pub(super) struct Sent {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// Who is to be told of it: of the call itself alone.
    pub(super) observed: Option<Observed>,
}

impl Through {
    /// To the server `asked` for, with what `parts` came with; in the name of `other`, if that is not the
    /// caller.
    pub(super) fn new(core: &Core, parts: &Parts, asked: &Asked, other: Option<UserName>) -> Self {
        let mut headers = HeaderMap::new();
        for name in &KEPT {
            for value in parts.headers.get_all(name) {
                headers.append(name, value.clone());
            }
        }
        let server = asked.server.clone();
        let folder = match &asked.profile {
            None => format!("/{server}"),
            Some(profile) => format!("/{server}/@{profile}"),
        };
        Self {
            cloakroom: core.cloakroom.clone(),
            headers,
            on_behalf: other.map(OnBehalf),
            patience: patience(core, &server),
            server,
            folder,
        }
    }

    /// The path of one of the server's endpoints.
    pub(super) fn path(&self, endpoint: &str) -> String {
        format!("{}/{endpoint}", self.folder)
    }

    /// Sends a request.
    ///
    /// # Errors
    /// The layer's refusal.
    pub(super) async fn send(&self, sent: Sent) -> Result<Answer, Rejection> {
        let (mut head, ()) = Request::new(()).into_parts();
        head.method = sent.method;
        head.uri = sent.path.parse().map_err(|_| self.broken())?;
        let headers = &mut head.headers;
        headers.clone_from(&self.headers);
        headers.extend(sent.headers);
        let either = HeaderValue::from_static("application/json, text/event-stream");
        headers.insert(ACCEPT, either);
        if head.method == Method::POST {
            let json = HeaderValue::from_static("application/json");
            headers.insert(CONTENT_TYPE, json);
        }
        self.mark(&mut head.extensions);
        let body = Full::new(sent.body);
        let answer = self
            .cloakroom
            .answer(Arc::new(head.into()), body, sent.observed);
        let mut answer = Box::pin(answer).await;
        match answer.extensions_mut().remove::<Rejection>() {
            Some(rejection) => Err(rejection),
            None => Ok(answer),
        }
    }

    fn mark(&self, extensions: &mut Extensions) {
        // The call was paid for before.
        extensions.insert(Unmetered);
        if let Some(user) = &self.on_behalf {
            extensions.insert(user.clone());
        }
    }

    /// What `doing` comes to, if it does in time.
    ///
    /// # Errors
    /// Its own; or that the server is silent.
    pub(super) async fn in_time<T>(
        &self,
        doing: impl Future<Output = Result<T, Rejection>>,
    ) -> Result<T, Rejection> {
        let done = timeout(self.patience, doing).await;
        done.unwrap_or_else(|_| Err(Failure::Silent(self.patience).rejection(&self.server)))
    }

    /// The server's answer is none.
    pub(super) fn broken(&self) -> Rejection {
        Failure::Broken(String::new()).rejection(&self.server)
    }

    /// The server's answer is none, and why.
    pub(super) fn unusable(&self, why: &str) -> Rejection {
        let text = format!("the server `{}` {why}", self.server);
        Rejection::with_text(Kind::BackendBroken, text)
    }
}
