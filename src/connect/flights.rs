//! The requests under way: who waits for which answer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::HeaderValue;
use serde_json::Value;
use tokio::sync::watch;

use super::message::{Id, Outgoing, failed, result};

/// How a request, or a batch, stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Answers are missing.
    Open,
    /// Nothing is missing.
    Settled,
    /// Nobody wants the answers.
    Stopped,
    /// The stream that would bring the answers has ended.
    Lost,
}

/// What the server answered to `initialize`, or to what was asked here.
#[derive(Debug)]
pub(super) struct Hello {
    /// The id of the session that begins, if it has one.
    pub(super) id: Option<HeaderValue>,
    /// The result.
    pub(super) result: Value,
}

/// What an answer is good for, besides going to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    Hello,
    Tools,
    Nothing,
}

/// A request, or a batch, that was sent.
pub(super) struct Flight {
    phase: watch::Sender<Phase>,
    left: Mutex<Vec<Id>>,
    modern: bool,
    endless: bool,
    /// The answer is not for the client.
    quiet: bool,
    used: Use,
    hello: Mutex<Option<Result<Hello, String>>>,
}

impl Flight {
    /// Comes back once nobody wants its answers.
    pub(super) async fn stopped(&self) {
        self.until(|phase| phase == Phase::Stopped).await;
    }

    /// Comes back once it is answered, or will not be any more: whether it was lost.
    pub(super) async fn settled_or_lost(&self) -> bool {
        self.until(|phase| phase != Phase::Open).await;
        *self.phase.borrow() == Phase::Lost
    }

    /// Whether no answer is missing.
    pub(super) fn is_settled(&self) -> bool {
        *self.phase.borrow() == Phase::Settled
    }

    /// What the server answered, if it did and this is of interest: that, or the words of its error.
    pub(super) fn hello(&self) -> Option<Result<Hello, String>> {
        lock(&self.hello).take()
    }

    /// It is sent once more, on a stream that lives.
    pub(super) fn again(&self) {
        self.phase.send_if_modified(|phase| {
            let lost = *phase == Phase::Lost;
            if lost {
                *phase = Phase::Open;
            }
            lost
        });
    }

    async fn until(&self, wanted: impl Fn(Phase) -> bool) {
        let mut phase = self.phase.subscribe();
        if phase.wait_for(|phase| wanted(*phase)).await.is_err() {
            // The sender is `self`'s.
            std::future::pending().await
        }
    }
}

/// What is to become of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answered {
    /// It goes to the client.
    Client,
    /// It goes to the client, and is a list of tools to learn from.
    Tools,
    /// It answers what was asked here.
    Quiet,
}

/// All requests under way, by their ids.
#[derive(Default)]
pub(super) struct Flights(Mutex<HashMap<Id, Arc<Flight>>>);

impl Flights {
    /// How many there are.
    pub(super) fn count(&self) -> usize {
        lock(&self.0).len()
    }

    /// A message is sent; `modern` if closing its connection is what cancels it.
    pub(super) fn begin(&self, message: &Outgoing, modern: bool, quiet: bool) -> Arc<Flight> {
        let phase = if message.ids.is_empty() {
            Phase::Settled
        } else {
            Phase::Open
        };
        let used = match message.method.as_deref() {
            Some("initialize") if message.opens() => Use::Hello,
            Some("tools/list") if modern => Use::Tools,
            _ => Use::Nothing,
        };
        let flight = Arc::new(Flight {
            phase: watch::Sender::new(phase),
            left: Mutex::new(message.ids.clone()),
            modern,
            endless: message.is_endless(),
            quiet,
            used,
            hello: Mutex::default(),
        });
        let mut flights = lock(&self.0);
        for id in &message.ids {
            // Of two requests with one id the later is waited for.
            if let Some(before) = flights.insert(id.clone(), flight.clone()) {
                before.phase.send_replace(Phase::Stopped);
            }
        }
        flight
    }

    /// An answer to `id` came, in the session `session`.
    pub(super) fn answered(
        &self,
        id: &Id,
        answer: &[u8],
        session: Option<&HeaderValue>,
    ) -> Answered {
        let Some(flight) = lock(&self.0).remove(id) else {
            return Answered::Client;
        };
        if flight.used == Use::Hello || flight.quiet {
            let id = session.cloned();
            *lock(&flight.hello) = Some(match result(answer) {
                Some(result) => Ok(Hello { id, result }),
                None => Err(failed(answer).map_or_else(String::new, |error| error.message)),
            });
        }
        flight.without(id);
        match flight.used {
            _ if flight.quiet => Answered::Quiet,
            Use::Tools => Answered::Tools,
            Use::Hello | Use::Nothing => Answered::Client,
        }
    }

