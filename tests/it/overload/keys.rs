//! Wrong keys: an address that sends many waits for their answers, and nobody else does.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::{Bystander, Raw, head};
use crate::support::echo::{Manner, echo};
use crate::support::proxy::{Lines, Place, Proxy, alone};

const WRONG_KEYS: usize = 200;

/// A wrong key from this address: how long the answer took.
async fn guess(proxy: std::net::SocketAddr, own: IpAddr) -> Duration {
    let mut raw = Raw::from(own, proxy).await;
    let asked = Instant::now();
    let request = format!("{}Content-Length: 2\r\n\r\n{{}}", head("one", "clk_wrong"));
    assert!(raw.send(request.as_bytes()).await);
    assert_eq!(raw.status().await, Some(401));
    asked.elapsed()
}

// Fails when answers to wrong keys are not held back, when others are, or when addresses are not told
// apart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_wrong_keys_from_one_address_are_slowed_and_nothing_else_is() {
    let _alone = alone().await;
    let servers = [("one", echo(Manner::Json).await)];
    let lines = Lines {
        root: "[limits]\nfailed_keys = 10",
        ..Lines::default()
    };
    let proxy = Proxy::start(&Place::Sqlite, &lines, &servers).await;
    let (key, client) = proxy.known("alice", "one").await;
    let address = proxy.serving.address;
    let [here, there] = ["127.0.0.1", "127.0.0.2"].map(|own| own.parse::<IpAddr>().unwrap());
    assert!(guess(address, here).await < Duration::from_millis(500));

    let bystander = Bystander::start(client, "one", &key);
    let mut guesses = JoinSet::new();
    for _ in 0..WRONG_KEYS {
        guesses.spawn(guess(address, here));
    }
    let elsewhere = guess(address, there).await;
    let mut times = guesses.join_all().await;
    let others = bystander.stop().await;
    times.sort_unstable();
    let slowest = others.iter().max().unwrap();
    println!(
        "wrong keys: the 9th {:?}, the median {:?}, the slowest {:?}; from elsewhere {elsewhere:?}; {} right \
         keys meanwhile, the slowest {slowest:?}",
        times[8],
        times[WRONG_KEYS / 2],
        times[WRONG_KEYS - 1],
        others.len()
    );
    assert!(
        times[8] < Duration::from_secs(1),
        "the first are not slowed"
    );
    assert!(times[WRONG_KEYS / 2] >= Duration::from_secs(2), "{times:?}");
    assert!(elsewhere < Duration::from_secs(1), "{elsewhere:?}");
    assert!(*slowest < Duration::from_secs(1), "{slowest:?}");
    assert!(others.len() > 50, "{}", others.len());
}
