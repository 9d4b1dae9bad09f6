//! Traces over OTLP (HTTP, protobuf): a span for each request, and one within it for the backend.
//!
//! The parent is the trace context of the request's headers, else that of its `params._meta`; one that
//! is malformed is ignored (W3C Trace Context, "Processing Model"). A parent's decision whether to
//! sample holds; where there is none, the operator's ratio decides.
//!
//! Ended spans wait in a bounded queue for a thread that sends them. When the collector is slow or away
//! the queue is full and later spans are dropped: no request waits.

use std::fmt;
use std::str::FromStr as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use opentelemetry::trace::{
    Span as _, SpanContext, SpanId, SpanKind, Status, TraceContextExt as _, TraceFlags, TraceId,
    TraceState, Tracer as _, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider, Span,
};

use super::trace_settings::{Ended, Post, TraceSettings};

const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";
/// Ended spans that wait to be sent; more are dropped.
const WAITING: usize = 4096;
/// Spans in one message to the collector.
const BATCH: usize = 512;
/// How long an ended span waits at most, if nothing holds up the sending.
const DELAY: Duration = Duration::from_secs(1);
/// How long a message to the collector may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the end of the process waits for the last spans.
const LAST: Duration = Duration::from_secs(1);

/// Makes spans and sends them.
pub struct Tracer {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

impl Tracer {
    /// Sends to where `settings` say, by `post`.
    ///
    /// # Errors
    /// When the collector's address cannot be used.
    pub fn new(settings: &TraceSettings, post: Arc<dyn Post>) -> Result<Self, String> {
        let exporter = SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(settings.endpoint.as_str())
            .with_timeout(PATIENCE)
            .with_http_client(Client::new(post))
            .build()
            .map_err(|error| error.to_string())?;
        let batch = BatchConfigBuilder::default()
            .with_max_queue_size(WAITING)
            .with_max_export_batch_size(BATCH)
            .with_scheduled_delay(DELAY)
            .build();
        let processor = BatchSpanProcessor::builder(exporter).with_batch_config(batch);
        let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(settings.sample)));
        let resource = Resource::builder()
            .with_service_name(settings.service_name.clone())
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        let provider = SdkTracerProvider::builder()
            .with_span_processor(processor.build())
            .with_sampler(sampler)
            .with_resource(resource)
            .build();
        Ok(Self {
            tracer: provider.tracer("cloakroom"),
            provider,
        })
    }

    /// A request with these headers begins.
    #[must_use]
    pub fn begin(&self, headers: &HeaderMap) -> Trace {
        let one = |name| {
            let mut values = headers.get_all(name).iter();
            let first = values.next().filter(|_| values.next().is_none());
            first.and_then(|value| value.to_str().ok())
        };
        let context = one(TRACEPARENT).and_then(|parent| parse(parent, one(TRACESTATE)));
        Trace {
            tracer: self.tracer.clone(),
            begun: SystemTime::now(),
            state: Mutex::new(State {
                parent: context,
                server: None,
                client: None,
            }),
        }
    }

    /// Sends what waits, if that is soon done.
    pub fn finish(&self) {
        let _ = self.provider.shutdown_with_timeout(LAST);
    }
}

/// The spans of one request.
pub struct Trace {
    tracer: SdkTracer,
    begun: SystemTime,
    // Of one request, so never waited for.
    state: Mutex<State>,
}

struct State {
    parent: Option<SpanContext>,
    /// Made when it is first needed: its parent may stand in the body.
    server: Option<Span>,
    client: Option<Span>,
}

impl Trace {
    /// The trace context in the body counts where the headers have none.
    pub fn parent_in_body(&self, trace_parent: &str, trace_state: Option<&str>) {
        let mut state = self.lock();
        if state.parent.is_none() {
            state.parent = parse(trace_parent, trace_state);
        }
    }

    /// The request goes to its backend, and tells it of our span.
    pub fn sending(&self, headers: &mut HeaderMap) {
        let mut state = self.lock();
        let server = self.server(&mut state).span_context().clone();
        let client = self.tracer.span_builder("backend");
        let client = client.with_kind(SpanKind::Client);
        let client = self.tracer.build_with_context(client, &within(&server));
        headers.remove(TRACESTATE);
        let ours = client.span_context();
        let flags = u8::from(ours.is_sampled());
        let parent = format!("00-{}-{}-{flags:02x}", ours.trace_id(), ours.span_id());
        let values = [
            (TRACEPARENT, parent),
            (TRACESTATE, ours.trace_state().header()),
        ];
        for (name, value) in values {
            if let Ok(value) = HeaderValue::from_str(&value)
                && !value.is_empty()
            {
                headers.insert(name, value);
            }
        }
        state.client = Some(client);
    }

    /// The backend answered; `None` if it gave no answer.
    pub fn returned(&self, status: Option<StatusCode>) {
        let Some(mut client) = self.lock().client.take() else {
            return;
        };
        if let Some(status) = status {
            client.set_attribute(status_attribute(status));
        }
        if status.is_none_or(|status| status.is_client_error() || status.is_server_error()) {
            client.set_status(Status::error(""));
        }
        client.end();
    }

