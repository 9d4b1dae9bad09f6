//! The conversation with one child: ids of requests made unique, and given back.
//!
//! Every request a child is sent carries a number of ours in place of the client's id, and in place of
//! its progress token; what the child says about that number goes back with what the client wrote.
//! Clients count from zero, each for itself, so a child that serves several would mix them up
//! otherwise; and an answer nobody waits for, late or made up, goes to nobody. A child's own questions
//! are numbered likewise, for a session may outlive its child: the client's late answer to one child must
//! not be taken for an answer to the next, which counts from zero as well.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::heard::{Heard, Shape};
use crate::mcp::edit::{Edits, member};
use crate::mcp::scan::Message;

/// Questions of a child that may wait for the client's answer; of more, the oldest are forgotten.
const QUESTIONS: usize = 256;

/// What is under way with one child. `T` is where answers go.
pub(super) struct Talk<T> {
    next: u64,
    under_way: BTreeMap<u64, Asked<T>>,
    /// The child's own requests, oldest first.
    questions: Vec<Question>,
    /// Those who are about to say something.
    holds: usize,
    closed: bool,
}

/// A request a child has not answered.
struct Asked<T> {
    /// The client's id, as it was written.
    id: Box<str>,
    /// The client's progress token, likewise.
    token: Option<Box<str>>,
    to: T,
    /// A subscription: open for as long as its client wants.
    listens: bool,
    /// The resource whose changes are asked for.
    subscribes: Option<Box<str>>,
    /// When the child last said something about it.
    heard: Instant,
}

/// A request of the child that the client has not answered.
struct Question {
    /// What the client knows it by.
    number: u64,
    /// Its id, as the child wrote it.
    id: Box<str>,
    asked: Instant,
}

/// What is to be done with what a child said.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next<T> {
    /// It is the answer to what `to` asked.
    Answer {
        /// Who asked.
        to: T,
        /// The message for the client.
        message: Bytes,
        /// The resource whose changes it refuses to tell.
        refuses: Option<Box<str>>,
    },
    /// It belongs to what `to` asked.
    Along(T, Bytes),
    /// It belongs to nothing under way.
    Loose(Bytes),
    /// It is for nobody.
    Nobody,
}

/// A request that waited too long, or whose child is gone.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unanswered<T> {
    /// Our number of it.
    pub(super) number: u64,
    /// The client's id of it, as it was written.
    pub(super) id: Box<str>,
    /// Who asked.
    pub(super) to: T,
}

/// Requests that may be under way with one child: each is remembered until it is answered, also when
/// its client has gone.
const UNDER_WAY: usize = 1024;

/// Bytes of an id or a progress token, as it is written.
pub(super) const LITERAL: usize = 1024;

/// Bytes of a resource's URI that is remembered.
pub(super) const URI: usize = 8 * 1024;

/// Why a child is not told something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unheard {
    /// It takes nothing more.
    Closed,
    /// Too many requests are under way with it.
    TooMany,
    /// An id or a progress token is too long, or there is none.
    Id,
}

impl<T> Default for Talk<T> {
    fn default() -> Self {
        Self {
            next: 0,
            under_way: BTreeMap::new(),
            questions: Vec::new(),
            holds: 0,
            closed: false,
        }
    }
}

impl<T: Clone> Talk<T> {
    /// A request of a client, as the child is to read it, and its number.
    ///
    /// # Errors
    /// See [`Unheard`].
    pub(super) fn ask(
        &mut self,
        text: &str,
        message: &Message<'_>,
        to: T,
        now: Instant,
    ) -> Result<(u64, Bytes), Unheard> {
        if self.closed {
            return Err(Unheard::Closed);
        }
        if self.under_way.len() >= UNDER_WAY {
            return Err(Unheard::TooMany);
        }
        let id = message.id.clone().ok_or(Unheard::Id)?;
        let token = token(text, message);
        if token.iter().chain([&id]).any(|range| range.len() > LITERAL) {
            return Err(Unheard::Id);
        }
        self.next += 1;
        let number = self.next;
        let mut edits = Edits::default();
        for range in token.iter().chain([&id]) {
            edits.replace(range.clone(), [literal(number)]);
        }
        let asked = Asked {
            id: text[id].into(),
            token: token.map(|range| text[range].into()),
            to,
            listens: message.method.as_deref() == Some("subscriptions/listen"),
            subscribes: match message.method.as_deref() {
                Some("resources/subscribe") => {
                    let uri = message.uri.as_deref().filter(|uri| uri.len() <= URI);
                    uri.map(Into::into)
                }
                _ => None,
            },
            heard: now,
        };
        self.under_way.insert(number, asked);
        Ok((number, line(&edits.apply(text.as_bytes()))))
    }

