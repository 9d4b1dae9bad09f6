//! What is changed in the requests and answers of one caller.

use std::sync::{Arc, OnceLock};

use url::Url;

use super::call::Holding;
use super::merged::Names;
use super::way::SESSION;
use crate::gate::{Door, Permits};
use crate::mcp::answer::Rules;
use crate::mcp::edit::same_ignoring_case;
use crate::mcp::ids::{
    Holder, MessagePath, nobodys_task, open_task, seal_event, seal_message_path, seal_task,
};
use crate::mcp::tasks::Open;

/// The rules for one answer.
pub(super) struct Answering {
    pub(super) door: Arc<Door>,
    pub(super) holding: Holding,
    /// What he may use.
    pub(super) permits: Permits,
    /// The backend's session id, to which event ids are bound.
    pub(super) session: Vec<u8>,
    /// Arguments to hide besides the declared ones.
    pub(super) merged: Option<Arc<Names>>,
    /// Of a stream of HTTP+SSE.
    // Boxed: they are large, and most have none.
    pub(super) messages: Option<Box<Messages>>,
}

/// Where messages to a stream of HTTP+SSE are to be posted.
pub(super) struct Messages {
    /// The stream, as it is reached by us.
    pub(super) stream: Url,
    /// The replica that has it.
    pub(super) served_by: Option<u64>,
    /// Our own path for messages.
    pub(super) path: String,
    /// What stands for the backend's path, once the backend has told it.
    pub(super) sealed: Arc<OnceLock<String>>,
}

impl Messages {
    /// The path and query of `reference`, if it is on the stream's own origin.
    fn target(&self, reference: &str) -> Option<String> {
        let url = self.stream.join(reference.trim()).ok()?;
        let ours = url.origin() == self.stream.origin();
        let plain = url.username().is_empty() && url.password().is_none();
        let query = url.query().map(|query| format!("?{query}"));
        (ours && plain).then(|| format!("{}{}", url.path(), query.unwrap_or_default()))
    }
}

impl Rules for Answering {
    fn hides_any(&self) -> bool {
        self.door.slots().have_arguments() || self.permits.limits_tools()
    }

    fn hides_tool(&self, tool: &str) -> bool {
        !self.permits.allows_tool(tool)
    }

    // As calls are spliced: what is taken out of them in any case of letters is not asked for.
    fn hides(&self, tool: &str, argument: &str) -> bool {
        let same = |name: &str| same_ignoring_case(name, argument);
        self.door.slots().arguments_of(tool).any(same)
            || self.merged.as_ref().is_some_and(|names| names.any(same))
    }

    fn seal_event(&self, id: &[u8]) -> Vec<u8> {
        let holder = self.holding.holder(&self.door);
        seal_event(self.door.sealer(), &holder, &self.session, id)
    }

    fn seal_task(&self, id: &str) -> String {
        seal_task(self.door.sealer(), &self.holding.holder(&self.door), id)
    }

    fn legacy(&self) -> bool {
        self.messages.is_some()
    }

    fn endpoint(&self, reference: &str) -> Option<String> {
        let messages = self.messages.as_ref()?;
        let target = MessagePath {
            path: messages.target(reference)?,
            served_by: messages.served_by,
        };
        let holder = self.holding.holder(&self.door);
        let sealed = seal_message_path(self.door.sealer(), &holder, &target)?;
        // One stream has one path; a second one would be a stream nobody can speak to.
        let sealed = messages.sealed.get_or_init(|| sealed);
        Some(format!("{}?{SESSION}{sealed}", messages.path))
    }
}

/// Whose task ids are opened.
pub(super) struct Tasks<'a> {
    pub(super) door: &'a Door,
    pub(super) holder: Holder<'a>,
}

impl Open for Tasks<'_> {
    fn open(&self, id: &str) -> Option<String> {
        open_task(self.door.sealer(), &self.holder, id)
    }

    fn nobodys(&self, value: &str) -> String {
        nobodys_task(self.door.sealer(), &self.holder, value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_go_to_the_origin_of_the_stream_only() {
        let messages = Messages {
            stream: Url::parse("http://127.0.0.1:9002/a/sse?x=1").unwrap(),
            served_by: None,
            path: "/jira/message".into(),
            sealed: Arc::default(),
        };
        for (reference, target) in [
            ("/messages/?session_id=1f", "/messages/?session_id=1f"),
            ("message?sessionId=2", "/a/message?sessionId=2"),
            ("http://127.0.0.1:9002/m", "/m"),
            ("?s=1", "/a/sse?s=1"),
        ] {
            assert_eq!(
                messages.target(reference).as_deref(),
                Some(target),
                "{reference}"
            );
        }
        for reference in [
            "http://127.0.0.1:9003/m",
            "https://127.0.0.1:9002/m",
            "//evil.example/m",
            "/\\evil.example/m",
            "\\\\evil.example/m",
            "http://evil.example",
            "http://user@127.0.0.1:9002/m",
            "file:///etc/passwd",
            "javascript:alert(1)",
            "http://[",
        ] {
            let target = messages.target(reference);
            assert_eq!(target, None, "{reference}");
        }
    }
}
