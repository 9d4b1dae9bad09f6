//! Seals everything again that is not sealed by the active keys, while it is being used.
//!
//! What must hold, whatever runs beside it and wherever it is killed:
//!
//! 1. **Nothing comes back.** Every write is compare-and-swap on the version that was read; after a
//!    conflict the record is read and decided on anew, so a revocation is sealed again, never undone. And
//!    a record sealed again is *one version* newer than it was, not as new as the clock: were it read
//!    before somebody deleted it, put back by an attacker and then sealed again here, it would still be
//!    older than what its user's record has said since. (It also keeps the time of the last change
//!    readable in the version.)
//! 2. **Nothing old is made new.** A secret set counts when its user's record lists it at its version or
//!    an older one. What is not listed so is not sealed again but reported; what nobody listed for an
//!    hour, the leftover of a crash or a set that was put back after its deletion, nobody can read, and it
//!    is deleted. Records of keys and users carry no such list: an earlier one that was put back
//!    counted before and counts after, as SECURITY.md says. Once the old key is retired, copies
//!    made before cannot be put back any more.
//! 3. **It goes on where it was.** What is under the active keys is passed without a write, so running it
//!    again finishes what was killed. Memory holds a page, however many records there are.
//!
//! A secret set gets a new data key and not only a new wrap. Its version is part of what it is bound to,
//! so it has to be sealed again anyway; and who unwrapped the old data key with a server key that leaked
//! cannot read what is sealed from now on.
//!
//! Records of replicas are left out: each writes its own again within seconds.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};

use super::envelope::{self, Form, SecretOpener};
use super::{
    ATTEMPTS, KeyName, Keyring, OpenError, OwnerId, ReadOnly, SecretSets, Vault, VaultError, ids,
    next_version, wrote,
};
use crate::names::ServerName;
use crate::store::{Record, StoreError};

/// Writes under way at one moment: a store's latency is what a rotation waits for.
const AT_ONCE: usize = 32;
/// A set that is not listed may be just being made; this old it is not.
const LEFTOVER: Duration = Duration::from_secs(3600);
/// Records named of each reason.
const EXAMPLES: usize = 5;

/// What a rotation did.
#[derive(Debug, Default)]
pub struct Rotation {
    /// Records sealed again.
    pub resealed: u64,
    /// Records that were under the active keys already, or are gone.
    pub passed: u64,
    /// Secret sets nobody could read, deleted.
    pub removed: u64,
    /// What was left as it is, and so still needs an old key.
    pub left: BTreeMap<Reason, Left>,
}

/// Records that were left for one reason.
#[derive(Debug, Default)]
pub struct Left {
    /// How many.
    pub records: u64,
    /// Some of them: whose and for which server, or the record's id.
    pub examples: Vec<String>,
}

/// Why a record was left as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// A listed set of an earlier version than listed.
    PutBack,
    /// A set nobody lists, made within the last hour.
    Unlisted,
    /// The keyring has no key for the server.
    NoServerKey,
    /// It does not open.
    Unreadable,
    /// Others kept writing it.
    Contended,
}

impl Reason {
    /// One word, for programs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PutBack => "put_back",
            Self::Unlisted => "unlisted",
            Self::NoServerKey => "no_server_key",
            Self::Unreadable => "unreadable",
            Self::Contended => "contended",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PutBack => {
                "older than they should be: somebody put an earlier state of the store back; delete \
                 them (`cloakroom secret delete USER SERVER --all`) and set them again"
            }
            Self::Unlisted => {
                "made within the last hour and not listed by their user's record: run this again in \
                 an hour"
            }
            Self::NoServerKey => "of servers this keyring has no key for: add the keys",
            Self::Unreadable => {
                "not readable with this keyring: changed, moved, or sealed by a key it lacks"
            }
            Self::Contended => "changed by others all the time: run this again",
        })
    }
}

impl Rotation {
    async fn gather<W>(&mut self, work: impl Iterator<Item = W>) -> Result<(), VaultError>
    where
        W: Future<Output = Result<Done, VaultError>>,
    {
        let mut work = stream::iter(work).buffer_unordered(AT_ONCE);
        while let Some(done) = work.next().await {
            self.add(done?);
        }
        Ok(())
    }

    fn add(&mut self, done: Done) {
        match done {
            Done::Passed => self.passed += 1,
            Done::Resealed => self.resealed += 1,
            Done::Removed => self.removed += 1,
            Done::Left(reason, example) => {
                let left = self.left.entry(reason).or_default();
                left.records += 1;
                if left.examples.len() < EXAMPLES {
                    left.examples.push(example);
                }
            }
        }
    }
}

/// What became of one record.
enum Done {
    Passed,
    Resealed,
    Removed,
    Left(Reason, String),
}

