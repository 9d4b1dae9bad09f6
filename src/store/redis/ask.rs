//! Asking the servers: each question goes to the one that keeps its key, all at once, and is followed
//! where that one sends us.
//!
//! A read is made again once, when its connection turns out to be closed. A write is never made twice:
//! nobody knows whether the first time had an effect. Whatever a server refuses to do just now (it is
//! moving the record, or has just become a replica) it has not done, so it is asked again, until the
//! time is over.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use redis::{Cmd, FromRedisValue, Pipeline, ServerErrorKind, Value, pipe};
use tokio::time::{Instant, sleep};

use super::Inner;
use super::line::{Failed, meaning};
use super::node::{Node, Purpose};
use super::slots::{redirection, slot_of};
use crate::store::StoreError;
use crate::store::url::Address;

/// Before a server is asked again what it could not do.
const PAUSE: Duration = Duration::from_millis(20);
/// Redirections that are followed at once; two servers that disagree send us to and fro.
const HOPS: usize = 4;

/// A command about one key, or about several of one slot.
pub(super) struct Question {
    slot: u16,
    command: Cmd,
}

impl Question {
    /// `command` names `key`, and no key of another slot.
    pub(super) fn new(key: &str, command: Cmd) -> Self {
        Self {
            slot: slot_of(key),
            command,
        }
    }
}

/// A question without an answer, and where it is to be asked.
struct Open {
    question: usize,
    /// Another server than the one that keeps the slot, and whether it has to be told that we were sent.
    sent: Option<(Address, bool)>,
}

impl Open {
    fn new(question: usize) -> Self {
        Self {
            question,
            sent: None,
        }
    }
}

/// Questions for one server.
type Group = (Arc<Node>, Vec<Open>);

/// What an answer means for its question.
#[derive(Debug, PartialEq)]
pub(super) enum Outcome {
    /// It is answered; perhaps by a refusal.
    Answered(Value),
    /// Another server is to be asked.
    Sent { to: Address, told: bool },
    /// Not done, and to be asked again. The server's words.
    Later(String),
}

/// What `value` means, which the server on the host `asked` answered.
pub(super) fn outcome(value: Value, asked: &str) -> Outcome {
    use ServerErrorKind::{Ask, BusyLoading, ClusterDown, MasterDown, Moved, ReadOnly, TryAgain};
    let Value::ServerError(error) = &value else {
        return Outcome::Answered(value);
    };
    match error.kind() {
        Some(kind @ (Ask | Moved)) => {
            let to = error
                .details()
                .and_then(|detail| redirection(detail, asked));
            let told = kind == Ask;
            to.map_or(Outcome::Answered(value), |to| Outcome::Sent { to, told })
        }
        Some(TryAgain | ClusterDown | MasterDown | ReadOnly | BusyLoading) => {
            Outcome::Later(error.to_string())
        }
        _ => Outcome::Answered(value),
    }
}

impl Inner {
    /// Asks all `questions`; the answers are in their order. A server's refusal is among them.
    pub(super) async fn ask(
        &self,
        purpose: Purpose,
        questions: &[Question],
        timeout: Duration,
    ) -> Result<Vec<Value>, StoreError> {
        let until = Instant::now() + timeout;
        let mut asking = Asking {
            inner: self,
            purpose,
            questions,
            answers: vec![Value::Nil; questions.len()],
            open: (0..questions.len()).map(Open::new).collect(),
            later: false,
            refusal: String::new(),
        };
        let mut rounds = 0;
        while !asking.open.is_empty() {
            if rounds > 0 && Instant::now() >= until {
                let reason = "its servers are moving records or changing roles; try again";
                return Err(StoreError::Unreachable(format!(
                    "{reason} ({})",
                    asking.refusal
                )));
            }
            if asking.later || rounds > HOPS {
                sleep(PAUSE).await;
            }
            asking.round(timeout, rounds == 0).await?;
            rounds += 1;
        }
        Ok(asking.answers)
    }
}

/// Questions on their way to their answers.
struct Asking<'a> {
    inner: &'a Inner,
    purpose: Purpose,
    questions: &'a [Question],
    answers: Vec<Value>,
    open: Vec<Open>,
    /// Whether somebody should be left some time before he is asked again.
    later: bool,
    /// What was last said instead of an answer.
    refusal: String,
}