    /// The client cancels `id`: whether closing the connection is all there is to do, which is done. `None`
    /// if no such request is under way.
    pub(super) fn cancel(&self, id: &Id) -> Option<bool> {
        let flight = lock(&self.0).remove(id)?;
        if flight.modern {
            flight.phase.send_replace(Phase::Stopped);
        } else {
            flight.without(id);
        }
        Some(flight.modern)
    }

    /// Nothing more will come for `flight`: the requests in it that were not answered.
    pub(super) fn end(&self, flight: &Arc<Flight>) -> Vec<Id> {
        let left = std::mem::take(&mut *lock(&flight.left));
        let mut flights = lock(&self.0);
        let ended = left.into_iter().filter(|id| {
            let own = flights.get(id).is_some_and(|one| Arc::ptr_eq(one, flight));
            own && flights.remove(id).is_some()
        });
        ended.collect()
    }

    /// The stream that brings all answers has ended.
    pub(super) fn lose_all(&self) {
        for flight in lock(&self.0).values() {
            flight.phase.send_replace(Phase::Lost);
        }
    }

    /// Those that would only end with the server are not waited for.
    pub(super) fn stop_endless(&self) {
        for flight in lock(&self.0).values().filter(|flight| flight.endless) {
            flight.phase.send_replace(Phase::Stopped);
        }
    }
}

impl Flight {
    fn without(&self, id: &Id) {
        let mut left = lock(&self.left);
        left.retain(|one| one != id);
        if left.is_empty() {
            self.phase.send_replace(Phase::Settled);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::message::outgoing;
    use super::*;

    fn message(text: &str) -> Outgoing {
        outgoing(Bytes::copy_from_slice(text.as_bytes())).unwrap()
    }

    fn request(id: u32) -> Outgoing {
        message(&format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#))
    }

    fn id(written: &str) -> Id {
        Id::of(written).unwrap()
    }

    #[test]
    fn what_was_not_answered_is_told_at_the_end_and_only_once() {
        let flights = Flights::default();
        let batch =
            r#"[{"jsonrpc":"2.0","id":1,"method":"a"},{"jsonrpc":"2.0","id":2,"method":"b"}]"#;
        let flight = flights.begin(&message(batch), false, false);
        assert_eq!(flights.answered(&id("1"), b"", None), Answered::Client);
        assert!(!flight.is_settled());
        assert_eq!(flights.end(&flight), [id("2")]);
        assert_eq!((flights.end(&flight).len(), flights.count()), (0, 0));
    }

    // Fails when a request of the era before is stopped: to close its connection cancels nothing.
    #[test]
    fn a_cancelled_request_is_not_answered_by_an_error() {
        let flights = Flights::default();
        let modern = flights.begin(&request(1), true, false);
        let legacy = flights.begin(&request(2), false, false);
        assert_eq!(flights.cancel(&id("1")), Some(true));
        assert_eq!(flights.cancel(&id("2")), Some(false));
        assert_eq!(flights.cancel(&id("2")), None);
        assert_eq!(*modern.phase.borrow(), Phase::Stopped);
        assert!(legacy.is_settled());
        assert!(flights.end(&modern).is_empty() && flights.end(&legacy).is_empty());
    }

    // Fails when `end` takes what it finds under an id, whosever it is.
    #[test]
    fn an_id_that_is_used_again_is_the_later_requests() {
        let flights = Flights::default();
        let first = flights.begin(&request(1), false, false);
        let second = flights.begin(&request(1), false, false);
        assert!(flights.end(&first).is_empty());
        assert_eq!(flights.end(&second), [id("1")]);
    }

    #[test]
    fn answers_are_used_where_they_are_wanted() {
        let flights = Flights::default();
        let open = message(r#"{"jsonrpc":"2.0","id":"i","method":"initialize"}"#);
        let session = HeaderValue::from_static("s");
        for quiet in [false, true] {
            let flight = flights.begin(&open, false, quiet);
            let answer = br#"{"id":"i","result":7}"#;
            let told = flights.answered(&id("\"i\""), answer, Some(&session));
            assert_eq!(told == Answered::Quiet, quiet);
            let hello = flight.hello().unwrap().unwrap();
            assert_eq!(
                (hello.id.unwrap(), hello.result),
                (session.clone(), 7.into())
            );
        }
        let flight = flights.begin(&open, false, true);
        let error = br#"{"id":"i","error":{"code":1,"message":"no"}}"#;
        flights.answered(&id("\"i\""), error, None);
        assert_eq!(flight.hello().unwrap().unwrap_err(), "no");
        let list = message(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#);
        flights.begin(&list, true, false);
        assert_eq!(flights.answered(&id("1"), b"", None), Answered::Tools);
    }
}