    /// The trace's id, where it goes to the collector.
    #[must_use]
    pub fn id(&self) -> Option<String> {
        let mut state = self.lock();
        let context = self.server(&mut state).span_context();
        context.is_sampled().then(|| context.trace_id().to_string())
    }

    /// The answer has ended.
    pub fn end(&self, ended: &Ended<'_>) {
        let mut state = self.lock();
        state.client = None;
        let server = self.server(&mut state);
        server.update_name(ended.method.unwrap_or(ended.http_method));
        let text = |key: &'static str, value: &str| KeyValue::new(key, value.to_owned());
        server.set_attribute(KeyValue::new("http.request.method", ended.http_method));
        if let Some(name) = ended.server {
            server.set_attribute(text("cloakroom.server", name));
        }
        if let Some(method) = ended.method {
            server.set_attribute(KeyValue::new("mcp.method.name", method));
        }
        if let Some(era) = ended.era {
            server.set_attribute(KeyValue::new("cloakroom.era", era));
        }
        if let Some(status) = ended.status {
            server.set_attribute(status_attribute(status));
        }
        if let Some(kind) = ended.rejection {
            server.set_attribute(KeyValue::new("error.type", kind));
        }
        if ended.status.is_none_or(|status| status.is_server_error()) {
            server.set_status(Status::error(""));
        }
        server.end();
    }

    fn server<'s>(&self, state: &'s mut State) -> &'s mut Span {
        let State { parent, server, .. } = state;
        server.get_or_insert_with(|| {
            let context = parent.as_ref().map_or_else(Context::new, within);
            let span = self.tracer.span_builder("request");
            let span = span.with_kind(SpanKind::Server).with_start_time(self.begun);
            self.tracer.build_with_context(span, &context)
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn status_attribute(status: StatusCode) -> KeyValue {
    KeyValue::new("http.response.status_code", i64::from(status.as_u16()))
}

fn within(parent: &SpanContext) -> Context {
    Context::new().with_remote_span_context(parent.clone())
}

/// A trace context as it is written in headers (W3C Trace Context, "traceparent Header Field Values");
/// later versions may have more fields. A state that is malformed is dropped, its parent stands.
fn parse(parent: &str, state: Option<&str>) -> Option<SpanContext> {
    let fields: Vec<_> = parent.trim_matches([' ', '\t']).splitn(5, '-').collect();
    let (&[version, trace, span, flags], more) = fields.split_first_chunk()?;
    let hex = |field: &str| {
        field
            .bytes()
            .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    let sized = [(version, 2), (trace, 32), (span, 16), (flags, 2)];
    let shaped = sized
        .iter()
        .all(|(field, size)| field.len() == *size && hex(field));
    if !shaped || version == "ff" || version == "00" && !more.is_empty() {
        return None;
    }
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) & TraceFlags::SAMPLED;
    let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
    let state = state.and_then(|state| TraceState::from_str(state).ok());
    let context = SpanContext::new(trace, span, flags, true, state.unwrap_or_default());
    context.is_valid().then_some(context)
}

/// Sends messages, and says once when that begins to fail and when it works again.
struct Client {
    post: Arc<dyn Post>,
    failing: AtomicBool,
}

impl Client {
    fn new(post: Arc<dyn Post>) -> Self {
        Self {
            post,
            failing: AtomicBool::new(false),
        }
    }

    fn note(&self, trouble: Option<&str>) {
        let was = self.failing.swap(trouble.is_some(), Ordering::Relaxed);
        match trouble {
            Some(why) if !was => {
                tracing::warn!(why, "spans cannot be sent to the collector and are dropped");
            }
            None if was => tracing::info!("spans are sent to the collector again"),
            _ => {}
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}

#[async_trait::async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let answer = self.post.post(request).await;
        let trouble = match &answer {
            Ok(status) if status.is_success() => None,
            Ok(status) => Some(format!("it answers with {}", status.as_u16())),
            Err(why) => Some(why.clone()),
        };
        self.note(trouble.as_deref());
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = answer?;
        Ok(response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    // Fails when a malformed state takes the parent with it, or a malformed parent is believed.
    #[test]
    fn a_context_is_read_or_ignored() {
        let read = parse(PARENT, Some("a=1,b=2")).unwrap();
        assert_eq!(
            read.trace_id().to_string(),
            "0af7651916cd43dd8448eb211c80319c"
        );
        assert_eq!(read.trace_state().header(), "a=1,b=2");
        assert!(read.is_sampled());
        assert_eq!(
            parse(PARENT, Some("=,\u{1}"))
                .unwrap()
                .trace_state()
                .header(),
            ""
        );
        let zero = PARENT.replace("b7ad6b7169203331", "0000000000000000");
        for wrong in [
            "",
            "clk_x",
            "00-0af7-b7ad-01",
            &zero,
            &PARENT.to_uppercase(),
        ] {
            assert!(parse(wrong, None).is_none(), "{wrong}");
        }
    }
}
