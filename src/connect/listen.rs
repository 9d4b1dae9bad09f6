//! The stream for what the server says on its own (MCP 2025-03-26 to 2025-11-25, basic/transports "Listening
//! for Messages from the Server"), as long as there is a session.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use tokio::time::{Instant, sleep};

use super::headers::{is_stream, of_stream};
use super::line::LONGEST;
use super::message::failed;
use super::renew::renew;
use super::session::Standing;
use super::shared::Shared;
use super::trouble::Problem;
use super::wire::Answer;
use crate::mcp::events::Events;

/// How long to wait before asking again, where the server does not say.
const RETRY: Duration = Duration::from_secs(1);
/// The longest such wait, whatever the server says and however often it failed.
const RETRY_MOST: Duration = Duration::from_secs(30);

/// What to do next.
enum Next {
    /// Ask again after the wait.
    Again,
    /// Ask again at once, in the session as it is now.
    Renewed,
    /// The server has no such stream, or none for this key.
    Never,
}

/// Listens until the session is closed, or the server turns out not to have such a stream.
pub(super) async fn listen(shared: Arc<Shared>) {
    let mut generation = shared.generation.subscribe();
    let mut place = Place::default();
    loop {
        let standing = shared.session().standing();
        generation.mark_unchanged();
        let next = tokio::select! {
            next = place.heard(&shared, &standing) => next,
            // The session was begun anew: what this one would bring, nobody sends any more.
            _ = generation.changed() => Next::Renewed,
        };
        match next {
            Next::Again => sleep(place.wait).await,
            Next::Renewed => place = Place::default(),
            Next::Never => return,
        }
    }
}

/// Where in the stream it is.
struct Place {
    last: Option<String>,
    wait: Duration,
}

impl Default for Place {
    fn default() -> Self {
        Self {
            last: None,
            wait: RETRY,
        }
    }
}

impl Place {
    async fn heard(&mut self, shared: &Arc<Shared>, standing: &Standing) -> Next {
        let to = (Method::GET, shared.wire.url());
        let headers = of_stream(standing, self.last.as_deref());
        let sent = shared.wire.send(to, headers, Bytes::new(), Instant::now());
        let answer = match sent.await {
            Ok(sent) => sent.answer().await,
            Err(problem) => Err(problem),
        };
        match answer {
            Ok(answer) if answer.status.is_success() => self.read(shared, answer).await,
            Ok(mut answer) => {
                let words = failed(&answer.refusal().await).map(|failed| failed.message);
                let problem = Problem::Status(answer.status, None, words);
                self.refused(shared, standing, answer.status, problem).await
            }
            Err(problem) => {
                // Messages that cannot be sent say so themselves.
                tracing::debug!(%problem, "no stream");
                self.wait = (self.wait * 2).min(RETRY_MOST);
                Next::Again
            }
        }
    }

    async fn read(&mut self, shared: &Shared, mut answer: Answer) -> Next {
        if is_stream(&answer.headers) != Some(true) {
            return Next::Never;
        }
        self.wait = RETRY;
        let mut events = Events::new(LONGEST);
        while let Ok(Some(part)) = answer.next().await {
            let mut found = Vec::new();
            let pushed = events.push(&part, &mut found);
            for event in found.into_iter().filter(|event| !event.data.is_empty()) {
                shared.hear(event.data, None).await;
            }
            if let Some(last) = events.last_id() {
                self.last = Some(last.to_owned());
            }
            if pushed.is_err() {
                shared.note(&Problem::TooLong.to_string());
                self.last = None;
                break;
            }
        }
        if let Some(said) = events.retry() {
            self.wait = Duration::from_millis(said).min(RETRY_MOST);
        }
        Next::Again
    }

    async fn refused(
        &mut self,
        shared: &Arc<Shared>,
        standing: &Standing,
        status: StatusCode,
        problem: Problem,
    ) -> Next {
        match status {
            StatusCode::NOT_FOUND if standing.id.is_some() => {
                match renew(shared, standing.generation).await {
                    Ok(()) => Next::Renewed,
                    // The next request is told.
                    Err(Problem::Changed) => Next::Never,
                    Err(problem) => {
                        shared.note(&problem.to_string());
                        self.wait = (self.wait * 2).min(RETRY_MOST);
                        Next::Again
                    }
                }
            }
            // What came after that event is not to be had any more.
            StatusCode::BAD_REQUEST if self.last.take().is_some() => Next::Again,
            _ if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                self.wait = (self.wait * 2).min(RETRY_MOST);
                Next::Again
            }
            StatusCode::METHOD_NOT_ALLOWED => Next::Never,
            _ => {
                shared.note(&format!(
                    "no stream for what the server says on its own: {problem}"
                ));
                Next::Never
            }
        }
    }
}
