//! Asks a URL once, for `check` and `health`: one connection, one request without any secret, the head
//! of the answer and the beginning of its body.
//!
//! 1. What is wrong is told apart by who has to mend it: the name, the way, the certificate, the server.
//! 2. No redirect is followed, nothing of an answer is kept but what [`Answer`] has.
//! 3. The whole of it takes at most as long as the caller allows.

mod judge;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, HeaderValue, LOCATION};
use http::uri::PathAndQuery;
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::tls::{self, TlsError};
pub use judge::{Verdict, server};

/// How much of an answer's body is read.
const ENOUGH: usize = 4 * 1024;

/// What a URL answered.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// `Location`, of a redirect.
    pub location: Option<String>,
    /// The media type without parameters, in lower case.
    pub media_type: String,
    /// The beginning of the body.
    pub body: Vec<u8>,
}

/// Why there was no answer.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// The host's name leads nowhere.
    #[error("no address is known for {0}: write the right name, or mend DNS")]
    Name(String),
    /// Nothing accepts the connection.
    #[error("{0} cannot be reached ({1}): start it, or write the right host and port")]
    Connect(String, io::Error),
    /// Nothing to check its certificate with.
    #[error(transparent)]
    Roots(#[from] TlsError),
    /// Its certificate is not believed.
    #[error(
        "{0} shows a certificate that is not trusted ({1}): write the certificate of its authority into \
         `ca_file`, or have it show one for this name"
    )]
    Certificate(String, rustls::Error),
    /// It does not speak TLS.
    #[error("{0} does not speak TLS ({1}): write http:// if it has none")]
    NoTls(String, io::Error),
    /// It does not speak HTTP.
    #[error(
        "what listens at {0} does not speak HTTP there ({1}): is it another port, or https://?"
    )]
    NoHttp(String, hyper::Error),
    /// No answer in time.
    #[error("{0} does not answer within {time}: is it overloaded, or behind a firewall?", time = humantime::format_duration(*.1))]
    Silent(String, Duration),
}

/// Sends `request`, whose URI is absolute, and waits for the answer's head, and for its body if
/// `with_body`; both within `patience`. The connection goes to the host and port `at`, if given, instead
/// of the URI's, whose host stays that of `Host` and of the certificate.
///
/// # Errors
/// See [`Trouble`].
pub async fn ask(
    request: Request<Full<Bytes>>,
    at: Option<(&str, u16)>,
    ca_file: Option<&Path>,
    with_body: bool,
    patience: Duration,
) -> Result<Answer, Trouble> {
    let url = request.uri().clone();
    let (host, port) = at.unwrap_or_else(|| (bare_host(&url), port(&url)));
    let place = place(host, port);
    let whole = async {
        let stream = connect(host, port, &place).await?;
        asked(stream, request, ca_file, with_body, &place).await
    };
    let asked = timeout(patience, whole).await;
    asked.unwrap_or_else(|_| Err(Trouble::Silent(place.clone(), patience)))
}

/// A host without brackets and a port, as one writes them.
#[must_use]
pub fn place(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

fn bare_host(url: &Uri) -> &str {
    let host = url.host().unwrap_or_default();
    host.trim_start_matches('[').trim_end_matches(']')
}

fn port(url: &Uri) -> u16 {
    let usual = if is_https(url) { 443 } else { 80 };
    url.port_u16().unwrap_or(usual)
}

fn is_https(url: &Uri) -> bool {
    url.scheme_str() == Some("https")
}

async fn asked(
    stream: TcpStream,
    request: Request<Full<Bytes>>,
    ca_file: Option<&Path>,
    with_body: bool,
    place: &str,
) -> Result<Answer, Trouble> {
    let url = request.uri().clone();
    if !is_https(&url) {
        return exchange(stream, request, with_body, place).await;
    }
    let config = tls::client_config(ca_file, None)?;
    let host = bare_host(&url).to_owned();
    let name = ServerName::try_from(host.clone()).map_err(|_| Trouble::Name(host))?;
    let opened = TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await;
    let stream = opened.map_err(|error| tls_trouble(place, error))?;
    exchange(stream, request, with_body, place).await
}

fn tls_trouble(place: &str, error: io::Error) -> Trouble {
    let cause = error.get_ref().and_then(|inner| inner.downcast_ref());
    match cause {
        Some(refused @ rustls::Error::InvalidCertificate(_)) => {
            Trouble::Certificate(place.to_owned(), refused.clone())
        }
        _ => Trouble::NoTls(place.to_owned(), error),
    }
}

async fn connect(host: &str, port: u16, place: &str) -> Result<TcpStream, Trouble> {
    let found = tokio::net::lookup_host((host, port)).await;
    let addresses: Vec<_> = found.map_err(|_| Trouble::Name(host.to_owned()))?.collect();
    if addresses.is_empty() {
        return Err(Trouble::Name(host.to_owned()));
    }
    let opened = TcpStream::connect(addresses.as_slice()).await;
    opened.map_err(|error| Trouble::Connect(place.to_owned(), error))
}

async fn exchange<T>(
    stream: T,
    mut request: Request<Full<Bytes>>,
    with_body: bool,
    place: &str,
) -> Result<Answer, Trouble>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let http = |error| Trouble::NoHttp(place.to_owned(), error);
    let url = request.uri().clone();
    let target = url.path_and_query().cloned();
    *request.uri_mut() = target
        .unwrap_or_else(|| PathAndQuery::from_static("/"))
        .into();
    if let Some(host) = url
        .authority()
        .and_then(|a| HeaderValue::from_str(a.as_str()).ok())
    {
        request.headers_mut().insert(HOST, host);
    }
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(http)?;
    let driven = tokio::spawn(connection);
    let answer = sender.send_request(request).await.map_err(http)?;
    let (head, body) = answer.into_parts();
    let text = |name| head.headers.get(name).and_then(|value| value.to_str().ok());
    let media_type = text(CONTENT_TYPE).unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default();
    let answer = Answer {
        status: head.status,
        location: text(LOCATION).map(str::to_owned),
        media_type: media_type.trim().to_ascii_lowercase(),
        body: if with_body {
            beginning(body).await
        } else {
            Vec::new()
        },
    };
    driven.abort();
    Ok(answer)
}

/// The first bytes of a body; what breaks off is as good as what ends.
async fn beginning(mut body: Incoming) -> Vec<u8> {
    let mut read = Vec::new();
    while let Some(Ok(frame)) = body.frame().await
        && let Ok(data) = frame.into_data()
    {
        let room = ENOUGH - read.len();
        read.extend_from_slice(&data[..data.len().min(room)]);
        if read.len() == ENOUGH {
            break;
        }
    }
    read
}