impl Asking<'_> {
    /// Asks what is open once.
    async fn round(&mut self, timeout: Duration, first: bool) -> Result<(), StoreError> {
        self.later = false;
        let (purpose, questions) = (self.purpose, self.questions);
        let groups = self.by_server()?;
        let mut moved = !self.open.is_empty();
        let asked = groups.into_iter().map(async |(node, group)| {
            let mut request = request(questions, &group);
            let answer = node.line(purpose).ask_whom(&mut request, timeout).await;
            (group, answer)
        });
        for (group, answer) in join_all(asked).await {
            match answer {
                Ok((by, values)) if values.len() == group.len() => {
                    moved |= self.take(by, group, values);
                }
                Ok(_) => return Err(StoreError::Damaged("another number of answers".into())),
                Err(failed) if self.may_ask_again(&failed, first) => {
                    self.later |= matches!(failed, Failed::Unsent(_));
                    moved = true;
                    self.open
                        .extend(group.into_iter().map(|one| Open::new(one.question)));
                }
                Err(failed) => return Err(failed.into()),
            }
        }
        if moved {
            // When it fails, what was known is still the best there is.
            let _ = self.inner.servers.refresh().await;
        }
        Ok(())
    }

    /// What is open, grouped by the server to ask. A question whose slot nobody is known to keep stays open:
    /// perhaps its next master was not heard of yet.
    fn by_server(&mut self) -> Result<Vec<Group>, StoreError> {
        let mut groups: Vec<Group> = Vec::new();
        for one in std::mem::take(&mut self.open) {
            let servers = &self.inner.servers;
            let keeper = match &one.sent {
                Some((to, _)) => Ok(servers.at(to)?),
                None => servers.keeper(self.questions[one.question].slot),
            };
            let node = match keeper {
                Ok(node) => node,
                Err(error) => {
                    (self.later, self.refusal) = (true, error.to_string());
                    self.open.push(one);
                    continue;
                }
            };
            match groups
                .iter_mut()
                .find(|(known, _)| Arc::ptr_eq(known, &node))
            {
                Some((_, group)) => group.push(one),
                None => groups.push((node, vec![one])),
            }
        }
        Ok(groups)
    }

    /// Takes the answers of one server; `true` when it says that a slot has moved for good.
    fn take(&mut self, by: Address, group: Vec<Open>, values: Vec<Value>) -> bool {
        let (mut moved, mut answered) = (false, false);
        for (one, value) in group.into_iter().zip(values) {
            match outcome(value, &by.host) {
                Outcome::Answered(value) => {
                    (self.answers[one.question], answered) = (value, true);
                }
                Outcome::Sent { to, told } => {
                    moved |= !told;
                    self.open.push(Open {
                        question: one.question,
                        sent: Some((to, told)),
                    });
                }
                Outcome::Later(words) => {
                    (self.later, self.refusal) = (true, words);
                    self.open.push(Open::new(one.question));
                }
            }
        }
        // Who only sent us on took nothing.
        if answered && self.purpose == Purpose::Write {
            self.inner.wrote_at(by);
        }
        moved
    }

    fn may_ask_again(&self, failed: &Failed, first: bool) -> bool {
        match failed {
            // Another server may keep it by now. A login does not wait for one that is the only one.
            Failed::Unsent(_) => {
                self.purpose == Purpose::Write || (first && self.inner.servers.are_many())
            }
            Failed::Dropped(_) => self.purpose != Purpose::Write && first,
            Failed::Unanswered(_) => false,
        }
    }
}

fn request(questions: &[Question], group: &[Open]) -> Pipeline {
    let mut request = pipe();
    for one in group {
        if matches!(one.sent, Some((_, true))) {
            request.cmd("ASKING").ignore();
        }
        request.add_command(questions[one.question].command.clone());
    }
    request
}

/// The answer to one question; a refusal is an error.
pub(super) fn read<T: FromRedisValue>(value: Value) -> Result<T, StoreError> {
    let value = value.extract_error().map_err(|error| meaning(&error))?;
    T::from_redis_value(value).map_err(|error| meaning(&error.into()))
}

#[cfg(test)]
mod tests {
    use redis::parse_redis_value;

    use super::*;

    fn outcome_of(answer: &str) -> Outcome {
        outcome(parse_redis_value(answer.as_bytes()).unwrap(), "asked")
    }

    #[test]
    fn a_redirection_is_followed_and_a_refusal_is_an_answer() {
        let sent = |host: &str, told| Outcome::Sent {
            to: Address {
                host: host.to_owned(),
                port: 7,
            },
            told,
        };
        assert_eq!(outcome_of("-MOVED 3 h:7\r\n"), sent("h", false));
        assert_eq!(outcome_of("-ASK 3 h:7\r\n"), sent("h", true));
        assert_eq!(outcome_of("-MOVED 3 :7\r\n"), sent("asked", false));
        for later in [
            "TRYAGAIN",
            "CLUSTERDOWN",
            "READONLY",
            "LOADING",
            "MASTERDOWN",
        ] {
            let outcome = outcome_of(&format!("-{later} x\r\n"));
            assert!(matches!(outcome, Outcome::Later(_)), "{later}");
        }
        for answer in [
            "-MOVED nonsense\r\n",
            "-NOPERM x\r\n",
            "-ERR x\r\n",
            "$-1\r\n",
        ] {
            assert!(
                matches!(outcome_of(answer), Outcome::Answered(_)),
                "{answer}"
            );
        }
    }
}
