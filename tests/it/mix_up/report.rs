//! What was asked, what came back, and whether the two belong together.

use std::collections::HashMap;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};

use super::servers::{PROFILES, SERVERS, Speech};
use crate::support::client::{call, post};

/// For whom, and where, a request is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) user: usize,
    pub(super) server: usize,
    pub(super) profile: usize,
}

/// One call of a tool.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) id: u64,
    pub(super) nonce: String,
    /// Of the tool `drop`.
    pub(super) drops: bool,
    /// Cannot be made: a secret it needs is not set for this user.
    pub(super) refused: bool,
}

/// What was seen.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) answered: usize,
    /// Of them, on streams of HTTP+SSE.
    pub(super) on_streams: usize,
    pub(super) batches: usize,
    pub(super) streams: usize,
    /// Streams that ended with their key, and answers that were cut with it.
    pub(super) streams_ended: usize,
    pub(super) cut: usize,
    pub(super) aborted: usize,
    /// Calls refused for a secret that is not set, and of them those told on a stream.
    pub(super) lacking: usize,
    pub(super) lacking_on_streams: usize,
    pub(super) refused: usize,
    pub(super) refused_wrongly: usize,
    pub(super) foreign: usize,
    pub(super) wrong_nonce: usize,
    pub(super) failed: usize,
    /// Answers of the chaos backend to the right user, but to another request of his.
    pub(super) chaos_wrong_nonce: usize,
    /// Requests the chaos backend failed.
    pub(super) chaos_failed: usize,
    pub(super) keys_revoked: usize,
    pub(super) secrets_changed: usize,
}

impl Report {
    /// Whether it is no use to go on.
    pub(super) fn is_hopeless(&self) -> bool {
        self.foreign + self.wrong_nonce + self.failed > 200
    }
}

/// What one message says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Own,
    /// A refusal the caller had to expect, which names nobody but him.
    Lacking,
    /// Made with, or about, somebody else's secret.
    Foreign,
    WrongNonce,
    Unusable,
}

impl Asked {
    pub(super) fn speech(self) -> Speech {
        SERVERS[self.server].speech
    }

    /// What stands in the path before the way in.
    pub(super) fn path(self) -> String {
        let server = SERVERS[self.server].name;
        match self.profile {
            0 => server.to_owned(),
            profile => format!("{server}/@{}", PROFILES[profile]),
        }
    }

    /// The message for `call`.
    fn message(self, call: &Call) -> Value {
        let tool = if call.drops { "drop" } else { "echo" };
        let mut params = json!({"name": tool, "arguments": {"nonce": call.nonce}});
        if self.speech() == Speech::Modern {
            params["_meta"] = json!({
                "io.modelcontextprotocol/protocolVersion": MODERN,
                "io.modelcontextprotocol/clientCapabilities": {},
            });
        }
        json!({"jsonrpc": "2.0", "id": call.id, "method": "tools/call", "params": params})
    }

    /// The body of a request for `calls`.
    pub(super) fn body(self, calls: &[Call]) -> String {
        match calls {
            [only] => self.message(only).to_string(),
            _ => {
                let messages: Vec<_> = calls.iter().map(|call| self.message(call)).collect();
                Value::from(messages).to_string()
            }
        }
    }

    /// The request, over Streamable HTTP.
    pub(super) fn request(self, key: &str, calls: &[Call]) -> Request<Full<Bytes>> {
        if self.speech() == Speech::Chaos {
            return call(&self.path(), key, calls[0].id, &calls[0].nonce);
        }
        let mut request = post(&self.path(), key, self.body(calls));
        if self.speech() == Speech::Modern {
            for (name, value) in [
                ("mcp-protocol-version", MODERN),
                ("mcp-method", "tools/call"),
                ("mcp-name", "echo"),
                // What a client may not say is not heard.
                ("mcp-param-nonce", &calls[0].nonce),
            ] {
                request.headers_mut().insert(name, value.parse().unwrap());
            }
        }
        request
    }

    /// What he is told whose secret is not set: it names the user, the server and the profile.
    pub(super) fn lacks(self) -> String {
        let (user, server) = (super::name(self.user), SERVERS[self.server].name);
        let option = match self.profile {
            0 => String::new(),
            profile => format!(" --profile {}", PROFILES[profile]),
        };
        format!("`cloakroom secret set {user} {server} ADMIN{option}`")
    }

    /// Judges a message for one who made `calls` and has not heard of them yet.
    pub(super) fn judge(
        self,
        calls: &[Call],
        message: &Value,
        owners: &HashMap<String, Asked>,
    ) -> Verdict {
        let id = message["id"].as_u64();
        let called = calls.iter().find(|call| Some(call.id) == id);
        if let Some(text) = message["error"]["message"].as_str() {
            return match called {
                _ if !text.contains("secret set") => Verdict::Unusable,
                _ if !text.contains(&self.lacks()) => Verdict::Foreign,
                Some(call) if call.refused => Verdict::Lacking,
                _ => Verdict::WrongNonce,
            };
        }
        let Some(seen) = message["result"]["seen"].as_object() else {
            return Verdict::Unusable;
        };
        let owner = |fingerprint: &Value| owners.get(fingerprint.as_str()?);
        if seen.values().any(|seen| owner(seen) != Some(&self)) {
            return Verdict::Foreign;
        }
        // The chaotic server may name another id.
        let called = match self.speech() {
            Speech::Chaos => calls.first(),
            _ => called,
        };
        let admin = called.is_some_and(|call| call.drops).then_some(&"admin");
        let mut wanted = SERVERS[self.server].places.iter().chain(admin);
        if !wanted.all(|place| seen.contains_key(*place)) {
            return Verdict::Unusable;
        }
        // What the schema was read with is what the call is made with.
        if self.speech() == Speech::Modern && seen["view"] != seen["argument"] {
            return Verdict::Unusable;
        }
        match called {
            Some(call) if message["result"]["nonce"] == call.nonce.as_str() && !call.refused => {
                Verdict::Own
            }
            _ => Verdict::WrongNonce,
        }
    }
}

const MODERN: &str = "2026-07-28";
