//! The steps of a cached request, one by one: bytes, key, cache, unseal, scan, plan.
//!
//! Run with `cargo bench --bench hot_path`.
#![allow(clippy::unwrap_used, reason = "a panic is how a bench fails")]

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cloakroom::gate::{Door, Gate, Rules};
use cloakroom::identity::KeyDigest;
use cloakroom::inject::{Arguments, Request, Slots, Template};
use cloakroom::mcp::scan::scan;
use cloakroom::names::{ProfileName, SecretName, ServerName, UserName};
use cloakroom::proxy::http1_rehearsal::{
    Answers, Requests, read_answer, read_request, write_request,
};
use cloakroom::proxy::strict::Judge;
use cloakroom::resolve::{Resolver, Settings as Cache};
use cloakroom::store::{self, Record, Settings, StoreUrl};
use cloakroom::vault::{
    KeptSet, KeyRequest, Keyring, NewUser, Reader, SecretOpener, SecretValue, Vault,
};
use criterion::{Criterion, criterion_group, criterion_main};
use http::{HeaderMap, HeaderName};
use zeroize::Zeroizing;

const BODY: &[u8] = br#"{"jsonrpc":"2.0","id":42,"method":"tools/call","params":{"name":"create_issue","arguments":{"owner":"acme","repo":"rocket","title":"The door does not open","body":"Steps to reproduce: push. Expected: it opens. Seen: it stays shut, whatever one does about it.","labels":["bug","door"],"assignees":["alice"]},"_meta":{"progressToken":"p-42"}}}"#;

/// A vault in memory with one user, one secret and one key; and what a request needs of it.
struct House {
    gate: Gate,
    headers: HeaderMap,
    key: String,
    sealed: Record,
    ring: Arc<Keyring>,
    server: ServerName,
}

fn slots() -> Slots {
    let template = Template::parse_header("Bearer ${TOKEN}").unwrap();
    Slots::new(
        vec![(HeaderName::from_static("authorization"), template)],
        Vec::new(),
        Arguments::default(),
    )
}

async fn house() -> House {
    let url = StoreUrl::parse("memory:", Path::new("")).unwrap();
    let store = store::open(&Settings::new(url)).await.unwrap();
    let ring = Arc::new(Keyring::generate());
    let vault = Vault::new(store.clone(), ring.clone());
    let (user, server) = (
        UserName::parse("alice").unwrap(),
        ServerName::parse("github").unwrap(),
    );
    vault
        .add_user(&user, NewUser::default())
        .await
        .ok()
        .unwrap();
    let value = SecretValue::new(Zeroizing::new(
        b"ghp_0123456789abcdefghijklmnopqrstuvwxyz".to_vec(),
    ));
    let (name, profile) = (
        SecretName::parse("TOKEN").unwrap(),
        ProfileName::default_profile(),
    );
    vault
        .set_secret(&user, &server, &profile, &name, &value.unwrap())
        .await
        .ok()
        .unwrap();
    let key = vault
        .issue_key(&user, KeyRequest::default())
        .await
        .ok()
        .unwrap();
    let key = key.key.reveal().to_owned();
    let sealed = store.page("s/", None, 1).await.unwrap().remove(0);
    let cache = Cache {
        cache_bytes: 64 << 20,
        stale_for: Duration::from_secs(60),
        lag: None,
    };
    let resolver = Resolver::new(store, Reader::new(ring.clone()), &cache);
    let door = Door::open(&ring, server.clone(), slots()).unwrap();
    let gate = Gate::new(resolver, [door], Rules::default());
    let mut headers = HeaderMap::new();
    headers.insert("authorization", format!("Bearer {key}").parse().unwrap());
    House {
        gate,
        headers,
        key,
        sealed,
        ring,
        server,
    }
}

