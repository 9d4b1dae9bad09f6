//! Reading, writing, listing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cloakroom::store::{BLOB_LIMIT, Record, RecordId, Settled, Store, StoreError, WriteError};

use super::places::Place;
use super::{id, record};

/// Before a busy machine is asked again.
const PAUSE: Duration = Duration::from_millis(300);

async fn get(store: &Arc<dyn Store>, text: &str) -> Option<Record> {
    store.get_many(&[id(text)]).await.unwrap().pop().unwrap()
}

fn is_conflict(result: Result<(), WriteError>) -> bool {
    match result {
        Ok(()) => false,
        Err(WriteError::Conflict) => true,
        Err(WriteError::Store(error)) => panic!("{error}"),
    }
}

pub(super) async fn compares_and_swaps(place: &Place) {
    let store = place.open().await;
    assert!(get(&store, "k/ab").await.is_none());
    // There is nothing to update or delete.
    assert!(is_conflict(
        store.put_if(record("k/ab", 2, "x"), Some(1)).await
    ));
    assert!(is_conflict(store.delete_if(&id("k/ab"), 1).await));
    // Created once only.
    store.put_if(record("k/ab", 5, "five"), None).await.unwrap();
    assert!(is_conflict(
        store.put_if(record("k/ab", 6, "x"), None).await
    ));
    // Updated by who read the newest version only.
    assert!(is_conflict(
        store.put_if(record("k/ab", 6, "x"), Some(4)).await
    ));
    assert!(is_conflict(
        store.put_if(record("k/ab", 6, "x"), Some(u64::MAX)).await
    ));
    assert!(get(&store, "k/ab").await == Some(record("k/ab", 5, "five")));
    let big = i64::MAX as u64;
    store
        .put_if(record("k/ab", big, "big"), Some(5))
        .await
        .unwrap();
    assert!(get(&store, "k/ab").await == Some(record("k/ab", big, "big")));
    // Deleted by who read the newest version only, then gone for all.
    assert!(is_conflict(store.delete_if(&id("k/ab"), 5).await));
    store.delete_if(&id("k/ab"), big).await.unwrap();
    assert!(get(&store, "k/ab").await.is_none());
    assert!(is_conflict(
        store.put_if(record("k/ab", 9, "x"), Some(big)).await
    ));
    store
        .put_if(record("k/ab", 9, "again"), None)
        .await
        .unwrap();
    // One entry per id, in the order asked, also when asked twice.
    store
        .put_if(record("s/00/ff", 1, "other"), None)
        .await
        .unwrap();
    let ids = ["s/00/ff", "k/00", "k/ab", "s/00/ff"].map(id);
    let found = store.get_many(&ids).await.unwrap();
    let blobs: Vec<_> = found
        .iter()
        .map(|record| record.as_ref().map(|record| &record.blob[..]))
        .collect();
    let [other, again] = [&b"other"[..], b"again"];
    assert_eq!(blobs, [Some(other), None, Some(again), Some(other)]);
    assert!(store.get_many(&[]).await.unwrap().is_empty());
}

pub(super) async fn one_writer_wins_each_round(place: &Place) {
    let stores = [place.open().await, place.open().await];
    stores[0].put_if(record("u/aa", 1, ""), None).await.unwrap();
    for round in 1..=20_u64 {
        let writers: Vec<_> = (0..16)
            .map(|writer| {
                let store = Arc::clone(&stores[writer % 2]);
                let update = record("u/aa", round + 1, &format!("{round} {writer}"));
                tokio::spawn(async move {
                    let blob = update.blob.clone();
                    (!is_conflict(store.put_if(update, Some(round)).await)).then_some(blob)
                })
            })
            .collect();
        let mut winners = Vec::new();
        for writer in writers {
            winners.extend(writer.await.unwrap());
        }
        assert_eq!(winners.len(), 1, "round {round}");
        let now = get(&stores[1], "u/aa").await.unwrap();
        assert_eq!((now.version, now.blob), (round + 1, winners.remove(0)));
    }
}

