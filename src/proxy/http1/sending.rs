//! A request that is written at the end of a core's turn.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use http::Request;

use super::connection::{Broken, Connection};
use super::outbox::{self, Late};
use crate::layer::RequestBody;

/// A request on its way out, of which one end is with its task and the other in the outbox.
pub(super) struct Sending(Arc<Mutex<State>>);

enum State {
    /// Nothing of it was written.
    Waiting(Box<Connection>, Box<Asked>),
    /// It was, as far as there was room. Of head and body, and the secrets in them, nothing is kept.
    Written(Box<Connection>),
    /// Nothing of it could be.
    Refused(Box<Asked>, Broken),
    /// Its task has what became of it.
    Done,
}

/// What is asked.
type Asked = Request<RequestBody>;

impl Sending {
    /// Puts a request of this task off to the end of the turn.
    pub(super) fn begin(connection: Box<Connection>, asked: Box<Asked>, task: Waker) -> Self {
        let sending = Arc::new(Mutex::new(State::Waiting(connection, asked)));
        outbox::put_off(sending.clone(), task);
        Self(sending)
    }

    /// The connection once the request was written. If it was not, it is given back.
    ///
    /// # Errors
    /// Nothing was written: it could not be, or whoever was to be asked closed or spoke before he was.
    pub(super) fn poll(
        &self,
        cx: &mut Context<'_>,
        back: &mut Option<Box<Asked>>,
    ) -> Poll<Result<Box<Connection>, Broken>> {
        let mut state = lock(&self.0);
        // Asked before it is written too: that is how this task is woken when the answer comes.
        let broken = match &mut *state {
            State::Waiting(connection, _) => Some(ready!(connection.poll_unasked(cx))),
            _ => None,
        };
        let (asked, broken) = match (std::mem::replace(&mut *state, State::Done), broken) {
            (State::Waiting(_, asked), Some(broken)) | (State::Refused(asked, broken), _) => {
                (asked, broken)
            }
            (State::Written(connection), _) => return Poll::Ready(Ok(connection)),
            (State::Waiting(..) | State::Done, _) => {
                return Poll::Ready(Err(Broken::after("polled after its end")));
            }
        };
        *back = Some(asked);
        Poll::Ready(Err(broken))
    }
}

impl Drop for Sending {
    // Nobody waits for an answer any more, so nothing is asked.
    fn drop(&mut self) {
        *lock(&self.0) = State::Done;
    }
}

impl Late for Mutex<State> {
    fn write(&self, cx: &mut Context<'_>) {
        let mut state = lock(self);
        *state = match std::mem::replace(&mut *state, State::Done) {
            State::Waiting(mut connection, asked) => {
                match connection.send(cx, &asked) {
                    Ok(()) => {
                        // What found no room goes on with the task; what goes wrong shows when it reads.
                        if let Poll::Ready(Err(_)) = connection.poll_sent(cx) {
                            cx.waker().wake_by_ref();
                        }
                        State::Written(connection)
                    }
                    Err(broken) => {
                        cx.waker().wake_by_ref();
                        State::Refused(asked, broken)
                    }
                }
            }
            other => other,
        };
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
