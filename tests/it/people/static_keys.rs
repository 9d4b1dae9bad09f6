//! Keys the configuration maps to users, and the user of whoever brings none.

use std::fs;

use http::Request;
use http_body_util::Full;

use super::{EVENTS, House, JSON, ask, call, is_served};
use crate::cli::run_in;
use crate::support::client::{Answer, post};
use crate::support::fingerprint;
use crate::support::proxy::{Place, user};
use crate::support::redis::Server;

const STATIC: &str = "mcpgw_of_a_dashboard_0123456789";

fn root() -> String {
    let digest = fingerprint(STATIC.as_bytes());
    format!("[static_keys.dashboard]\nsha256 = \"{digest}\"\nuser = \"alice\"\n")
}

fn is_unknown(answer: &Answer) -> bool {
    answer.status == 401 && answer.message()["error"]["code"] == 4010
}

// Fails when a static key is looked up by the user's id of the time the configuration was read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_of_the_configuration_is_its_users_beside_issued_ones() {
    let redis = Server::plain();
    for place in [Place::Sqlite, Place::Redis(&redis)] {
        let house = House::with(&place, &root()).await;
        let mut client = house.proxy.client();
        let answer = ask(&mut client, JSON, STATIC, "get_one").await;
        assert!(is_unknown(&answer), "nobody yet: {}", answer.text());
        let alice = house.settle_in("alice").await;
        let bob = house.settle_in("bob").await;
        house.until(JSON, STATIC, "alice is there", is_served).await;
        for (key, token) in [
            (STATIC, "alice-json-secret"),
            (&alice, "alice-json-secret"),
            (&bob, "bob-json-secret"),
        ] {
            house.backend.reached();
            let answer = ask(&mut client, JSON, key, "get_one").await;
            assert!(is_served(&answer), "{}", answer.text());
            assert_eq!(house.backend.reached()[0].token, token);
        }
        house.backend.reached();
        let digest = fingerprint(STATIC.as_bytes());
        for wrong in [
            "mcpgw_of_a_dashboard_012345678",
            "x",
            &digest,
            "dashboard",
            "",
        ] {
            let answer = ask(&mut client, JSON, wrong, "get_one").await;
            assert!(is_unknown(&answer), "{wrong}: {}", answer.text());
        }
        assert!(house.backend.reached().is_empty());

        let disabled =
            |answer: &Answer| answer.status == 401 && answer.message()["error"]["code"] == 4013;
        house.ok("user disable alice", "").await;
        house.until(JSON, STATIC, "disabled", disabled).await;
        house.ok("user enable alice", "").await;
        house.until(JSON, STATIC, "enabled", is_served).await;
        house.ok("user delete alice --yes", "").await;
        house.until(JSON, STATIC, "deleted", is_unknown).await;
        // Another with his name has the key again, and none of what was his.
        house
            .proxy
            .vault
            .add_user(&user("alice"), Default::default())
            .await
            .unwrap();
        let missing = |answer: &Answer| answer.message()["error"]["code"] == 4240;
        house.until(JSON, STATIC, "added again", missing).await;
        assert!(is_unknown(&ask(&mut client, JSON, &alice, "get_one").await));
        for secret in ["TOKEN", "TEAM"] {
            let at = (EVENTS, "default");
            house.proxy.set_named("alice", at, secret, "new").await;
        }
        house.until(EVENTS, STATIC, "set again", is_served).await;
        assert_eq!(house.backend.reached().pop().unwrap().token, "new");
    }
}