/// What is known of the user or group a secret set is of.
enum Owner {
    Known {
        id: OwnerId,
        name: String,
        sets: SecretSets,
    },
    Nobody,
    Unreadable,
}

/// What is to become of a secret set.
enum Fate {
    Pass,
    Reseal(ServerName),
    Remove,
    Leave(Reason, String),
}

impl Vault {
    /// Seals everything again that is not under the active keys; `seen` is told how many records were
    /// looked at so far.
    ///
    /// # Errors
    /// When the store fails or the keyring cannot write. Calling it again goes on.
    pub async fn rotate(&self, seen: &(dyn Fn(u64) + Sync)) -> Result<Rotation, VaultError> {
        self.ring.require_sign()?;
        let mut all = Rotation::default();
        let mut count = 0;
        // Check values come first: from then on a process that lacks the new keys does not start.
        for kind in std::iter::once('c').chain(('a'..='z').filter(|kind| *kind != 'c')) {
            let prefix = format!("{kind}/");
            if prefix == ids::PRESENCE {
                continue;
            }
            let mut pages = self.pages(prefix);
            while let Some(page) = pages.next().await? {
                count += page.len() as u64;
                self.rotate_page(kind, page, &mut all).await?;
                seen(count);
            }
        }
        Ok(all)
    }

    async fn rotate_page(
        &self,
        kind: char,
        page: Vec<Record>,
        all: &mut Rotation,
    ) -> Result<(), VaultError> {
        if kind == 's' {
            let owners = self.owners(&page).await?;
            let work = page.into_iter().map(|set| self.rotate_set(&owners, set));
            return all.gather(work).await;
        }
        let work = page.into_iter().map(|record| self.rotate_record(record));
        all.gather(work).await
    }

    async fn rotate_record(&self, mut record: Record) -> Result<Done, VaultError> {
        let id = record.id.clone();
        for _ in 0..ATTEMPTS {
            let resealed = match is_current(&self.ring, &record) {
                Ok(true) => return Ok(Done::Passed),
                Ok(false) => envelope::reseal(&self.ring, &record),
                Err(error) => Err(error),
            };
            let Ok(resealed) = resealed else {
                return Ok(Done::Left(Reason::Unreadable, id.to_string()));
            };
            let resealed = resealed.ok_or(ReadOnly(()))?;
            if wrote(self.store.put_if(resealed, Some(record.version)).await)? {
                return Ok(Done::Resealed);
            }
            match self.get(&id).await? {
                Some(found) => record = found,
                None => return Ok(Done::Passed),
            }
        }
        Ok(Done::Left(Reason::Contended, id.to_string()))
    }

    /// Who the sets of a page are of, by the part of their ids that names the owner.
    async fn owners(&self, page: &[Record]) -> Result<HashMap<OwnerHex, Owner>, StoreError> {
        let not_settled = page.iter().filter(|set| !is_settled(&self.ring, set));
        let mut owners: Vec<_> = not_settled
            .filter_map(|set| Some((hex_of(set)?, ids::set_owner(&set.id)?)))
            .collect();
        owners.dedup_by(|a, b| a.0 == b.0);
        let mut known = HashMap::with_capacity(owners.len());
        let places = owners
            .iter()
            .flat_map(|(_, (user, group))| [ids::user_record(user), ids::group_record(group)]);
        let places: Vec<_> = places.collect();
        let mut found = self.store.get_many(&places).await?.into_iter();
        for (hex, _) in owners {
            let (user, group) = (found.next().flatten(), found.next().flatten());
            known.insert(hex, self.owner(user, group));
        }
        Ok(known)
    }

    async fn owner_now(&self, set: &Record) -> Result<Owner, StoreError> {
        let Some((user, group)) = ids::set_owner(&set.id) else {
            return Ok(Owner::Unreadable);
        };
        let places = [ids::user_record(&user), ids::group_record(&group)];
        let mut found = self.store.get_many(&places).await?.into_iter();
        Ok(self.owner(found.next().flatten(), found.next().flatten()))
    }

    fn owner(&self, user: Option<Record>, group: Option<Record>) -> Owner {
        let opened = match (&user, &group) {
            (None, None) => return Owner::Nobody,
            (Some(record), _) => self.reader.open_user(record).ok().and_then(|user| {
                let id = ids::user_id(&record.id)?.into();
                Some((id, user.name, user.sets))
            }),
            (None, Some(record)) => self.reader.open_group(record).ok().and_then(|group| {
                let id = ids::group_id(&record.id)?.into();
                Some((id, group.name, group.sets))
            }),
        };
        opened.map_or(Owner::Unreadable, |(id, name, sets)| Owner::Known {
            id,
            name,
            sets,
        })
    }

