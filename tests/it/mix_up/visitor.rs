//! One client of one user: asks without end, goes away at any moment, keeps a stream of HTTP+SSE for
//! each profile.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::time::timeout;

use super::crowd::{Inner, has_admin};
use super::report::{Asked, Call};
use super::servers::{self, PROFILES, SERVERS, Speech};
use crate::support::Chance;
use crate::support::client::Client;
use crate::support::sse::Sse;

/// Longer than any answer takes.
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) struct Visitor {
    crowd: Arc<Inner>,
    number: usize,
    user: usize,
    chance: Chance,
    client: Client,
    /// How long an exchange takes, about: clients that go away shall do so at every moment of it.
    usual: Duration,
    next_id: u64,
    lines: [Option<Line>; PROFILES.len()],
}

/// An open stream of HTTP+SSE.
struct Line {
    stream: Sse,
    key: String,
    /// Calls whose answers have not come, also of requests that were given up.
    waiting: Vec<Call>,
}

/// How a message to a stream ended.
enum Told {
    Answered,
    KeyRefused,
    StreamOver,
    Failed(String),
}

impl Visitor {
    pub(super) fn new(crowd: Arc<Inner>, number: usize, user: usize) -> Self {
        Self {
            client: crowd.proxy.client(),
            crowd,
            number,
            user,
            chance: Chance::new(number as u64 + 1),
            usual: Duration::from_millis(20),
            next_id: 0,
            lines: Default::default(),
        }
    }

    pub(super) async fn visit(mut self) {
        while self.crowd.take() {
            let asked = Asked {
                user: self.user,
                server: self.server(),
                profile: self.chance.below(PROFILES.len() as u64) as usize,
            };
            let key = self.crowd.key(self.user);
            match asked.speech() {
                Speech::Streams => self.by_stream(asked, &key).await,
                _ => self.by_request(asked, &key).await,
            }
        }
        self.hear_out().await;
    }

    /// The server of the next request: the chaotic one twice as often as each other.
    fn server(&mut self) -> usize {
        let chaos = |kind: &servers::Kind| kind.speech == Speech::Chaos;
        let again = SERVERS.iter().position(chaos).unwrap();
        let chosen = self.chance.below(SERVERS.len() as u64 + 1) as usize;
        if chosen < SERVERS.len() {
            chosen
        } else {
            again
        }
    }

    /// The calls of the next request. Ids are the same for everybody.
    fn calls(&mut self, asked: Asked) -> Vec<Call> {
        let batch = asked.speech() == Speech::Plain && self.chance.below(4) == 0;
        let server = &SERVERS[asked.server];
        let mut call = || {
            let id = self.next_id;
            self.next_id += 1;
            Call {
                id,
                nonce: format!("{}-{id}", self.number),
                drops: server.drops && self.chance.below(4) == 0,
                refused: false,
            }
        };
        let mut calls: Vec<_> = (0..=usize::from(batch)).map(|_| call()).collect();
        // One refused element refuses a batch.
        if !has_admin(self.user) && calls.iter().any(|call| call.drops) {
            calls.iter_mut().for_each(|call| call.refused = true);
        }
        calls
    }

    fn patience(&mut self) -> Duration {
        match self.chance.below(5) {
            0 => self.usual.mul_f64(self.chance.below(1000) as f64 / 900.0),
            _ => PATIENCE,
        }
    }

    fn note(&mut self, begun: Instant) {
        self.usual = (self.usual * 7 + begun.elapsed()) / 8;
    }

    fn aborted(&mut self) {
        self.client = self.crowd.proxy.client();
        self.crowd.report().aborted += 1;
    }

    async fn by_request(&mut self, asked: Asked, key: &str) {
        let calls = self.calls(asked);
        let request = asked.request(key, &calls);
        let (begun, patience) = (Instant::now(), self.patience());
        match timeout(patience, self.client.exchange(request)).await {
            Err(_) if patience == PATIENCE => self.crowd.failed(asked, "no answer in time"),
            Err(_) => self.aborted(),
            Ok(answer) => {
                self.note(begun);
                self.crowd.judge(asked, key, &calls, answer);
            }
        }
    }

