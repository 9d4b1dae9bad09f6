//! The store for several machines: Redis 6.2 or newer, over TCP or TLS. One server, one that Sentinels
//! name, or a Cluster.
//!
//! A record is one string: its version (8 bytes, big-endian), then the blob. See [`layout`] for the
//! keys. Writes are one Lua script, so that compare, swap and index are one step.
//!
//! The way of a question: [`ask`] sends it to whom [`servers`] says keeps its key ([`cluster`] and
//! [`slots`] know the nodes of a Cluster, [`sentinel`] where a master is), on a [`line`] that many share,
//! which goes its [`way`] again after a failure and makes a [`link`]. Only masters answer for records, ever.
//!
//! What its ACL user needs is in [`super::REDIS_ACL_RULE`]; [`Redis::open`] tries every command, so a rule that lacks
//! something is told at start, not at the first revocation.
//!
//! **Deployment caveat.** Redis acknowledges before its replicas have a write, and before it is on
//! disk unless `appendfsync always` is set: a crash can bring back a revoked key. [`Store::settle`]
//! tells whether the replicas have it. `maxmemory-policy` must be `noeviction`, as it is by default:
//! any other lets a full server throw records away. While a slot of a Cluster moves, its records can be
//! read and changed, but none made or deleted: that waits for 2 seconds, and then fails.

mod ask;
mod cluster;
#[cfg(any(test, fuzzing))]
pub mod heard;
mod layout;
mod line;
mod link;
mod node;
mod page;
mod quorum;
mod ready;
mod sentinel;
mod servers;
mod settle;
mod slots;
mod stream;
mod take;
mod watch;
mod way;

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use redis::{Cmd, Script, ServerErrorKind, Value, cmd};
use tokio::runtime::Handle;
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::time::timeout;

use self::ask::{Question, read};
use self::layout::Layout;
use self::link::ConnectError;
use self::node::Purpose;
use self::servers::Servers;
use self::slots::slot_of;
use super::url::{Address, RedisUrl};
use super::{
    Ask, Event, OpenError, Record, RecordId, Settings, Settled, Store, StoreError, Taken,
    WriteError, check_size,
};
use crate::tls;

/// A read is on the path of somebody's request; a healthy server answers in a millisecond.
const READ_TIMEOUT: Duration = Duration::from_millis(500);
/// A write of 16 MiB may take its time, and a write given up is a write nobody knows the fate of.
const WRITE_TIMEOUT: Duration = Duration::from_secs(2);
/// [`super::open()`] promises an answer within 3 seconds.
const OPEN_TIMEOUT: Duration = Duration::from_millis(2800);

/// `KEYS`: record, and index if the record comes or goes. `ARGV`: the version expected (8 bytes, or
/// nothing: no record), what to write (nothing: delete), the id. Answers 1, or 0 for a conflict.
const SWAP: &str = "\
    if redis.call('GETRANGE', KEYS[1], 0, 7) ~= ARGV[1] then return 0 end \
    if ARGV[2] == '' then \
      redis.call('DEL', KEYS[1]) redis.call('ZREM', KEYS[2], ARGV[3]) \
    else \
      redis.call('SET', KEYS[1], ARGV[2]) \
      if KEYS[2] then redis.call('ZADD', KEYS[2], 0, ARGV[3]) end \
    end \
    return 1";
static SWAP_HASH: LazyLock<String> = LazyLock::new(|| Script::new(SWAP).get_hash().to_owned());

pub(super) struct Redis {
    home: Handle,
    inner: Arc<Inner>,
}

/// Used on the home runtime only: sockets and timers belong to the runtime they were made on.
struct Inner {
    servers: Servers,
    layout: Layout,
    /// The servers, for messages.
    place: String,
    /// The servers that took writes of this process.
    wrote: Mutex<BTreeSet<Address>>,
}

impl Redis {
    pub(super) async fn open(url: &RedisUrl, settings: &Settings) -> Result<Self, OpenError> {
        let secured =
            || tls::client_config(settings.ca_file.as_deref(), settings.identity.as_ref());
        let tls = url.tls.then(secured).transpose()?.map(Arc::new);
        let inner = Arc::new(Inner {
            servers: Servers::new(url, settings, tls),
            layout: Layout::new(&settings.key_prefix),
            place: url.place(),
            wrote: Mutex::default(),
        });
        let ready = timeout(OPEN_TIMEOUT, inner.make_ready_patiently()).await;
        let slow = || ConnectError::Unreachable("it answers too slowly".to_owned());
        let ready = ready.unwrap_or_else(|_| Err(slow().explained(&inner.place)));
        ready.map_err(|error| error.for_prefix(&settings.key_prefix))?;
        Ok(Self {
            home: Handle::current(),
            inner,
        })
    }

    /// Runs `work` on the home runtime. A caller who goes away does not stop it half way.
    async fn at_home<T, F>(&self, work: impl FnOnce(Arc<Inner>) -> F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let task = self.home.spawn(work(Arc::clone(&self.inner)));
        task.await
            .map_err(|_| StoreError::Unreachable("this process is ending".to_owned()))
    }
}