    /// A notification of a client, as the child is to read it, and the request it takes back, to which
    /// the child owes no answer any more; none if it is about nothing under way.
    pub(super) fn tell(
        &mut self,
        text: &str,
        message: &Message<'_>,
    ) -> Option<(Bytes, Option<Unanswered<T>>)> {
        if message.method.as_deref() != Some("notifications/cancelled") {
            return Some((line(text.as_bytes()), None));
        }
        let at = member(text, message.params.as_ref()?, "requestId")?;
        let written = &text[at.clone()];
        let mut under_way = self.under_way.iter();
        let (&number, _) = under_way.find(|(_, asked)| *asked.id == *written)?;
        let asked = self.under_way.remove(&number)?;
        let mut edits = Edits::default();
        edits.replace(at, [literal(number)]);
        let told = line(&edits.apply(text.as_bytes()));
        Some((told, Some(unanswered((number, asked)))))
    }

    /// A client's answer to a question of the child; none if the child did not ask.
    pub(super) fn answer(&mut self, text: &str, message: &Message<'_>) -> Option<Bytes> {
        let id = message.id.clone()?;
        let answered = number(&text[id.clone()])?;
        let mut questions = self.questions.iter();
        let at = questions.position(|question| question.number == answered)?;
        let question = self.questions.remove(at);
        Some(line(&given_back(text, [&id], &question.id)))
    }

    /// Takes in what the child said. A question of its own gets the number that `question` gives.
    pub(super) fn hear(
        &mut self,
        heard: &Heard<'_>,
        now: Instant,
        question: impl FnOnce() -> u64,
    ) -> Next<T> {
        let text = heard.text;
        match &heard.shape {
            Shape::Answer {
                id,
                subscription,
                code,
            } => {
                let asked = number(&text[id.clone()]);
                let Some(asked) = asked.and_then(|number| self.under_way.remove(&number)) else {
                    return Next::Nobody;
                };
                let back = subscription.iter().chain([id]);
                Next::Answer {
                    message: given_back(text, back, &asked.id),
                    refuses: asked.subscribes.filter(|_| code.is_some()),
                    to: asked.to,
                }
            }
            Shape::Request { id, .. } => {
                if self.questions.len() == QUESTIONS {
                    self.questions.remove(0);
                }
                let number = question();
                self.questions.push(Question {
                    number,
                    id: text[id.clone()].into(),
                    asked: now,
                });
                Next::Loose(given_back(text, [id], &number.to_string()))
            }
            Shape::Notification {
                method,
                token,
                subscription,
                cancelled,
            } => self.by_the_way(text, method, [token, subscription, cancelled], now),
        }
    }

    fn by_the_way(
        &mut self,
        text: &str,
        method: &str,
        [token, subscription, cancelled]: [&Option<Range<usize>>; 3],
        now: Instant,
    ) -> Next<T> {
        let is_progress = method == "notifications/progress";
        if let Some(range) = token.as_ref().filter(|_| is_progress) {
            let asked = number(&text[range.clone()]).and_then(|n| self.under_way.get_mut(&n));
            let Some((asked, written)) = asked.and_then(|a| a.token.clone().map(|t| (a, t))) else {
                return Next::Nobody;
            };
            asked.heard = now;
            return Next::Along(asked.to.clone(), given_back(text, [range], &written));
        }
        if let Some(range) = subscription {
            let asked = number(&text[range.clone()]).and_then(|n| self.under_way.get_mut(&n));
            let Some(asked) = asked else {
                return Next::Nobody;
            };
            asked.heard = now;
            let back = [Some(range), cancelled.as_ref()].into_iter().flatten();
            return Next::Along(asked.to.clone(), given_back(text, back, &asked.id));
        }
        if let Some(range) = cancelled
            .as_ref()
            .filter(|_| method == "notifications/cancelled")
        {
            let taken_back = &text[range.clone()];
            // A question of its own, or a request of ours.
            let mut questions = self.questions.iter();
            if let Some(at) = questions.position(|question| *question.id == *taken_back) {
                let question = self.questions.remove(at);
                let number = question.number.to_string();
                return Next::Loose(given_back(text, [range], &number));
            }
            return match number(taken_back).and_then(|n| self.under_way.get(&n)) {
                Some(asked) => Next::Along(asked.to.clone(), given_back(text, [range], &asked.id)),
                None => Next::Nobody,
            };
        }
        Next::Loose(Bytes::copy_from_slice(text.as_bytes()))
    }

