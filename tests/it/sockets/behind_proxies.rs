//! Behind proxies that say on whose behalf they call.

use http::header::HeaderName;
use http_body_util::BodyExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::certificates::{Authority, Pair};
use super::tls::{SERVER, server};
use crate::support::backend::Recorder;
use crate::support::client::call;
use crate::support::proxy::{Lines, Place, Proxy};

const V1: &[u8] = b"PROXY TCP4 192.0.2.7 127.0.0.1 40000 8080\r\n";
const V2: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x07\x7f\0\0\x01\x9c\x40\x1f\x90";

async fn start(root: &str, tables: &str) -> Proxy {
    let lines = Lines {
        root,
        ..Lines::default()
    };
    Proxy::configured(&Place::Sqlite, &lines, tables).await
}

/// A call as bytes, its connection to be closed after.
async fn bytes(key: &str) -> Vec<u8> {
    let (parts, body) = call(SERVER, key, 1, "n").into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let mut head = format!("POST {} HTTP/1.1\r\nconnection: close\r\n", parts.uri);
    for (name, value) in &parts.headers {
        head.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap()));
    }
    head.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
    [head.as_bytes(), &body].concat()
}

async fn raw(proxy: &Proxy, pieces: &[&[u8]]) -> String {
    let mut stream = TcpStream::connect(proxy.serving.address).await.unwrap();
    for piece in pieces {
        stream.write_all(piece).await.unwrap();
        stream.flush().await.unwrap();
    }
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

// Fails when a connection without the header is served, or the header's bytes reach HTTP.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_begins_with_the_header_or_is_cut() {
    let recorder = Recorder::start().await;
    let root = "proxy_protocol = \"required\"\ntrusted_proxies = [\"127.0.0.0/8\"]";
    let proxy = start(root, &server(&recorder)).await;
    let key = proxy.settle_in("alice", &[SERVER]).await;
    let call = bytes(&key).await;
    for header in [V1, V2, b"PROXY UNKNOWN\r\n"] {
        let (first, second) = header.split_at(7);
        for pieces in [
            &[header, &call][..],
            &[&[header, &call].concat()],
            &[first, second, &call],
        ] {
            let answer = raw(&proxy, pieces).await;
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        }
    }
    assert_eq!(recorder.received().len(), 9);
    for wrong in [&call[..], b"PROXY TCP9 1 2 3 4\r\n", b"\x16\x03\x01"] {
        assert_eq!(raw(&proxy, &[wrong]).await, "");
    }
    // Nothing at all, and half of one: cut once the time is up.
    assert_eq!(raw(&proxy, &[&V1[..20]]).await, "");
    assert!(recorder.received().is_empty());
}

// Fails when TLS is looked for before the header.
#[tokio::test(flavor = "multi_thread")]
async fn the_header_comes_before_tls() {
    let (authority, recorder) = (Authority::new("ours"), Recorder::start().await);
    let pair = Pair::new(&authority.sign(&["localhost"], 2099));
    let root = "proxy_protocol = \"required\"";
    let proxy = start(root, &(pair.table() + &server(&recorder))).await;
    let key = proxy.settle_in("alice", &[SERVER]).await;
    let mut stream = TcpStream::connect(proxy.serving.address).await.unwrap();
    stream.write_all(V2).await.unwrap();
    let config = authority.client(&["http/1.1"], None);
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    let connector = tokio_rustls::TlsConnector::from(config);
    let mut stream = connector.connect(name, stream).await.unwrap();
    stream.write_all(&bytes(&key).await).await.unwrap();
    let mut answer = [0; 13];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200 ");
}

// Fails when one of them is added to the headers a backend may see.
#[tokio::test(flavor = "multi_thread")]
async fn a_backend_is_not_told_where_clients_are() {
    let recorder = Recorder::start().await;
    let proxy = start("trusted_proxies = [\"127.0.0.1\"]", &server(&recorder)).await;
    let key = proxy.settle_in("alice", &[SERVER]).await;
    let mut request = call(SERVER, &key, 1, "n");
    for name in [
        "forwarded",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-real-ip",
        "via",
    ] {
        let name: HeaderName = name.parse().unwrap();
        request
            .headers_mut()
            .insert(name, "192.0.2.77".parse().unwrap());
    }
    let answer = proxy.client().exchange(request).await.unwrap();
    assert_eq!(answer.status, 200);
    let received = recorder.received();
    assert_eq!(received.len(), 1);
    assert!(!received[0].contains("192.0.2.77"), "{}", received[0]);
}
