//! The servers that run as children, as one configuration has them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Children, Settings};
use crate::names::ServerName;

/// The servers that run as children, as one configuration has them.
#[derive(Clone)]
pub struct Served {
    /// What runs them.
    pub children: Children,
    /// The servers.
    pub servers: Arc<BTreeMap<ServerName, Arc<Settings>>>,
}
