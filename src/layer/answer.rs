//! A backend's answer on its way to the client: what of it passes.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, response};
use http_body::{Body, Frame};

use super::ServedBy;
use super::answer_head::AnswerHead;
use super::call::Holding;
use super::failure::BoxError;
use crate::gate::Door;
use crate::mcp::headers::MCP_SESSION_ID;
use crate::mcp::ids::{Session, seal_session};
use crate::mcp::revision::Era;
use crate::mcp::scan::Capabilities;
use crate::rejection::{Kind, Rejection};
use crate::vault::now_seconds;

/// Whether an answer can be passed on at all.
///
/// # Errors
/// A redirect (the operator is to configure where it leads), a refused credential (the client would
/// take it for its own key), or a coding nobody asked for.
pub(super) fn judge(door: &Door, head: &AnswerHead) -> Result<(), Rejection> {
    let (server, status) = (door.server(), head.status);
    if status.is_redirection() {
        // The target is not shown, not even to the operator: it is the backend's word, and may hold
        // the secret it was just given.
        tracing::warn!(%server, %status, "the server redirects: ask it where to (curl -I), and configure that address");
        let text = format!(
            "the server `{server}` answers with a redirect, which is not followed: the operator is \
             to write the address it leads to into `servers.{server}.url`"
        );
        return Err(Rejection::with_text(Kind::BackendRedirects, text));
    }
    if matches!(status.as_u16(), 401 | 403 | 407) {
        let names: Vec<_> = door
            .slots()
            .secret_names()
            .iter()
            .map(|n| format!("`{n}`"))
            .collect();
        let secrets = if names.is_empty() {
            "no secret is configured for it".to_owned()
        } else {
            names.join(", ")
        };
        let text = format!(
            "the server `{server}` refuses the credential it was given (HTTP {}), which was made of: \
             {secrets}; if it is out of date set it anew with `cloakroom secret set USER {server} NAME`",
            status.as_u16()
        );
        tracing::warn!(%server, %status, "the server refuses the user's credential");
        return Err(Rejection::with_text(Kind::BackendRefuses, text));
    }
    // 101 hands the connection over to a protocol nobody here judges.
    if status.is_informational() {
        tracing::warn!(%server, %status, "the server wants to switch protocols");
        return Err(Rejection::new(Kind::BackendBroken));
    }
    if let Some(why) = head.flaw() {
        tracing::warn!(%server, "{why}");
        return Err(Rejection::new(Kind::BackendBroken));
    }
    Ok(())
}

/// The body of an answer, of which the beginning may have been read.
pub(super) struct Arrived<R> {
    /// What was read, and what broke it off, if anything did.
    pub(super) first: VecDeque<Result<Bytes, BoxError>>,
    /// The body from there on; `None` when that was all.
    pub(super) rest: Option<R>,
}

impl<R: Body> Arrived<R> {
    /// Of which nothing was read.
    pub(super) fn coming(body: R) -> Self {
        Self {
            first: VecDeque::new(),
            rest: Some(body),
        }
    }

    /// All of it, if that is here already and in one piece; if not, what is here is kept.
    pub(super) async fn whole(&mut self) -> Option<Bytes>
    where
        R: Body<Data = Bytes> + Unpin,
        R::Error: Into<BoxError>,
    {
        let rest = self.rest.as_mut().filter(|_| self.first.is_empty())?;
        let here = poll_fn(|cx| Poll::Ready(Pin::new(&mut *rest).poll_frame(cx)));
        let data = match here.await {
            Poll::Pending => return None,
            Poll::Ready(None) => {
                self.rest = None;
                return None;
            }
            Poll::Ready(Some(read)) => read.map(Frame::into_data),
        };
        match data {
            Ok(Ok(data)) if rest.is_end_stream() => return Some(data),
            Ok(Ok(data)) => self.first.push_back(Ok(data)),
            // Trailers are dropped.
            Ok(Err(_)) => {}
            Err(error) => self.first.push_back(Err(error.into())),
        }
        None
    }

    /// Whether there is nothing in it.
    pub(super) fn is_empty(&self) -> bool {
        self.first.is_empty() && self.rest.as_ref().is_none_or(Body::is_end_stream)
    }
}

/// What sealing an answer's session needs to know of its request.
pub(super) struct Sealing<'a> {
    pub(super) door: &'a Door,
    pub(super) holding: &'a Holding,
    pub(super) capabilities: Capabilities,
    pub(super) secret_version: u64,
    pub(super) known: Option<&'a Session>,
    pub(super) served_by: Option<ServedBy>,
    pub(super) era: Era,
}

