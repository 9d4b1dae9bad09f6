//! The beginning of a stream of HTTP+SSE: until the backend has said where messages go, its client is
//! told nothing, so that a stream nobody can use is an error and not a silence.

use std::collections::VecDeque;
use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use http_body::Body;
use http_body_util::BodyExt as _;

use super::body::AnswerBody;
use super::failure::BoxError;
use super::streams::Streams;
use crate::mcp::answer::AnswerError;
use crate::names::ServerName;
use crate::rejection::{Kind, Rejection};

/// How long the backend may take to say where messages go.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes that may come before it has.
const MOST: usize = 64 * 1024;

/// `body`, once the event that says where messages go has come; `sealed` holds its path from then on.
///
/// # Errors
/// It leads to another origin, or does not come.
pub(super) async fn announced<R>(
    body: AnswerBody<R>,
    sealed: &OnceLock<String>,
    streams: &Streams,
    server: &ServerName,
) -> Result<AnswerBody<R>, Rejection>
where
    R: Body<Data = Bytes>,
    R::Error: Into<BoxError>,
{
    let mut body = Box::pin(body);
    let (mut first, mut length) = (VecDeque::new(), 0);
    let beginning = async {
        while sealed.get().is_none() && length <= MOST {
            let frame = body.frame().await.ok_or_else(|| no_stream(server))?;
            let data = frame.map_err(|error| unusable(server, &error))?.into_data();
            let data = data.unwrap_or_default();
            length += data.len();
            first.push_back(data);
        }
        Ok(())
    };
    match tokio::time::timeout(PATIENCE, beginning).await {
        Ok(begun) => begun?,
        Err(_) => return Err(no_stream(server)),
    }
    let path = sealed.get().ok_or_else(|| no_stream(server))?;
    let own = streams.open(path);
    Ok(AnswerBody::stream(first, body, own))
}

/// The refusal of a stream that is none.
pub(super) fn no_stream(server: &ServerName) -> Rejection {
    tracing::warn!(%server, "no stream of HTTP+SSE at `sse_url`: its first event must be `endpoint`");
    let text = format!(
        "the server `{server}` does not open a stream of HTTP+SSE: the operator is to look at \
         `servers.{server}.sse_url`"
    );
    Rejection::with_text(Kind::BackendBroken, text)
}

fn unusable(server: &ServerName, error: &BoxError) -> Rejection {
    if !matches!(error.downcast_ref(), Some(AnswerError::ForeignEndpoint)) {
        return no_stream(server);
    }
    let text = format!(
        "the server `{server}` wants messages sent to another origin than that of its `sse_url`, which \
         is not done: the operator is to write the address the server knows itself by"
    );
    tracing::warn!(%server, "{text}");
    Rejection::with_text(Kind::BackendBroken, text)
}