// Fails when a request with a key that is not known counts as one without.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_brings_no_key_is_the_default_user_and_who_brings_a_wrong_one_is_nobody() {
    let redis = Server::plain();
    for place in [Place::Sqlite, Place::Redis(&redis)] {
        let house = House::with(&place, "default_user = \"alice\"\n").await;
        house.settle_in("alice").await;
        let bob = house.settle_in("bob").await;
        let mut client = house.proxy.client();
        let bare = |key: Option<(&str, &str)>| {
            let mut request = Request::post(format!("/{JSON}/mcp"))
                .header("host", "127.0.0.1")
                .header("accept", "application/json, text/event-stream")
                .header("content-type", "application/json");
            if let Some((name, value)) = key {
                request = request.header(name, value);
            }
            let body = call(1, "get_one").to_string();
            request.body(Full::new(body.into())).unwrap()
        };
        let answer = client.exchange(bare(None)).await.unwrap();
        assert!(is_served(&answer), "{}", answer.text());
        assert_eq!(
            house.backend.reached().pop().unwrap().token,
            "alice-json-secret"
        );
        let answer = ask(&mut client, JSON, &bob, "get_one").await;
        assert!(is_served(&answer), "{}", answer.text());
        assert_eq!(
            house.backend.reached().pop().unwrap().token,
            "bob-json-secret"
        );
        for wrong in [
            ("authorization", "Bearer clk_wrong"),
            ("authorization", "Bearer "),
            ("authorization", ""),
            ("authorization", "Basic YWxpY2U6eA=="),
            ("x-api-key", ""),
            ("x-api-key", "alice"),
        ] {
            let answer = client.exchange(bare(Some(wrong))).await.unwrap();
            assert_eq!(answer.status, 401, "{wrong:?}: {}", answer.text());
        }
        // A page of another origin, or under a name that leads here, is nobody either.
        for (name, value) in [("origin", "https://evil.example"), ("host", "evil.example")] {
            let mut request = bare(None);
            request.headers_mut().insert(name, value.parse().unwrap());
            let answer = client.exchange(request).await.unwrap();
            assert!(
                matches!(answer.status, 403 | 421),
                "{name}: {}",
                answer.status
            );
        }
        // Nor is who came by way of a proxy that nobody told us of.
        for passed_on in ["x-forwarded-for", "forwarded", "via", "x-real-ip"] {
            let answer = client.exchange(bare(Some((passed_on, "192.0.2.7")))).await;
            assert_eq!(answer.unwrap().status, 401, "{passed_on}");
        }
        let reached = house.backend.reached();
        assert!(reached.is_empty(), "{reached:?}");
        let revoked = post(JSON, &bob, call(1, "get_one").to_string());
        house.proxy.revoke(&bob).await;
        house
            .until(JSON, &bob, "revoked", |answer| answer.status == 401)
            .await;
        assert_eq!(client.exchange(revoked).await.unwrap().status, 401);
    }
}

#[test]
fn a_default_user_is_refused_where_others_can_connect() {
    let folder = tempfile::tempdir().unwrap();
    let server = "[servers.one]\nurl = \"http://127.0.0.1:9/mcp\"\n";
    let hosts = "allowed_hosts = [\"mcp.example.com\"]\nallowed_origins = []\n";
    for (line, says) in [
        (
            "listen = \"0.0.0.0:0\"\n",
            "everybody who can connect would be this user",
        ),
        (
            "listen = \"[::]:0\"\n",
            "everybody who can connect would be this user",
        ),
        (
            "listen = \"unix:/tmp/cloakroom.sock\"\n",
            "everybody who can connect would be this user",
        ),
        (
            "listen = \"127.0.0.1:0\"\nproxy_protocol = \"required\"\n",
            "a proxy in front lets others connect",
        ),
        ("listen = \"127.0.0.1:0\"\n", "not this machine's own"),
    ] {
        let text = format!("{line}{hosts}default_user = \"alice\"\n{server}");
        fs::write(folder.path().join("cloakroom.toml"), text).unwrap();
        for command in ["check", "serve"] {
            let done = run_in(folder.path(), [command], b"");
            assert_eq!(done.code, 64, "{command} {line}: {}{}", done.out, done.err);
            let said = format!("{}{}", done.out, done.err);
            assert!(
                said.contains("default_user: ") && said.contains(says),
                "{said}"
            );
        }
    }
}
