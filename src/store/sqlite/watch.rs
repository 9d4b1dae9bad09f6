//! Watching the file for changes made by anybody, this process included.
//!
//! `PRAGMA data_version` moves when another connection commits; it is asked when [`Notices`] say so, and only when
//! it moved is `changes` read. It stays for a connection's own commits, so the watcher has a connection
//! of its own that never writes. It also has a thread of its own: a task that blocks for ever would
//! keep the runtime from ending.

use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::mpsc::UnboundedSender;

use super::file::{Identity, reopen};
use super::notices::Notices;
use super::{StoreError, failed};
use crate::store::{Event, RecordId};

/// Also how often the file is looked at though nothing was written.
const ALIVE_EVERY: Duration = Duration::from_millis(250);
const RETRY_EVERY: Duration = Duration::from_millis(250);

pub(super) fn start(path: Arc<Path>, events: UnboundedSender<Event>) {
    let thread = thread::Builder::new().name("store-watch".to_owned());
    let refused = events.clone();
    if let Err(error) = thread.spawn(move || run(&path, &events)) {
        tracing::error!(%error, "Cannot watch the store: no thread for it.");
        // Nobody listens to a watcher that never was: the caller sees the channel end.
        let _ = refused.send(Event::Down);
    }
}

/// Until nobody listens: watch; after a failure say Down once, and try again.
fn run(path: &Path, events: &UnboundedSender<Event>) {
    let mut told = false;
    while !events.is_closed() {
        let Err(error) = Watcher::open(path, ALIVE_EVERY).and_then(|mut watcher| {
            told = false;
            watcher.run(path, events)
        }) else {
            return;
        };
        if !told {
            tracing::warn!(%error, "The store cannot be watched; trying again.");
            let _ = events.send(Event::Down);
            told = true;
        }
        thread::sleep(RETRY_EVERY);
    }
}

struct Watcher {
    connection: Connection,
    identity: Identity,
    notices: Notices,
    data_version: i64,
    /// The last change reported, or made before watching began.
    seen: i64,
}

impl Watcher {
    /// One that looks every `rarely` though nothing is told.
    fn open(path: &Path, rarely: Duration) -> Result<Self, StoreError> {
        let (identity, connection) = reopen(path)?;
        // In this order: a commit in between is told of, or moves the version again, and nothing is missed.
        let notices = Notices::of(path, rarely);
        let data_version = data_version(&connection)?;
        let seen = last_change(&connection)?;
        Ok(Self {
            connection,
            identity,
            notices,
            data_version,
            seen,
        })
    }

    /// Ends well only when nobody listens.
    fn run(&mut self, path: &Path, events: &UnboundedSender<Event>) -> Result<(), StoreError> {
        let mut ok = events.send(Event::Up).is_ok();
        let mut alive = None::<Instant>;
        while ok {
            if Identity::of(path)? != self.identity {
                return Err(StoreError::Unreachable("the file was replaced".to_owned()));
            }
            let news = self.poll()?;
            let due = alive.is_none_or(|sent| sent.elapsed() >= ALIVE_EVERY);
            let alive_now = (due || !news.is_empty()).then_some(Event::Alive);
            if alive_now.is_some() {
                alive = Some(Instant::now());
            }
            ok = !events.is_closed()
                && news
                    .into_iter()
                    .chain(alive_now)
                    .all(|event| events.send(event).is_ok());
            self.notices.wait();
        }
        Ok(())
    }

    /// What to report now.
    fn poll(&mut self) -> Result<Vec<Event>, StoreError> {
        let now = data_version(&self.connection)?;
        if now == self.data_version {
            return Ok(Vec::new());
        }
        self.notices.seen();
        let transaction = self.connection.transaction().map_err(failed)?;
        let last = last_change(&transaction)?;
        let rows = transaction
            .prepare_cached("SELECT seq, id FROM changes WHERE seq > ?1 ORDER BY seq")
            .and_then(|mut select| {
                let rows = select.query_map([self.seen], |row| Ok((row.get(0)?, row.get(1)?)))?;
                rows.collect::<rusqlite::Result<Vec<(i64, String)>>>()
            })
            .map_err(failed)?;
        drop(transaction);
        let complete = last >= self.seen && rows.len() as i64 == last - self.seen;
        self.data_version = now;
        self.seen = last;
        if !complete {
            // Trimmed past us, or an earlier state was restored into the same file.
            return Ok(vec![Event::Down, Event::Up]);
        }
        rows.into_iter()
            .map(|(_, id)| RecordId::parse(&id).map(Event::Changed))
            .collect::<Option<_>>()
            .ok_or_else(|| StoreError::Damaged("a record's id among the changes".to_owned()))
    }
}

fn data_version(connection: &Connection) -> Result<i64, StoreError> {
    number(connection, "PRAGMA data_version")
}

/// The number of the last change ever made, whether or not it is still kept.
fn last_change(connection: &Connection) -> Result<i64, StoreError> {
    number(connection, "SELECT coalesce(max(seq), 0) FROM changes")
}

/// What a question is answered with. Prepared once: SQLite reading one forty times a second was a tenth to a
/// fifth of this thread's time.
fn number(connection: &Connection, question: &str) -> Result<i64, StoreError> {
    connection
        .prepare_cached(question)
        .and_then(|mut asked| asked.query_row([], |row| row.get(0)))
        .map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::super::Sqlite;
    use super::*;
    use crate::store::{Record, Store as _};

    const HOUR: Duration = Duration::from_secs(3600);

    // Fails when nothing is told of a commit, or a watcher that is told goes on waiting.
    #[tokio::test]
    async fn a_commit_is_seen_by_its_notice_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        let store = Sqlite::open(&path).await.unwrap();
        let mut watcher = Watcher::open(&path, HOUR).unwrap();
        let (events, mut heard) = tokio::sync::mpsc::unbounded_channel();
        thread::spawn(move || watcher.run(&path, &events));
        // Until it looks no more.
        tokio::time::sleep(Duration::from_millis(1500)).await;
        let id = RecordId::parse("k/ab").unwrap();
        let record = Record {
            id: id.clone(),
            version: 1,
            blob: b"x".to_vec().into(),
        };
        store.put_if(record, None).await.unwrap();
        let heard = tokio::time::timeout(Duration::from_secs(30), async {
            while heard.recv().await != Some(Event::Changed(id.clone())) {}
        });
        heard.await.unwrap();
    }
}
