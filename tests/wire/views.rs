//! What a server wants mirrored in headers is remembered for one user, server and profile: also when
//! the secrets of two have the same version, which is a time and so may happen.

use std::convert::Infallible;
use std::sync::{Arc, Barrier, Mutex};

use bytes::Bytes;
use cloakroom::gate::{Door, Gate, Rules};
use cloakroom::inject::{ArgumentSlot, Arguments, Slots, Template};
use cloakroom::layer::{Caller, CloakroomLayer, Limits, RequestBody, Routes};
use cloakroom::names::{ProfileName, SecretName, ServerName, UserName};
use cloakroom::resolve::{Resolver, Settings};
use cloakroom::store::{self, Store, StoreUrl};
use cloakroom::vault::{KeyRequest, Keyring, NewUser, Reader, SecretValue, Vault};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use tower::{Layer as _, ServiceExt as _, service_fn};

/// Whose secrets: user, server, profile.
type Holder = (&'static str, &'static str, &'static str);

const ALICE: Holder = ("alice", "one", "default");

struct Installation {
    ring: Arc<Keyring>,
    store: Arc<dyn Store>,
    vault: Arc<Vault>,
}

impl Installation {
    async fn new() -> Self {
        let ring = Arc::new(Keyring::generate());
        let url = StoreUrl::parse("memory:", "".as_ref()).unwrap();
        let store = store::open(&store::Settings::new(url)).await.unwrap();
        let vault = Arc::new(Vault::new(store.clone(), ring.clone()));
        for user in ["alice", "bob"] {
            let user = UserName::parse(user).unwrap();
            vault.add_user(&user, NewUser::default()).await.unwrap();
        }
        Self { ring, store, vault }
    }

    /// Sets the secrets of alice and of `other` until both have the same version.
    async fn set_at_once(&self, other: Holder) {
        for _ in 0..1_000_000 {
            let barrier = Barrier::new(2);
            std::thread::scope(|scope| {
                for holder in [ALICE, other] {
                    let (vault, barrier) = (&self.vault, &barrier);
                    scope.spawn(move || {
                        barrier.wait();
                        let set = set(vault, holder);
                        tokio::runtime::Builder::new_current_thread()
                            .build()
                            .unwrap()
                            .block_on(set);
                    });
                }
            });
            if version(&self.vault, ALICE).await == version(&self.vault, other).await {
                return;
            }
        }
        panic!("two secrets are never set in the same microsecond");
    }

    async fn key(&self, user: &str) -> String {
        let user = UserName::parse(user).unwrap();
        let issued = self.vault.issue_key(&user, KeyRequest::default()).await;
        issued.unwrap().key.reveal().to_owned()
    }

    /// A layer that sets the argument `token`, and knows nothing yet.
    fn layer(&self) -> CloakroomLayer {
        let doors = ["one", "two"].map(|name| {
            let template = Template::parse("${TOKEN}").unwrap();
            let argument = ArgumentSlot::new("token", template, None).unwrap();
            let slots = Slots::new(Vec::new(), Vec::new(), Arguments::Named(vec![argument]));
            Door::open(&self.ring, ServerName::parse(name).unwrap(), slots).unwrap()
        });
        let reader = Reader::new(self.ring.clone());
        let resolver = Resolver::new(self.store.clone(), reader, &Settings::default());
        let gate = Arc::new(Gate::new(resolver, doors, Rules::default()));
        let routes = Routes::ByPath {
            default_server: None,
        };
        CloakroomLayer::new(gate, routes, Limits::default())
    }
}

async fn set(vault: &Vault, (user, server, profile): Holder) {
    let value = SecretValue::new(b"token".to_vec().into()).ok().unwrap();
    let (user, server) = (
        UserName::parse(user).unwrap(),
        ServerName::parse(server).unwrap(),
    );
    let profile = ProfileName::parse(profile).unwrap();
    let name = SecretName::parse("TOKEN").unwrap();
    let set = vault.set_secret(&user, &server, &profile, &name, &value);
    set.await.unwrap();
}

async fn version(vault: &Vault, (user, server, profile): Holder) -> u64 {
    let user = UserName::parse(user).unwrap();
    let server = ServerName::parse(server).unwrap();
    let profile = ProfileName::parse(profile).unwrap();
    let secrets = vault.secrets_for(&user, &server, &profile).await;
    secrets.unwrap().pop().unwrap().version
}

/// The name of the header in which a caller is to mirror the token.
fn view(caller: &Caller) -> String {
    let user = caller.identity.user_name();
    format!("{user}-{}-{}", caller.server, caller.profile)
}

fn call((_, server, profile): Holder, key: &str) -> Request<Full<Bytes>> {
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {
        "name": "t", "arguments": {}, "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
        }
    }});
    Request::post(format!("/{server}/@{profile}/mcp"))
        .header("authorization", format!("Bearer {key}"))
        .header("mcp-protocol-version", "2026-07-28")
        .body(Full::from(body.to_string()))
        .unwrap()
}

// Fails when `user`, `server` or `profile` of the `Viewer` in `layer/mirror.rs` becomes a constant.
#[tokio::test]
async fn a_schema_read_by_one_is_not_used_for_another() {
    for other in [
        ("bob", "one", "default"),
        ("alice", "two", "default"),
        ("alice", "one", "work"),
    ] {
        let installation = Installation::new().await;
        installation.set_at_once(other).await;
        let mirrored: Arc<Mutex<Vec<(String, String)>>> = Arc::default();
        let seen = mirrored.clone();
        let service = service_fn(move |request: Request<RequestBody>| {
            let seen = seen.clone();
            async move {
                let own = view(request.extensions().get::<Caller>().unwrap());
                let names = request.headers().keys().map(http::HeaderName::as_str);
                let mut views = names.filter_map(|name| name.strip_prefix("mcp-param-"));
                if let Some(view) = views.next() {
                    seen.lock().unwrap().push((own.clone(), view.to_owned()));
                }
                let body = request.into_body().collect().await.unwrap().to_bytes();
                let body: Value = serde_json::from_slice(&body).unwrap();
                let token = json!({"type": "string", "x-mcp-header": own});
                let tools = json!([{"name": "t", "inputSchema": {"properties": {"token": token}}}]);
                let answer =
                    json!({"jsonrpc": "2.0", "id": body["id"], "result": {"tools": tools}});
                Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(answer.to_string())))
            }
        });
        let service = installation.layer().layer(service);
        for holder in [ALICE, other, ALICE, other] {
            let key = installation.key(holder.0).await;
            let answer = service.clone().oneshot(call(holder, &key)).await.unwrap();
            assert_eq!(answer.status(), 200);
        }
        let mirrored = mirrored.lock().unwrap().clone();
        assert_eq!(mirrored.len(), 4);
        for (caller, view) in mirrored {
            assert_eq!(caller, view, "what another was told");
        }
    }
}
