//! What is known of the session with the server, if there is one (MCP 2025-03-26 to 2025-11-25).

use bytes::Bytes;
use http::HeaderValue;
use serde_json::Value;

use crate::mcp::revision::Revision;

/// What every message of the session carries.
#[derive(Debug, Clone, Default)]
pub(super) struct Standing {
    /// Counts sessions, those that were begun anew too; 0 before the first.
    pub(super) generation: u64,
    /// `Mcp-Session-Id`.
    pub(super) id: Option<HeaderValue>,
    /// `MCP-Protocol-Version`, from the revision on that has it.
    pub(super) version: Option<HeaderValue>,
}

/// The session, and what it takes to begin it anew.
#[derive(Default)]
pub(super) struct Session {
    standing: Standing,
    opened: Option<Opened>,
    /// The server is not the one the client met any more.
    changed: bool,
    /// The revision of the last message that said everything about itself.
    modern: Option<HeaderValue>,
}

struct Opened {
    initialize: Bytes,
    initialized: Option<Bytes>,
    /// What the server said of itself that a client goes by.
    server: [Value; 2],
}

/// The server is another one now, or does other things.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Changed;

impl Session {
    /// As it stands.
    pub(super) fn standing(&self) -> Standing {
        self.standing.clone()
    }

    /// Whether the client has to open a new one.
    pub(super) fn has_changed(&self) -> bool {
        self.changed
    }

    /// The revision for a notification that does not say it, of a client that has no session.
    pub(super) fn modern(&self) -> Option<&HeaderValue> {
        self.modern.as_ref().filter(|_| self.opened.is_none())
    }

    /// A message said that it is of this revision.
    pub(super) fn saw_modern(&mut self, version: &str) {
        self.modern = HeaderValue::from_str(version).ok();
    }

    /// The client opens a session: whatever was before is over. Gives what it was.
    pub(super) fn close(&mut self) -> Standing {
        let ended = self.standing();
        *self = Self::default();
        self.standing.generation = ended.generation;
        ended
    }

    /// The server answered `initialize` with `result`, and with this session id.
    pub(super) fn open(&mut self, initialize: Bytes, id: Option<HeaderValue>, result: &Value) {
        self.stand(id, result);
        self.changed = false;
        self.opened = Some(Opened {
            initialize,
            initialized: None,
            server: said(result),
        });
    }

    /// The client said that it is open.
    pub(super) fn initialized(&mut self, notification: Bytes) {
        if let Some(opened) = &mut self.opened {
            opened.initialized = Some(notification);
        }
    }

    /// What to send to begin it anew: `initialize`, and `notifications/initialized` if it was sent.
    pub(super) fn beginning(&self) -> Option<(Bytes, Option<Bytes>)> {
        let opened = self.opened.as_ref()?;
        Some((opened.initialize.clone(), opened.initialized.clone()))
    }

    /// The session `lost` was begun anew.
    ///
    /// # Errors
    /// What the server says of itself now is not what it told the client; or the client opens another
    /// session itself.
    pub(super) fn renew(
        &mut self,
        lost: u64,
        id: Option<HeaderValue>,
        result: &Value,
    ) -> Result<(), Changed> {
        let opened = self.opened.as_ref().ok_or(Changed)?;
        if self.standing.generation != lost {
            return Err(Changed);
        }
        if opened.server != said(result) {
            self.changed = true;
            return Err(Changed);
        }
        self.stand(id, result);
        Ok(())
    }

    fn stand(&mut self, id: Option<HeaderValue>, result: &Value) {
        let version = result["protocolVersion"].as_str();
        let named = |version: &&str| {
            Revision::parse(version).is_none_or(|revision| revision >= Revision::V2025_06_18)
        };
        self.standing = Standing {
            generation: self.standing.generation + 1,
            id,
            version: version
                .filter(named)
                .and_then(|version| HeaderValue::from_str(version).ok()),
        };
    }
}

fn said(result: &Value) -> [Value; 2] {
    ["protocolVersion", "capabilities"].map(|key| result[key].clone())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn result(version: &str, capabilities: Value) -> Value {
        json!({"protocolVersion": version, "capabilities": capabilities, "serverInfo": {"version": "1"}})
    }

    fn open(version: &str) -> Session {
        let mut session = Session::default();
        let id = Some(HeaderValue::from_static("one"));
        let said = result(version, json!({"tools": {}, "logging": {}}));
        session.open(Bytes::from_static(b"hello"), id, &said);
        session
    }

    // Fails when the version is sent to a server of a revision that has no such header.
    #[test]
    fn what_is_carried_depends_on_the_revision_agreed_on() {
        for (version, carried) in [
            ("2024-11-05", None),
            ("2025-03-26", None),
            ("2025-06-18", Some("2025-06-18")),
            ("2025-11-25", Some("2025-11-25")),
        ] {
            let standing = open(version).standing();
            assert_eq!(standing.id.unwrap(), "one");
            let told = standing.version.as_ref().map(|v| v.to_str().unwrap());
            assert_eq!(told, carried);
        }
        assert_eq!(Session::default().standing().generation, 0);
    }

    // Fails when only one of the two is compared.
    #[test]
    fn a_session_goes_on_with_the_same_server_only() {
        let mut session = open("2025-11-25");
        session.initialized(Bytes::from_static(b"done"));
        let (hello, done) = session.beginning().unwrap();
        assert_eq!(
            (&hello[..], &done.unwrap()[..]),
            (&b"hello"[..], &b"done"[..])
        );
        let id = || Some(HeaderValue::from_static("two"));
        let same = result("2025-11-25", json!({"logging": {}, "tools": {}}));
        assert_eq!(session.renew(1, id(), &same), Ok(()));
        let standing = session.standing();
        assert_eq!(
            (standing.generation, standing.id.unwrap().as_bytes()),
            (2, &b"two"[..])
        );
        for other in [
            result("2025-06-18", json!({"logging": {}, "tools": {}})),
            result("2025-11-25", json!({"tools": {}})),
        ] {
            let mut session = open("2025-11-25");
            assert_eq!(session.renew(1, id(), &other), Err(Changed));
            assert!(session.has_changed());
            session.close();
            assert!(!session.has_changed() && session.standing().id.is_none());
        }
    }

    // Fails when a session that the client opens meanwhile is not told from the one that was lost.
    #[test]
    fn what_the_client_opens_itself_counts() {
        let said = result("2025-11-25", json!({"tools": {}, "logging": {}}));
        let mut session = open("2025-11-25");
        let id = |id| Some(HeaderValue::from_static(id));
        session.close();
        assert_eq!(session.renew(1, id("late"), &said), Err(Changed));
        session.open(Bytes::from_static(b"hello"), id("own"), &said);
        assert_eq!(session.renew(1, id("late"), &said), Err(Changed));
        assert!(!session.has_changed() && session.standing().id.unwrap() == "own");
    }
}