#[async_trait]
impl Store for Redis {
    async fn get_many(&self, ids: &[RecordId]) -> Result<Vec<Option<Record>>, StoreError> {
        let ids = ids.to_vec();
        self.at_home(|inner| async move { inner.get_many(Purpose::Login, READ_TIMEOUT, ids).await })
            .await?
    }

    async fn put_if(&self, record: Record, expected: Option<u64>) -> Result<(), WriteError> {
        check_size(&record)?;
        self.at_home(|inner| async move {
            let value = [&record.version.to_be_bytes()[..], &record.blob].concat();
            inner.swap(&record.id, expected, &value).await
        })
        .await?
    }

    async fn delete_if(&self, id: &RecordId, expected: u64) -> Result<(), WriteError> {
        let id = id.clone();
        self.at_home(|inner| async move { inner.swap(&id, Some(expected), b"").await })
            .await?
    }

    async fn page(
        &self,
        prefix: &str,
        after: Option<&RecordId>,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError> {
        let (prefix, after) = (prefix.to_owned(), after.cloned());
        self.at_home(|inner| async move { inner.page(&prefix, after, limit).await })
            .await?
    }

    async fn settle(&self) -> Result<Settled, StoreError> {
        self.at_home(|inner| async move { inner.settle().await })
            .await?
    }

    async fn remarks(&self) -> Result<Vec<String>, StoreError> {
        self.at_home(|inner| async move { inner.remarks().await })
            .await?
    }

    async fn take(&self, asks: &[Ask]) -> Result<Vec<Taken>, StoreError> {
        let asks = asks.to_vec();
        self.at_home(|inner| async move { inner.take(&asks).await })
            .await?
    }

    fn has_streams(&self) -> bool {
        true
    }

    async fn append(&self, stream: &str, keep: u64, lines: &[Bytes]) -> Result<(), StoreError> {
        let (stream, lines) = (stream.to_owned(), lines.to_vec());
        self.at_home(|inner| async move { inner.append(&stream, keep, &lines).await })
            .await?
    }

    fn shard_of(&self, id: &RecordId) -> u16 {
        let (_, tag) = id.as_str().split_at(2);
        self.inner.servers.shard_of(slot_of(&tag[..2]))
    }

    fn watch(&self) -> UnboundedReceiver<Event> {
        let (events, receiver) = mpsc::unbounded_channel();
        self.home.spawn(watch::run(Arc::clone(&self.inner), events));
        receiver
    }
}

impl Inner {
    async fn get_many(
        &self,
        purpose: Purpose,
        timeout: Duration,
        ids: Vec<RecordId>,
    ) -> Result<Vec<Option<Record>>, StoreError> {
        // One command for each: while a slot moves, some of its keys are here and some there.
        let question = |id| {
            let key = self.layout.record_key(id);
            let mut get = cmd("GET");
            get.arg(&key);
            Question::new(&key, get)
        };
        let questions: Vec<_> = ids.iter().map(question).collect();
        let values = self.ask(purpose, &questions, timeout).await?;
        let pairs = ids.into_iter().zip(values);
        pairs
            .map(|(id, value)| match read::<Option<Vec<u8>>>(value)? {
                Some(value) => record(id, value).map(Some),
                None => Ok(None),
            })
            .collect()
    }

    async fn swap(
        &self,
        id: &RecordId,
        expected: Option<u64>,
        value: &[u8],
    ) -> Result<(), WriteError> {
        let mut keys = vec![self.layout.record_key(id)];
        // An update needs the record alone. While a slot of a Cluster moves, one key is always in one
        // place and two may not be: so a key can be revoked at any time.
        if expected.is_none() || value.is_empty() {
            keys.push(self.layout.index_key_of(id));
        }
        let expected = expected.map(u64::to_be_bytes);
        let expected = expected.as_ref().map_or(&b""[..], |version| &version[..]);
        let ask = async |mut script: Cmd| {
            script.arg(keys.len()).arg(&keys);
            script.arg(expected).arg(value).arg(id.as_str());
            let question = [Question::new(&keys[0], script)];
            let answers = self.ask(Purpose::Write, &question, WRITE_TIMEOUT).await?;
            Ok::<_, StoreError>(answers.into_iter().next().unwrap_or(Value::Nil))
        };
        let (mut known, mut told) = (cmd("EVALSHA"), cmd("EVAL"));
        known.arg(&*SWAP_HASH);
        told.arg(SWAP);
        let mut answer = ask(known).await?;
        // A server that was restarted, or never asked before.
        if matches!(&answer, Value::ServerError(e) if e.kind() == Some(ServerErrorKind::NoScript)) {
            answer = ask(told).await?;
        }
        if read::<bool>(answer)? {
            Ok(())
        } else {
            Err(WriteError::Conflict)
        }
    }
}

fn record(id: RecordId, value: Vec<u8>) -> Result<Record, StoreError> {
    let mut blob = Bytes::from(value);
    if blob.len() < 8 {
        return Err(StoreError::Damaged(format!("{id} is too short")));
    }
    let version = blob
        .split_to(8)
        .iter()
        .fold(0, |version, byte| version << 8 | u64::from(*byte));
    Ok(Record { id, version, blob })
}
