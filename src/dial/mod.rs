//! Opens HTTP/1.1 connections to a URL, for commands that call one themselves.
//!
//! 1. What is wrong is told apart by who has to mend it: the name, the way, the certificate, the server.
//! 2. No proxy is taken from the environment, and no redirect is followed: what is sent goes to the
//!    origin of the URL.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HOST, HeaderValue};
use http::uri::PathAndQuery;
use http::{Request, Uri};
use http_body_util::Full;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::sys;
use crate::tls::{self, TlsError};

/// Sends requests on one connection.
pub type Sender = SendRequest<Full<Bytes>>;

/// Why there is no connection, or no answer on it.
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

/// Opens connections to one origin.
pub struct Dialer {
    host: String,
    port: u16,
    place: String,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl Dialer {
    /// To the origin of `url`. The connections go to the host and port `at`, if given, instead of the
    /// URL's, whose host stays that of the certificate. Those of `https` are checked with the
    /// certificates in `ca_file`, or else the system's.
    ///
    /// # Errors
    /// When there is nothing to check certificates with, or the host cannot stand in one.
    pub fn new(
        url: &Uri,
        at: Option<(&str, u16)>,
        ca_file: Option<&Path>,
    ) -> Result<Self, Trouble> {
        let name = bare_host(url);
        let (host, port) = at.unwrap_or_else(|| (name, port(url)));
        let tls = if is_https(url) {
            let config = tls::client_config(ca_file, None)?;
            let shown = ServerName::try_from(name.to_owned());
            let shown = shown.map_err(|_| Trouble::Name(name.to_owned()))?;
            Some((TlsConnector::from(Arc::new(config)), shown))
        } else {
            None
        };
        Ok(Self {
            host: host.to_owned(),
            port,
            place: place(host, port),
            tls,
        })
    }

    /// The host and port, as one writes them.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Opens a connection, driven by a task of the current runtime for as long as it is used.
    ///
    /// # Errors
    /// See [`Trouble`].
    pub async fn open(&self) -> Result<Sender, Trouble> {
        let stream = self.connect().await?;
        let Some((connector, name)) = &self.tls else {
            return self.handshake(stream).await;
        };
        let opened = connector.connect(name.clone(), stream).await;
        let stream = opened.map_err(|error| tls_trouble(&self.place, error))?;
        self.handshake(stream).await
    }

    async fn connect(&self) -> Result<TcpStream, Trouble> {
        let unknown = || Trouble::Name(self.host.clone());
        let found = tokio::net::lookup_host((self.host.as_str(), self.port)).await;
        let addresses: Vec<_> = found.map_err(|_| unknown())?.collect();
        if addresses.is_empty() {
            return Err(unknown());
        }
        let opened = async {
            let stream = TcpStream::connect(addresses.as_slice()).await?;
            stream.set_nodelay(true)?;
            sys::keep_alive(&stream)?;
            Ok(stream)
        };
        let opened: io::Result<_> = opened.await;
        opened.map_err(|error| Trouble::Connect(self.place.clone(), error))
    }

    async fn handshake<T>(&self, stream: T) -> Result<Sender, Trouble>
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let shaken = http1::handshake(TokioIo::new(stream)).await;
        let (sender, connection) =
            shaken.map_err(|error| Trouble::NoHttp(self.place.clone(), error))?;
        tokio::spawn(connection);
        Ok(sender)
    }
}

/// A request whose URI is absolute, as HTTP/1.1 wants it sent to the origin: `Host`, and the path alone.
#[must_use]
pub fn addressed<B>(mut request: Request<B>) -> Request<B> {
    let url = request.uri().clone();
    let target = url.path_and_query().cloned();
    *request.uri_mut() = target
        .unwrap_or_else(|| PathAndQuery::from_static("/"))
        .into();
    let host = url
        .authority()
        .and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
    if let Some(host) = host {
        request.headers_mut().insert(HOST, host);
    }
    request
}

/// What is said of an answer that redirects, with this status and `Location`.
#[must_use]
pub fn redirected(number: u16, location: Option<&str>) -> String {
    let whereto = location.and_then(|text| text.parse::<Uri>().ok());
    // Without the query, which may hold what is not ours to show.
    let shown = whereto.map(|uri| match (uri.scheme_str(), uri.authority()) {
        (Some(scheme), Some(authority)) => {
            let host = authority.as_str().rsplit('@').next().unwrap_or_default();
            format!("{scheme}://{host}{}", uri.path())
        }
        _ => uri.path().to_owned(),
    });
    match shown {
        Some(shown) => format!(
            "redirects ({number}) to {shown}, and no redirect is followed: write the URL it leads to"
        ),
        None => {
            format!("redirects ({number}), and no redirect is followed: write the URL it leads to")
        }
    }
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

/// The host of a URL, without brackets.
#[must_use]
pub fn bare_host(url: &Uri) -> &str {
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

fn tls_trouble(place: &str, error: io::Error) -> Trouble {
    let cause = error.get_ref().and_then(|inner| inner.downcast_ref());
    match cause {
        Some(refused @ rustls::Error::InvalidCertificate(_)) => {
            Trouble::Certificate(place.to_owned(), refused.clone())
        }
        _ => Trouble::NoTls(place.to_owned(), error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_names_the_url_to_write_without_what_may_be_secret() {
        for (location, shown) in [
            (
                "https://u:hunter2@h.example/mcp?t=hunter2",
                "to https://h.example/mcp,",
            ),
            ("/mcp/?t=hunter2", "to /mcp/,"),
            ("", "redirects (308), and"),
            ("not a url \u{1b}", "redirects (308), and"),
        ] {
            let said = redirected(308, Some(location));
            assert!(said.contains(shown) && !said.contains("hunter2"), "{said}");
        }
    }

    #[test]
    fn a_request_goes_to_its_origin_by_path_and_host() {
        for (url, target, host) in [
            ("http://h:81/a/mcp?b=c", "/a/mcp?b=c", "h:81"),
            ("http://[::1]:81", "/", "[::1]:81"),
        ] {
            let sent = addressed(Request::get(url).body(()).unwrap());
            assert_eq!(sent.uri().to_string(), target);
            assert_eq!(sent.headers()[HOST], host);
        }
        assert_eq!(bare_host(&"http://[::1]:81/".parse().unwrap()), "::1");
    }
}
