//! Where in a message we are, as far as it matters.

use crate::mcp::edit;

/// Bytes a key or method we know may have: the longest of them, every character escaped.
pub(super) const MAX_TEXT: usize = 6 * RELATED.len();

/// MCP 2025-11-25, basic/utilities/tasks "Associating Task-Related Messages".
const RELATED: &[u8] = b"io.modelcontextprotocol/related-task";

/// The place of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// The whole text: a message, or an array of them.
    Body,
    Message,
    Method,
    Result,
    Params,
    /// An object with a `taskId`.
    Task,
    /// An array of such objects.
    Tasks,
    TaskId,
    /// `params.taskId`, which may be the client's own.
    ParamsTaskId,
    /// An array of task ids.
    TaskIds,
    Tools,
    /// An element of a tool list.
    Tool,
    Capabilities,
    TasksCapability,
    /// Who may keep a result for others (MCP 2026-07-28, server/utilities/caching).
    CacheScope,
    Meta,
    Notifications,
    /// Nothing here or below matters.
    Other,
}

impl Place {
    /// What the inside of the array or object here is.
    pub(super) fn opened(self, object: bool) -> Self {
        match (self, object) {
            (Self::Body, true) => Self::Message,
            (
                Self::Message
                | Self::Result
                | Self::Params
                | Self::Task
                | Self::Capabilities
                | Self::Meta
                | Self::Notifications,
                true,
            )
            | (Self::Body | Self::Tasks | Self::TaskIds | Self::Tools, false) => self,
            _ => Self::Other,
        }
    }

    /// What the elements of the array are whose inside this is.
    pub(super) fn element(self) -> Self {
        match self {
            Self::Body => Self::Message,
            Self::Tasks => Self::Task,
            Self::TaskIds => Self::TaskId,
            Self::Tools => Self::Tool,
            _ => Self::Other,
        }
    }

    /// What the value of the member is whose key is written as `key` (quotes left out) in the object
    /// whose inside this is; `escaped` if there is a backslash in it.
    pub(super) fn member(self, key: &[u8], escaped: bool) -> Self {
        if escaped {
            return decoded(key).map_or(Self::Other, |key| self.member_named(key.as_bytes()));
        }
        self.member_named(key)
    }

    fn member_named(self, key: &[u8]) -> Self {
        match (self, key) {
            (Self::Message, b"method") => Self::Method,
            (Self::Message, b"result") => Self::Result,
            (Self::Message, b"params") => Self::Params,
            (Self::Result, b"tools") => Self::Tools,
            (Self::Result, b"task") | (Self::Meta, RELATED) => Self::Task,
            (Self::Result, b"tasks") => Self::Tasks,
            (Self::Result, b"capabilities") => Self::Capabilities,
            (Self::Result, b"cacheScope") => Self::CacheScope,
            (Self::Result | Self::Task, b"taskId") => Self::TaskId,
            (Self::Result | Self::Params, b"_meta") => Self::Meta,
            (Self::Params, b"taskId") => Self::ParamsTaskId,
            (Self::Params, b"notifications") => Self::Notifications,
            (Self::Notifications, b"taskIds" | b"tasksStatus") => Self::TaskIds,
            (Self::Capabilities, b"tasks") => Self::TasksCapability,
            _ => Self::Other,
        }
    }
}

/// Whether the method written as `method` (quotes left out) asks the client about a task of its own,
/// which the client named; `escaped` if there is a backslash in it.
pub(super) fn asks_the_client(method: &[u8], escaped: bool) -> bool {
    let asks = |method: &[u8]| {
        matches!(
            method,
            b"tasks/get" | b"tasks/result" | b"tasks/cancel" | b"tasks/update"
        )
    };
    if escaped {
        return decoded(method).is_some_and(|method| asks(method.as_bytes()));
    }
    asks(method)
}

/// A text with escapes; `None` if they are none, which makes it no text we know.
fn decoded(text: &[u8]) -> Option<String> {
    let literal = format!("\"{}\"", str::from_utf8(text).ok()?);
    edit::unquoted(&literal).map(std::borrow::Cow::into_owned)
}
