//! What an operator sees: the log, on standard error; metrics, as a page for Prometheus; traces, over
//! OTLP.
//!
//! No secret and no key is in any of them at any level. Our own lines name what they show, one by one.
//! Those of libraries are let through from warnings up and never below: at `trace` some print the bytes
//! they read, whatever they are.
//!
//! # To count something
//!
//! [`Metrics`] is one struct of handles, made once per process and passed to whoever counts; there is
//! no global one.
//!
//! 1. Add a public field to [`Metrics`]: a [`Counter`], a [`Gauge`] or [`Durations`].
//! 2. Give it its name and help in `Metrics::new`. Names begin with `cloakroom_`, durations and moments
//!    are in seconds; the library adds `_total` to a counter.
//! 3. Pass a clone of the handle (an `Arc` inside) to where it is counted, and there call `inc`, `set` or
//!    `observe`: one or two atomic operations, no lock, no allocation.
//!
//! What is known per server is a field of [`ServerMetrics`], made by [`Metrics::server`] when a
//! configuration is assembled. What somebody else counts already is read when the page is asked for:
//! [`Metrics::at_scrape`]. A label's values are names of the configuration or constants of the code, never
//! anything a client or a backend sends.

mod histogram;
mod log;
mod metrics;
mod process;
#[cfg(not(feature = "otlp"))]
#[path = "no_trace.rs"]
mod trace;
#[cfg(feature = "otlp")]
mod trace;
mod trace_settings;

pub use prometheus_client::metrics::counter::Counter;
pub use prometheus_client::metrics::gauge::Gauge;

pub use self::histogram::Durations;
pub use self::log::{ACCESS, Format, init};
pub use self::metrics::{CONTENT_TYPE, Metrics, Page, ServerMetrics};
pub use self::trace::{Trace, Tracer};
pub use self::trace_settings::{Ended, Post, TraceSettings};
