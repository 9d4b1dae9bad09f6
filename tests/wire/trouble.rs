//! Backends that are down, silent, broken or in the way.

use std::collections::HashMap;
use std::io::{BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cloakroom::rejection::Kind;
use rcgen::{CertificateParams, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::support::{
    Answer, Backend, CALL, Cut, House, Next, Request, Server, json_answer, plain_answer,
    read_request, stream_head, wait_until,
};

#[track_caller]
fn refused(answer: &Answer, kind: Kind) {
    assert_eq!(answer.status(), kind.row().status, "{answer:?}");
    let document = answer.json();
    assert_eq!(document["error"]["code"], kind.row().code, "{document}");
    assert_eq!(document["id"], 7);
}

/// A backend that answers everything with these bytes and hangs up.
fn answering(bytes: impl Into<Vec<u8>>) -> Backend {
    let bytes = bytes.into();
    Backend::start(move |_, stream| {
        let _ = stream.write_all(&bytes);
        Next::Close
    })
}

#[test]
fn a_backend_that_is_down() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    drop(listener);
    let house = House::new("", &[Server("one", url.clone(), "")]);
    let answer = house.ask(&house.post(CALL));
    refused(&answer, Kind::BackendDown);
    let port = url.rsplit_once(':').unwrap().1;
    assert!(
        !answer.text().contains(port),
        "addresses are the operator's"
    );
}

#[test]
fn a_backend_that_accepts_and_says_nothing() {
    let backend = Backend::start(|request, stream| {
        if request.method == "GET" {
            // A head in time is all that is asked for; what follows may take as long as it likes.
            stream.write_all(&stream_head("")).unwrap();
            std::thread::sleep(Duration::from_secs(3));
            stream.write_all(b"0\r\n\r\n").unwrap();
            return Next::Keep;
        }
        std::thread::sleep(crate::support::PATIENCE);
        Next::Close
    });
    let server = |name, timeout| Server(name, backend.url(), timeout);
    let house = House::new(
        "",
        &[
            server("one", "answer_timeout = \"300ms\""),
            server("slow", "answer_timeout = \"2s\""),
        ],
    );
    refused(&house.ask(&house.post(CALL)), Kind::BackendSilent);
    assert_eq!(backend.count(), 1, "not tried again");
    let stream = Request::new("GET", "/slow/mcp").key(&house.alice);
    assert_eq!(house.ask(&stream).status(), 200);
}

#[test]
fn redirects_are_not_followed_nor_passed_on() {
    for status in [
        "301 Moved",
        "302 Found",
        "304 Not Modified",
        "307 T",
        "308 P",
    ] {
        let target = Backend::simple();
        let headers = [("location", target.url())];
        let headers = headers
            .each_ref()
            .map(|(name, value)| (*name, value.as_str()));
        let backend = answering(plain_answer(status, &headers, ""));
        let house = House::before(&backend);
        let answer = house.ask(&house.post(CALL));
        refused(&answer, Kind::BackendRedirects);
        assert_eq!(answer.head.header("location"), None);
        assert!(
            answer.text().contains("servers.one.url"),
            "{}",
            answer.text()
        );
        assert_eq!(target.count(), 0);
    }
}

#[test]
fn a_credential_the_backend_refuses_is_not_the_clients_key() {
    for status in ["401 Unauthorized", "403 Forbidden", "407 Proxy"] {
        let headers = [(
            "www-authenticate",
            "Bearer resource_metadata=\"http://evil\"",
        )];
        let backend = answering(plain_answer(status, &headers, "who are you"));
        let house = House::before(&backend);
        let answer = house.ask(&house.post(CALL));
        refused(&answer, Kind::BackendRefuses);
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.head.header("www-authenticate"), None);
        assert!(answer.text().contains("`TOKEN`"), "{}", answer.text());
        for method in ["GET", "DELETE"] {
            let answer = house.ask(&Request::new(method, "/one/mcp").key(&house.alice));
            assert_eq!(answer.status(), 502);
            assert_eq!(answer.head.header("www-authenticate"), None);
        }
    }
}

