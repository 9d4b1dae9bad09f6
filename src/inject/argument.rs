//! Arguments of tools a slot may set.

use std::collections::BTreeSet;

use super::Template;

/// Why no slot can set an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ArgumentNameError {
    /// Nothing.
    #[error("empty; write the argument's name as the tool's inputSchema has it")]
    Empty,
    /// More than 256 bytes, or control characters.
    #[error("not an argument's name: at most 256 bytes, no control characters")]
    NotAName,
}

/// The name of an argument a slot may set: 1 to 256 bytes without control characters.
///
/// # Errors
/// When it is none.
pub fn argument_name(text: &str) -> Result<String, ArgumentNameError> {
    if text.is_empty() {
        Err(ArgumentNameError::Empty)
    } else if text.len() > 256 || text.chars().any(char::is_control) {
        Err(ArgumentNameError::NotAName)
    } else {
        Ok(text.to_owned())
    }
}

/// The argument slots of one server.
pub enum Arguments {
    /// These, none with a name that is another's but for the case of its letters.
    Named(Vec<ArgumentSlot>),
    /// Every secret the user has for the server, under its own name, to every tool.
    All,
}

impl Default for Arguments {
    fn default() -> Self {
        Self::Named(Vec::new())
    }
}

/// One argument, of every tool or of some.
pub struct ArgumentSlot {
    pub(super) name: String,
    pub(super) template: Template,
    tools: Option<BTreeSet<String>>,
}

impl ArgumentSlot {
    /// The argument `name` of `tools`, or of every tool.
    ///
    /// # Errors
    /// When the name is none.
    pub fn new(
        name: &str,
        template: Template,
        tools: Option<BTreeSet<String>>,
    ) -> Result<Self, ArgumentNameError> {
        Ok(Self {
            name: argument_name(name)?,
            template,
            tools,
        })
    }

    /// The tools it is for; `None` for every tool.
    #[must_use]
    pub fn tools(&self) -> Option<&BTreeSet<String>> {
        self.tools.as_ref()
    }

    /// Whether it is for this tool.
    #[must_use]
    pub fn serves(&self, tool: &str) -> bool {
        self.tools.as_ref().is_none_or(|tools| tools.contains(tool))
    }
}
