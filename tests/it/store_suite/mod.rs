//! The rules of `cloakroom::store`, run unchanged against every kind of store; then what is special
//! to each kind.

mod meters;
mod places;
mod redis;
mod rules;
mod sqlite;
mod watching;

use std::time::{Duration, Instant};

use cloakroom::store::{Event, Record, RecordId};
use tokio::sync::mpsc::UnboundedReceiver;

fn id(text: &str) -> RecordId {
    RecordId::parse(text).unwrap_or_else(|| panic!("{text} is no id"))
}

fn record(id_text: &str, version: u64, blob: &str) -> Record {
    Record {
        id: id(id_text),
        version,
        blob: blob.to_owned().into(),
    }
}

/// The next event that is news.
async fn news(events: &mut UnboundedReceiver<Event>, within: Duration) -> Event {
    let next = async {
        loop {
            match events.recv().await.expect("the watch goes on") {
                Event::Alive => {}
                event => return event,
            }
        }
    };
    let waited = Instant::now();
    let event = tokio::time::timeout(within, next).await;
    event.unwrap_or_else(|_| panic!("no news for {:?}", waited.elapsed()))
}

/// Waits for exactly this piece of news, letting others pass.
async fn await_news(events: &mut UnboundedReceiver<Event>, wanted: &Event, within: Duration) {
    let until = Instant::now() + within;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if news(events, left).await == *wanted {
            return;
        }
    }
}
