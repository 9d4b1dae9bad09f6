//! Active checks (`cargo test --features pingora-lb --test it -- replicas`): a replica that accepts
//! connections but is ill gets no requests, which no connection could tell.

use std::sync::atomic::Ordering;
use std::time::Instant;

use super::{PATIENCE, named, proxy, three, users};

// Mutation: any status passes in proxy/check.rs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_fails_its_checks_gets_no_requests_until_it_passes_them() {
    let replicas = three().await;
    let proxy = proxy(
        &replicas,
        "health_check = { every = \"100ms\", path = \"/mcp\" }",
    )
    .await;
    let keys = users(&proxy, 24).await;
    let ask = async |key: &str| proxy.client().call("many", key, "x").await;
    let mut at_east = Vec::new();
    for key in keys {
        // The endpoint's refusal (405) shows it well.
        if named(&ask(&key).await) == "east" {
            at_east.push(key);
        }
    }
    let key = at_east.first().unwrap();
    replicas[1].ill.store(true, Ordering::SeqCst);
    let until = Instant::now() + PATIENCE;
    while ask(key).await.status == 503 {
        assert!(Instant::now() < until, "it is asked on and on");
    }
    for key in &at_east {
        assert_ne!(named(&ask(key).await), "east");
    }
    replicas[1].ill.store(false, Ordering::SeqCst);
    while named(&ask(key).await) != "east" {
        assert!(Instant::now() < until, "it is not used again");
    }
}
