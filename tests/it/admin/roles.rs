//! Which role each route needs: a table of all of them.

use std::collections::BTreeSet;

use cloakroom::vault::Role;
use serde_json::{Value, json};

use super::{Office, key};

const NOBODY: Option<Role> = None;
const READER: Option<Role> = Some(Role::Reader);
const ADMIN: Option<Role> = Some(Role::Admin);
const OWNER: Option<Role> = Some(Role::Owner);

/// Every route, and the least role it serves.
const TABLE: &[(&str, &str, Option<Role>)] = &[
    ("GET", "/health", NOBODY),
    ("GET", "/status", READER),
    ("POST", "/users", ADMIN),
    ("GET", "/users", READER),
    ("GET", "/users/{user}", READER),
    ("PATCH", "/users/{user}", ADMIN),
    ("DELETE", "/users/{user}", ADMIN),
    ("PATCH", "/users/{user}/enable", ADMIN),
    ("GET", "/users/{user}/limits", READER),
    ("PUT", "/users/{user}/limits", ADMIN),
    ("GET", "/users/{user}/mcp-access", READER),
    ("PUT", "/users/{user}/mcp-access", ADMIN),
    ("PUT", "/users/{user}/acts-for", OWNER),
    // But for himself: see below.
    ("POST", "/users/{user}/keys", OWNER),
    ("GET", "/users/{user}/keys", READER),
    ("POST", "/keys/revoke", ADMIN),
    ("DELETE", "/keys/{key_id}", ADMIN),
    ("GET", "/users/{user}/secrets", READER),
    ("PUT", "/users/{user}/secrets/{server}/{secret}", ADMIN),
    ("DELETE", "/users/{user}/secrets/{server}/{secret}", ADMIN),
    ("DELETE", "/users/{user}/secrets/{server}", ADMIN),
    ("GET", "/groups/{group}/secrets", READER),
    ("PUT", "/groups/{group}/secrets/{server}/{secret}", ADMIN),
    ("DELETE", "/groups/{group}/secrets/{server}/{secret}", ADMIN),
    ("DELETE", "/groups/{group}/secrets/{server}", ADMIN),
    ("POST", "/secrets/set", ADMIN),
    ("POST", "/secrets/delete", ADMIN),
    ("POST", "/groups", ADMIN),
    ("GET", "/groups", READER),
    ("GET", "/groups/{group}", READER),
    ("PATCH", "/groups/{group}", ADMIN),
    ("DELETE", "/groups/{group}", ADMIN),
    ("GET", "/groups/{group}/mcp-access", READER),
    ("PUT", "/groups/{group}/mcp-access", ADMIN),
    ("GET", "/groups/{group}/members", READER),
    ("PUT", "/groups/{group}/members/{user}", ADMIN),
    ("DELETE", "/groups/{group}/members/{user}", ADMIN),
    ("GET", "/usage", READER),
    ("GET", "/usage.csv", READER),
    ("GET", "/users/{user}/usage", READER),
    ("POST", "/admin/keys", OWNER),
    ("GET", "/admin/keys", OWNER),
    ("DELETE", "/admin/keys/{key_id}", OWNER),
];

/// A body that is taken by every route that takes one, as far as its role.
fn body(method: &str, path: &str) -> Value {
    match (method, path) {
        ("GET" | "DELETE", _) => Value::Null,
        (_, path) if path.contains("/members/") => Value::Null,
        _ => json!({}),
    }
}

// Fails when a handler takes another role's extractor, or a route has no line above.
#[tokio::test(flavor = "multi_thread")]
async fn every_route_serves_its_role_and_those_above() {
    let office = Office::open("").await;
    let document = office.is(office.ask("GET", "/openapi.json", Value::Null).await, 200);
    let mut described = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            described.insert((method.to_uppercase(), path.clone()));
        }
    }
    let owned = |(method, path, _): &(&str, &str, _)| ((*method).to_owned(), (*path).to_owned());
    assert_eq!(described, TABLE.iter().map(owned).collect());

    let names = [
        ("{user}", "nobody"),
        ("{group}", "none"),
        ("{server}", "github"),
        ("{secret}", "TOKEN"),
        ("{key_id}", "0123456789abcdef"),
    ];
    let mut refusals = Vec::new();
    for role in [NOBODY, READER, ADMIN, OWNER] {
        let key = match role {
            None => String::new(),
            Some(role) => key(&office.proxy, "somebody", role)
                .await
                .key
                .reveal()
                .to_owned(),
        };
        for (method, path, least) in TABLE {
            let real = names.iter().fold((*path).to_owned(), |path, (name, real)| {
                path.replace(name, real)
            });
            let answer = office.ask_as(&key, method, &real, body(method, path)).await;
            let refused = matches!(answer.status, 401 | 403);
            assert_eq!(
                refused,
                role < *least,
                "{role:?} {method} {path}: {}",
                answer.text()
            );
            if let Some(held) = role
                && refused
            {
                // A reader is not told who may do this for others: he may not for himself.
                let himself = role == READER && (*method, *path) == ("POST", "/users/{user}/keys");
                let needed = if himself { ADMIN } else { *least };
                let needs = format!("a key of the role {}", needed.unwrap().as_str());
                assert!(answer.text().contains(&needs), "{}", answer.text());
                if *method != "GET" {
                    // A body says for whom it is that the path does not name.
                    let named = path.split('/').position(|part| part.starts_with('{'));
                    let target = named.and_then(|at| real.split('/').nth(at));
                    let target = target.map(|target| match path.contains("{group}/mcp-access") {
                        true => format!("group:{target}"),
                        false => target.to_owned(),
                    });
                    refusals.push((held.as_str(), target.unwrap_or_default()));
                }
            }
        }
    }
    // Each that would have changed something is in the trail.
    let is_refused =
        |act: &Value| act["outcome"] == "refused" && act["actor"]["name"] == "somebody";
    let told = |act: &Value| {
        let role = act["actor"]["role"].as_str().unwrap();
        (role.to_owned(), act["target"].as_str().unwrap().to_owned())
    };
    let acts = office.acts(refusals.len(), |act| {
        // A request that is served may be refused for what it asks.
        is_refused(act) && (act["detail"]["route"].is_string() || act["act"] == "key.issue")
    });
    let acts: Vec<_> = acts.await.iter().map(told).collect();
    let refusals: Vec<_> = refusals
        .into_iter()
        .map(|(role, target)| (role.to_owned(), target))
        .collect();
    assert_eq!(acts[..refusals.len()], refusals);
}

// Fails when `issue` does not compare the names.
#[tokio::test(flavor = "multi_thread")]
async fn an_admin_issues_keys_for_himself_alone() {
    let office = Office::open("").await;
    office.proxy.add_user("alice").await;
    office.proxy.add_user("bob").await;
    let alice = key(&office.proxy, "alice", Role::Admin).await;
    let issue = async |user: &str| {
        let path = format!("/users/{user}/keys");
        office
            .ask_as(alice.key.reveal(), "POST", &path, json!({}))
            .await
            .status
    };
    assert_eq!((issue("alice").await, issue("bob").await), (201, 403));
}
