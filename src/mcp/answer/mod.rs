//! What a backend answers, on its way to a client: a few places changed, every other byte as it came.
//!
//! [`JsonAnswer`] reads a JSON body, [`EventAnswer`] an event stream whose events carry JSON in their
//! `data`. Both are given the answer in whatever pieces it arrives, cut anywhere.
//!
//! Rules of this module:
//!
//! 1. Only these places change, in every message (or element of a batch) of the answer:
//!    - tool lists (`result.tools`): the tools that [`Rules::hides_tool`] names, each with the comma
//!      before it and the white space between the two (of the first that stays, only that goes); of
//!      the others, the arguments that [`Rules::hides`] names, as members of `inputSchema.properties`
//!      and as elements of `inputSchema.required`;
//!    - task ids: `taskId` of `result`, of `result.task`, of the elements of `result.tasks`, of
//!      `params` and of `_meta["io.modelcontextprotocol/related-task"]` in either, and the elements
//!      of `params.notifications.taskIds` and `params.notifications.tasksStatus`, sealed;
//!    - `result.capabilities.tasks.list`, which goes: nobody may list the tasks of a shared backend
//!      (MCP 2025-11-25, basic/utilities/tasks "Security Considerations");
//!    - `result.cacheScope`, which becomes `"private"`: what one user is answered no cache may give to
//!      another (MCP 2026-07-28, server/utilities/caching);
//!    - event ids, sealed, and the `data` of `endpoint` events (MCP 2024-11-05, basic/transports).
//! 2. A key is compared with its escapes decoded, and a member written twice is changed twice: the
//!    client's parser may take either. So a tool with two names goes if either has to.
//! 3. Nothing is held back but a value that may have to change, from its first byte to its last (a
//!    tool from the comma before it), an `id` line, and the data of an event that may prove an
//!    `endpoint`. Each of these is bounded. What passes leaves as slices of what came.
//! 4. What cannot be followed is an error, never a guess: a place not recognised would leave
//!    unchanged. Scalars, which cannot hide such a place, may be anything (Python writes `NaN`).
//! 5. Time is linear, nothing recurses, and nesting has a limit ([`MAX_DEPTH`]).
//!
//! After an error the client's side is to be reset: what that call appended to its output must not be
//! sent, and nothing more pushed.

mod capture;
mod json;
mod place;
mod rewrite;
mod sink;
mod stream;
#[cfg(test)]
mod tests;
mod text;
mod track;

pub use json::{JsonAnswer, whole_json};
pub use stream::EventAnswer;

/// Bytes an event id may have.
pub const MAX_EVENT_ID: usize = 1024;

/// Bytes a task id may have, escapes decoded.
pub const MAX_TASK_ID: usize = 1024;

/// Bytes `result.capabilities.tasks` may have as it is written.
pub const MAX_TASKS_CAPABILITY: usize = 64 << 10;

/// Bytes an event may have from its data on if it may be an `endpoint` event.
pub const MAX_ENDPOINT: usize = 8 << 10;

/// Levels of arrays and objects a message may have.
pub const MAX_DEPTH: usize = 512;

/// What is to become of an answer of one server, to one user.
pub trait Rules {
    /// Whether [`hides_tool`](Self::hides_tool) or [`hides`](Self::hides) is ever true. If not, tool
    /// lists pass as they come, of any size. Asked once per answer.
    fn hides_any(&self) -> bool;

    /// Whether the tool `tool` is to be absent from tool lists. A tool without a name or with one that
    /// is no string (or no text, as half a surrogate pair), and an element of a list that is no object,
    /// are asked about as `""`: whoever hides some tools should hide what cannot be told from them.
    fn hides_tool(&self, tool: &str) -> bool;

    /// Whether the argument `argument` of the tool `tool` is the proxy's own business. A tool without a
    /// name is asked about as for [`hides_tool`](Self::hides_tool).
    fn hides(&self, tool: &str, argument: &str) -> bool;

    /// The sealed form of an event id, which is 1 to [`MAX_EVENT_ID`] bytes without NUL, CR and LF.
    /// The result must be free of those too and must not begin with a space.
    fn seal_event(&self, id: &[u8]) -> Vec<u8>;

    /// The sealed form of a task id of at most [`MAX_TASK_ID`] bytes.
    fn seal_task(&self, id: &str) -> String;

    /// Whether the backend speaks HTTP+SSE (MCP 2024-11-05) and so sends `endpoint` events. Asked
    /// once per answer.
    fn legacy(&self) -> bool;

    /// What an `endpoint` event is to say instead of `reference`; `None` resets the stream. The
    /// result must be free of CR and LF.
    fn endpoint(&self, reference: &str) -> Option<String>;
}

/// Why an answer cannot go on. The texts are for the log and say nothing of the answer's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// The stream ended in the middle of an event.
    #[error("the backend's stream ended inside an event")]
    CutEvent,
    /// A body or the data of an event ended before the JSON in it did.
    #[error("the backend's message ended inside its JSON")]
    CutMessage,
    /// An event that may be an `endpoint` event is longer than [`MAX_ENDPOINT`].
    #[error("the backend sent an endpoint event of more than 8 KiB")]
    EndpointTooLong,
    /// An `endpoint` event that [`Rules::endpoint`] refused, or that proved one too late.
    #[error("the backend sent an endpoint event that must not be passed on")]
    ForeignEndpoint,
    /// An event id longer than [`MAX_EVENT_ID`].
    #[error("the backend sent an event id of more than 1024 bytes")]
    IdTooLong,
    /// A tool list longer than the limit set, from its opening to its closing bracket.
    #[error("the backend sent a tool list larger than the limit")]
    ListTooLarge,
    /// What begins like JSON is none, or a value that may have to change is not well formed.
    #[error("the backend's message is not JSON")]
    NotJson,
    /// A task id longer than [`MAX_TASK_ID`].
    #[error("the backend sent a task id of more than 1024 bytes")]
    TaskIdTooLong,
    /// `result.capabilities.tasks` is longer than [`MAX_TASKS_CAPABILITY`].
    #[error("the backend declared a tasks capability of more than 64 KiB")]
    TasksTooLarge,
    /// More than [`MAX_DEPTH`] levels of arrays and objects.
    #[error("the backend's message is nested deeper than 512 levels")]
    TooDeep,
}