/// As a client of MCP sends it.
fn request() -> Vec<u8> {
    let length = BODY.len();
    let mut request = format!(
        "POST /github/mcp HTTP/1.1\r\nHost: cloakroom.example.internal:8080\r\n\
         Authorization: Bearer clk_0123456789abcdefghijklmnopqrst012345\r\n\
         Accept: application/json, text/event-stream\r\nContent-Type: application/json\r\n\
         MCP-Protocol-Version: 2025-11-25\r\nAccept-Encoding: gzip, deflate, br\r\n\
         Mcp-Session-Id: AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4v\r\n\
         traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\
         User-Agent: python-httpx/0.28.1\r\nConnection: keep-alive\r\nContent-Length: {length}\r\n\r\n"
    )
    .into_bytes();
    assert!((480..560).contains(&request.len()), "{}", request.len());
    request.extend_from_slice(BODY);
    request
}

fn steps(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let house = runtime.block_on(house());
    let request = request();
    c.bench_function("strict: head of 500 bytes, body of 350", |b| {
        let mut judge = Judge::new(64 << 10);
        b.iter(|| judge.judge(black_box(&request)).fault.is_none());
    });
    c.bench_function("key: checksum and digest", |b| {
        b.iter(|| KeyDigest::of_presented(black_box(house.key.as_bytes()), &[]));
    });
    let opener = SecretOpener::new(&house.ring, &house.server).unwrap();
    c.bench_function("unseal: one secret set", |b| {
        b.iter(|| opener.open(black_box(&house.sealed)).is_ok());
    });
    let kept = KeptSet::from(house.sealed.clone());
    c.bench_function("unseal: the same again and again", |b| {
        b.iter(|| opener.open_kept(black_box(&kept)).is_ok());
    });
    let (set, slots) = (opener.open(&house.sealed).ok().unwrap(), slots());
    c.bench_function("plan: one header", |b| {
        b.iter(|| slots.plan(black_box(&set), &Request::default()).is_ok())
    });
    c.bench_function("scan: tools/call of 350 bytes", |b| {
        b.iter(|| scan(black_box(BODY)).is_ok())
    });
    let authenticate = async || {
        house
            .gate
            .authenticate(&house.headers, Some(&house.server))
            .await
            .ok()
    };
    c.bench_function("gate: authenticate, cached", |b| {
        b.iter(|| runtime.block_on(authenticate()).is_some());
    });
    let identity = runtime.block_on(authenticate()).unwrap();
    let door = house.gate.door(&house.server).unwrap();
    let profile = house.gate.profile(&identity, door, None).unwrap();
    c.bench_function("gate: admit, cached", |b| {
        b.iter(|| {
            runtime
                .block_on(
                    house
                        .gate
                        .admit(&identity, door, &profile, &Request::default()),
                )
                .is_ok()
        });
    });
}

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\
Mcp-Session-Id: 1868a90c5f0f4f0eb4f8d1b1d2a8e2f1\r\nDate: Sun, 22 Nov 2026 12:00:00 GMT\r\n\
Content-Length: 36\r\n\r\n{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}";

/// HTTP/1.1, without the sockets.
fn codec(c: &mut Criterion) {
    let request = request();
    c.bench_function("read: a client's head of 500 bytes", |b| {
        b.iter(|| read_request(black_box(&request)).is_some());
    });
    let mut connection = Requests::default();
    c.bench_function("read: the same head again", |b| {
        b.iter(|| connection.read(black_box(&request)).is_some());
    });
    let (head, _, _) = read_request(&request).unwrap();
    let (body, mut out) = (Bytes::from_static(BODY), Vec::new());
    c.bench_function("write: the head of a request", |b| {
        b.iter(|| {
            out.clear();
            write_request(black_box(&head), body.len(), &mut out);
        });
    });
    assert!(read_answer([ANSWER]).unwrap().is_whole);
    c.bench_function("read: a backend's answer of 200 bytes", |b| {
        b.iter(|| read_answer([black_box(ANSWER)]).is_some());
    });
    let mut connection = Answers::default();
    c.bench_function("read: an answer with the same head again", |b| {
        b.iter(|| connection.read([black_box(ANSWER)]).is_some());
    });
}

criterion_group!(benches, steps, codec);
criterion_main!(benches);
