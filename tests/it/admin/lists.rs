//! Every list comes in pages.

use std::collections::BTreeSet;

use cloakroom::vault::NewUser;
use futures_util::future::join_all;
use serde_json::{Value, json};

use super::Office;
use crate::support::proxy::user;

/// All pages of a list, each of at most `limit`.
async fn walk(office: &Office, path: &str, list: &str, limit: usize) -> Vec<Vec<Value>> {
    let (mut pages, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("{path}?limit={limit}{cursor}");
        let page = office.is(office.ask("GET", &path, Value::Null).await, 200);
        pages.push(page[list].as_array().unwrap().clone());
        let Some(next) = page["next"].as_str() else {
            return pages;
        };
        cursor = format!("&cursor={next}");
        assert!(pages.len() < 1000, "it never ends");
    }
}

// Fails when a cursor is not heeded, or a page is longer than asked for.
#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_and_fifty_users_come_in_pages_each_once() {
    let office = Office::open("").await;
    let names: Vec<_> = (0..250).map(|n| user(&format!("user-{n}"))).collect();
    for some in names.chunks(10) {
        let vault = &office.proxy.vault;
        let added = join_all(
            some.iter()
                .map(|name| vault.add_user(name, NewUser::default())),
        )
        .await;
        assert!(added.iter().all(Result::is_ok));
    }
    for (limit, pages) in [(1000, 1), (100, 3), (7, 36), (125, 3)] {
        let found = walk(&office, "/users", "users", limit).await;
        assert_eq!(found.len(), pages, "by {limit}");
        assert!(found.iter().all(|page| page.len() <= limit));
        let all: Vec<_> = found.concat();
        let different: BTreeSet<_> = all
            .iter()
            .map(|user| user["username"].to_string())
            .collect();
        assert_eq!((all.len(), different.len()), (250, 250), "by {limit}");
    }
    let usual = office.is(office.ask("GET", "/users", Value::Null).await, 200);
    assert_eq!(usual["users"].as_array().unwrap().len(), 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_members_keys_secrets_and_administrators_come_in_pages_too() {
    let office = Office::open("").await;
    for n in 0..5 {
        let name = format!("u{n}");
        office.proxy.add_user(&name).await;
        office.is(
            office
                .ask("POST", "/groups", json!({"name": format!("g{n}")}))
                .await,
            201,
        );
        let path = format!("/groups/g0/members/{name}");
        office.is(office.ask("PUT", &path, Value::Null).await, 200);
        office.proxy.issue_key("u0", None).await;
        let path = format!("/users/u0/secrets/github/S{n}");
        office.is(office.ask("PUT", &path, json!({"value": "v"})).await, 200);
        let body = json!({"name": name, "role": "reader"});
        office.is(office.ask("POST", "/admin/keys", body).await, 201);
    }
    for (path, list, count) in [
        ("/groups", "groups", 5),
        ("/groups/g0/members", "users", 5),
        ("/users/u0/keys", "keys", 5),
        ("/users/u0/secrets", "secrets", 5),
        ("/admin/keys", "keys", 6),
    ] {
        let all = walk(&office, path, list, 2).await.concat();
        let different: BTreeSet<_> = all.iter().map(Value::to_string).collect();
        assert_eq!((all.len(), different.len()), (count, count), "{path}");
    }
}
