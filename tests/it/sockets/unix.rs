//! Unix sockets, of the listener and of backends.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};

use super::tls::{SERVER, server};
use crate::support::backend::Recorder;
use crate::support::client::{Answer, call};
use crate::support::proxy::{Lines, Place, Proxy};

fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

async fn start(root: &str, tables: &str) -> Proxy {
    let lines = Lines {
        root,
        ..Lines::default()
    };
    Proxy::configured(&Place::Sqlite, &lines, tables).await
}

async fn ask(path: &Path, request: Request<Full<Bytes>>) -> Result<Answer, String> {
    let stream = UnixStream::connect(path).await.map_err(|e| e.to_string())?;
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|e| e.to_string())?;
    tokio::spawn(connection);
    let response = sender
        .send_request(request)
        .await
        .map_err(|e| e.to_string())?;
    Answer::read(response).await
}

// Fails when the Host is not looked at there, or the file is left behind.
#[tokio::test(flavor = "multi_thread")]
async fn a_socket_serves_its_user_and_goes_with_the_proxy() {
    let recorder = Recorder::start().await;
    let root = "listen = \"unix:mcp.sock\"\nhealth_listen = \"unix:health.sock\"";
    let mut proxy = start(root, &server(&recorder)).await;
    let path = proxy.folder.path().join("mcp.sock");
    assert_eq!(proxy.serving.url, "unix:mcp.sock");
    let key = proxy.settle_in("alice", &[SERVER]).await;
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(
        ask(&path, call(SERVER, &key, 1, "n")).await.unwrap().status,
        200
    );
    let mut foreign = call(SERVER, &key, 1, "n");
    foreign
        .headers_mut()
        .insert("host", "evil.example".parse().unwrap());
    assert_eq!(ask(&path, foreign).await.unwrap().status, 421);
    let health = proxy.folder.path().join("health.sock");
    let live = Request::get("/livez").body(Full::default()).unwrap();
    assert_eq!(ask(&health, live).await.unwrap().text(), "ok\n");
    assert_eq!(recorder.received().len(), 1);
    proxy.serving.stop().await;
    assert!(!path.exists() && !health.exists());
}

// Fails when nobody looks at who connects.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_not_named_is_cut_before_a_byte_is_read() {
    let recorder = Recorder::start().await;
    let root = format!(
        "listen = \"unix:mcp.sock\"\nlisten_uids = [{}]",
        own_uid() + 1
    );
    let proxy = start(&root, &server(&recorder)).await;
    let path = proxy.folder.path().join("mcp.sock");
    let key = proxy.settle_in("alice", &[SERVER]).await;
    assert!(ask(&path, call(SERVER, &key, 1, "n")).await.is_err());
    assert!(recorder.received().is_empty());
    proxy
        .log_with("may not connect to the socket: see listen_uids")
        .await;
}

/// Answers every connection once; how many bytes each sent.
async fn serve(listener: UnixListener, seen: tokio::sync::mpsc::UnboundedSender<String>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let mut bytes = vec![0; 64 * 1024];
        let read = stream.read(&mut bytes).await.unwrap_or(0);
        seen.send(String::from_utf8_lossy(&bytes[..read]).into_owned())
            .unwrap();
        let answer =
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
        let _ = stream.write_all(answer.as_bytes()).await;
    }
}

// Fails when the server's user is not looked at, or only after something was sent.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_behind_a_socket_gets_secrets_only_as_the_right_user() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("server.sock");
    let (sender, mut seen) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(serve(UnixListener::bind(&path).unwrap(), sender));
    let table = |name: &str, more: &str| {
        format!(
            "[servers.{name}]\nurl = \"http://server.internal/mcp\"\nsocket = \"{}\"\n{more}\n\
             [servers.{name}.headers]\nX-Token = \"${{TOKEN}}\"\n",
            path.display()
        )
    };
    let foreign = format!("socket_uid = {}", own_uid() + 1);
    let own = format!("socket_uid = {}", own_uid());
    let tables = [
        table("right", ""),
        table("named", &own),
        table("wrong", &foreign),
    ]
    .concat();
    let proxy = start("", &tables).await;
    let key = proxy.settle_in("alice", &["right", "named", "wrong"]).await;
    let mut client = proxy.client();
    for server in ["right", "named"] {
        assert_eq!(client.call(server, &key, "n").await.status, 200);
        let request = seen.recv().await.unwrap().to_lowercase();
        assert!(request.contains("host: server.internal\r\n"), "{request}");
        assert!(
            request.contains(&format!("x-token: alice-{server}-secret")),
            "{request}"
        );
    }
    assert_eq!(client.call("wrong", &key, "n").await.status, 502);
    assert_eq!(seen.recv().await.as_deref(), Some(""), "nothing was sent");
    let remedy = format!("if that is the server, set socket_uid = {}", own_uid());
    proxy.log_with(&remedy).await;
}