/// The head for the client, and the session the answer's events belong to.
///
/// # Errors
/// A session id no client could be given.
pub(super) fn head_for_client(
    backend: &AnswerHead,
    sealing: &Sealing<'_>,
) -> Result<(response::Parts, Option<Session>), Rejection> {
    let (mut parts, ()) = http::Response::new(()).into_parts();
    parts.status = backend.status;
    parts.headers = backend.for_client().clone();
    let mut session = sealing.known.cloned();
    // A modern client has no sessions; one it never sends back would only be clutter.
    let given = backend.headers.get(MCP_SESSION_ID);
    if let Some(id) = given.filter(|_| sealing.era == Era::Legacy) {
        let now = now_seconds();
        let capabilities = sealing
            .known
            .map_or(sealing.capabilities, |known| known.capabilities);
        let mut new = Session::new(
            Some(id.as_bytes()),
            0,
            capabilities,
            sealing.secret_version,
            now,
        )
        .ok_or_else(|| Rejection::new(Kind::BackendBroken))?;
        new.served_by = sealing.served_by.map(|ServedBy(replica)| replica);
        let holder = sealing.holding.holder(sealing.door);
        parts.headers.insert(
            MCP_SESSION_ID,
            seal_session(sealing.door.sealer(), &holder, &new),
        );
        session = Some(new);
    }
    Ok((parts, session))
}

/// What an event stream says its type is, in whatever case.
const EVENT_STREAM: &[u8] = b"text/event-stream";

/// Whether an answer is an event stream. Clients look for the words anywhere in its type, so an answer
/// that may be taken for a stream is treated as one.
#[must_use]
pub fn is_stream(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let mut places = value.unwrap_or_default().windows(EVENT_STREAM.len());
    places.any(|words| words.eq_ignore_ascii_case(EVENT_STREAM))
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use http_body_util::{BodyExt as _, Full, StreamBody};

    use super::*;

    /// What is whole at once of a body that comes so, and all that is read after it.
    async fn read(
        frames: Vec<Poll<Result<Frame<Bytes>, &'static str>>>,
    ) -> (Option<Bytes>, String) {
        let mut frames = frames.into_iter();
        let coming = stream::poll_fn(move |cx| match frames.next() {
            Some(Poll::Ready(frame)) => Poll::Ready(Some(frame)),
            Some(Poll::Pending) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            None => Poll::Ready(None),
        });
        let mut arrived = Arrived::coming(StreamBody::new(coming));
        let whole = arrived.whole().await;
        let mut read = String::new();
        for piece in arrived.first {
            match piece {
                Ok(data) => read += std::str::from_utf8(&data).unwrap(),
                Err(error) => return (whole, format!("{read} {error}")),
            }
        }
        if let Some(rest) = arrived.rest {
            match rest.collect().await {
                Ok(rest) => read += std::str::from_utf8(&rest.to_bytes()).unwrap(),
                Err(error) => read = format!("{read} {error}"),
            }
        }
        (whole, read)
    }

    // Fails when something that was looked at is lost, or a part is taken for the whole.
    #[tokio::test]
    async fn what_is_not_here_whole_is_read_as_it_comes() {
        let data =
            |text: &'static str| Poll::Ready(Ok(Frame::data(Bytes::from_static(text.as_bytes()))));
        let trailers = || Poll::Ready(Ok(Frame::trailers(HeaderMap::new())));
        assert_eq!(read(vec![data("a"), data("b")]).await, (None, "ab".into()));
        assert_eq!(
            read(vec![Poll::Pending, data("a")]).await,
            (None, "a".into())
        );
        assert_eq!(
            read(vec![data("a"), Poll::Pending, data("b")]).await,
            (None, "ab".into())
        );
        assert_eq!(read(vec![trailers(), data("a")]).await, (None, "a".into()));
        assert_eq!(
            read(vec![Poll::Ready(Err("broken"))]).await,
            (None, " broken".into())
        );
        assert_eq!(
            read(vec![data("a"), Poll::Ready(Err("broken"))]).await,
            (None, "a broken".into())
        );
        assert_eq!(read(vec![]).await, (None, String::new()));
        let mut whole = Arrived::coming(Full::new(Bytes::from_static(b"all")));
        assert_eq!(whole.whole().await.as_deref(), Some(&b"all"[..]));
    }
}
