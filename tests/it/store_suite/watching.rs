//! Watching, where nothing fails.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use cloakroom::store::Event;

use super::places::Place;
use super::{id, news, record};

const LONG: Duration = Duration::from_secs(5);

/// Changes made through another handle: creation, update, deletion.
pub(super) async fn hears_every_change_in_time(place: &Place) {
    let (one, other) = (place.open().await, place.open().await);
    let mut events = one.watch();
    assert_eq!(news(&mut events, LONG).await, Event::Up);
    let mut delays: BTreeMap<String, Vec<Duration>> = BTreeMap::new();
    for round in 0..15_u64 {
        let name = ["k/ab", "u/0123", "s/ffff/00", "a/77"][round as usize % 4];
        let changed = Event::Changed(id(name));
        for step in 0..3 {
            let done = match step {
                0 => other.put_if(record(name, 1, "x"), None).await,
                1 => other.put_if(record(name, 2, "y"), Some(1)).await,
                _ => other.delete_if(&id(name), 2).await,
            };
            let since = Instant::now();
            done.unwrap();
            assert_eq!(
                news(&mut events, LONG).await,
                changed,
                "round {round}, step {step}"
            );
            let took = since.elapsed();
            for of in [name.to_owned(), format!("step {step}")] {
                delays.entry(of).or_default().push(took);
            }
        }
    }
    // This machine may be busy with other things.
    for (of, mut delays) in delays {
        delays.sort();
        let median = delays[delays.len() / 2];
        assert!(median <= place.heard_within, "{of}: {delays:?}");
    }
}

/// Fails when `is_quiet` is always false, or in Redis when `tracking_on` names every letter.
pub(super) async fn quiet_records_are_not_heard_of(place: &Place) {
    let (one, other) = (place.open().await, place.open().await);
    let mut events = one.watch();
    assert_eq!(news(&mut events, LONG).await, Event::Up);
    for round in 0..3_u64 {
        other.put_if(record("r/ab", 1, "x"), None).await.unwrap();
        other.put_if(record("r/ab", 2, "y"), Some(1)).await.unwrap();
        assert!(one.get_many(&[id("r/ab")]).await.unwrap() == [Some(record("r/ab", 2, "y"))]);
        assert_eq!(one.page("r/", None, 9).await.unwrap().len(), 1);
        other.delete_if(&id("r/ab"), 2).await.unwrap();
        // Of the same shard, so that it is heard of after what came before.
        let loud = ["k/ab", "q/ab", "s/abcd/ef"][round as usize];
        other.put_if(record(loud, 1, "x"), None).await.unwrap();
        assert_eq!(news(&mut events, LONG).await, Event::Changed(id(loud)));
    }
}

pub(super) async fn says_it_is_alive(place: &Place) {
    let store = place.open().await;
    let mut events = store.watch();
    assert_eq!(events.recv().await, Some(Event::Up));
    for _ in 0..3 {
        let next = tokio::time::timeout(Duration::from_millis(1500), events.recv()).await;
        assert_eq!(next.unwrap(), Some(Event::Alive));
    }
}

/// Dropping the receiver must not leave anything behind that fails later.
pub(super) async fn ends_with_its_receiver(place: &Place) {
    let store = place.open().await;
    for _ in 0..5 {
        assert_eq!(store.watch().recv().await, Some(Event::Up));
    }
    store.put_if(record("k/ab", 1, "x"), None).await.unwrap();
    let mut events = store.watch();
    assert_eq!(events.recv().await, Some(Event::Up));
    store.delete_if(&id("k/ab"), 1).await.unwrap();
    assert_eq!(news(&mut events, LONG).await, Event::Changed(id("k/ab")));
}
