//! What a session has agreed on with its child, to be said again to the next one.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::child::{Child, To};
use super::talk::URI;
use super::{tenant, told};
use crate::layer::Failure;
use crate::mcp::edit::member;
use crate::mcp::revision::Revision;
use crate::mcp::scan::{Body, Message, Shape, scan_text};
use crate::rejection::Kind;

/// Resources a session may be told of, and which are remembered.
const SUBSCRIPTIONS: usize = 1024;

/// Bytes of `initialize`, and of each of the short messages that are remembered.
pub(super) const HANDSHAKE: usize = 64 * 1024;

/// Bytes of all subscriptions.
const MOST: usize = 256 * 1024;

/// What a session has agreed on: the client's own messages, and what the server said of itself.
#[derive(Clone, Default)]
pub(super) struct Agreed {
    initialize: Option<Bytes>,
    server: Option<Server>,
    initialized: Option<Bytes>,
    level: Option<Bytes>,
    /// By the resource's URI.
    subscriptions: BTreeMap<Box<str>, Bytes>,
}

/// What a server said of itself.
#[derive(Debug, Clone, PartialEq)]
struct Server {
    version: serde_json::Value,
    capabilities: serde_json::Value,
    info: serde_json::Value,
}

impl Agreed {
    /// Whether the session has begun.
    pub(super) fn has_begun(&self) -> bool {
        self.server.is_some()
    }

    /// Whether the child tells of changes of resources.
    pub(super) fn has_subscriptions(&self) -> bool {
        !self.subscriptions.is_empty()
    }

    /// Whether the revision agreed on is `revision` or later.
    pub(super) fn is_since(&self, revision: Revision) -> bool {
        let version = self
            .server
            .as_ref()
            .and_then(|server| server.version.as_str());
        version.and_then(Revision::parse) >= Some(revision)
    }

    /// The session begins by `initialize`, answered by `answer`, if that agrees to it.
    pub(super) fn begin(&mut self, initialize: &str, answer: &Bytes) {
        self.server = server(answer);
        self.initialize = Some(Bytes::copy_from_slice(initialize.as_bytes()));
    }

    /// Remembers what of a client's message the next child must be told again.
    pub(super) fn note(&mut self, text: &str, message: &Message<'_>) {
        let bytes = || Bytes::copy_from_slice(text.as_bytes());
        let Some(method) = message
            .method
            .as_deref()
            .filter(|_| text.len() <= HANDSHAKE)
        else {
            return;
        };
        match (message.shape, method) {
            (Shape::Notification, "notifications/initialized") => self.initialized = Some(bytes()),
            (Shape::Request, "logging/setLevel") => self.level = Some(bytes()),
            (Shape::Request, "resources/subscribe") => {
                if let Some(uri) = &message.uri
                    && uri.len() <= URI
                    && self.subscriptions.len() < SUBSCRIPTIONS
                    && self.bytes() + text.len() <= MOST
                {
                    self.subscriptions.insert((&**uri).into(), bytes());
                }
            }
            (Shape::Request, "resources/unsubscribe") => {
                if let Some(uri) = &message.uri {
                    self.subscriptions.remove(&**uri);
                }
            }
            _ => {}
        }
    }

    /// The server refused to tell of these resources.
    pub(super) fn forget(&mut self, refused: &[Box<str>]) {
        for uri in refused {
            self.subscriptions.remove(uri);
        }
    }

    fn bytes(&self) -> usize {
        self.subscriptions.values().map(Bytes::len).sum()
    }

    /// Says `initialize` to a child that has just started; whether the server is still what it was.
    ///
    /// # Errors
    /// The child ends, or does not answer in time.
    pub(super) async fn greet(&self, child: &Child) -> Result<bool, Failure> {
        let Some(initialize) = &self.initialize else {
            return Ok(true);
        };
        let answer = ask(child, initialize).await?;
        check_length(child, &answer)?;
        let now = server(&answer);
        Ok(now.is_some() && now == self.server)
    }

    /// Says the rest of it, after which the child may ask questions of its own.
    ///
    /// # Errors
    /// The child ends, or does not answer in time.
    pub(super) async fn remind(&self, child: &Child) -> Result<(), Failure> {
        if let Some(initialized) = &self.initialized {
            say(child, initialized).await?;
        }
        for request in self.level.iter().chain(self.subscriptions.values()) {
            // That it may refuse now what it granted before is for its next answers to show.
            ask(child, request).await?;
        }
        Ok(())
    }
}

/// Whether an answer to `initialize` is short enough to be remembered.
///
/// # Errors
/// It is not.
pub(super) fn check_length(child: &Child, answer: &Bytes) -> Result<(), Failure> {
    if answer.len() <= HANDSHAKE {
        return Ok(());
    }
    let server = &child.settings.server;
    let text = format!("the server `{server}` answers `initialize` with more than 64 KiB");
    Err(told(Kind::ChildLimit, text))
}

