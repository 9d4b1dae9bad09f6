//! What a listener can be: TLS, HTTP/2, a Unix socket, behind a proxy. And a backend behind a socket.

mod behind_proxies;
pub(crate) mod certificates;
mod frames;
mod http2;
mod tls;
mod unix;

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, HandshakeKind};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::client::Answer;

/// Agrees on TLS.
async fn agree(
    address: SocketAddr,
    config: &Arc<ClientConfig>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(config.clone())
        .connect(name, stream)
        .await
}

/// One request on a connection of its own, in the protocol agreed on; and how that was.
async fn ask(
    address: SocketAddr,
    config: &Arc<ClientConfig>,
    request: Request<Full<Bytes>>,
) -> Result<(Answer, Option<HandshakeKind>), String> {
    let words = |error: &dyn std::error::Error| format!("{error} ({:?})", error.source());
    let stream = agree(address, config).await.map_err(|e| words(&e))?;
    let agreed = stream.get_ref().1;
    let (kind, protocol) = (
        agreed.handshake_kind(),
        agreed.alpn_protocol().map(<[u8]>::to_vec),
    );
    let io = TokioIo::new(stream);
    let response = if protocol.as_deref() == Some(b"h2") {
        let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), io);
        let (mut sender, connection) = handshake.await.map_err(|e| words(&e))?;
        tokio::spawn(connection);
        sender.send_request(absolute(request)).await
    } else {
        let handshake = hyper::client::conn::http1::handshake(io);
        let (mut sender, connection) = handshake.await.map_err(|e| words(&e))?;
        tokio::spawn(connection);
        sender.send_request(request).await
    };
    let answer = Answer::read(response.map_err(|e| words(&e))?).await?;
    Ok((answer, kind))
}

/// As HTTP/2 writes it: with an authority, and no Host.
fn absolute(mut request: Request<Full<Bytes>>) -> Request<Full<Bytes>> {
    request.headers_mut().remove("host");
    let uri = format!("https://localhost{}", request.uri());
    *request.uri_mut() = uri.parse().unwrap();
    request
}
