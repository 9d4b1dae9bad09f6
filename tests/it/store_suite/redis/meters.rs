//! What of meters and streams can be seen behind the scenes.

use std::time::{Duration, Instant};

use bytes::Bytes;
use cloakroom::store::{Ask, Meter, MeterId, open};

use super::super::places::settings;
use crate::support::redis::Server;

/// Of a stream: its id, then fields and their values.
type Entry = (String, Vec<(String, Vec<u8>)>);

// Fails when a key is set without PX.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_stays_of_a_meter_that_is_full_again() {
    let server = Server::plain();
    let store = open(&settings(&server.url())).await.unwrap();
    let ask = |id: &str, meter| Ask {
        id: MeterId::parse(id).unwrap(),
        meter,
        want: 2,
    };
    let interval = Duration::from_millis(100);
    let quota = Meter::Quota { max: 9, until: 1 };
    let asks = [
        ask("u/ab", Meter::Rate { interval, burst: 2 }),
        ask("u/ab", quota),
    ];
    store.take(&asks).await.unwrap();
    let left: i64 = server.ask("PTTL cloakroom:meter/quota/u/{ab}").unwrap();
    assert!((3_500_000..=3_600_001).contains(&left), "{left}");
    let until = Instant::now() + Duration::from_secs(5);
    while server
        .ask::<bool>("EXISTS cloakroom:meter/rate/u/{ab}")
        .unwrap()
    {
        assert!(Instant::now() < until, "it stays");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

// Fails when the script is only ever sent by its hash.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_forgot_the_script_is_told_again() {
    let server = Server::plain();
    let store = open(&settings(&server.url())).await.unwrap();
    server.ask::<()>("SCRIPT FLUSH").unwrap();
    let until = u64::from(u32::MAX);
    let asks = ["u/ab", "u/cd"].map(|id| Ask {
        id: MeterId::parse(id).unwrap(),
        meter: Meter::Quota { max: 9, until },
        want: 2,
    });
    let taken = store.take(&asks).await.unwrap();
    assert_eq!([taken[0].granted, taken[1].granted], [2, 2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_come_back_in_order_and_the_oldest_go() {
    let server = Server::plain();
    let store = open(&settings(&server.url())).await.unwrap();
    let lines: Vec<Bytes> = (0..500)
        .map(|n| format!("line \u{0}{n}\n").into())
        .collect();
    for some in lines.chunks(7) {
        store.append("audit", 10_000, some).await.unwrap();
    }
    let range = || {
        let mut range = redis::cmd("XRANGE");
        range.arg("cloakroom:stream/{audit}").arg("-").arg("+");
        range.query::<Vec<Entry>>(&mut server.raw()).unwrap()
    };
    let found: Vec<Bytes> = range()
        .into_iter()
        .map(|(_, mut fields)| {
            assert_eq!((fields.len(), &*fields[0].0), (1, "line"));
            fields.remove(0).1.into()
        })
        .collect();
    assert!(found == lines);
    store.append("audit", 50, &lines[..1]).await.unwrap();
    // Redis keeps whole nodes, of a hundred entries unless told otherwise.
    assert!((50..250).contains(&range().len()));
}
