//! A collector of OpenTelemetry traces, which keeps what it is sent.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::sync::watch;

pub(crate) struct Collector {
    /// As `otlp_endpoint` wants it.
    pub(crate) url: String,
    received: Arc<Mutex<Vec<Bytes>>>,
    arrived: watch::Receiver<usize>,
}

/// A span, in words.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) name: String,
    pub(crate) trace: String,
    pub(crate) span: String,
    pub(crate) parent: String,
    pub(crate) state: String,
    attributes: Vec<(String, String)>,
}

impl Collector {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let received = Arc::new(Mutex::new(Vec::new()));
        let (tell, arrived) = watch::channel(0);
        let (kept, tell) = (received.clone(), Arc::new(tell));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (kept, tell) = (kept.clone(), tell.clone());
                let service = service_fn(move |request| keep(request, kept.clone(), tell.clone()));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Self {
            url,
            received,
            arrived,
        }
    }

    /// Every message, byte for byte.
    pub(crate) fn messages(&self) -> Vec<Bytes> {
        self.received.lock().unwrap().clone()
    }

    /// What it was sent so far counts no more.
    pub(crate) fn forget(&self) {
        self.received.lock().unwrap().clear();
    }

    /// All spans, once there are so many.
    pub(crate) async fn spans(&self, count: usize) -> Vec<Seen> {
        let mut arrived = self.arrived.clone();
        let enough = async {
            loop {
                let spans = self.now();
                if spans.len() >= count {
                    return spans;
                }
                arrived.changed().await.unwrap();
            }
        };
        let spans = tokio::time::timeout(Duration::from_secs(20), enough).await;
        spans.unwrap_or_else(|_| panic!("not {count} spans: {:?}", self.now()))
    }

    fn now(&self) -> Vec<Seen> {
        let messages = self.messages();
        let decoded = messages
            .iter()
            .map(|bytes| ExportTraceServiceRequest::decode(bytes.clone()).unwrap());
        let of = decoded.flat_map(|message| message.resource_spans);
        let of = of.flat_map(|resource| resource.scope_spans);
        of.flat_map(|scope| scope.spans).map(Seen::of).collect()
    }
}

impl Seen {
    fn of(span: Span) -> Self {
        let hex = |id: &[u8]| id.iter().map(|byte| format!("{byte:02x}")).collect();
        let value = |value| match value {
            Some(Value::StringValue(text)) => text,
            Some(Value::IntValue(number)) => number.to_string(),
            other => format!("{other:?}"),
        };
        let attributes = span.attributes.into_iter();
        let attributes = attributes
            .map(|pair| (pair.key, value(pair.value.and_then(|value| value.value))))
            .collect();
        Self {
            name: span.name,
            trace: hex(&span.trace_id),
            span: hex(&span.span_id),
            parent: hex(&span.parent_span_id),
            state: span.trace_state,
            attributes,
        }
    }

    /// The value of an attribute; empty when there is none.
    pub(crate) fn attribute(&self, key: &str) -> &str {
        let found = self.attributes.iter().find(|(name, _)| name == key);
        found.map_or("", |(_, value)| value)
    }
}

async fn keep(
    request: Request<Incoming>,
    kept: Arc<Mutex<Vec<Bytes>>>,
    tell: Arc<watch::Sender<usize>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    assert_eq!(request.uri().path(), "/v1/traces");
    assert_eq!(request.headers()["content-type"], "application/x-protobuf");
    let body = request.into_body().collect().await.unwrap().to_bytes();
    kept.lock().unwrap().push(body);
    tell.send_modify(|count| *count += 1);
    Ok(Response::new(Full::default()))
}
