//! The store's events, as they concern what is cached.

use std::sync::Weak;

use tokio::sync::mpsc;

use super::entry::RecordKey;
use super::inner::Inner;
use crate::store::Event;

/// Applies events until the resolver is gone.
pub(super) async fn follow(inner: Weak<Inner>, mut events: mpsc::UnboundedReceiver<Event>) {
    while let Some(event) = events.recv().await {
        let Some(inner) = inner.upgrade() else { return };
        match event {
            Event::Up => {
                tracing::info!("changes of the store are pushed to us");
                // It can be reached again: not for another moment is anything served unchecked.
                inner.source.forgive();
                inner.freshness.on_up();
                inner.flights.taint_all();
            }
            Event::Alive => inner.freshness.on_alive(),
            Event::Down => {
                tracing::warn!("changes of the store are no longer pushed to us; reading again");
                inner.freshness.on_down();
            }
            Event::Blind => {
                tracing::warn!(
                    "the store does not report changes: what is cached is read again every 2 s, so a \
                     revocation takes up to 5 s; allow its user CLIENT TRACKING (+client|tracking), \
                     or use a Redis that offers it"
                );
                inner.freshness.on_blind();
            }
            Event::Changed(id) => {
                if let Some(key) = RecordKey::of(&id) {
                    inner.forget(&key);
                }
            }
        }
    }
    if let Some(inner) = inner.upgrade() {
        inner.freshness.on_down();
    }
}