pub(super) async fn no_update_is_lost(place: &Place) {
    let stores = [place.open().await, place.open().await];
    stores[0]
        .put_if(record("u/aa", 1, "0"), None)
        .await
        .unwrap();
    let writers = (0..8).map(|writer| {
        let store = Arc::clone(&stores[writer % 2]);
        tokio::spawn(async move {
            for _ in 0..10 {
                while {
                    let old = get(&store, "u/aa").await.unwrap();
                    let count: u32 = std::str::from_utf8(&old.blob).unwrap().parse().unwrap();
                    let new = record("u/aa", old.version + 1, &(count + 1).to_string());
                    is_conflict(store.put_if(new, Some(old.version)).await)
                } {}
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    assert!(get(&stores[0], "u/aa").await == Some(record("u/aa", 81, "80")));
}

/// Ids over several kinds, tags and lengths, and what is stored under them.
async fn fill(store: &Arc<dyn Store>) -> BTreeMap<RecordId, Record> {
    let mut all = BTreeMap::new();
    let mut ids: Vec<String> = (0..150_u32)
        .map(|n| format!("k/{:08x}", n.wrapping_mul(0x9e37_79b9)))
        .chain((0..30).map(|n| format!("s/ab12/{n:02x}")))
        .chain((0..3).map(|n| format!("s/ab13/{n:02x}")))
        .collect();
    ids.extend(
        [
            "k/00",
            "k/ff",
            "k/ff/",
            "k/ff0",
            "s/ab",
            "s/ab12",
            "u/ab12/00",
        ]
        .map(str::to_owned),
    );
    for (version, text) in (1..).zip(&ids) {
        let record = record(text, version, text);
        store.put_if(record.clone(), None).await.unwrap();
        all.insert(record.id.clone(), record);
    }
    all
}

async fn walk(store: &Arc<dyn Store>, prefix: &str, limit: usize) -> Vec<Record> {
    let mut found: Vec<Record> = Vec::new();
    loop {
        let after = found.last().map(|record| &record.id);
        let page = store.page(prefix, after, limit).await.unwrap();
        assert!(page.len() <= limit);
        let end = page.len() < limit;
        found.extend(page);
        if end {
            return found;
        }
    }
}

fn same(found: &[Record], expected: &[&Record]) {
    let ids = |records: &mut dyn Iterator<Item = &Record>| -> Vec<String> {
        records.map(|record| record.id.to_string()).collect()
    };
    assert_eq!(ids(&mut found.iter()), ids(&mut expected.iter().copied()));
    assert!(
        found
            .iter()
            .zip(expected)
            .all(|(found, expected)| found == *expected)
    );
}

pub(super) async fn pages_are_ordered_and_complete(place: &Place) {
    let store = place.open().await;
    assert!(walk(&store, "k/", 10).await.is_empty());
    let mut all = fill(&store).await;
    let within = |all: &BTreeMap<RecordId, Record>, prefix: &str| -> Vec<Record> {
        all.values()
            .filter(|record| record.id.as_str().starts_with(prefix))
            .cloned()
            .collect()
    };
    for prefix in [
        "k/", "k/f", "k/ff", "s/", "s/ab12", "s/ab12/", "s/ab12/1", "u/", "x/", "k/0a0",
    ] {
        let expected = within(&all, prefix);
        for limit in [1, 7, 1000] {
            same(
                &walk(&store, prefix, limit).await,
                &expected.iter().collect::<Vec<_>>(),
            );
        }
    }
    assert!(store.page("k/", None, 0).await.unwrap().is_empty());
    // From an id that is no more, and from one that never was.
    let gone = within(&all, "s/")[5].clone();
    store.delete_if(&gone.id, gone.version).await.unwrap();
    all.remove(&gone.id);
    for after in [gone.id, id("s/ab12/0000"), id("k/ab"), id("u/00")] {
        let expected = within(&all, "s/");
        let expected: Vec<_> = expected.iter().filter(|record| record.id > after).collect();
        same(
            &store.page("s/", Some(&after), 1000).await.unwrap(),
            &expected,
        );
    }
}

pub(super) async fn a_walk_sees_what_stays(place: &Place) {
    let store = place.open().await;
    let all = fill(&store).await;
    // Every other key comes and goes while the walk is on.
    let (stay, go): (Vec<_>, Vec<_>) = all
        .values()
        .filter(|r| r.id.as_str().starts_with("k/"))
        .enumerate()
        .partition(|(n, _)| n % 2 == 0);
    let busy = Arc::clone(&store);
    let go: Vec<Record> = go.into_iter().map(|(_, record)| record.clone()).collect();
    let churn = tokio::spawn(async move {
        for _ in 0..3 {
            for record in &go {
                busy.delete_if(&record.id, record.version).await.unwrap();
            }
            for record in &go {
                busy.put_if(record.clone(), None).await.unwrap();
            }
        }
    });
    while !churn.is_finished() {
        let found = walk(&store, "k/", 5).await;
        assert!(
            found.is_sorted_by(|a, b| a.id < b.id),
            "each once, in order"
        );
        for (_, record) in &stay {
            assert!(found.contains(record), "{} was not seen", record.id);
        }
    }
    churn.await.unwrap();
}

pub(super) async fn handles_see_each_other(place: &Place) {
    let (one, other) = (place.open().await, place.open().await);
    for version in 1..20 {
        let expected = (version > 1).then(|| version - 1);
        one.put_if(record("k/ab", version, &version.to_string()), expected)
            .await
            .unwrap();
        let seen = get(&other, "k/ab").await;
        assert!(
            seen == Some(record("k/ab", version, &version.to_string())),
            "{version}"
        );
    }
    other.delete_if(&id("k/ab"), 19).await.unwrap();
    assert!(get(&one, "k/ab").await.is_none());
    assert!(one.page("k/", None, 1).await.unwrap().is_empty());
}

/// What is asked, up to five times more while there is no answer.
async fn patiently<T>(
    mut ask: impl AsyncFnMut() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let mut answer = ask().await;
    for _ in 0..5 {
        if answer.is_err() {
            tokio::time::sleep(PAUSE).await;
            answer = ask().await;
        }
    }
    answer
}

pub(super) async fn takes_any_size_up_to_the_limit(place: &Place) {
    let store = place.open().await;
    let longest = format!("s/{}", "a/".repeat(99).replacen("a/", "aa", 1));
    assert_eq!(longest.len(), 200);
    for (version, size) in (1..).zip([0, 1, 1 << 20, BLOB_LIMIT, 0]) {
        let blob: Vec<u8> = (0..size).map(|n| (n % 251) as u8).collect();
        let record = Record {
            id: id(&longest),
            version,
            blob: blob.into(),
        };
        let expected = (version > 1).then(|| version - 1);
        // A busy machine may not carry 16 MiB through TLS in the time one request may take.
        for tries in 0.. {
            match store.put_if(record.clone(), expected).await {
                Ok(()) => break,
                Err(WriteError::Store(StoreError::Unreachable(_)))
                    if size == BLOB_LIMIT && tries < 5 =>
                {
                    tokio::time::sleep(PAUSE).await;
                }
                // It was written all the same.
                Err(WriteError::Conflict) if tries > 0 => break,
                Err(error) => panic!("{size}: {error}"),
            }
        }
        let ids = std::slice::from_ref(&record.id);
        let found = patiently(async || store.get_many(ids).await).await;
        assert!(found.unwrap() == [Some(record.clone())], "{size}");
        let page = patiently(async || store.page("s/", None, 9).await).await;
        assert!(page.unwrap() == [record], "{size}");
    }
    let too_long = Record {
        blob: vec![0; BLOB_LIMIT + 1].into(),
        ..record("k/ab", 1, "")
    };
    for record in [too_long, record("k/ab", u64::MAX, "")] {
        let refused = store.put_if(record, None).await;
        assert!(matches!(
            refused,
            Err(WriteError::Store(StoreError::TooLarge(_)))
        ));
    }
    assert!(get(&store, "k/ab").await.is_none());
}

/// A runtime without I/O or timers: the store must do all of that where it was opened.
pub(super) async fn works_from_another_runtime(place: &Place) {
    let store = place.open().await;
    let elsewhere = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(async {
            store.put_if(record("k/ab", 1, "x"), None).await.unwrap();
            assert!(get(&store, "k/ab").await.is_some());
            assert_eq!(store.page("k/", None, 9).await.unwrap().len(), 1);
            store.settle().await.unwrap();
            assert!(store.watch().recv().await.is_some());
            store.delete_if(&id("k/ab"), 1).await.unwrap();
        });
    });
    tokio::task::spawn_blocking(|| elsewhere.join().unwrap())
        .await
        .unwrap();
}

pub(super) async fn settles(place: &Place) {
    let store = place.open().await;
    store.put_if(record("k/ab", 1, "x"), None).await.unwrap();
    assert_eq!(store.settle().await.unwrap(), Settled::Everywhere);
}
