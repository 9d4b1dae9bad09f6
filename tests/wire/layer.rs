//! The layer in somebody's own service: around an axum router and around a function.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::Extension;
use axum::routing::post;
use bytes::Bytes;
use cloakroom::gate::{Door, Gate, NoServerKey, Rules};
use cloakroom::inject::Slots;
use cloakroom::layer::{
    Affinity, Caller, CloakroomLayer, Failure, Forwarded, Limits, Observed, Observer, Recorded,
    RequestBody, Routes, Seen, ServedBy,
};
use cloakroom::names::{ProfileName, SecretName, ServerName, UserName};
use cloakroom::rejection::{Kind, Rejection};
use cloakroom::resolve::{Identity, Resolver, Settings};
use cloakroom::store::{self, StoreUrl};
use cloakroom::vault::{KeyRequest, Keyring, NewUser, Reader, SecretValue, Vault};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use tower::{Layer as _, ServiceExt as _, service_fn};

use crate::support::CALL;

/// A layer before the server `notes`, and alice's key; bob has no secret.
async fn layer() -> (CloakroomLayer, [String; 2]) {
    let ring = Arc::new(Keyring::generate());
    let url = StoreUrl::parse("memory:", "".as_ref()).unwrap();
    let store = store::open(&store::Settings::new(url)).await.unwrap();
    let vault = Vault::new(store.clone(), ring.clone());
    let server = ServerName::parse("notes").unwrap();
    let mut keys = ["alice", "bob"].map(str::to_owned);
    for key in &mut keys {
        let user = UserName::parse(key).unwrap();
        vault.add_user(&user, NewUser::default()).await.unwrap();
        let issued = vault.issue_key(&user, KeyRequest::default()).await.unwrap();
        *key = issued.key.reveal().to_owned();
    }
    let (user, profile) = (
        UserName::parse("alice").unwrap(),
        ProfileName::default_profile(),
    );
    let value = SecretValue::new(b"alices".to_vec().into()).ok().unwrap();
    let name = SecretName::parse("NOTES").unwrap();
    vault
        .set_secret(&user, &server, &profile, &name, &value)
        .await
        .unwrap();
    let slots = Slots::parse([("Authorization", "Bearer ${NOTES}")]).unwrap();
    let door = Door::open(&ring, server.clone(), slots).unwrap();
    let resolver = Resolver::new(store, Reader::new(ring), &Settings::default());
    let gate = Arc::new(Gate::new(resolver, [door], Rules::default()));
    let limits = Limits {
        body: 1000,
        ..Limits::default()
    };
    (CloakroomLayer::new(gate, Routes::One(server), limits), keys)
}

fn call(key: &str) -> Request<Body> {
    Request::post("/anything?token=x")
        .header("authorization", format!("Bearer {key}"))
        .header("cookie", "a=b")
        .body(Body::from(CALL))
        .unwrap()
}

