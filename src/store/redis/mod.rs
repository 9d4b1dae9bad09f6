//! The store for several machines: one Redis server (6.2 or newer), reached over TCP or TLS.
//!
//! A record is one string: its version (8 bytes, big-endian), then the blob. See [`layout`] for the
//! keys. Writes are one Lua script, so that compare, swap and index are one step.
//!
//! What its ACL user needs is in [`super::REDIS_ACL_RULE`]; [`Redis::open`] tries every command, so a rule that lacks
//! something is told at start, not at the first revocation.
//!
//! **Deployment caveat.** Redis acknowledges before its replicas have a write, and before it is on
//! disk unless `appendfsync always` is set: a crash can bring back a revoked key. [`Store::settle`]
//! tells whether the replicas have it. `maxmemory-policy` must be `noeviction`, as it is by default:
//! any other lets a full server throw records away.

mod layout;
mod line;
mod link;
mod page;
mod ready;
mod watch;

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use redis::{Script, Value, pipe};
use tokio::runtime::Handle;
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::time::timeout;

use self::layout::Layout;
use self::line::{Failed, Line};
use self::link::{ConnectError, Target};
use super::url::RedisUrl;
use super::{
    Event, OpenError, Record, RecordId, Settings, Settled, Store, StoreError, WriteError,
    check_size,
};
use crate::tls;

/// A read is on the path of somebody's request; a healthy server answers in a millisecond.
const READ_TIMEOUT: Duration = Duration::from_millis(500);
/// A write of 16 MiB may take its time, and a write given up is a write nobody knows the fate of.
const WRITE_TIMEOUT: Duration = Duration::from_secs(2);
/// [`super::open()`] promises an answer within 3 seconds.
const OPEN_TIMEOUT: Duration = Duration::from_millis(2800);
/// How long replicas may take to confirm, in milliseconds.
const SETTLE_MS: u32 = 1000;

/// `KEYS`: record, index. `ARGV`: the version expected (8 bytes, or nothing: no record), what to write
/// (nothing: delete), the id. Answers 1, or 0 for a conflict.
const SWAP: &str = "\
    if redis.call('GETRANGE', KEYS[1], 0, 7) ~= ARGV[1] then return 0 end \
    if ARGV[2] == '' then \
      redis.call('DEL', KEYS[1]) redis.call('ZREM', KEYS[2], ARGV[3]) \
    else \
      redis.call('SET', KEYS[1], ARGV[2]) redis.call('ZADD', KEYS[2], 0, ARGV[3]) \
    end \
    return 1";
static SWAP_HASH: LazyLock<String> = LazyLock::new(|| Script::new(SWAP).get_hash().to_owned());

pub(super) struct Redis {
    home: Handle,
    inner: Arc<Inner>,
}

/// Used on the home runtime only: sockets and timers belong to the runtime they were made on.
struct Inner {
    target: Target,
    layout: Layout,
    /// For [`Store::get_many`] alone: nothing slow stands before somebody's login.
    reads: Line,
    /// For writes and listings.
    writes: Line,
}

impl Redis {
    pub(super) async fn open(url: &RedisUrl, settings: &Settings) -> Result<Self, OpenError> {
        let secured =
            || tls::client_config(settings.ca_file.as_deref(), settings.identity.as_ref());
        let tls = url.tls.then(secured).transpose()?.map(Arc::new);
        let target = Target::new(url.clone(), tls);
        let inner = Arc::new(Inner {
            reads: Line::new(target.clone()),
            writes: Line::new(target.clone()),
            target,
            layout: Layout::new(&settings.key_prefix),
        });
        let ready = timeout(OPEN_TIMEOUT, inner.make_ready()).await;
        let slow = || ConnectError::Unreachable("it answers too slowly".to_owned());
        ready.unwrap_or_else(|_| Err(slow().explained(&url.address())))?;
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
        self.at_home(|inner| async move { inner.get_many(&inner.reads, READ_TIMEOUT, ids).await })
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

    fn watch(&self) -> UnboundedReceiver<Event> {
        let (events, receiver) = mpsc::unbounded_channel();
        self.home.spawn(watch::run(Arc::clone(&self.inner), events));
        receiver
    }
}

impl Inner {
    async fn get_many(
        &self,
        line: &Line,
        timeout: Duration,
        ids: Vec<RecordId>,
    ) -> Result<Vec<Option<Record>>, StoreError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut request = pipe();
        request.cmd("MGET");
        for id in &ids {
            request.arg(self.layout.record_key(id));
        }
        let (values,) = line
            .read::<(Vec<Option<Vec<u8>>>,)>(&request, timeout)
            .await?;
        if values.len() != ids.len() {
            return Err(StoreError::Damaged(
                "the server answered with another number".to_owned(),
            ));
        }
        let pairs = ids.into_iter().zip(values);
        pairs
            .map(|(id, value)| value.map(|value| record(id, value)).transpose())
            .collect()
    }

    async fn swap(
        &self,
        id: &RecordId,
        expected: Option<u64>,
        value: &[u8],
    ) -> Result<(), WriteError> {
        let expected = expected.map(u64::to_be_bytes);
        let expected = expected.as_ref().map_or(&b""[..], |version| &version[..]);
        let request = |command: &str, script: &str| {
            let mut request = pipe();
            request.cmd(command).arg(script).arg(2);
            request
                .arg(self.layout.record_key(id))
                .arg(self.layout.index_key_of(id));
            request.arg(expected).arg(value).arg(id.as_str());
            request
        };
        let known = request("EVALSHA", &SWAP_HASH);
        let answer = match self.writes.write::<(bool,)>(&known, WRITE_TIMEOUT).await {
            Err(Failed {
                unknown_script: true,
                ..
            }) => {
                // A server that was restarted, or never asked before.
                self.writes
                    .write(&request("EVAL", SWAP), WRITE_TIMEOUT)
                    .await
            }
            answer => answer,
        };
        match answer.map_err(|failed| failed.error)? {
            (true,) => Ok(()),
            (false,) => Err(WriteError::Conflict),
        }
    }

    /// Replication is one ordered stream: when the replicas have a write made now, they have every
    /// write before it, whoever made it. So this makes one, on a connection of its own: `WAIT` would
    /// hold up the commands behind it.
    async fn settle(&self) -> Result<Settled, StoreError> {
        let failed = |error| StoreError::Unreachable(link::words(&error));
        let live = self.target.connect(None).await;
        let live = live.map_err(|error| StoreError::Unreachable(error.to_string()))?;
        let mut mark = pipe();
        mark.cmd("SET")
            .arg(self.layout.settle_key())
            .arg(1)
            .ignore()
            .cmd("ROLE");
        let (role,) = live
            .ask::<(Value,)>(&mark, WRITE_TIMEOUT)
            .await
            .map_err(failed)?;
        let of = link::replicas(&role)
            .ok_or_else(|| StoreError::Unreachable("the server became a replica".to_owned()))?;
        if of == 0 {
            return Ok(Settled::Everywhere);
        }
        let mut wait = pipe();
        wait.cmd("WAIT").arg(of).arg(SETTLE_MS);
        let (confirmed,) = live
            .ask::<(u32,)>(&wait, WRITE_TIMEOUT)
            .await
            .map_err(failed)?;
        if confirmed >= of {
            return Ok(Settled::Everywhere);
        }
        Ok(Settled::Partly { confirmed, of })
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