    async fn by_stream(&mut self, asked: Asked, key: &str) {
        let line = self.lines[asked.profile].take();
        let Some(mut line) = line.filter(|_| self.chance.below(40) > 0) else {
            return self.open(asked, key).await;
        };
        let calls = self.calls(asked);
        line.waiting.extend(calls.iter().cloned());
        let (begun, patience) = (Instant::now(), self.patience());
        let telling = line.tell(&self.crowd, &mut self.client, asked, (key, &calls[0]));
        match timeout(patience, telling).await {
            Err(_) if patience == PATIENCE => {
                return self.crowd.failed(asked, "no answer in time, on a stream");
            }
            Err(_) => {
                self.aborted();
                if self.chance.below(2) == 0 {
                    return;
                }
            }
            Ok(Told::Answered) => self.note(begun),
            Ok(Told::KeyRefused) => self.crowd.refused(key),
            Ok(Told::StreamOver) => return self.over(asked, &line.key),
            Ok(Told::Failed(why)) => return self.crowd.failed(asked, &why),
        }
        self.lines[asked.profile] = Some(line);
    }

    async fn open(&mut self, asked: Asked, key: &str) {
        let patience = self.patience();
        let client = Client::new(self.crowd.proxy.serving.address);
        let opened = timeout(patience, Sse::open(client, &asked.path(), key)).await;
        let stream = match opened {
            Err(_) if patience == PATIENCE => return self.crowd.failed(asked, "no stream in time"),
            Err(_) => return self.aborted(),
            Ok(Ok(Ok(stream))) => stream,
            Ok(Ok(Err(answer))) if answer.status == 401 => return self.crowd.refused(key),
            Ok(Ok(Err(answer))) => return self.crowd.failed(asked, &answer.text()),
            // Revoked between its head and its first event.
            Ok(Err(_)) => return self.over(asked, key),
        };
        self.crowd.report().streams += 1;
        self.lines[asked.profile] = Some(Line {
            stream,
            key: key.to_owned(),
            waiting: Vec::new(),
        });
    }

    /// A stream has ended, which is right if its key no longer stands.
    fn over(&self, asked: Asked, key: &str) {
        if self.crowd.is_revoked(key) {
            self.crowd.report().streams_ended += 1;
        } else {
            self.crowd.failed(asked, "a stream ended");
        }
    }

    /// Reads what its streams still bring: nothing of it may be another's.
    async fn hear_out(&mut self) {
        let server = SERVERS
            .iter()
            .position(|kind| kind.speech == Speech::Streams);
        for profile in 0..PROFILES.len() {
            let asked = Asked {
                user: self.user,
                server: server.unwrap(),
                profile,
            };
            if let Some(line) = &mut self.lines[profile] {
                let hear = async { while line.hear(&self.crowd, asked).await.is_some() {} };
                let _ = timeout(Duration::from_millis(200), hear).await;
            }
        }
    }
}

impl Line {
    /// Posts a message, and reads the stream until its answer has come.
    async fn tell(
        &mut self,
        crowd: &Inner,
        client: &mut Client,
        asked: Asked,
        (key, call): (&str, &Call),
    ) -> Told {
        let body = asked.body(std::slice::from_ref(call));
        let posted = match client.exchange(self.stream.post(key, body)).await {
            Ok(posted) => posted,
            Err(_) if crowd.is_revoked(key) => return Told::KeyRefused,
            Err(error) => return Told::Failed(error),
        };
        if posted.status == 401 {
            self.waiting.retain(|waiting| waiting.id != call.id);
            return Told::KeyRefused;
        }
        // What is not accepted must have come too late for its stream: that will be seen below.
        let accepted = posted.status == 202;
        while !accepted || self.waiting.iter().any(|waiting| waiting.id == call.id) {
            if self.hear(crowd, asked).await.is_none() {
                return Told::StreamOver;
            }
        }
        Told::Answered
    }

    /// Reads and judges one event.
    async fn hear(&mut self, crowd: &Inner, asked: Asked) -> Option<()> {
        let event = self.stream.next().await?;
        let data = event.strip_prefix("event: message\ndata: ").unwrap_or("");
        let message: Value = serde_json::from_str(data).unwrap_or_default();
        crowd.judge_message(asked, &self.waiting, &message);
        let id = message["id"].as_u64();
        self.waiting.retain(|waiting| Some(waiting.id) != id);
        Some(())
    }
}