async fn text(body: impl http_body::Body<Data = Bytes, Error: std::fmt::Debug>) -> String {
    String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

#[tokio::test]
async fn around_a_router() {
    let (layer, [alice, bob]) = layer().await;
    async fn handler(
        Extension(caller): Extension<Caller>,
        headers: HeaderMap,
        body: Bytes,
    ) -> String {
        assert_eq!(body, CALL);
        assert!(!headers.contains_key("cookie"));
        let user = caller.identity.user_name();
        let token = headers["authorization"].to_str().unwrap();
        format!("{user} {} {} {token}", caller.server, caller.profile)
    }
    let app = Router::new().route("/anything", post(handler)).layer(layer);
    let answer = app.clone().oneshot(call(&alice)).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(
        text(answer.into_body()).await,
        "alice notes default Bearer alices"
    );

    let missing = app.clone().oneshot(call(&bob)).await.unwrap();
    assert_eq!(missing.status(), StatusCode::OK);
    let rejection = missing.extensions().get::<Rejection>().unwrap();
    assert_eq!(rejection.kind(), Kind::SecretMissing);
    assert!(
        text(missing.into_body())
            .await
            .contains("secret set bob notes NOTES")
    );

    let stranger = app.oneshot(call("clk_")).await.unwrap();
    assert_eq!(stranger.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn around_a_function() {
    let (layer, [alice, bob]) = layer().await;
    let called = Arc::new(AtomicUsize::new(0));
    let count = called.clone();
    let service = layer.layer(service_fn(move |request: Request<RequestBody>| {
        count.fetch_add(1, Ordering::SeqCst);
        async move {
            assert_eq!(request.uri(), "/anything", "without the query");
            assert!(request.headers()["authorization"].is_sensitive());
            let session = Response::builder().header("mcp-session-id", "own");
            Ok::<_, Infallible>(session.body(request.into_body()).unwrap())
        }
    }));
    let answer = service.clone().oneshot(call(&alice)).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_ne!(answer.headers()["mcp-session-id"], "own");
    assert_eq!(text(answer.into_body()).await, CALL);
    assert_eq!(called.load(Ordering::SeqCst), 1);
    let large = call(&alice).map(|_| Body::from(vec![b' '; 1001]));
    for (request, kind) in [
        (call(&bob), Kind::SecretMissing),
        (call("x"), Kind::Unauthenticated),
        (large, Kind::BodyTooLarge),
    ] {
        let answer = service.clone().oneshot(request).await.unwrap();
        assert_eq!(answer.extensions().get::<Rejection>().unwrap().kind(), kind);
    }
    assert_eq!(
        called.load(Ordering::SeqCst),
        1,
        "nothing refused gets there"
    );
}

#[tokio::test]
async fn a_service_says_what_went_wrong_and_an_unknown_error_is_its_fault() {
    let (layer, [alice, _]) = layer().await;
    for (failure, kind) in [
        (Some(Failure::Down("10.0.0.1:80".into())), Kind::BackendDown),
        (None, Kind::BackendBroken),
    ] {
        let service = layer.layer(service_fn(move |_: Request<RequestBody>| {
            let failure = failure.clone();
            async move {
                Err::<Response<Full<Bytes>>, _>(match failure {
                    Some(failure) => Box::new(failure) as cloakroom::layer::BoxError,
                    None => "at 10.0.0.1".into(),
                })
            }
        }));
        let answer = service.oneshot(call(&alice)).await.unwrap();
        assert_eq!(answer.extensions().get::<Rejection>().unwrap().kind(), kind);
        assert!(!text(answer.into_body()).await.contains("10.0.0.1"));
    }
}

#[test]
fn a_server_without_a_key_has_no_door() {
    let whole = Keyring::generate();
    let [notes, other] = ["notes", "other"].map(|name| ServerName::parse(name).unwrap());
    let ring = Keyring::parse(&whole.export(&notes).unwrap()).unwrap();
    let slots = || Slots::parse([]).unwrap();
    assert!(Door::open(&ring, notes, slots()).is_ok());
    assert_eq!(
        Door::open(&ring, other.clone(), slots()).err(),
        Some(NoServerKey(other))
    );
}

/// Remembers what it is told of a request, and adds a header to it.
#[derive(Default)]
struct Account(Mutex<Vec<String>>);

impl Account {
    fn note(&self, what: String) {
        self.0.lock().unwrap().push(what);
    }
}

impl Observer for Account {
    fn authenticated(&self, caller: &Identity) {
        self.note(format!("key of {}", caller.user_name()));
    }

    fn judged(&self, request: &Seen<'_>) {
        self.note(format!(
            "{} of {} bytes",
            request.method.unwrap(),
            request.bytes
        ));
    }

    fn records(&self) -> bool {
        true
    }

    fn forwarding(&self, forwarded: Forwarded<'_>) -> Option<Recorded> {
        let secrets: Vec<_> = forwarded
            .secrets
            .iter()
            .map(|used| used.name.as_str())
            .collect();
        self.note(format!(
            "{:?} with {secrets:?} to {}",
            forwarded.tools, forwarded.server
        ));
        None
    }

    fn sending(&self, headers: &mut HeaderMap) {
        headers.insert("x-trace", http::HeaderValue::from_static("1"));
    }

    fn returned(&self, status: Option<StatusCode>) {
        self.note(format!("{}", status.unwrap().as_u16()));
    }
}

// Fails when the layer does not look for an observer among a request's extensions, or hands it on.
#[tokio::test]
async fn around_a_service_of_which_somebody_keeps_an_account() {
    let (layer, [alice, _]) = layer().await;
    let service = layer.layer(service_fn(|request: Request<RequestBody>| async move {
        assert!(request.extensions().get::<Observed>().is_none());
        assert_eq!(request.headers()["x-trace"], "1");
        Ok::<_, Infallible>(Response::new(request.into_body()))
    }));
    let account = Arc::new(Account::default());
    let mut request = call(&alice);
    request.extensions_mut().insert(Observed(account.clone()));
    assert_eq!(
        service.oneshot(request).await.unwrap().status(),
        StatusCode::OK
    );
    let told = std::mem::take(&mut *account.0.lock().unwrap());
    let body = format!("tools/call of {} bytes", CALL.len());
    let recorded = r#"["t"] with ["NOTES"] to notes"#;
    assert_eq!(told, ["key of alice", &body, recorded, "200"]);
}

const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{}}}"#;

// Mutations: `new.served_by` stays `None` in layer/answer.rs; `replica` of layer/ready.rs always `None`.
#[tokio::test]
async fn around_a_service_that_chooses_among_replicas() {
    let (layer, [alice, _]) = layer().await;
    let service = layer.layer(service_fn(|request: Request<RequestBody>| async move {
        match request.extensions().get::<Affinity>() {
            None => {
                let began = Response::builder().header("mcp-session-id", "own");
                let mut began = began.body(request.into_body()).unwrap();
                began.extensions_mut().insert(ServedBy(7));
                Ok(began)
            }
            Some(Affinity(7)) => Ok(Response::new(request.into_body())),
            Some(_) => Err(Failure::Gone),
        }
    }));
    let ask = async |session: Option<&http::HeaderValue>, body: &str| {
        let mut request = call(&alice).map(|_| Body::from(body.to_owned()));
        if let Some(session) = session {
            request
                .headers_mut()
                .insert("mcp-session-id", session.clone());
        }
        service.clone().oneshot(request).await.unwrap()
    };
    let began = ask(None, INITIALIZE).await;
    assert!(
        began.extensions().get::<ServedBy>().is_none(),
        "nobody else's business"
    );
    let session = began.headers().get("mcp-session-id").unwrap();
    assert_eq!(ask(Some(session), CALL).await.status(), StatusCode::OK);

    let gone = layer.layer(service_fn(|_: Request<RequestBody>| async {
        Err::<Response<Full<Bytes>>, _>(Failure::Gone)
    }));
    let refused = gone.oneshot(call(&alice)).await.unwrap();
    assert_eq!(refused.status(), StatusCode::NOT_FOUND);
    let kind = refused.extensions().get::<Rejection>().map(Rejection::kind);
    assert_eq!(kind, Some(Kind::UnknownSession));
}
