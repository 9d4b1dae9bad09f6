//! From the client's lines to messages on their way, in the order they came.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, timeout};

use super::exchange::{follow, post};
use super::flights::Flight;
use super::line::Line;
use super::listen::listen;
use super::message::{Outgoing, error, outgoing};
use super::renew::goodbye;
use super::shared::Shared;
use super::trouble::Problem;
use super::wire::PATIENCE;

/// Requests that may be under way.
const MOST: usize = 256;

/// Passes messages between the client and the server.
pub(super) struct Bridge {
    shared: Arc<Shared>,
    /// One for each message that waits for its answer.
    tasks: JoinSet<()>,
    listener: Option<AbortHandle>,
}

impl Bridge {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            tasks: JoinSet::new(),
            listener: None,
        }
    }

    /// Passes what the client sends, each line with the moment it was read, until there is no more or
    /// `stop` is set; then waits for the answers under way, but for those that never end.
    pub(super) async fn run(
        &mut self,
        lines: &mut mpsc::Receiver<(Line, Instant)>,
        mut stop: watch::Receiver<bool>,
    ) {
        loop {
            let line = tokio::select! {
                line = lines.recv() => line,
                Some(_) = self.tasks.join_next() => continue,
                _ = stop.wait_for(|stop| *stop) => None,
            };
            match line {
                Some((line, read)) => self.take(line, read + PATIENCE).await,
                None => break,
            }
        }
        self.shared.flights.stop_endless();
        while self.tasks.join_next().await.is_some() {}
    }

    /// Ends what is left, and the session.
    pub(super) async fn finish(&mut self) {
        self.tasks.shutdown().await;
        if let Some(listener) = self.listener.take() {
            listener.abort();
        }
        let ended = self.shared.session().close();
        goodbye(&self.shared, &ended).await;
    }

    async fn take(&mut self, line: Line, until: Instant) {
        let line = match line {
            Line::Message(line) => line,
            Line::TooLong => {
                let text = "cloakroom connect: this message is longer than 64 MiB";
                return self.shared.tell(error(None, 4130, text)).await;
            }
        };
        match outgoing(line) {
            Ok(message) => self.pass(Arc::new(message), until).await,
            Err(refused) => {
                let text = format!("cloakroom connect: {}", refused.text);
                let answer = error(refused.id.as_ref(), refused.code, &text);
                self.shared.tell(answer).await;
            }
        }
    }

    async fn pass(&mut self, message: Arc<Outgoing>, until: Instant) {
        if self.is_cancelled_here(&message) {
            return;
        }
        if let Some(problem) = self.objection(&message) {
            for id in &message.ids {
                self.shared.refuse(Some(id), &problem).await;
            }
            return;
        }
        if message.opens() {
            self.close().await;
        }
        let modern = self.is_modern(&message);
        let flight = self.shared.flights.begin(&message, modern, false);
        let posted = match post(&self.shared, &message, &flight, until).await {
            Ok(posted) => posted,
            Err(problem) => return self.shared.settle(&message, &flight, Err(problem)).await,
        };
        let following = follow(self.shared.clone(), message.clone(), flight.clone(), posted);
        if message.opens() {
            following.await;
            self.opened(&message, &flight);
        } else if message.has_opened() {
            // What follows is for a server that knows.
            let _ = timeout(PATIENCE, following).await;
            self.initialized(&message);
        } else {
            self.tasks.spawn(following);
        }
    }

    /// Whether the message says everything about itself, and its connection is what it depends on.
    fn is_modern(&self, message: &Outgoing) -> bool {
        let Some(version) = message.modern.as_deref() else {
            return false;
        };
        self.shared.session().saw_modern(version);
        self.shared.sse.is_none()
    }

    /// Whether it cancels a request of 2026-07-28, which over HTTP is to close its connection (basic/patterns
    /// /cancellation); a client of that revision has nothing else to cancel.
    fn is_cancelled_here(&self, message: &Outgoing) -> bool {
        let Some(id) = &message.cancels else {
            return false;
        };
        match self.shared.flights.cancel(id) {
            Some(closed) => closed,
            None => self.shared.sse.is_none() && self.shared.session().modern().is_some(),
        }
    }

    /// Why a message is not sent.
    fn objection(&self, message: &Outgoing) -> Option<Problem> {
        let changed = self.shared.session().has_changed();
        if changed && message.modern.is_none() && !message.opens() {
            return Some(Problem::Changed);
        }
        let most = self.shared.flights.count() + message.ids.len() > MOST;
        (most && !message.ids.is_empty()).then_some(Problem::TooMany(MOST))
    }

    /// The client opens a session: whatever was before is over.
    async fn close(&mut self) {
        if let Some(listener) = self.listener.take() {
            listener.abort();
        }
        let ended = self.shared.session().close();
        if let Some(sse) = self.shared.sse.as_ref().filter(|_| ended.generation > 0) {
            sse.close(&self.shared).await;
        }
        let shared = self.shared.clone();
        self.tasks
            .spawn(async move { goodbye(&shared, &ended).await });
    }

    fn opened(&self, message: &Outgoing, flight: &Flight) {
        if let Some(Ok(hello)) = flight.hello() {
            let text = message.text.clone();
            let mut session = self.shared.session();
            session.open(text, hello.id, &hello.result);
        }
    }

    fn initialized(&mut self, message: &Outgoing) {
        self.shared.session().initialized(message.text.clone());
        if self.shared.sse.is_none() && self.listener.is_none() {
            let listener = tokio::spawn(listen(self.shared.clone()));
            self.listener = Some(listener.abort_handle());
        }
    }
}