#[test]
fn answers_that_are_none() {
    let long = format!(
        "HTTP/1.1 200 OK\r\nx: {}\r\ncontent-length: 0\r\n\r\n",
        "x".repeat(300_000)
    );
    let many = format!(
        "HTTP/1.1 200 OK\r\n{}content-length: 0\r\n\r\n",
        "x: y\r\n".repeat(200)
    );
    let coded = |headers: &[(&str, &str)]| plain_answer("200 OK", headers, "xx");
    for bytes in [
        b"".to_vec(),
        b"hello\r\n\r\n".to_vec(),
        b"\x16\x03\x01\x02\x00".to_vec(),
        b"HTTP/1.1 200 OK\r\ncontent-le".to_vec(),
        b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n".to_vec(),
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab".to_vec(),
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n".to_vec(),
        long.into_bytes(),
        many.into_bytes(),
        coded(&[("content-encoding", "gzip")]),
        coded(&[("content-encoding", "identity"), ("content-encoding", "br")]),
    ] {
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(60)]).into_owned();
        let backend = answering(bytes);
        let house = House::before(&backend);
        let answer = house.ask(&house.post(CALL));
        assert_eq!(answer.status(), 502, "{shown}");
        refused(&answer, Kind::BackendBroken);
        assert_eq!(backend.count(), 1, "{shown}: not tried again");
    }
}

#[test]
fn an_answer_cut_short_never_looks_whole() {
    for bytes in [
        &b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{}"[..],
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    ] {
        let backend = answering(bytes);
        let house = House::before(&backend);
        let answer = house.connect().ask(&house.post(CALL));
        assert!(matches!(answer, Err(Cut)), "{answer:?}");
    }
}

#[test]
fn provisional_answers_are_none_of_the_clients() {
    let provisional = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: <x>\r\n\r\n";
    let bytes = [provisional.as_bytes(), &json_answer("{}")].concat();
    let backend = answering(bytes);
    let house = House::before(&backend);
    let answer = house.ask(&house.post(CALL));
    assert_eq!((answer.status(), answer.text()), (200, "{}"));
    assert_eq!(answer.head.header("link"), None);
}

#[test]
fn trailers_of_an_answer_stay_here() {
    let bytes = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: set-cookie\r\n\r\n\
                 2\r\n{}\r\n0\r\nset-cookie: a=b\r\n\r\n";
    let backend = answering(bytes);
    let house = House::before(&backend);
    let answer = house.ask(&house.post(CALL).header("TE", "trailers"));
    assert_eq!((answer.status(), answer.text()), (200, "{}"));
}

#[test]
fn a_connection_closed_between_requests_is_nobodys_trouble() {
    // Says nothing of it: the next request finds out.
    let backend = answering(json_answer("{}"));
    let house = House::before(&backend);
    let mut client = house.connect();
    for n in 0..50 {
        let body = CALL.replace('7', &n.to_string());
        let answer = client.ask(&house.post(body)).unwrap();
        assert_eq!(answer.status(), 200, "request {n}");
        wait_until("the backend hangs up", || backend.closed() == n + 1);
    }
    assert_eq!(backend.count(), 50);
}

#[test]
fn a_connection_that_stays_open_is_used_again_by_its_user_only() {
    let backend = Backend::simple();
    // One thread: a connection belongs to the thread that opened it.
    let house = House::new("", &[Server("one", backend.url(), "")]);
    let mut client = house.connect();
    for key in [
        &house.alice,
        &house.alice,
        &house.bob,
        &house.bob,
        &house.alice,
    ] {
        let request = Request::post("/one/mcp", CALL).key(key);
        assert_eq!(client.ask(&request).unwrap().status(), 200);
    }
    let connections: Vec<_> = backend.received().iter().map(|r| r.connection).collect();
    assert_eq!(connections, [0, 0, 1, 1, 0]);
    assert_eq!(backend.connections(), 2);
}

