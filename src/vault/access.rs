//! What a record says of access and bounds. [`crate::policy`] says what it means.

use serde::{Deserialize, Serialize};

use crate::names::Pattern;

/// Which servers and tools are allowed and blocked. A tool's pattern is `SERVER/TOOL`; one without `/` is
/// of every server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Access {
    /// Servers; empty: no restriction by this record.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allowed_servers: Vec<Pattern>,
    /// Servers; counts before everything that allows.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub blocked_servers: Vec<Pattern>,
    /// Tools; empty: every tool of the servers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allowed_tools: Vec<Pattern>,
    /// Tools; counts before everything that allows.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub blocked_tools: Vec<Pattern>,
}

impl Access {
    /// Patterns each list may hold.
    pub const MAX: usize = 256;

    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether each list is within [`Access::MAX`].
    #[must_use]
    pub fn fits(&self) -> bool {
        let lists = [
            &self.allowed_servers,
            &self.blocked_servers,
            &self.allowed_tools,
            &self.blocked_tools,
        ];
        lists.iter().all(|list| list.len() <= Self::MAX)
    }
}

/// Bounds on how much may be asked for. What is not said here is as the configuration says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Requests a minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<u32>,
    /// Of these, how many at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst: Option<u32>,
    /// Requests a day (UTC).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub daily: Option<u64>,
    /// Requests under way at one moment, in each process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrent: Option<u32>,
}

impl Limits {
    /// Whether it says nothing.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}
