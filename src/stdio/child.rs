//! One child process, and what is said to it and by it.

mod ending;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use tokio::runtime::Handle as Runtime;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::timeout;

use super::heard::{Heard, Shape};
use super::listening::{self, Pipes};
use super::mailbox::{Front, LOOSE, Mailbox, Put};
use super::settings::Settings;
use super::talk::{Next, Talk, Unanswered, Unheard, cancelled, line};
use super::waiting::{Line, WAITING, room_for, waiting_room};
use super::words::Words;
use super::{Owner, refused};
use crate::launch::{Handle, Process};
use crate::mcp::scan::Message;
use crate::rejection::Kind;
pub(super) use ending::{End, Stop};

/// Refusals that may wait to be noticed.
const REFUSALS: usize = 1024;

/// A child process that runs, or ran.
pub(super) struct Child {
    pub(super) settings: Arc<Settings>,
    pub(super) owner: Owner,
    /// The version of the secrets it was started with.
    pub(super) version: u64,
    /// When those were looked up.
    pub(super) made: Instant,
    pub(super) begun: Instant,
    handle: Handle,
    talk: Mutex<Talk<To>>,
    /// Where what it says is put; none before a session has taken it.
    mailbox: OnceLock<Arc<Mailbox>>,
    /// To its standard input; none once that was closed.
    lines: Mutex<Option<mpsc::Sender<Line>>>,
    /// Bytes that may still wait there.
    room: Arc<Semaphore>,
    words: Mutex<Words>,
    /// The resources whose changes it refused to tell, until that is noticed.
    refusals: Mutex<Vec<Box<str>>>,
    used: Mutex<Instant>,
    is_stopping: AtomicBool,
    end: watch::Sender<Option<Arc<End>>>,
    runtime: Runtime,
}

/// A child that does not go to sleep as long as this is there.
pub(super) struct Held(Arc<Child>);

impl Held {
    /// The child, which may go to sleep when this is gone.
    pub(super) fn child(&self) -> &Arc<Child> {
        &self.0
    }
}

impl std::ops::Deref for Held {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.0
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.talk().release();
    }
}

/// A request that the child was not sent yet: whoever asks may leave before there is room.
struct Unsent<'c> {
    child: &'c Child,
    number: u64,
}

impl Drop for Unsent<'_> {
    fn drop(&mut self) {
        // Nothing is to be said of what it never heard of.
        self.child.talk().take_back(self.number);
    }
}

/// Where the answer to a request goes.
#[derive(Clone)]
pub(super) enum To {
    /// Into this stream of the mailbox.
    Stream(u32),
    /// To ourselves.
    Us(mpsc::UnboundedSender<Bytes>),
}

impl Child {
    /// The child that `process` is, served by `runtime` from now on.
    pub(super) fn new(
        process: Process,
        settings: &Arc<Settings>,
        owner: &Owner,
        (version, made): (u64, Instant),
        words: Words,
        runtime: &Runtime,
    ) -> Arc<Self> {
        let (lines, to_write) = mpsc::channel(WAITING);
        let now = Instant::now();
        let child = Arc::new(Self {
            settings: settings.clone(),
            owner: owner.clone(),
            version,
            made,
            begun: now,
            handle: process.handle,
            talk: Mutex::default(),
            mailbox: OnceLock::new(),
            lines: Mutex::new(Some(lines)),
            room: waiting_room(),
            words: Mutex::new(words),
            refusals: Mutex::default(),
            used: Mutex::new(now),
            is_stopping: AtomicBool::new(false),
            end: watch::Sender::new(None),
            runtime: runtime.clone(),
        });
        let pipes = Pipes {
            stdout: process.stdout,
            stderr: process.stderr,
        };
        runtime.spawn(listening::write(process.stdin, to_write));
        runtime.spawn(listening::listen(child.clone(), pipes));
        child
    }

    /// What it says is put there from now on.
    pub(super) fn adopt(&self, mailbox: &Arc<Mailbox>) {
        let _ = self.mailbox.set(mailbox.clone());
        self.touch();
    }

    /// What it wrote last to its standard error, to be put behind a sentence.
    pub(super) fn last_words(&self) -> String {
        match self.words().tail() {
            tail if tail.is_empty() => tail,
            tail => format!("; its last words: {tail}"),
        }
    }

