//! What is configured of a server that runs as children.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::launch::Containment;
use crate::names::ServerName;

/// One server that runs as children.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Its name.
    pub server: ServerName,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// What its children may do.
    pub containment: Arc<Containment>,
    /// Where its children have their folders.
    pub folder: PathBuf,
    /// How long a child may be idle before it sleeps; none for ever.
    pub sleep: Option<Duration>,
    /// How long a child may take until it has answered for the first time.
    pub start_timeout: Duration,
    /// How long a child may say nothing about a request.
    pub answer_timeout: Duration,
    /// Whether each user who has a child gets one more, started ahead.
    pub prewarm: bool,
    /// Bytes of its longest message.
    pub message_max: usize,
}

/// How many children there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// In all.
    pub children: usize,
    /// Of one user.
    pub user_children: usize,
    /// Sessions with children, asleep or awake, in all.
    pub sessions: usize,
}
