//! Who sends the requests of a connection, and what becomes of each.

use std::net::IpAddr;
use std::sync::Arc;

use http::header::{CONNECTION, HeaderValue, ORIGIN};
use http::{Response, StatusCode};
use http_body::Body;
use tokio::time::sleep;

use super::account::{Accounted, Entry};
use super::body::BackendBody;
use super::client::ClientAddress;
use super::flood::Late;
use super::places::Place;
use super::serving::{Core, Current};
use super::strict::Line;
use super::{cors, tool_call};
use crate::layer::{AnswerBody, Head};
use crate::rejection::Rejection;

type Answer = Response<AnswerBody<BackendBody>>;

/// Who sends the requests of a connection.
#[derive(Clone)]
pub(super) struct Visitor {
    pub(super) current: Arc<Current>,
    /// The other end of the connection, or whom it is passed on for; none on a Unix socket.
    pub(super) peer: Option<IpAddr>,
    pub(super) place: Arc<Place>,
}

impl Visitor {
    /// Answers a request by the configuration in force now. `line` is that to the reader of a connection
    /// of HTTP/1.1, which may have put this request in the place of another.
    pub(super) async fn answer<B: Body<Data: Send> + Send + 'static>(
        &self,
        head: Arc<Head>,
        body: B,
        line: Option<&Line>,
    ) -> Response<Accounted> {
        let core = self.current.get();
        let proxies = &core.serving.entrance.trusted_proxies;
        let client = proxies.client(self.peer, &head.headers);
        let entry = Entry::begin(&core.serving.account, &head, client.0);
        let refused = line.and_then(|line| line.refusal(&head.uri));
        // HTTP/2 has other words for it.
        let may_close = line.is_some();
        let mut response = match (refused, line) {
            (Some(rejection), _) => own(rejection),
            (None, Some(line)) => {
                let from = (client, may_close);
                let answer = self.admit(&core, &entry, head, body, from).await;
                line.explain(answer, own)
            }
            (None, None) => {
                let from = (client, may_close);
                self.admit(&core, &entry, head, body, from).await
            }
        };
        if may_close && self.current.is_leaving() {
            close(&mut response);
        }
        entry.answered(response, line.is_none())
    }

    /// Past the guard, which the answer to a page's browser needs as well, to the layer.
    async fn admit<B: Body<Data: Send> + Send + 'static>(
        &self,
        core: &Core,
        entry: &Entry,
        head: Arc<Head>,
        body: B,
        (client, may_close): (ClientAddress, bool),
    ) -> Answer {
        if let Err(rejection) = core.serving.guard.check_once(&head) {
            return own(rejection);
        }
        let page = head.headers.get(ORIGIN).cloned();
        // Only a page's browser asks.
        if page.is_some()
            && let Some(answer) = cors::preflight(&head)
        {
            return answer.map(AnswerBody::own);
        }
        let observed = entry.observed();
        let mut response = match entry.destination() {
            Some(destination) => {
                let call = tool_call::answer(core, head, body, observed, destination);
                Box::pin(call).await
            }
            None => core.cloakroom.answer(head, body, observed).await,
        };
        if let Some(address) = client.0.filter(|_| is_wrong_key(&response)) {
            match core.serving.flood.failed(address) {
                Late::Not => {}
                Late::By(delay, _holding) => {
                    // Others are not to wait for this connection's place as well.
                    let _resting = self.place.resting();
                    if may_close {
                        close(&mut response);
                    }
                    sleep(delay).await;
                }
                Late::Cut if may_close => close(&mut response),
                Late::Cut => {}
            }
        }
        if let Some(origin) = page {
            cors::share(response.headers_mut(), origin);
        }
        response
    }
}

fn is_wrong_key<B>(response: &Response<B>) -> bool {
    let rejection = response.extensions().get::<Rejection>();
    rejection.is_some_and(|rejection| rejection.status() == StatusCode::UNAUTHORIZED)
}

/// One of our own answers.
fn own(rejection: Rejection) -> Answer {
    rejection.into_response().map(AnswerBody::own)
}

/// Asks the client not to use the connection again; only HTTP/1.1 has words for it.
fn close<B>(response: &mut Response<B>) {
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
}
