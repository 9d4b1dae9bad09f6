//! Stands for tracing in a build without the feature `otlp`.

use std::sync::Arc;

use http::{HeaderMap, StatusCode};

use super::trace_settings::{Ended, Post, TraceSettings};

/// There is none.
pub enum Tracer {}

/// There is none.
pub enum Trace {}

impl Tracer {
    /// # Errors
    /// Always: this build cannot.
    pub fn new(_: &TraceSettings, _: Arc<dyn Post>) -> Result<Self, String> {
        Err("this build cannot send traces: build it with the feature `otlp`".to_owned())
    }

    /// Is never called.
    #[must_use]
    pub fn begin(&self, _: &HeaderMap) -> Trace {
        match *self {}
    }

    /// Is never called.
    pub fn finish(&self) {
        match *self {}
    }
}

impl Trace {
    /// Is never called.
    pub fn parent_in_body(&self, _: &str, _: Option<&str>) {
        match *self {}
    }

    /// Is never called.
    pub fn sending(&self, _: &mut HeaderMap) {
        match *self {}
    }

    /// Is never called.
    pub fn returned(&self, _: Option<StatusCode>) {
        match *self {}
    }

    /// Is never called.
    #[must_use]
    pub fn id(&self) -> Option<String> {
        match *self {}
    }

    /// Is never called.
    pub fn end(&self, _: &Ended<'_>) {
        match *self {}
    }
}
