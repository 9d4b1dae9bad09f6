//! What the API replaced documents, replayed: only host, port and an Authorization header differ.

use serde_json::json;

use super::Office;
use crate::support::client::call;

#[tokio::test(flavor = "multi_thread")]
async fn the_documented_flow_of_a_former_gateway_works() {
    let office = Office::open("").await;
    let body = json!({"username": "alice", "email": "alice@example.com", "description": "Alice"});
    let made = office.is(office.ask("POST", "/users", body.clone()).await, 201);
    assert_eq!(
        (&made["username"], &made["enabled"]),
        (&json!("alice"), &json!(true))
    );
    office.is(office.ask("POST", "/users", body).await, 409);

    let body = json!({"key_name": "laptop", "ttl_days": 30});
    let issued = office.is(office.ask("POST", "/users/alice/keys", body).await, 201);
    assert_eq!(
        (&issued["status"], &issued["username"]),
        (&json!("created"), &json!("alice"))
    );
    let key = issued["api_key"].as_str().unwrap();
    assert!(key.starts_with("clk_") && issued["note"].is_string());
    assert!(issued["expires_at"].as_str().unwrap().ends_with('Z'));

    let body = json!({"allowed_mcps": ["github"], "blocked_mcps": ["jira"]});
    office.is(
        office.ask("PUT", "/users/alice/mcp-access", body).await,
        200,
    );
    // What is not named stays.
    let body = json!({"allowed_mcps": []});
    let access = office.is(
        office.ask("PUT", "/users/alice/mcp-access", body).await,
        200,
    );
    assert_eq!(
        (&access["blocked_mcps"], access.get("warning")),
        (&json!(["jira"]), None)
    );
    let body = json!({"blocked_mcps": []});
    let access = office.is(
        office.ask("PUT", "/users/alice/mcp-access", body).await,
        200,
    );
    assert!(
        access["warning"]
            .as_str()
            .unwrap()
            .contains("restricts nothing")
    );

    let listed = office.is(office.ask("GET", "/users", json!(null)).await, 200);
    assert_eq!(listed["users"][0]["email"], "alice@example.com");
    let found = office
        .ask("GET", "/users?email=alice@example.com", json!(null))
        .await;
    assert_eq!(office.is(found, 200)["users"][0]["username"], "alice");
    let found = office
        .ask("GET", "/users?email=bob@example.com", json!(null))
        .await;
    assert_eq!(office.is(found, 200)["users"], json!([]));

    // Its key calls (to a server that is not there), is refused while she is disabled, and after it was revoked.
    let mut client = office.proxy.client();
    office.proxy.set_secret("alice", "github", "s").await;
    assert_eq!(
        client
            .exchange(call("github", key, 1, "n"))
            .await
            .unwrap()
            .status,
        502
    );
    let body = json!({"enabled": false});
    let user = office.is(office.ask("PATCH", "/users/alice/enable", body).await, 200);
    assert_eq!(
        (&user["enabled"], &user["on_all_copies"]),
        (&json!(false), &json!(true))
    );
    let body = json!({"enabled": true});
    office.is(office.ask("PATCH", "/users/alice/enable", body).await, 200);
    let body = json!({"api_key": key});
    let revoked = office.is(office.ask("POST", "/keys/revoke", body).await, 200);
    assert_eq!(
        (&revoked["status"], &revoked["on_all_copies"]),
        (&json!("revoked"), &json!(true))
    );
    let keys = office.is(
        office.ask("GET", "/users/alice/keys", json!(null)).await,
        200,
    );
    assert_eq!(keys["keys"][0]["key_name"], "laptop");

    let health = office.is(office.ask("GET", "/health", json!(null)).await, 200);
    assert_eq!(health, json!({"status": "ok"}));
    let status = office.is(office.ask("GET", "/status", json!(null)).await, 200);
    assert_eq!(status["users"], json!({"count": 1, "more": false}));
    assert_eq!(status["servers"][0]["name"], "github");

    office.is(office.ask("DELETE", "/users/alice", json!(null)).await, 200);
    office.is(office.ask("GET", "/users/alice", json!(null)).await, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_set_and_deleted_in_the_shapes_of_a_former_api() {
    let office = Office::open("").await;
    office.proxy.add_user("alice").await;
    let names = json!({"username": "alice", "serverName": "github", "secretName": "TOKEN"});
    let mut body = names.clone();
    body["secretValue"] = json!("ghp_value");
    office.is(office.ask("POST", "/secrets/set", body).await, 200);
    let listed = office.is(
        office.ask("GET", "/users/alice/secrets", json!(null)).await,
        200,
    );
    assert_eq!(listed["secrets"][0]["name"], "TOKEN");
    office.is(
        office.ask("POST", "/secrets/delete", names.clone()).await,
        200,
    );
    office.is(office.ask("POST", "/secrets/delete", names).await, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_have_members_access_and_secrets() {
    let office = Office::open("").await;
    office.proxy.add_user("alice").await;
    let body = json!({"name": "team", "description": "Us"});
    office.is(office.ask("POST", "/groups", body).await, 201);
    office.is(
        office
            .ask("PUT", "/groups/team/members/alice", json!(null))
            .await,
        200,
    );
    let members = office.is(
        office.ask("GET", "/groups/team/members", json!(null)).await,
        200,
    );
    assert_eq!(members["users"][0]["username"], "alice");
    let alice = office.is(office.ask("GET", "/users/alice", json!(null)).await, 200);
    assert_eq!(alice["groups"], json!(["team"]));
    let body = json!({"blocked_tools": ["github/delete_*"]});
    office.is(
        office.ask("PUT", "/groups/team/mcp-access", body).await,
        200,
    );
    let path = "/groups/team/secrets/github/TOKEN";
    office.is(
        office.ask("PUT", path, json!({"value": "shared"})).await,
        200,
    );
    let listed = office.is(
        office.ask("GET", "/groups/team/secrets", json!(null)).await,
        200,
    );
    assert_eq!(listed["secrets"][0]["server"], "github");
    office.is(
        office
            .ask("DELETE", "/groups/team/secrets/github", json!(null))
            .await,
        200,
    );
    office.is(
        office
            .ask("DELETE", "/groups/team/members/alice", json!(null))
            .await,
        200,
    );
    office.is(office.ask("DELETE", "/groups/team", json!(null)).await, 200);
    office.is(office.ask("GET", "/groups/team", json!(null)).await, 404);
}

// Fails when `given` does not tell null from what is not there.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_change_does_not_name_stays_and_null_takes_away() {
    let office = Office::open("").await;
    let body = json!({"username": "a", "email": "a@b.c", "notes": "n", "metadata": {"k": [1]},
                      "limits": {"rate": 5}});
    office.is(office.ask("POST", "/users", body).await, 201);
    let body = json!({"email": null, "description": "d"});
    let user = office.is(office.ask("PATCH", "/users/a", body).await, 200);
    assert_eq!(
        (&user["email"], &user["description"]),
        (&json!(null), &json!("d"))
    );
    assert_eq!(
        (&user["notes"], &user["metadata"]),
        (&json!("n"), &json!({"k": [1]}))
    );
    assert_eq!(user["limits"]["rate"], 5);
    let body = json!({"daily": 0});
    let limits = office.is(office.ask("PUT", "/users/a/limits", body).await, 200);
    assert_eq!(
        (&limits["rate"], &limits["daily"]),
        (&json!(null), &json!(0))
    );
    let body = json!({"patterns": ["b*"]});
    let user = office.is(office.ask("PUT", "/users/a/acts-for", body).await, 200);
    assert_eq!(user["acts_for"], json!(["b*"]));
}