/// What an answer to `initialize` says of the server; none for an error.
fn server(answer: &[u8]) -> Option<Server> {
    let text = std::str::from_utf8(answer).ok()?;
    let result = member(text, &(0..text.len()), "result")?;
    let field = |key| {
        let at = member(text, &result, key);
        let value = at.and_then(|at| serde_json::from_str(&text[at]).ok());
        value.unwrap_or_default()
    };
    let server = Server {
        version: field("protocolVersion"),
        capabilities: field("capabilities"),
        info: field("serverInfo"),
    };
    server.version.is_string().then_some(server)
}

/// Asks a child something on our own, within the time its start may take.
pub(super) async fn ask(child: &Child, request: &[u8]) -> Result<Bytes, Failure> {
    let (to, mut answers) = mpsc::unbounded_channel();
    let broken = || Failure::Broken("a message of ours that is none".to_owned());
    let (text, Body::One(message)) = scan_text(request).map_err(|_| broken())? else {
        return Err(broken());
    };
    let patience = child.settings.start_timeout;
    let asked = async {
        let to = To::Us(to);
        let number = child.ask(text, &message, to).await;
        let number = number.map_err(|why| tenant::unheard(child, why))?;
        let _waited = Waited { child, number };
        tokio::select! {
            answer = answers.recv() => match answer {
                Some(answer) => Ok(answer),
                None => Err(end_of(child).await),
            },
            failure = end_of(child) => Err(failure),
        }
    };
    match timeout(patience, asked).await {
        Ok(answered) => answered,
        Err(_) => Err(late(child, patience)),
    }
}

/// What we asked is taken back when we wait no longer and it was not answered.
struct Waited<'c> {
    child: &'c Child,
    number: u64,
}

impl Drop for Waited<'_> {
    fn drop(&mut self) {
        self.child.take_back(self.number);
    }
}

async fn say(child: &Child, message: &[u8]) -> Result<(), Failure> {
    let text = std::str::from_utf8(message).unwrap_or_default();
    child
        .say(text)
        .await
        .map_err(|why| tenant::unheard(child, why))
}

async fn end_of(child: &Child) -> Failure {
    let end = child.until_end().await;
    told(end.kind, end.text.clone())
}

fn late(child: &Child, patience: Duration) -> Failure {
    let server = &child.settings.server;
    let text = format!(
        "the server `{server}` did not answer within {} s of its start, the operator's \
         `servers.{server}.start_timeout`{}",
        patience.as_secs_f32(),
        child.last_words()
    );
    told(Kind::BackendSilent, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(agreed: &mut Agreed, text: &str) {
        let Ok((text, Body::One(message))) = scan_text(text.as_bytes()) else {
            panic!("{text}")
        };
        agreed.note(text, &message);
    }

    // Mutation: compare the version alone.
    #[test]
    fn a_server_is_the_same_if_it_says_the_same_of_itself() {
        let answer = |capabilities: &str| {
            format!(
                r#"{{"id":1,"result":{{"protocolVersion":"2025-11-25","capabilities":{capabilities},"serverInfo":{{"name":"a","version":"1"}}}}}}"#
            )
        };
        let of = |capabilities| server(answer(capabilities).as_bytes());
        assert_eq!(
            of(r#"{"tools":{},"logging":{}}"#),
            of(r#"{"logging":{}, "tools":{}}"#)
        );
        assert_ne!(
            of(r#"{"tools":{}}"#),
            of(r#"{"tools":{"listChanged":true}}"#)
        );
        assert_eq!(server(br#"{"id":1,"error":{"code":1}}"#), None);
        let mut agreed = Agreed::default();
        assert!(!agreed.is_since(Revision::V2025_11_25));
        agreed.begin("{}", &answer("{}").into());
        assert!(agreed.has_begun());
        assert!(agreed.is_since(Revision::V2025_11_25) && !agreed.is_since(Revision::V2026_07_28));
    }

    #[test]
    fn what_was_subscribed_to_is_remembered_until_it_is_not() {
        let mut agreed = Agreed::default();
        let message = |method: &str, uri: &str| {
            format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{"uri":"{uri}"}}}}"#)
        };
        note(&mut agreed, &message("resources/subscribe", "a:1"));
        note(&mut agreed, &message("resources/subscribe", "a:2"));
        note(&mut agreed, &message("resources/unsubscribe", "a:1"));
        assert!(agreed.has_subscriptions() && agreed.subscriptions.contains_key("a:2"));
        note(&mut agreed, &message("resources/unsubscribe", "a:2"));
        assert!(!agreed.has_subscriptions());
        for number in 0..2 * SUBSCRIPTIONS {
            note(
                &mut agreed,
                &message("resources/subscribe", &format!("a:{number}")),
            );
        }
        assert_eq!(agreed.subscriptions.len(), SUBSCRIPTIONS);
    }
}
