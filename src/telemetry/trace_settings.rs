//! What tracing is told by others, whether it is built in or not.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use http::{Request, StatusCode};

/// Where spans go, and which.
#[derive(Debug, Clone)]
pub struct TraceSettings {
    /// The URL spans are posted to.
    pub endpoint: String,
    /// The `service.name` of all of them.
    pub service_name: String,
    /// The part of requests without a parent that is sampled, 0 to 1.
    pub sample: f64,
}

/// Posts something somewhere. Called on a thread outside any runtime.
pub trait Post: Send + Sync {
    /// The status of the answer, or why there is none. Is done in 5 seconds.
    fn post(
        &self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<StatusCode, String>> + Send>>;
}

/// What is known of a request when it has ended.
#[derive(Debug, Clone, Copy)]
pub struct Ended<'a> {
    /// Its HTTP method: a constant of ours.
    pub http_method: &'static str,
    /// The server it asked for, if there is such a one.
    pub server: Option<&'a str>,
    /// Its MCP method: a constant of ours.
    pub method: Option<&'static str>,
    /// `modern` (MCP 2026-07-28 or later) or `legacy`.
    pub era: Option<&'static str>,
    /// What it was answered with, if it was.
    pub status: Option<StatusCode>,
    /// What it was refused for.
    pub rejection: Option<&'static str>,
}
