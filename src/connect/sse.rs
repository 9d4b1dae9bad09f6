//! HTTP+SSE (MCP 2024-11-05, basic/transports "HTTP with SSE"): one stream brings everything, and says first
//! where messages are posted to.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Uri};
use tokio::sync::{Mutex, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};
use url::Url;

use super::headers::{is_stream, of_stream};
use super::line::LONGEST;
use super::message::failed;
use super::session::Standing;
use super::shared::Shared;
use super::trouble::Problem;
use super::wire::Answer;
use crate::mcp::events::Events;

/// The stream, if it is open.
#[derive(Default)]
pub(super) struct Sse(Mutex<Option<Live>>);

struct Live {
    endpoint: Uri,
    reader: AbortHandle,
}

impl Live {
    fn is_alive(&self) -> bool {
        !self.reader.is_finished()
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Sse {
    /// Whether the stream is open.
    pub(super) async fn is_live(&self) -> bool {
        self.0.lock().await.as_ref().is_some_and(Live::is_alive)
    }

    /// Where messages are posted to: opens the stream if it is not.
    ///
    /// # Errors
    /// It cannot be opened until then, or does not say so.
    pub(super) async fn endpoint(
        &self,
        shared: &Arc<Shared>,
        until: Instant,
    ) -> Result<Uri, Problem> {
        let mut live = self.0.lock().await;
        if let Some(live) = live.as_ref().filter(|live| live.is_alive()) {
            return Ok(live.endpoint.clone());
        }
        *live = None;
        let opened = open(shared, until).await?;
        let endpoint = opened.endpoint.clone();
        *live = Some(opened);
        Ok(endpoint)
    }

    /// Closes the stream; what it would have answered is lost.
    pub(super) async fn close(&self, shared: &Shared) {
        *self.0.lock().await = None;
        shared.flights.lose_all();
    }
}

async fn open(shared: &Arc<Shared>, until: Instant) -> Result<Live, Problem> {
    let to = (Method::GET, shared.wire.url());
    let headers = of_stream(&Standing::default(), None);
    let sent = shared.wire.send(to, headers, Bytes::new(), until).await?;
    let mut answer = sent.answer().await?;
    if !answer.status.is_success() {
        let words = failed(&answer.refusal().await).map(|failed| failed.message);
        return Err(Problem::Status(answer.status, answer.location(), words));
    }
    if is_stream(&answer.headers) != Some(true) {
        return Err(Problem::NotMcp);
    }
    let (told, endpoint) = oneshot::channel();
    let reading = read(shared.clone(), answer, told);
    let reader = tokio::spawn(reading).abort_handle();
    let said = timeout_at(until, endpoint).await;
    let Ok(Ok(said)) = said else {
        reader.abort();
        return Err(Problem::NotMcp);
    };
    match resolved(shared.wire.url(), &said) {
        Some(endpoint) => Ok(Live { endpoint, reader }),
        None => {
            reader.abort();
            Err(Problem::Elsewhere)
        }
    }
}

/// Reads the stream to its end.
async fn read(shared: Arc<Shared>, mut answer: Answer, told: oneshot::Sender<String>) {
    let mut told = Some(told);
    let mut events = Events::new(LONGEST);
    'stream: while let Ok(Some(part)) = answer.next().await {
        let mut found = Vec::new();
        let pushed = events.push(&part, &mut found);
        for event in found {
            if event.kind == "endpoint" {
                // A second one is not gone by: messages go where the session began.
                if let Some(told) = told.take() {
                    let _ = told.send(String::from_utf8_lossy(&event.data).into_owned());
                }
            } else if !event.data.is_empty() {
                shared.hear(event.data, None).await;
            }
        }
        if pushed.is_err() {
            shared.note(&Problem::TooLong.to_string());
            break 'stream;
        }
    }
    shared.flights.lose_all();
}

/// Where `said` leads from `url`; `None` if that is not the same origin.
fn resolved(url: &Uri, said: &str) -> Option<Uri> {
    let base = Url::parse(&url.to_string()).ok()?;
    let endpoint = base.join(said.trim()).ok()?;
    let plain = endpoint.username().is_empty() && endpoint.password().is_none();
    if endpoint.origin() != base.origin() || !plain {
        return None;
    }
    endpoint.as_str().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    // Fails when the origin is compared without its port or scheme, or as a beginning of the text.
    #[test]
    fn messages_go_to_the_origin_of_the_stream_only() {
        let url: Uri = "https://h.example:8443/jira/sse".parse().unwrap();
        for (said, leads) in [
            ("/messages?id=1", "https://h.example:8443/messages?id=1"),
            ("m?id=1", "https://h.example:8443/jira/m?id=1"),
            ("https://h.example:8443/m", "https://h.example:8443/m"),
            (" /m\n", "https://h.example:8443/m"),
        ] {
            assert_eq!(resolved(&url, said).unwrap().to_string(), leads, "{said}");
        }
        for said in [
            "http://h.example:8443/m",
            "https://h.example/m",
            "https://h.example:84430/m",
            "//evil.example/m",
            "\\\\evil.example/m",
            "https://h.example:8443@evil.example/m",
            "https://u:p@h.example:8443/m",
            "data:text/plain,x",
        ] {
            assert_eq!(resolved(&url, said), None, "{said}");
        }
    }
}