    /// Takes a request back, whose client no longer waits: what the child is to be told, if it has not
    /// answered.
    pub(super) fn take_back(&mut self, number: u64) -> Option<Bytes> {
        self.under_way.remove(&number)?;
        Some(cancelled(number))
    }

    /// Who asked last of those who still wait.
    pub(super) fn latest(&self) -> Option<&T> {
        let (_, asked) = self.under_way.last_key_value()?;
        Some(&asked.to)
    }

    /// How many requests are under way.
    pub(super) fn under_way(&self) -> usize {
        self.under_way.len()
    }

    /// Somebody is about to say something, so that it is not idle; whether the child still listens.
    pub(super) fn hold(&mut self) -> bool {
        self.holds += usize::from(!self.closed);
        !self.closed
    }

    /// It was said.
    pub(super) fn release(&mut self) {
        self.holds = self.holds.saturating_sub(1);
    }

    /// Whether no client waits for anything. That the child may wait for an answer nobody gives keeps
    /// nobody awake.
    pub(super) fn is_idle(&self) -> bool {
        self.under_way.is_empty() && self.holds == 0
    }

    /// Gives up on what the child has said nothing about for `patience`, but for subscriptions, and on
    /// questions that no client has answered for as long.
    pub(super) fn give_up(&mut self, now: Instant, patience: Duration) -> Vec<Unanswered<T>> {
        self.questions
            .retain(|question| now.duration_since(question.asked) < patience);
        let late = |asked: &Asked<T>| !asked.listens && now.duration_since(asked.heard) >= patience;
        self.remove_where(late)
    }

    /// Ends the subscriptions: whoever has one is to open another.
    pub(super) fn end_subscriptions(&mut self) -> Vec<Unanswered<T>> {
        self.remove_where(|asked| asked.listens)
    }

    fn remove_where(&mut self, which: impl Fn(&Asked<T>) -> bool) -> Vec<Unanswered<T>> {
        let all = std::mem::take(&mut self.under_way).into_iter();
        let (gone, left): (Vec<_>, Vec<_>) = all.partition(|(_, asked)| which(asked));
        self.under_way = left.into_iter().collect();
        gone.into_iter().map(unanswered).collect()
    }

    /// The child takes nothing more; gives what it has not answered.
    pub(super) fn close(&mut self) -> Vec<Unanswered<T>> {
        self.closed = true;
        self.questions.clear();
        let all = std::mem::take(&mut self.under_way);
        all.into_iter().map(unanswered).collect()
    }

    /// As [`close`](Self::close), if nobody waits for anything; whether that was so.
    pub(super) fn close_if_idle(&mut self) -> bool {
        self.closed |= self.is_idle();
        self.closed
    }
}

fn unanswered<T>((number, asked): (u64, Asked<T>)) -> Unanswered<T> {
    Unanswered {
        number,
        id: asked.id,
        to: asked.to,
    }
}

/// What tells a child that nobody waits for its answer any more.
pub(super) fn cancelled(number: u64) -> Bytes {
    let message = format!(
        "{{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\"params\":{{\"requestId\":{number}}}}}\n"
    );
    message.into()
}

/// Where the progress token of a request stands.
fn token(text: &str, message: &Message<'_>) -> Option<Range<usize>> {
    let meta = member(text, message.params.as_ref()?, "_meta")?;
    member(text, &meta, "progressToken")
}

fn literal(number: u64) -> Cow<'static, [u8]> {
    number.to_string().into_bytes().into()
}

fn number(literal: &str) -> Option<u64> {
    literal.parse().ok()
}

fn given_back<'r>(
    text: &str,
    places: impl IntoIterator<Item = &'r Range<usize>>,
    written: &str,
) -> Bytes {
    let mut edits = Edits::default();
    for place in places {
        edits.replace(place.clone(), [Cow::Borrowed(written.as_bytes())]);
    }
    edits.apply(text.as_bytes())
}

/// A message as a line. No string of JSON holds a line break, so those that are there mean nothing.
pub(super) fn line(message: &[u8]) -> Bytes {
    let flat = message.iter().map(|&byte| match byte {
        b'\n' | b'\r' => b' ',
        other => other,
    });
    flat.chain([b'\n']).collect()
}

#[cfg(test)]
#[path = "talk_tests.rs"]
mod tests;