    async fn rotate_set(
        &self,
        owners: &HashMap<OwnerHex, Owner>,
        mut set: Record,
    ) -> Result<Done, VaultError> {
        if is_settled(&self.ring, &set) {
            return Ok(Done::Passed);
        }
        if let Some(owner) = hex_of(&set).and_then(|hex| owners.get(&hex))
            && let Fate::Reseal(server) = self.fate(owner, &set)
            && let Some(done) = self.reseal_set(&server, &set).await?
        {
            return Ok(done);
        }
        // Whatever else is to be done is not done by a list that was read after the set: it may have
        // changed in between. A set is written before it is listed.
        for _ in 0..ATTEMPTS {
            let owner = self.owner_now(&set).await?;
            match self.get(&set.id).await? {
                Some(found) => set = found,
                None => return Ok(Done::Passed),
            }
            let done = match self.fate(&owner, &set) {
                Fate::Pass => Some(Done::Passed),
                Fate::Leave(reason, example) => Some(Done::Left(reason, example)),
                Fate::Reseal(server) => self.reseal_set(&server, &set).await?,
                Fate::Remove => {
                    let deleted = self.store.delete_if(&set.id, set.version).await;
                    wrote(deleted)?.then_some(Done::Removed)
                }
            };
            if let Some(done) = done {
                return Ok(done);
            }
        }
        Ok(Done::Left(Reason::Contended, set.id.to_string()))
    }

    /// `None` after a conflict.
    async fn reseal_set(
        &self,
        server: &ServerName,
        set: &Record,
    ) -> Result<Option<Done>, VaultError> {
        let example = || format!("{} ({server})", set.id);
        let Some(opener) = SecretOpener::new(&self.ring, server) else {
            return Ok(Some(Done::Left(Reason::NoServerKey, example())));
        };
        let Ok(secrets) = opener.open(set) else {
            return Ok(Some(Done::Left(Reason::Unreadable, example())));
        };
        let version = set.version + 1;
        let resealed = envelope::seal_secrets(&self.ring, server, &set.id, version, &secrets)
            .ok_or_else(|| VaultError::NoServerKey(server.clone()))?;
        let written = self.store.put_if(resealed, Some(set.version)).await;
        Ok(wrote(written)?.then_some(Done::Resealed))
    }

    fn fate(&self, owner: &Owner, set: &Record) -> Fate {
        let (id, name, sets) = match owner {
            Owner::Known { id, name, sets } => (*id, name, sets),
            Owner::Unreadable => return Fate::Leave(Reason::Unreadable, set.id.to_string()),
            Owner::Nobody => return unlisted(set),
        };
        let listed = sets.secrets.iter().find(|entry| {
            let place = self
                .reader
                .secrets_record(id, &entry.server, &entry.profile);
            place == set.id
        });
        let Some(entry) = listed else {
            return unlisted(set);
        };
        let example = || format!("{name} {} {}", entry.server, entry.profile);
        let Ok(server) = ServerName::parse(&entry.server) else {
            return Fate::Leave(Reason::NoServerKey, example());
        };
        let Some((active, _)) = self.ring.server_keys(&server).next() else {
            return Fate::Leave(Reason::NoServerKey, example());
        };
        match envelope::sealed_by(set) {
            Err(_) => Fate::Leave(Reason::Unreadable, example()),
            Ok(key) if key.id == active => Fate::Pass,
            Ok(_) if set.version < entry.version => Fate::Leave(Reason::PutBack, example()),
            Ok(_) => Fate::Reseal(server),
        }
    }
}

/// The part of a set's id that names its owner.
type OwnerHex = String;

fn hex_of(set: &Record) -> Option<OwnerHex> {
    let (owner, _) = set.id.as_str().strip_prefix("s/")?.split_once('/')?;
    Some(owner.to_owned())
}

/// What becomes of a set its user's record does not list: nobody can read it.
fn unlisted(set: &Record) -> Fate {
    let age = Duration::from_micros(next_version(None).saturating_sub(set.version));
    if age > LEFTOVER {
        Fate::Remove
    } else {
        Fate::Leave(Reason::Unlisted, set.id.to_string())
    }
}

/// Whether a record of users, keys, indexes or check values needs no old key.
fn is_current(ring: &Keyring, record: &Record) -> Result<bool, OpenError> {
    let active = |key: &KeyName| ring.is_active(key);
    if !active(&envelope::sealed_by(record)?) {
        return Ok(false);
    }
    // With one signer there is no need to look who signed.
    Ok(Form::of(&record.id) != Form::Signed
        || ring.signers_known() < 2
        || active(&envelope::signed_by(ring, record)?))
}

/// Whether a set needs no old key, whatever server it is for.
fn is_settled(ring: &Keyring, set: &Record) -> bool {
    envelope::sealed_by(set).is_ok_and(|key| ring.always_active(&key.id))
}