// Fails when a connection is used again although the body before is still being written to it.
#[test]
fn a_backend_that_answers_early_and_reads_no_more_keeps_nobody_waiting() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            // The head, and a little of the body if it is long.
            let _ = stream.read(&mut [0; 4096]).unwrap();
            stream.write_all(&json_answer("{}")).unwrap();
            kept.push(stream);
        }
    });
    let house = House::new("limits.body = \"64MiB\"", &[Server("one", url, "")]);
    let long = CALL.replace("{}", &format!("{{\"pad\":\"{}\"}}", "x".repeat(32 << 20)));
    let answer = house.ask(&house.post(long));
    assert_eq!(answer.status(), 200, "{answer:?}");
    let begun = Instant::now();
    for _ in 0..4 {
        // By every core.
        assert_eq!(house.ask(&house.post(CALL)).status(), 200);
    }
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "{:?}",
        begun.elapsed()
    );
}

#[test]
fn a_call_that_left_is_never_made_twice() {
    // Answers the first request of a connection and dies on the second, having read it whole.
    let backend = Backend::start(|request, stream| {
        if request
            .headers
            .iter()
            .any(|(name, _)| name == "mcp-param-second")
        {
            return Next::Close;
        }
        stream.write_all(&json_answer("{}")).unwrap();
        Next::Keep
    });
    let house = House::before(&backend);
    let mut client = house.connect();
    assert_eq!(client.ask(&house.post(CALL)).unwrap().status(), 200);
    let second = house.post(CALL).header("Mcp-Param-Second", "x");
    refused(&client.ask(&second).unwrap(), Kind::BackendBroken);
    assert_eq!(backend.count(), 2);
    assert_eq!(backend.connections(), 1);
}

#[test]
fn a_backend_that_hangs_up_at_any_moment_executes_nothing_twice() {
    let backend = answering(json_answer("{}"));
    let house = House::before(&backend);
    let mut client = house.connect();
    for n in 0..300 {
        let body = CALL.replace('7', &n.to_string());
        let answer = client.ask(&house.post(body)).unwrap();
        // Whether its end was seen before the request left is a matter of microseconds.
        assert!(matches!(answer.status(), 200 | 502), "{answer:?}");
    }
    let mut calls = HashMap::new();
    for request in backend.received() {
        *calls.entry(request.body).or_insert(0) += 1;
    }
    assert!(calls.values().all(|&times| times == 1));
}

/// An https backend with this certificate.
fn start_tls(config: Arc<ServerConfig>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let config = config.clone();
            std::thread::spawn(move || answer_tls(stream.unwrap(), config));
        }
    });
    port
}

fn answer_tls(stream: TcpStream, config: Arc<ServerConfig>) {
    let connection = ServerConnection::new(config).unwrap();
    let mut reader = BufReader::new(StreamOwned::new(connection, stream));
    while let Some(request) = read_request(&mut reader, 0) {
        let token = request.header("x-token").unwrap_or_default();
        let answer = json_answer(&format!("\"{token}\""));
        reader.get_mut().write_all(&answer).unwrap();
    }
}

#[test]
fn an_https_backend_must_show_a_certificate_of_its_own_authority() {
    let authority = || {
        let mut params = CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        (Issuer::new(params, key), pem)
    };
    let ((ours, our_pem), (_, other_pem)) = (authority(), authority());
    let key = KeyPair::generate().unwrap();
    let names = vec!["localhost".to_owned()];
    let certificate = CertificateParams::new(names)
        .unwrap()
        .signed_by(&key, &ours)
        .unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    let port = start_tls(Arc::new(config));
    let folder = tempfile::tempdir().unwrap();
    let ca = |name: &str, pem: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, pem).unwrap();
        format!("ca_file = \"{}\"", path.display())
    };
    let (ours, other) = (ca("ours.pem", &our_pem), ca("other.pem", &other_pem));
    let url = |host: &str| format!("https://{host}:{port}/mcp");
    let house = House::new(
        "",
        &[
            Server("one", url("localhost"), &ours),
            Server("foreign", url("localhost"), &other),
            // Not a name in the certificate.
            Server("misnamed", url("127.0.0.1"), &ours),
        ],
    );
    let ask =
        |server: &str| house.ask(&Request::post(&format!("/{server}/mcp"), CALL).key(&house.alice));
    let answer = ask("one");
    assert_eq!(
        (answer.status(), answer.text()),
        (200, "\"token of alice\"")
    );
    refused(&ask("foreign"), Kind::BackendDown);
    refused(&ask("misnamed"), Kind::BackendDown);
}
