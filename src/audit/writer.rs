//! The thread of one sink: takes what waits, chains it, writes it, and tells who waits.
//!
//! What a sink took whole is part of its chain, and nothing else is: after a failure the chain goes on
//! behind the last whole line, what nobody waited for is tried again, and what somebody waited for is
//! refused to him. Where it is not clear what a sink took, a new chain begins.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::lane::{Message, Noted, Shared, Standing, Told, WAIT};
use super::line::{Chain, Head, Line, hex};
use super::members;
use super::own::Own;
use super::queue::{QUEUE, Receiver};
use super::sinks::{Sink, Wrote};
use crate::vault::{Vault, WriterId};

/// Bytes written at once, about.
const BATCH: usize = 256 << 10;
/// Lines of which they usually are, at most.
const LINES: usize = BATCH / 256;

/// What a chain's first record says, and the keys it is made with.
pub(super) struct Origin {
    pub(super) vault: Arc<Vault>,
    pub(super) host: String,
    pub(super) sink: &'static str,
    pub(super) file: Option<String>,
}

impl Origin {
    fn chain(&self) -> Chain {
        let writer = WriterId::generate();
        Chain::new(writer, self.vault.trail_mac(&writer))
    }

    fn opening(&self, follows: Option<WriterId>) -> Own {
        Own::Open {
            host: self.host.clone(),
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION"),
            key: self.vault.trail_key_name(),
            sink: self.sink,
            file: self.file.clone(),
            follows,
        }
    }
}

/// A record to be written.
enum Item {
    Event(Noted, Option<Told>),
    // Boxed: it is large, and seldom.
    Own(Box<Own>),
    Close(Told),
}

impl Item {
    fn own(own: Own) -> Self {
        Self::Own(Box::new(own))
    }

    /// Whether somebody waits for it, or did.
    fn told(&self) -> Option<&Told> {
        match self {
            Self::Event(_, told) => told.as_ref(),
            Self::Close(told) => Some(told),
            Self::Own(_) => None,
        }
    }
}

/// Records as lines, and what each of them is.
struct Batch {
    /// The chain's last record before it.
    before: Option<Head>,
    bytes: Vec<u8>,
    /// Where each line ends.
    ends: Vec<usize>,
    records: Vec<Item>,
}

impl Batch {
    /// The place in the chain of the last of its first `lines`.
    fn head_after(&self, lines: usize) -> Option<Head> {
        let Some(last) = lines.checked_sub(1) else {
            return self.before;
        };
        let start = last.checked_sub(1).map_or(0, |before| self.ends[before]);
        let line = Line::parse(&self.bytes[start..self.ends[last] - 1]);
        let Line { seq, mac, .. } = line.expect("what was written as a record is read as one");
        Some(Head { seq, mac })
    }
}

/// Writes to one sink.
pub(super) struct Writer {
    origin: Origin,
    sink: Box<dyn Sink>,
    shared: Arc<Shared>,
    chain: Chain,
    /// The chain before, where there was one.
    follows: Option<WriterId>,
    queue: VecDeque<Item>,
    /// Room for the next batch.
    room: Vec<u8>,
    /// Lines of this chain that were left behind torn, and not told of yet.
    torn: u64,
    /// Records of the chain but those of anchors.
    records: u64,
    is_failing: bool,
    tried: Instant,
    is_closed: bool,
}

impl Writer {
    pub(super) fn new(origin: Origin, sink: Box<dyn Sink>, shared: Arc<Shared>) -> Self {
        Self {
            chain: origin.chain(),
            origin,
            sink,
            shared,
            follows: None,
            queue: VecDeque::new(),
            room: Vec::new(),
            torn: 0,
            records: 0,
            is_failing: false,
            tried: Instant::now(),
            is_closed: false,
        }
    }