    /// Its process.
    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Keeps it from going to sleep, if it takes requests.
    pub(super) fn hold(self: &Arc<Self>) -> Option<Held> {
        let held = self.is_open() && self.talk().hold();
        held.then(|| Held(self.clone()))
    }

    /// Whether it takes requests.
    pub(super) fn is_open(&self) -> bool {
        !self.is_stopping.load(Ordering::Acquire) && self.end.borrow().is_none()
    }

    /// When it was last spoken to.
    pub(super) fn used(&self) -> Instant {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn touch(&self) {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Sends it a request, whose answer goes to `to`; gives our number of it.
    pub(super) async fn ask(
        &self,
        text: &str,
        message: &Message<'_>,
        to: To,
    ) -> Result<u64, Unheard> {
        self.touch();
        let (number, line) = self.talk().ask(text, message, to, Instant::now())?;
        let unsent = Unsent {
            child: self,
            number,
        };
        self.write(line).await?;
        std::mem::forget(unsent);
        Ok(number)
    }

    /// Sends it a notification; whether that is about something it knows.
    pub(super) async fn tell(&self, text: &str, message: &Message<'_>) -> Result<bool, Unheard> {
        self.touch();
        let told = self.talk().tell(text, message);
        let Some((line, gone)) = told else {
            return Ok(false);
        };
        let written = self.write(line).await;
        // Its stream would stay open for an answer that never comes. That of HTTP+SSE stays anyway.
        if let Some(gone) = gone.filter(|gone| !matches!(gone.to, To::Stream(LOOSE))) {
            self.refuse(
                &gone,
                Kind::Cancelled,
                Kind::Cancelled.row().text.to_owned(),
            );
        }
        written.map(|()| true)
    }

    /// Sends it the answer to a question, if it asked; whether it did.
    pub(super) async fn answer(&self, text: &str, message: &Message<'_>) -> Result<bool, Unheard> {
        self.touch();
        let line = self.talk().answer(text, message);
        match line {
            Some(line) => self.write(line).await.map(|()| true),
            None => Ok(false),
        }
    }

    /// Sends it a message as it is.
    pub(super) async fn say(&self, text: &str) -> Result<(), Unheard> {
        self.write(line(text.as_bytes())).await
    }

    async fn write(&self, line: Bytes) -> Result<(), Unheard> {
        let lines = self.lines().clone().ok_or(Unheard::Closed)?;
        let room = self.room.clone().acquire_many_owned(room_for(&line));
        let sent = timeout(self.settings.answer_timeout, async {
            let room = room.await.ok()?;
            lines
                .send(Line {
                    line,
                    _room: Some(room),
                })
                .await
                .ok()
        });
        match sent.await {
            Ok(sent) => sent.ok_or(Unheard::Closed),
            Err(_) => {
                tracing::warn!(server = %self.settings.server, "a child does not read, and is stopped");
                self.handle.kill();
                Err(Unheard::Closed)
            }
        }
    }

    /// Sends it what it may do without, if it reads.
    fn try_write(&self, line: Bytes) {
        if let Some(lines) = &*self.lines() {
            let _ = lines.try_send(Line { line, _room: None });
        }
    }

    /// Nobody waits for the answer to a request any more.
    pub(super) fn take_back(&self, number: u64) {
        let line = self.talk().take_back(number);
        if let Some(line) = line {
            self.try_write(line);
        }
    }

    /// Takes in a message of the child; what became of it. Before a session has taken the child only we
    /// ask, and nobody else is answered.
    pub(super) fn hear(&self, heard: &Heard<'_>) -> Put {
        let mailbox = self.mailbox.get();
        if let Shape::Request { id, method } = &heard.shape
            && !mailbox.is_some_and(|mailbox| self.can_be_asked(mailbox, method))
        {
            self.answer_ourselves(&heard.text[id.clone()], method == "ping");
            return Put::Lost;
        }
        let (next, stream) = {
            let mut talk = self.talk();
            // A question is heard with a mailbox only, as is seen above.
            let question = || mailbox.map_or(0, |mailbox| mailbox.number_question());
            let next = talk.hear(heard, Instant::now(), question);
            (next, mailbox.map_or(LOOSE, |mailbox| loose(&talk, mailbox)))
        };
        match next {
            Next::Answer {
                to,
                message,
                refuses,
            } => {
                self.touch();
                let mut refusals = self.refusals();
                if refusals.len() < REFUSALS {
                    refusals.extend(refuses);
                }
                drop(refusals);
                deliver(mailbox, &to, message, true)
            }
            Next::Along(to, message) => deliver(mailbox, &to, message, false),
            Next::Loose(message) => {
                match deliver(mailbox, &To::Stream(stream), message, false) {
                    // It is kept for who may come; but who could go on for ever?
                    Put::Taken if !mailbox.is_some_and(|m| m.is_read(stream)) => Put::Lost,
                    put => put,
                }
            }
            Next::Nobody => Put::Lost,
        }
    }

    /// Whether there is a client for a question of the child; one to be pinged must be listening.
    fn can_be_asked(&self, mailbox: &Mailbox, method: &str) -> bool {
        let is_listened_to = || mailbox.is_read(LOOSE) || self.talk().under_way() > 0;
        mailbox.front() != Front::Modern && (method != "ping" || is_listened_to())
    }

    /// Answers a question no client could.
    fn answer_ourselves(&self, id: &str, is_ping: bool) {
        let answer = match is_ping {
            true => "\"result\":{}",
            false => {
                "\"error\":{\"code\":-32601,\"message\":\"Method not found: there is no client to ask\"}"
            }
        };
        self.try_write(line(
            format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},{answer}}}").as_bytes(),
        ));
    }

    /// Gives up on what it has said nothing about for too long.
    pub(super) fn give_up(&self, now: Instant) {
        let patience = self.settings.answer_timeout;
        for late in self.talk().give_up(now, patience) {
            let text = format!(
                "the server `{}` said nothing about this request for {} s",
                self.settings.server,
                patience.as_secs_f32()
            );
            self.refuse(&late, Kind::BackendSilent, text);
            self.try_write(cancelled(late.number));
        }
    }

    fn refuse(&self, unanswered: &Unanswered<To>, kind: Kind, text: String) {
        if let Some(mailbox) = self.mailbox.get() {
            let message = refused(kind, text, &unanswered.id);
            deliver(Some(mailbox), &unanswered.to, message, true);
        }
    }

    /// Whether nobody waits for anything.
    pub(super) fn is_idle(&self) -> bool {
        self.talk().is_idle()
    }

    /// Takes nothing more from now on, if nobody waits for anything; whether that is so.
    pub(super) fn close_if_idle(&self) -> bool {
        self.talk().close_if_idle()
    }

    pub(super) fn mailbox(&self) -> Option<&Arc<Mailbox>> {
        self.mailbox.get()
    }

    /// The resources whose changes it refused to tell since this was last asked.
    pub(super) fn refused(&self) -> Vec<Box<str>> {
        std::mem::take(&mut *self.refusals())
    }

    fn refusals(&self) -> MutexGuard<'_, Vec<Box<str>>> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it writes to its standard error.
    pub(super) fn words(&self) -> MutexGuard<'_, Words> {
        self.words.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn talk(&self) -> MutexGuard<'_, Talk<To>> {
        self.talk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lines(&self) -> MutexGuard<'_, Option<mpsc::Sender<Line>>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where what belongs to no request goes. While one alone is under way, it most likely belongs to that
/// (MCP 2025-11-25, basic/transports "Sending Messages to the Server"); else to who listens.
fn loose(talk: &Talk<To>, mailbox: &Mailbox) -> u32 {
    let latest = match talk.latest() {
        Some(To::Stream(stream)) => Some(*stream),
        Some(To::Us(_)) | None => None,
    };
    match latest {
        Some(stream) if talk.under_way() == 1 || !mailbox.is_read(LOOSE) => stream,
        _ => LOOSE,
    }
}

fn deliver(mailbox: Option<&Arc<Mailbox>>, to: &To, message: Bytes, is_answer: bool) -> Put {
    match to {
        To::Stream(stream) => mailbox.map_or(Put::Lost, |mailbox| {
            mailbox.put(*stream, message, is_answer)
        }),
        To::Us(us) if is_answer && us.send(message).is_ok() => Put::Taken,
        To::Us(_) => Put::Lost,
    }
}
