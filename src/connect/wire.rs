//! Requests to the one origin, and their answers.
//!
//! 1. A request that was sent is never sent again: whether it was carried out is not known. While there is
//!    no connection it is tried again, for a bounded time.
//! 2. The key goes to the origin of the URL, in a header, and nowhere else.

use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, HeaderMap, HeaderValue, LOCATION, USER_AGENT};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use tokio::time::{Instant, sleep, timeout};

use super::trouble::Problem;
use crate::dial::{Dialer, Sender, Trouble, addressed};

/// How long a message may wait for a connection, from when it was read.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// How long a connection may be idle: less than servers allow, which close it without a word.
const IDLE: Duration = Duration::from_secs(4);
/// Idle connections that are kept.
const KEPT: usize = 8;
/// Bytes of a refusal's body that are read.
const REFUSAL: usize = 1 << 20;

/// Connections to the server. No `Debug`: it holds the key.
pub(super) struct Wire {
    url: Uri,
    dialer: Dialer,
    authorization: HeaderValue,
    idle: Mutex<Vec<(Sender, Instant)>>,
}

type Coming =
    dyn Future<Output = Result<Response<Incoming>, TrySendError<Request<Full<Bytes>>>>> + Send;

/// A request that was sent.
pub(super) struct Sent {
    wire: Arc<Wire>,
    sender: Sender,
    coming: Pin<Box<Coming>>,
    until: Instant,
}

/// An answer, as far as it came.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    body: Incoming,
    sender: Option<Sender>,
    wire: Arc<Wire>,
}

impl Wire {
    /// To the origin of `url`, with this value of `Authorization`.
    ///
    /// # Errors
    /// When there is nothing to check its certificate with.
    pub(super) fn new(
        url: Uri,
        ca_file: Option<&Path>,
        authorization: HeaderValue,
    ) -> Result<Self, Trouble> {
        Ok(Self {
            dialer: Dialer::new(&url, None, ca_file)?,
            url,
            authorization,
            idle: Mutex::default(),
        })
    }

    /// The URL it was made for.
    pub(super) fn url(&self) -> &Uri {
        &self.url
    }

    /// Sends a request. When this comes back it is on its way, before any that is sent later. `url` is one
    /// of the same origin.
    ///
    /// # Errors
    /// There is no connection, until then.
    pub(super) async fn send(
        self: &Arc<Self>,
        (method, url): (Method, &Uri),
        headers: HeaderMap,
        body: Bytes,
        until: Instant,
    ) -> Result<Sent, Problem> {
        let mut request = Request::new(Full::new(body));
        (*request.method_mut(), *request.uri_mut()) = (method, url.clone());
        *request.headers_mut() = headers;
        let mut request = addressed(request);
        let own = HeaderValue::from_static(concat!("cloakroom/", env!("CARGO_PKG_VERSION")));
        request.headers_mut().insert(USER_AGENT, own);
        let key = self.authorization.clone();
        request.headers_mut().insert(AUTHORIZATION, key);
        let mut sender = match self.take() {
            Some(sender) => sender,
            None => self.dial(until).await?,
        };
        let coming = Box::pin(sender.try_send_request(request));
        Ok(Sent {
            wire: self.clone(),
            sender,
            coming,
            until,
        })
    }

    fn take(&self) -> Option<Sender> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|(sender, since)| since.elapsed() < IDLE && !sender.is_closed());
        let ready = idle.iter().rposition(|(sender, _)| sender.is_ready())?;
        Some(idle.remove(ready).0)
    }

    fn put(&self, sender: Sender) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() == KEPT {
            idle.remove(0);
        }
        idle.push((sender, Instant::now()));
    }

    async fn dial(&self, until: Instant) -> Result<Sender, Problem> {
        let mut pause = Duration::from_millis(50);
        loop {
            let opened = timeout(PATIENCE, self.open()).await;
            let silent = || Trouble::Silent(self.dialer.place().to_owned(), PATIENCE);
            match opened.unwrap_or_else(|_| Err(silent())) {
                Ok(sender) => return Ok(sender),
                // It may not have been started yet, or be starting anew.
                Err(Trouble::Name(_) | Trouble::Connect(..)) if Instant::now() + pause < until => {
                    sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_secs(1));
                }
                Err(trouble) => return Err(Problem::Dial(trouble)),
            }
        }
    }

    async fn open(&self) -> Result<Sender, Trouble> {
        let mut sender = self.dialer.open().await?;
        let ready = sender.ready().await;
        ready.map_err(|error| Trouble::NoHttp(self.dialer.place().to_owned(), error))?;
        Ok(sender)
    }
}

impl Sent {
    /// Waits for the head of the answer, however long it takes.
    ///
    /// # Errors
    /// There is none.
    pub(super) async fn answer(self) -> Result<Answer, Problem> {
        let Self {
            wire,
            sender,
            coming,
            until,
        } = self;
        let mut refused = match coming.await {
            Ok(answer) => return Ok(Answer::new(wire, sender, answer)),
            Err(refused) => refused,
        };
        // Given back, it was not sent: the connection, which was kept, had ended.
        let Some(request) = refused.take_message() else {
            return Err(wire.broken(refused.into_error()));
        };
        let mut sender = wire.dial(until).await?;
        match sender.send_request(request).await {
            Ok(answer) => Ok(Answer::new(wire, sender, answer)),
            Err(error) => Err(wire.broken(error)),
        }
    }
}

impl Wire {
    fn broken(&self, error: hyper::Error) -> Problem {
        if error.is_parse() {
            Problem::Dial(Trouble::NoHttp(self.dialer.place().to_owned(), error))
        } else {
            Problem::Cut
        }
    }
}

impl Answer {
    fn new(wire: Arc<Wire>, sender: Sender, answer: Response<Incoming>) -> Self {
        let (parts, body) = answer.into_parts();
        Self {
            status: parts.status,
            headers: parts.headers,
            body,
            sender: Some(sender),
            wire,
        }
    }

    /// Where it redirects.
    pub(super) fn location(&self) -> Option<String> {
        let location = self.headers.get(LOCATION)?.to_str().ok()?;
        Some(location.to_owned())
    }

    /// What comes next of its body; `None` at the end, after which the connection serves others.
    ///
    /// # Errors
    /// The connection ended before.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        loop {
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
                Some(Err(_)) => return Err(Problem::Cut),
                None => {
                    if let Some(sender) = self.sender.take() {
                        self.wire.put(sender);
                    }
                    return Ok(None);
                }
            }
        }
    }

    /// The whole body, of at most so many bytes.
    ///
    /// # Errors
    /// It is longer, or the connection ended before.
    pub(super) async fn whole(&mut self, longest: usize) -> Result<Bytes, Problem> {
        let mut read = Vec::new();
        while let Some(part) = self.next().await? {
            if read.len() + part.len() > longest {
                return Err(Problem::TooLong);
            }
            read.extend_from_slice(&part);
        }
        Ok(read.into())
    }

    /// The body of a refusal, or nothing: it only explains.
    pub(super) async fn refusal(&mut self) -> Bytes {
        let whole = timeout(PATIENCE, self.whole(REFUSAL)).await;
        whole.ok().and_then(Result::ok).unwrap_or_default()
    }
}
