//! Lists of servers and tools, of users and of groups, as a client and a backend see them.

use std::time::Instant;

use cloakroom::vault::{AccessChange, group_record};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::backend::TOOLS;
use super::{
    ALL, BOUND, EVENTS, House, JSON, OLD, allows_servers, ask, blocks_servers, blocks_tools, call,
    code, group, is_blocked, is_served, list, patterns, send,
};
use crate::support::client::{Answer, post};
use crate::support::proxy::Place;
use crate::support::redis::Server;
use crate::support::sse::Sse;

// Fails when `Gate::permits` is not asked before the exchange, or leaves out the lists of the groups.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_is_refused_by_lists_of_the_user_and_of_his_groups() {
    let redis = Server::plain();
    for place in [Place::Sqlite, Place::Redis(&redis)] {
        let house = House::start(&place).await;
        let (alice, bob) = (house.settle_in("alice").await, house.settle_in("bob").await);
        house.until(JSON, &alice, "no list", is_served).await;
        house.access("alice", blocks_servers(&["JS*"])).await;
        house.until(JSON, &alice, "blocked", is_blocked).await;
        house.backend.reached();
        let mut client = house.proxy.client();
        let refused = ask(&mut client, JSON, &alice, "get_one").await;
        let message = refused.message();
        assert_eq!(refused.header("content-type"), Some("application/json"));
        assert_eq!(message["jsonrpc"], "2.0");
        let text = message["error"]["message"].as_str().unwrap();
        assert!(
            text.contains("may not use") && text.contains(JSON),
            "{text}"
        );
        assert_eq!(house.backend.reached().len(), 0, "it reached the backend");
        // Nobody else's matter, and no other server's.
        for (server, key) in [(EVENTS, &alice), (JSON, &bob)] {
            let answer = ask(&mut client, server, key, "get_one").await;
            assert!(is_served(&answer), "{server}: {}", answer.text());
        }
        house.access("alice", blocks_servers(&[])).await;
        house.until(JSON, &alice, "no longer", is_served).await;

        // Of a group: by joining, by a change of the group, by leaving.
        house.add_group("guests", blocks_servers(&[OLD])).await;
        house.join("guests", "bob").await;
        let open = async |key: &str| Sse::open(house.proxy.client(), OLD, key).await.unwrap();
        let refused = timeout(BOUND, async {
            loop {
                if let Err(answer) = open(&bob).await {
                    return answer;
                }
            }
        });
        assert_eq!(refused.await.expect("joined, and served").status, 403);
        assert!(open(&alice).await.is_ok());
        let more = blocks_servers(&[OLD, JSON]);
        house.group_access("guests", more).await;
        house
            .until(JSON, &bob, "the group blocks", is_blocked)
            .await;
        // What blocks counts before what allows.
        house.access("bob", allows_servers(&["*"])).await;
        house.until(EVENTS, &bob, "allowed", is_served).await;
        assert!(is_blocked(&ask(&mut client, JSON, &bob, "get_one").await));
        house.leave("guests", "bob").await;
        house.until(JSON, &bob, "left", is_served).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_nothing_is_allowed_by_default_a_list_has_to_say_so() {
    let redis = Server::plain();
    for place in [Place::Sqlite, Place::Redis(&redis)] {
        let house = House::with(&place, "default_access = \"none\"\n").await;
        let (alice, bob) = (house.settle_in("alice").await, house.settle_in("bob").await);
        let mut client = house.proxy.client();
        for server in ALL {
            let answer = ask(&mut client, server, &alice, "get_one").await;
            assert!(is_blocked(&answer), "{server}: {}", answer.text());
        }
        house.add_group("readers", allows_servers(&["j*n"])).await;
        house.join("readers", "alice").await;
        house.until(JSON, &alice, "by a group", is_served).await;
        house.access("bob", allows_servers(&[EVENTS])).await;
        house.until(EVENTS, &bob, "by his own", is_served).await;
        for (server, key) in [(EVENTS, &alice), (JSON, &bob)] {
            let answer = ask(&mut client, server, key, "get_one").await;
            assert!(is_blocked(&answer), "{server}: {}", answer.text());
        }
        // A tool that is allowed allows no server.
        let tools = AccessChange {
            allowed_tools: patterns(&["json/get_*"]),
            ..AccessChange::default()
        };
        house.access("bob", tools).await;
        house.leave("readers", "alice").await;
        house.until(JSON, &alice, "left", is_blocked).await;
        assert!(is_blocked(&ask(&mut client, JSON, &bob, "get_one").await));
    }
}

fn names(message: &Value) -> Vec<&str> {
    let tools = message["result"]["tools"].as_array().unwrap().iter();
    tools.map(|tool| tool["name"].as_str().unwrap()).collect()
}

/// The message of an event of HTTP+SSE.
async fn heard(stream: &mut Sse) -> Value {
    loop {
        let event = timeout(BOUND, stream.next()).await.expect("it is answered");
        let event = event.expect("the stream goes on");
        if let Some((_, data)) = event.split_once("data: ") {
            return serde_json::from_str(data).unwrap();
        }
    }
}

// Fails when `Answering::hides_tool` is always false, when `Exchange::grant` does not look at the tools, or
// looks at the first of a batch alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocked_tool_is_neither_listed_nor_called() {
    let redis = Server::plain();
    for place in [Place::Sqlite, Place::Redis(&redis)] {
        let house = House::start(&place).await;
        let (alice, bob) = (house.settle_in("alice").await, house.settle_in("bob").await);
        house.access("alice", blocks_tools(&["*/delete_*"])).await;
        house.add_group("careful", blocks_tools(&["drop"])).await;
        house.join("careful", "alice").await;
        let mut client = house.proxy.client();
        house.until(JSON, &alice, "served", is_served).await;
        for server in [JSON, EVENTS] {
            let listed = timeout(BOUND, async {
                loop {
                    let listed = send(&mut client, server, &alice, &list(3)).await.message();
                    if names(&listed).len() < TOOLS.len() - 1 {
                        return listed;
                    }
                }
            });
            let listed = listed.await.expect("the tools are hidden");
            assert_eq!(names(&listed), ["get_one", "get_two"], "{server}");
            let all = send(&mut client, server, &bob, &list(4)).await.message();
            assert_eq!(names(&all), TOOLS, "{server}");
            house.backend.reached();
            for tool in ["delete_one", "Delete_One", "DROP", "drop"] {
                let answer = ask(&mut client, server, &alice, tool).await;
                assert_eq!(answer.status, 200, "{tool}");
                assert_eq!(code(&answer), 4032, "{tool}: {}", answer.text());
                assert_eq!(answer.message()["id"], 7);
            }
            // The same name, written otherwise; and twice, of which a backend may read either.
            for (written, expected) in [
                (r#""name":"dr\u006fp""#, 200),
                (r#""n\u0061me":"\u0064rop""#, 200),
                (r#""name":"get_one","n\u0061me":"drop""#, 400),
                (r#""name":"get_one","name":"drop""#, 400),
                (r#""name":["drop"]"#, 400),
            ] {
                let body = format!(
                    r#"{{"jsonrpc":"2.0","id":"x","method":"tools/call","params":{{{written}}}}}"#
                );
                let answer = client.exchange(post(server, &alice, body)).await.unwrap();
                assert_eq!(answer.status, expected, "{written}: {}", answer.text());
                assert!(code(&answer).is_i64(), "{written}: {}", answer.text());
            }
            let batch = json!([
                call(1, "get_one"),
                list(2),
                call(3, "drop"),
                call(4, "get_two")
            ]);
            let answer = send(&mut client, server, &alice, &batch).await;
            assert_eq!(answer.status, 200);
            let errors = answer.messages();
            let told: Vec<_> = errors
                .iter()
                .map(|error| (error["id"].as_u64(), error["error"]["code"].as_i64()))
                .collect();
            let each = [1, 2, 3, 4].map(|id| (Some(id), Some(4032)));
            assert_eq!(told, each, "{}", answer.text());
            let reached = house.backend.reached();
            assert!(reached.is_empty(), "{server}: {reached:?}");
            let answer = ask(&mut client, server, &bob, "drop").await;
            assert!(is_served(&answer), "{}", answer.text());
            let answer = ask(&mut client, server, &alice, "get_one").await;
            assert!(is_served(&answer), "{}", answer.text());
            let reached = house.backend.reached();
            let tools: Vec<_> = reached.iter().filter_map(|one| one.tool()).collect();
            assert_eq!(tools, ["drop", "get_one"], "{server}");
        }
        over_a_stream(&house, &alice, &bob).await;
    }
}

/// The same over HTTP+SSE: what is listed and what is refused come on the stream.
async fn over_a_stream(house: &House, alice: &str, bob: &str) {
    let open = async |key: &str| {
        Sse::open(house.proxy.client(), OLD, key)
            .await
            .unwrap()
            .ok()
    };
    let mut hers = open(alice).await.unwrap();
    let mut his = open(bob).await.unwrap();
    let mut client = house.proxy.client();
    let mut say = async |stream: &Sse, key: &str, body: Value| {
        let said = client.exchange(stream.post(key, body.to_string())).await;
        assert_eq!(said.unwrap().status, 202, "{body}");
    };
    say(&hers, alice, list(1)).await;
    assert_eq!(names(&heard(&mut hers).await), ["get_one", "get_two"]);
    say(&his, bob, list(1)).await;
    assert_eq!(names(&heard(&mut his).await), TOOLS);
    house.backend.reached();
    for (id, tool) in [(2, "drop"), (3, "Delete_One")] {
        say(&hers, alice, call(id, tool)).await;
        let refused = heard(&mut hers).await;
        assert_eq!(
            (&refused["id"], &refused["error"]["code"]),
            (&id.into(), &4032.into())
        );
    }
    assert!(house.backend.reached().is_empty());
    say(&hers, alice, call(4, "get_one")).await;
    let served = heard(&mut hers).await;
    assert!(
        served["id"] == 4 && served["result"].is_object(),
        "{served}"
    );
}

// Fails when a group that is listed and not in the store counts as one without lists.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_that_is_deleted_from_the_store_opens_nothing() {
    let redis = Server::plain();
    for place in [Place::Sqlite, Place::Redis(&redis)] {
        let house = House::start(&place).await;
        let (alice, bob) = (house.settle_in("alice").await, house.settle_in("bob").await);
        house.add_group("guests", blocks_servers(&[JSON])).await;
        house.join("guests", "alice").await;
        house.until(JSON, &alice, "blocked", is_blocked).await;
        house.until(EVENTS, &alice, "not blocked", is_served).await;
        let known = house.proxy.vault.group(&group("guests")).await.unwrap();
        let id = group_record(&known.id);
        let store = &house.proxy.store;
        let record = store.get_many(std::slice::from_ref(&id)).await.unwrap();
        let record = record[0].clone().unwrap();
        store.delete_if(&id, record.version).await.unwrap();
        let denied = |answer: &Answer| answer.status == 503 && code(answer) == 5030;
        house.backend.reached();
        for server in [EVENTS, JSON] {
            // What was blocked stays so until it is noticed, and is never served.
            let (since, mut client) = (Instant::now(), house.proxy.client());
            loop {
                let answer = ask(&mut client, server, &alice, "get_one").await;
                if denied(&answer) {
                    assert!(answer.header("retry-after").is_some());
                    break;
                }
                assert!(since.elapsed() < BOUND, "{server}: {}", answer.text());
                assert!(server != JSON, "{server}: {}", answer.text());
            }
        }
        let fresh = house.proxy.issue_key("alice", None).await;
        let mut client = house.proxy.client();
        let answer = ask(&mut client, JSON, fresh.key.reveal(), "get_one").await;
        assert!(denied(&answer), "a cold key: {}", answer.text());
        let answer = ask(&mut client, JSON, &bob, "get_one").await;
        assert!(is_served(&answer), "{}", answer.text());
        // Somebody puts an earlier state back: who saw that it was gone does not believe it.
        store.put_if(record, None).await.unwrap();
        for server in [EVENTS, JSON] {
            let answer = ask(&mut client, server, &alice, "get_one").await;
            assert!(denied(&answer), "put back: {}", answer.text());
        }
        let fresh = house.another();
        let answer = ask(&mut fresh.client(), JSON, &alice, "get_one").await;
        assert!(is_blocked(&answer), "{}", answer.text());
        let answer = ask(&mut fresh.client(), EVENTS, &alice, "get_one").await;
        assert!(is_served(&answer), "{}", answer.text());
    }
}
