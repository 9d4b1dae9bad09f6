//! Somebody who can write to the store puts an old secret back before a rotation.

use cloakroom::store::Record;
use cloakroom::vault::Reader;
use std::sync::Arc;

use super::{SERVER, keyring, named, start};
use crate::cli::run_in;
use crate::support::fingerprint;
use crate::support::proxy::{Proxy, user};
use crate::support::redis::Server;

/// Fails without the arm of `fate` in `vault/rotate.rs` that compares a set's version with the listed one,
/// if the set is then sealed at the clock's version: the old secret is sent again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_makes_no_old_secret_new() {
    let redis = Server::plain();
    let mut proxy = start(&redis).await;
    let key = proxy.settle_in("alice", &[SERVER]).await;
    let other = proxy.settle_in("bob", &[SERVER]).await;
    let leaked = alices(&proxy).await;
    proxy.set_secret("alice", SERVER, "the new one").await;
    let new = alices(&proxy).await;
    proxy.store.delete_if(&new.id, new.version).await.unwrap();
    proxy.store.put_if(leaked, None).await.unwrap();

    proxy.serving.stop().await;
    // With nobody serving it goes on at once.
    let done = keyring(&proxy, "rotate").await;
    assert_eq!(done.code, 1);
    let document = done.document();
    assert_eq!(document["state"], "incomplete");
    let left = &document["left"][0];
    let expected = (
        &"put_back".into(),
        &1.into(),
        &format!("alice {SERVER} default").into(),
    );
    assert_eq!(
        (&left["reason"], &left["records"], &left["examples"][0]),
        expected
    );
    assert!(done.err.contains("cloakroom secret delete"), "{}", done.err);
    let replica = proxy.replica(None);
    let mut client = crate::support::client::Client::new(replica.address);
    for _ in 0..3 {
        let answer = client.call(SERVER, &key, "n").await;
        let message = answer.message();
        assert!(
            message["error"].is_object() && message["result"].is_null(),
            "{message}"
        );
    }
    let answer = client.call(SERVER, &other, "n").await.message();
    let bobs = fingerprint(format!("bob-{SERVER}-secret").as_bytes());
    assert_eq!(answer["result"]["fingerprint"], bobs.as_str());

    // The key it is under stays until the set is gone.
    let kept = keyring(&proxy, "retire").await;
    assert_eq!(
        (kept.code, named(&kept.document(), "retired")),
        (1, vec!["realm:r1".into(), "sign:g1".into()])
    );
    assert!(kept.err.contains("1 of secret sets"), "{}", kept.err);
    let delete = ["secret", "delete", "alice", SERVER, "--all"];
    assert_eq!(run_in(proxy.folder.path(), delete, b"").code, 0);
    assert_eq!(keyring(&proxy, "rotate").await.code, 0);
    let retired = keyring(&proxy, "retire").await;
    assert_eq!(
        named(&retired.document(), "retired"),
        ["server:s1"],
        "{}",
        retired.err
    );
}

async fn alices(proxy: &Proxy) -> Record {
    let vault = proxy.reopened();
    let id = vault.user(&user("alice")).await.unwrap().id;
    let file = proxy.folder.path().join("master.keys");
    let reader = Reader::new(Arc::new(
        cloakroom::cli::open::keyring(&file.into()).unwrap(),
    ));
    let place = reader.secrets_record(id, SERVER, "default");
    proxy
        .store
        .get_many(&[place])
        .await
        .unwrap()
        .remove(0)
        .unwrap()
}
