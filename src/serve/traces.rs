//! Where traces go: the collector of the configuration.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};

use super::StartError;
use crate::config::Telemetry;
use crate::proxy::Poster;
use crate::telemetry::{Post, TraceSettings, Tracer};
use crate::tls;

/// How long a message to the collector may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// What makes and sends spans, if any are wanted. What is posted goes over the current runtime.
///
/// # Errors
/// When the collector cannot be reached as configured, or this build has no traces.
pub(super) fn tracer(telemetry: &Telemetry) -> Result<Option<Arc<Tracer>>, StartError> {
    let Some(endpoint) = &telemetry.otlp_endpoint else {
        return Ok(None);
    };
    let tls = (endpoint.scheme_str() == Some("https"))
        .then(|| tls::client_config(None, None).map_err(|error| error.to_string()))
        .transpose()
        .map_err(StartError::Traces)?;
    let poster = Poster::new(endpoint, tls, PATIENCE);
    let poster = poster.map_err(|error| StartError::Traces(error.to_string()))?;
    let settings = TraceSettings {
        endpoint: endpoint.to_string(),
        service_name: telemetry.service_name.clone(),
        sample: telemetry.sample,
    };
    let tracer = Tracer::new(&settings, Arc::new(Collector(Arc::new(poster))));
    tracer
        .map(|tracer| Some(Arc::new(tracer)))
        .map_err(StartError::Traces)
}

struct Collector(Arc<Poster>);

impl Post for Collector {
    fn post(
        &self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<StatusCode, String>> + Send>> {
        Box::pin(self.0.clone().post(request))
    }
}
