//! What the cache holds: records as they were read, keys and users opened, secrets still sealed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

use super::freshness::Stamp;
use crate::identity::KeyDigest;
use crate::store::{Record, RecordId};
use crate::vault::{
    GroupId, GroupRecord, KeptSet, KeyRecord, OpenError, OwnerId, Reader, SecretRef, SecretSets,
    UserId, UserRecord, group_record, key_record, user_record,
};

/// Which record, in the form that is cheapest to look up. Always the full digest or id, so that no
/// two records ever share a place.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) enum RecordKey {
    Key(KeyDigest),
    User(UserId),
    Group(GroupId),
    Secrets(RecordId),
    /// Whose a name is.
    Name(RecordId),
}

impl RecordKey {
    pub(super) fn record_id(&self) -> RecordId {
        match self {
            Self::Key(digest) => key_record(digest),
            Self::User(id) => user_record(id),
            Self::Group(id) => group_record(id),
            Self::Secrets(id) | Self::Name(id) => id.clone(),
        }
    }

    /// `None` for records that are never cached.
    pub(super) fn of(id: &RecordId) -> Option<Self> {
        let (kind, rest) = id.as_str().split_once('/')?;
        match kind {
            "k" => KeyDigest::from_hex(rest).map(Self::Key),
            "u" => UserId::from_hex(rest).map(Self::User),
            "g" => GroupId::from_hex(rest).map(Self::Group),
            "n" => Some(Self::Name(id.clone())),
            "s" => Some(Self::Secrets(id.clone())),
            _ => None,
        }
    }

    /// Whether it says whose a key is: the record of one, or of the name that the configuration has for it.
    pub(super) fn is_of_a_key(&self) -> bool {
        matches!(self, Self::Key(_) | Self::Name(_))
    }

    /// What the record is, for the log.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Key(_) => "key",
            Self::User(_) => "user",
            Self::Group(_) => "group",
            Self::Secrets(_) => "secrets",
            Self::Name(_) => "name",
        }
    }
}

/// A record with the places of its secret sets, found once when it is read.
pub(super) struct Loaded<I, R> {
    pub(super) id: I,
    pub(super) record: R,
    /// One for each entry of the record's sets, in its order.
    places: Vec<RecordId>,
}

pub(super) type LoadedUser = Loaded<UserId, UserRecord>;
pub(super) type LoadedGroup = Loaded<GroupId, GroupRecord>;

/// An entry, and where it is in the cache.
#[derive(Clone)]
pub(super) struct Held {
    pub(super) key: RecordKey,
    pub(super) entry: Arc<Entry>,
}

/// What was found.
#[derive(Clone)]
pub(super) enum Content {
    Key(Arc<KeyRecord>),
    User(Arc<LoadedUser>),
    Group(Arc<LoadedGroup>),
    Name(UserId),
    /// Sealed: it is opened only while a request is built.
    Secrets(Arc<KeptSet>),
    Absent,
    Unreadable(OpenError),
}

/// What a record takes in memory besides its bytes, about: the map's slot, the parsed form.
const FIXED_WEIGHT: u64 = 512;

/// A record as it was read at one moment.
pub(super) struct Entry {
    pub(super) content: Content,
    /// The version of a key, user or group that opened.
    pub(super) version: Option<u64>,
    /// The highest such version this record was ever known to have.
    pub(super) seen: Option<u64>,
    /// Whether this is a denial that an older state of the record would have taken back.
    pub(super) kept: bool,
    pub(super) stamp: Stamp,
    /// It may not be right any more. One that is still in the cache is there for what it tells of the record's past.
    outdated: AtomicBool,
    /// When word came that the record changed, in microseconds since 1970; 0 if none came.
    dropped: AtomicU64,
    /// Tells open streams that the record changed.
    changed: watch::Sender<()>,
    weight: u64,
}

