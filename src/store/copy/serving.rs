//! Who serves from a store, by what proxies leave there.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::BATCH;
use super::walk::NOT_COPIED;
use crate::store::{Pages, Record, Store, StoreError};

/// How old a live proxy's heartbeat is at most; they come every 10 s.
const LIVE: Duration = Duration::from_secs(60);

/// How many proxies serve from `store`, as far as clocks can tell.
pub(super) async fn serving(store: &dyn Store) -> Result<u64, StoreError> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.unwrap_or_default();
    let mut pages = Pages::new(store, format!("{NOT_COPIED}/"), BATCH);
    let mut count = 0;
    while let Some(page) = pages.next().await? {
        count += page.iter().filter(|record| is_live(record, now)).count() as u64;
    }
    Ok(count)
}

/// Whether a heartbeat is recent: its version is when it was written, in microseconds. One from a
/// little ahead, by a clock that is, is as good.
fn is_live(heartbeat: &Record, now: Duration) -> bool {
    now.abs_diff(Duration::from_micros(heartbeat.version)) < LIVE
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::RecordId;

    // Fails when the version is taken for milliseconds, or a clock that is ahead for a dead proxy's.
    #[test]
    fn a_heartbeat_lives_for_a_minute() {
        let now = Duration::from_secs(1_000_000);
        for (seconds, lives) in [
            (1_000_000, true),
            (999_941, true),
            (999_940, false),
            (1_000_059, true),
            (1_000_060, false),
            (0, false),
        ] {
            let heartbeat = Record {
                id: RecordId::parse("h/00").unwrap(),
                version: seconds * 1_000_000,
                blob: "alive".into(),
            };
            assert_eq!(is_live(&heartbeat, now), lives, "{seconds}");
        }
    }
}