    /// Writes until the chain is closed or nobody is left who records. `begun` is told whether the first
    /// record was taken.
    pub(super) fn run(
        mut self,
        mut messages: Receiver,
        begun: oneshot::Sender<Result<(), String>>,
    ) {
        let _ = begun.send(self.attempt());
        while !self.is_closed {
            let patience = self.owes().then_some(WAIT);
            let nobody_left = !messages.take(patience, |message| self.take(message));
            let waited_for = self.queue.iter().any(|item| item.told().is_some());
            if !self.is_failing || waited_for || nobody_left || self.tried.elapsed() >= WAIT {
                let _ = self.attempt();
            }
            let given_up = |item: &Item| matches!(item, Item::Close(told) if told.is_closed());
            if nobody_left || self.queue.iter().any(given_up) {
                break;
            }
        }
        messages
            .end()
            .into_iter()
            .for_each(|message| self.take(message));
        let left = self.queue.iter();
        let left = left.filter(|item| matches!(item, Item::Event(_, None)));
        self.shared.lose(left.count() as u64);
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Event(_, None) if self.queue.len() >= QUEUE => self.shared.lose(1),
            Message::Event(mut noted, told) => {
                if self.is_failing && told.is_none() {
                    // It may stay for long, and would keep all that was taken with it.
                    noted.packed = Bytes::copy_from_slice(&noted.packed);
                }
                self.queue.push_back(Item::Event(noted, told));
            }
            Message::Anchored(writer, anchored) if writer == self.chain.writer() => {
                self.queue.push_back(Item::own(Own::Anchor { anchored }));
            }
            Message::Anchored(..) => {}
            Message::Close(told) => self.queue.push_back(Item::Close(told)),
        }
    }

    /// Whether there is something to be written: after a failure a record that tells of it, if nothing else.
    fn owes(&self) -> bool {
        self.chain.head().is_none()
            || self.is_failing
            || !self.queue.is_empty()
            || self.torn > 0
            || self.shared.untold.load(Ordering::Relaxed) > 0
    }

    /// Writes all there is, unless the sink fails; then nobody waits any longer.
    fn attempt(&mut self) -> Result<(), String> {
        self.tried = Instant::now();
        while self.owes() && !self.is_closed {
            let done = self.write_batch();
            self.tell(&done);
            done?;
        }
        Ok(())
    }

    /// Says whether the sink takes records: to who records at once, in the log when it changes.
    fn tell(&mut self, done: &Result<(), String>) {
        let sink = self.origin.sink;
        let was_failing = std::mem::replace(&mut self.is_failing, done.is_err());
        match done {
            Ok(()) => {
                self.shared.recover();
                if was_failing {
                    tracing::info!(sink, "the audit trail is written again");
                }
            }
            Err(why) => {
                self.shared.fail();
                self.refuse();
                if !was_failing {
                    tracing::warn!(sink, %why, "the audit trail cannot be written");
                }
            }
        }
    }

    fn write_batch(&mut self) -> Result<(), String> {
        let is_elsewhere = self.sink.ready()?;
        let mut batch = self.batch(is_elsewhere);
        let mut done = Ok(());
        if !batch.records.is_empty() {
            let wrote = self.sink.write(&batch.bytes, &batch.ends);
            done = self.settle(&mut batch, wrote);
        }
        self.room = batch.bytes;
        self.room.clear();
        done
    }

    fn batch(&mut self, is_elsewhere: bool) -> Batch {
        let mut batch = Batch {
            before: self.chain.head(),
            bytes: std::mem::take(&mut self.room),
            ends: Vec::with_capacity(self.queue.len().min(LINES)),
            records: Vec::with_capacity(self.queue.len().min(LINES)),
        };
        match batch.before {
            None => self.add(&mut batch, Item::own(self.origin.opening(self.follows))),
            Some(head) if is_elsewhere => {
                let after = hex(&head.mac);
                self.add(&mut batch, Item::own(Own::Reopen { after }));
            }
            Some(_) => {}
        }
        let (records, torn) = (self.shared.untold.load(Ordering::Relaxed), self.torn);
        if records > 0 || torn > 0 || (self.is_failing && batch.before.is_some()) {
            self.add(&mut batch, Item::own(Own::Lost { records, torn }));
        }
        while batch.bytes.len() < BATCH
            && let Some(item) = self.queue.pop_front()
        {
            // What nobody waits for any more was refused, and did not happen.
            if item.told().is_some_and(oneshot::Sender::is_closed) {
                continue;
            }
            let is_last = matches!(item, Item::Close(_));
            self.add(&mut batch, item);
            if is_last {
                break;
            }
        }
        batch
    }

    fn add(&mut self, batch: &mut Batch, item: Item) {
        let (now, out) = (SystemTime::now, &mut batch.bytes);
        match &item {
            Item::Event(Noted { at, packed }, _) => {
                self.chain
                    .append(*at, |out| members::write(packed, out), out);
            }
            Item::Own(own) => self
                .chain
                .append(now(), |out| members::any(&**own, out), out),
            Item::Close(_) => {
                self.chain
                    .append(now(), |out| members::any(&Own::Close, out), out);
            }
        }
        batch.ends.push(batch.bytes.len());
        batch.records.push(item);
    }

    /// Takes what was written into the chain, and the rest out of it.
    fn settle(&mut self, batch: &mut Batch, wrote: Wrote) -> Result<(), String> {
        // A line that lacks nothing but its newline is whole.
        let is_whole = |end: &&usize| wrote.bytes >= **end - 1;
        let whole = batch.ends.iter().take_while(is_whole).count();
        if whole < batch.ends.len() {
            self.chain.rewind(batch.head_after(whole));
        }
        let end = whole.checked_sub(1).map_or(0, |last| batch.ends[last]);
        let is_torn = wrote.bytes > 0 && wrote.bytes != end;
        let is_kept = wrote.trouble.is_none();
        let mut records = batch.records.drain(..);
        for item in records.by_ref().take(whole) {
            self.written(item, is_kept);
        }
        self.torn += u64::from(is_torn);
        self.stand();
        let Some(trouble) = wrote.trouble else {
            return Ok(());
        };
        // In their order, before what came since. What is about the chain is said anew.
        let again: Vec<_> = records
            .filter(|item| !matches!(item, Item::Own(_)))
            .collect();
        again
            .into_iter()
            .rev()
            .for_each(|item| self.queue.push_front(item));
        if trouble.is_unclear {
            self.begin_anew();
        }
        Err(trouble.why)
    }

    fn written(&mut self, item: Item, is_kept: bool) {
        match item {
            Item::Event(_, told) => {
                self.shared.written.fetch_add(1, Ordering::Relaxed);
                if let Some(told) = told.filter(|_| is_kept) {
                    let _ = told.send(());
                }
            }
            Item::Own(own) => match *own {
                Own::Lost { records, torn } => {
                    self.shared.untold.fetch_sub(records, Ordering::Relaxed);
                    self.torn -= torn;
                    if records > 0 {
                        let sink = self.origin.sink;
                        tracing::warn!(
                            sink,
                            records,
                            "events were not recorded in the audit trail"
                        );
                    }
                }
                Own::Anchor { .. } => return,
                _ => {}
            },
            Item::Close(told) => {
                self.is_closed = true;
                self.records += 1;
                self.stand();
                let _ = told.send(());
                return;
            }
        }
        self.records += 1;
    }

    /// Says how far the chain goes.
    fn stand(&self) {
        if let Some(head) = self.chain.head() {
            self.shared.stand(Standing {
                writer: self.chain.writer(),
                head,
                records: self.records,
                ended: self.is_closed,
            });
        }
    }

    /// Who waits is told that his record was not taken.
    fn refuse(&mut self) {
        self.queue
            .retain(|item| !matches!(item, Item::Event(_, Some(_))));
    }

    fn begin_anew(&mut self) {
        if self.chain.head().is_some() {
            self.follows = Some(self.chain.writer());
        }
        self.chain = self.origin.chain();
        (self.torn, self.records) = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Mutex;

    use serde_json::Value;

    use super::*;
    use crate::audit::lane::locked;
    use crate::audit::record::Record;
    use crate::audit::verify::{Options, Verifier};
    use crate::store::{self, Settings, StoreUrl};
    use crate::vault::Keyring;

    /// Takes two lines of what it is given.
    struct Grudging(Arc<Mutex<Vec<u8>>>);

    impl Sink for Grudging {
        fn ready(&mut self) -> Result<bool, String> {
            Ok(false)
        }

        fn write(&mut self, bytes: &[u8], ends: &[usize]) -> Wrote {
            let end = ends[ends.len().min(2) - 1];
            locked(&self.0).extend_from_slice(&bytes[..end]);
            if end == bytes.len() {
                Wrote::all(bytes)
            } else {
                Wrote::only(end, "no more now")
            }
        }
    }

    // Fails when the chain goes on from another record than the last that was taken.
    #[tokio::test]
    async fn a_chain_goes_on_where_a_write_ended() {
        let ring = Arc::new(Keyring::generate());
        let url = StoreUrl::parse("memory:", Path::new("")).unwrap();
        let store = store::open(&Settings::new(url)).await.unwrap();
        let origin = Origin {
            vault: Arc::new(Vault::new(store, ring.clone())),
            host: "a".to_owned(),
            sink: "file",
            file: None,
        };
        let written = Arc::<Mutex<Vec<u8>>>::default();
        let sink = Box::new(Grudging(written.clone()));
        let mut writer = Writer::new(origin, sink, Arc::new(Shared::new()));
        for request in 0..5 {
            writer.take(Message::Event((&Record::of_end(request)).into(), None));
        }
        let failed = (0..100).filter(|_| writer.attempt().is_err()).count();
        assert!((2..100).contains(&failed));
        let written = locked(&written);
        let mut verifier = Verifier::new(&ring, Options::default());
        verifier.read("written", &written[..]).unwrap();
        let report = verifier.finish(None);
        assert!(report.is_well(), "{:?}", report.findings);
        let lines = written.split(|byte| *byte == b'\n');
        let records = lines.filter_map(|line| serde_json::from_slice::<Value>(line).ok());
        let ends = records.filter(|record| record["event"] == "end");
        let requests = ends.filter_map(|record| record["request"].as_u64());
        assert!(requests.eq(0..5));
    }
}
