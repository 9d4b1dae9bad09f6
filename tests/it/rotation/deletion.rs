//! A user's deletion that is killed half-way.

use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cloakroom::vault::KeyRequest;
use tokio::task::JoinSet;

use super::{SERVER, start};
use crate::cli::{cloakroom, run_in};
use crate::support::proxy::user;
use crate::support::redis::Server;

const KEYS: usize = 1_000;

/// Fails when `delete_user` in `vault/users.rs` deletes keys before secrets.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_that_is_killed_leaves_no_secret_and_can_be_run_again() {
    let redis = Server::plain();
    let proxy = Arc::new(start(&redis).await);
    proxy.settle_in("alice", &[SERVER, "another"]).await;
    let other = proxy.settle_in("bob", &[SERVER]).await;
    let mut issued = JoinSet::new();
    for _ in 0..KEYS {
        let vault = proxy.vault.clone();
        issued.spawn(async move {
            let key = vault.issue_key(&user("alice"), KeyRequest::default()).await;
            key.unwrap().key.reveal().to_owned()
        });
    }
    let keys = issued.join_all().await;
    let alice = proxy.vault.user(&user("alice")).await.unwrap().id;
    let count = |prefix: String| {
        let store = proxy.store.clone();
        async move { store.page(&prefix, None, 2 * KEYS).await.unwrap().len() }
    };
    let mut child = cloakroom()
        .current_dir(proxy.folder.path())
        .args(["user", "delete", "alice", "--yes"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let patience = Instant::now() + Duration::from_secs(20);
    while count("k/".into()).await > KEYS {
        assert!(Instant::now() < patience);
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let left = count("k/".into()).await;
    println!("{left} keys were left");
    assert!(left > 1, "it had done everything");
    assert_eq!(count(format!("s/{alice}/")).await, 0);
    let mut client = proxy.client();
    let mut refused = 0;
    for key in keys.iter().take(100) {
        let answer = client.call(SERVER, key, "n").await;
        let message = answer.message();
        assert!(
            message["error"].is_object() && message["result"].is_null(),
            "{message}"
        );
        refused += 1;
    }
    assert_eq!(refused, 100);

    let delete = ["user", "delete", "alice", "--yes"];
    let again = run_in(proxy.folder.path(), delete, b"");
    assert_eq!(again.code, 0, "{}", again.err);
    assert!(proxy.vault.user(&user("alice")).await.is_err());
    for kind in ["k", "u", "s", "n"] {
        assert_eq!(count(format!("{kind}/")).await, 1, "{kind}: bob's alone");
    }
    assert_eq!(client.call(SERVER, &other, "n").await.status, 200);
}
