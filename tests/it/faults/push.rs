//! The store is well, but the news of its changes does not arrive, or late.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::sleep;

use super::{PUSHED, RECHECKED, SERVER, Wired, served_on};
use crate::support::Chance;
use crate::support::load::Load;
use crate::support::proxy::beside_few;
use crate::support::relay::{Faults, Way, Which};

/// Keys revoked at different moments of each fault.
const KEYS: u64 = 6;

/// Revokes keys while something is wrong with what tells of changes, and only with that.
async fn revoked_in_time(what: &str, faults: Faults) {
    let wired = Wired::start("").await;
    let load = Load::start(&wired.proxy, SERVER, 2, Duration::from_millis(15)).await;
    let mut keys = Vec::new();
    for n in 0..KEYS {
        keys.push(wired.proxy.known(&format!("user-{n}"), SERVER).await);
    }
    wired.relay.set(faults);
    let all = keys.into_iter().zip(0..).map(|((key, mut client), n)| {
        let proxy = &wired.proxy;
        async move {
            // Before the loss is noticed, while it is, and after.
            sleep(Duration::from_millis(100 + 700 * n)).await;
            proxy.revoke(&key).await;
            let took = served_on(&mut client, &key, Instant::now()).await;
            for _ in 0..5 {
                sleep(Duration::from_millis(100)).await;
                let answer = client.call(SERVER, &key, "after").await;
                assert_eq!(answer.status, 401, "{what}: it came back");
            }
            took
        }
    });
    let all = futures_util::future::join_all(all).await;
    let longest = all.into_iter().max().unwrap();
    assert!(longest < RECHECKED, "{what}: {longest:?}");
    load.stop().await.assert_clean(what);
}

// Fails when `RECHECK` in the resolver is 10 s, or when the watch waits 10 s for the answer to a `PING`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_holds_in_time_whatever_happens_to_the_news_of_it() {
    let _place = beside_few().await;
    let of = Which::Tracking;
    let told = |to_client| Faults {
        to_client,
        of,
        ..Faults::default()
    };
    let unheard = Faults {
        to_server: Way::Lost,
        of,
        ..Faults::default()
    };
    let mut all = JoinSet::new();
    all.spawn(revoked_in_time("the news is lost", told(Way::Lost)));
    all.spawn(revoked_in_time("the watch is not heard", unheard));
    all.spawn(revoked_in_time(
        "the news is late by 0.9 s",
        told(Way::Late(Duration::from_millis(900))),
    ));
    all.spawn(revoked_in_time(
        "the news is late by 3 s",
        told(Way::Late(Duration::from_secs(3))),
    ));
    all.spawn(revoked_in_time(
        "the news trickles",
        told(Way::Trickles(Duration::from_millis(10))),
    ));
    all.join_all().await;
}

// Fails when `taint` in the resolver makes no flight dirty.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_late_brings_no_revoked_key_back() {
    const LATE: Duration = Duration::from_millis(200);
    const KEYS: usize = 20;
    let _place = beside_few().await;
    let wired = std::sync::Arc::new(Wired::start("").await);
    let mut rounds = JoinSet::new();
    for n in 0..KEYS {
        let wired = wired.clone();
        let name = format!("user-{n}");
        rounds.spawn(async move { wired.proxy.settle_in(&name, &[SERVER]).await });
    }
    let keys = rounds.join_all().await;
    wired.relay.set(Faults {
        to_client: Way::Late(LATE),
        of: Which::Others,
        ..Faults::default()
    });
    let mut rounds = JoinSet::new();
    for (n, key) in keys.into_iter().enumerate() {
        let wired = wired.clone();
        rounds.spawn(async move {
            let mut client = wired.proxy.client();
            let first = async {
                client.call(SERVER, &key, "first").await;
                Instant::now()
            };
            let write = async {
                // The question is asked, or asked again, and the answer is on its way.
                let pause = 20 + Chance::new(n as u64).below(500);
                sleep(Duration::from_millis(pause)).await;
                wired.proxy.revoke(&key).await;
                Instant::now()
            };
            let (answered, written) = tokio::join!(first, write);
            // The news arrives at once, or what a busy machine adds; nothing else would end it by then.
            let told = written + PUSHED;
            sleep(told.saturating_duration_since(Instant::now())).await;
            for _ in 0..20 {
                let answer = client.call(SERVER, &key, "after").await;
                assert_ne!(answer.status, 200, "it is back");
                sleep(Duration::from_millis(50)).await;
            }
            assert_eq!(client.call(SERVER, &key, "after").await.status, 401);
            usize::from(answered > written)
        });
    }
    let rounds = rounds.join_all().await;
    let in_flight: usize = rounds.iter().sum();
    assert!(
        in_flight > KEYS / 4,
        "{in_flight} of {KEYS} were asked for when they were revoked"
    );
}