impl Entry {
    /// Opens what the store gave for `key`.
    pub(super) fn read(
        reader: &Reader,
        key: &RecordKey,
        found: Option<Record>,
        stamp: Stamp,
    ) -> Self {
        let bytes = found.as_ref().map_or(0, |record| record.blob.len());
        let version = found.as_ref().map(|record| record.version);
        let content = match (key, found) {
            (_, None) => Content::Absent,
            (RecordKey::Secrets(_), Some(record)) => Content::Secrets(Arc::new(record.into())),
            (RecordKey::Key(_), Some(record)) => reader
                .open_key(&record)
                .map_or_else(Content::Unreadable, |key| Content::Key(key.into())),
            (RecordKey::User(id), Some(record)) => match reader.open_user(&record) {
                Ok(record) => Content::User(Loaded::new(reader, *id, record).into()),
                Err(error) => Content::Unreadable(error),
            },
            (RecordKey::Group(id), Some(record)) => match reader.open_group(&record) {
                Ok(record) => Content::Group(Loaded::new(reader, *id, record).into()),
                Err(error) => Content::Unreadable(error),
            },
            (RecordKey::Name(_), Some(record)) => reader
                .open_name(&record)
                .map_or_else(Content::Unreadable, Content::Name),
        };
        // The version is under the seal: only an opened one is to be believed. A name may be given to
        // somebody else after its user is gone, so nothing of its past counts.
        let version = match &content {
            Content::Key(_) | Content::User(_) | Content::Group(_) => version,
            _ => None,
        };
        Self {
            weight: FIXED_WEIGHT + 2 * bytes as u64,
            ..Self::new(content, version, stamp)
        }
    }

    pub(super) fn new(content: Content, version: Option<u64>, stamp: Stamp) -> Self {
        Self {
            content,
            version,
            seen: version,
            kept: false,
            stamp,
            outdated: AtomicBool::new(false),
            dropped: AtomicU64::new(0),
            changed: watch::Sender::new(()),
            weight: FIXED_WEIGHT,
        }
    }

    /// Whether it says of a record that there never was one. That is no denial, as what is gone or
    /// revoked is: the record may have been made since.
    pub(super) fn was_never_there(&self) -> bool {
        matches!(self.content, Content::Absent) && self.seen.is_none()
    }

    /// From now on it may not be right; everybody who watches it is told.
    pub(super) fn outdate(&self) {
        self.leave();
        self.changed.send_replace(());
    }

    /// As [`Entry::outdate`], where nobody is to be told.
    pub(super) fn leave(&self) {
        self.outdated.store(true, Ordering::Release);
    }

    /// As [`Entry::outdate`], for the record was changed.
    pub(super) fn drop_now(&self) {
        self.dropped.store(now_micros(), Ordering::Release);
        self.outdate();
    }

    /// How long after `later` was written this entry was dropped for it. A version is the moment of its
    /// writing. `None` if it was not, or another change was the one word came of.
    pub(super) fn dropped_after(&self, later: &Self) -> Option<Duration> {
        let dropped = self.dropped.load(Ordering::Acquire);
        let (before, written) = (self.version?, later.version?);
        let took = dropped.checked_sub(written).filter(|_| written > before);
        took.map(Duration::from_micros)
    }

    pub(super) fn is_outdated(&self) -> bool {
        self.outdated.load(Ordering::Acquire)
    }

    /// Resolves when the record changed, or this entry was replaced.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Whether an open stream waits for [`Entry::changes`].
    pub(super) fn is_watched(&self) -> bool {
        self.changed.receiver_count() > 0
    }

    pub(super) fn weight(&self) -> u64 {
        self.weight
    }
}

fn now_micros() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    })
}

/// What lists secret sets.
pub(super) trait Sets {
    fn sets(&self) -> &SecretSets;
}

impl Sets for UserRecord {
    fn sets(&self) -> &SecretSets {
        &self.sets
    }
}

impl Sets for GroupRecord {
    fn sets(&self) -> &SecretSets {
        &self.sets
    }
}

impl<I: Copy + Into<OwnerId>, R: Sets> Loaded<I, R> {
    fn new(reader: &Reader, id: I, record: R) -> Self {
        let place = |set: &SecretRef| reader.secrets_record(id, &set.server, &set.profile);
        let places = record.sets().secrets.iter().map(place).collect();
        Self { id, record, places }
    }

    /// The set for a server and profile, and where it is, if one is listed.
    pub(super) fn set(&self, server: &str, profile: &str) -> Option<(&SecretRef, &RecordId)> {
        let mut listed = self.record.sets().secrets.iter().zip(&self.places);
        listed.find(|(set, _)| set.server == server && set.profile == profile)
    }
}
