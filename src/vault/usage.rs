//! What users used: one record for each user, `r/<user id>`, which every process adds to now and then.
//!
//! It is sealed and not signed, since a sidecar cannot sign: whoever holds a sidecar's keyring and can write
//! to the store may say what he likes there. Nothing is allowed or denied by it.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{
    ATTEMPTS, OpenError, User, UserId, Vault, VaultError, envelope, ids, next_version, opened,
    wrote,
};
use crate::store::Record;

/// Pairs of a key and a server that are kept of one user; the one unused longest goes first.
const KEPT: usize = 512;

/// What was used with one key of one server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Use {
    /// The key's id.
    pub key: String,
    /// The server's name.
    pub server: String,
    /// Requests.
    pub requests: u64,
    /// Those that were answered by an error of HTTP, or refused.
    pub errors: u64,
    /// Unix seconds of the first.
    pub first: u64,
    /// Unix seconds of the last.
    pub last: u64,
    /// Where the last came from, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// What the client last called itself; no control characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
}

impl Use {
    /// Adds what came later, or at the same time elsewhere.
    pub fn add(&mut self, other: &Self) {
        self.requests = self.requests.saturating_add(other.requests);
        self.errors = self.errors.saturating_add(other.errors);
        self.first = self.first.min(other.first);
        if other.last >= self.last {
            self.last = other.last;
            self.address = other.address.or(self.address);
            if other.client.is_some() {
                self.client.clone_from(&other.client);
            }
        }
    }

    fn is_same(&self, other: &Self) -> bool {
        self.key == other.key && self.server == other.server
    }
}

/// What one user used.
pub struct Used {
    /// Who.
    pub user: User,
    /// With which keys, of which servers; the last used first.
    pub uses: Vec<Use>,
}

#[derive(Default, Serialize, Deserialize)]
struct UsageRecord {
    uses: Vec<Use>,
}

impl UsageRecord {
    fn add(&mut self, new: &[Use]) {
        for new in new {
            match self.uses.iter_mut().find(|known| known.is_same(new)) {
                Some(known) => known.add(new),
                None => self.uses.push(new.clone()),
            }
        }
        self.uses.sort_by_key(|used| std::cmp::Reverse(used.last));
        self.uses.truncate(KEPT);
    }
}

impl Vault {
    /// Adds to what a user used. One who is gone by now is passed over.
    ///
    /// # Errors
    /// When the store does not take it.
    pub async fn add_usage(&self, user: &UserId, new: &[Use]) -> Result<(), VaultError> {
        let (id, owner) = (ids::usage(user), ids::user_record(user));
        for _ in 0..ATTEMPTS {
            let found = self.store.get_many(&[id.clone(), owner.clone()]).await?;
            let [record, Some(_)] = &found[..] else {
                return Ok(());
            };
            // What does not open is of no use to anybody, and nothing hangs on it.
            let known = record.as_ref().map(|record| self.open_usage(record));
            let mut usage = known.and_then(Result::ok).unwrap_or_default();
            usage.add(new);
            let json = serde_json::to_vec(&usage).expect("text keys and no floats");
            let expected = record.as_ref().map(|record| record.version);
            let next = envelope::seal_plain(&self.ring, &id, next_version(expected), &json);
            if wrote(self.store.put_if(next, expected).await)? {
                return Ok(());
            }
        }
        Err(VaultError::Contended)
    }

    /// What a user used, the last first.
    ///
    /// # Errors
    /// When the record cannot be read.
    pub async fn usage_of(&self, user: &UserId) -> Result<Vec<Use>, VaultError> {
        let record = self.get(&ids::usage(user)).await?;
        let usage = record.map(|record| self.open_usage(&record)).transpose();
        Ok(opened("a record of usage", usage)?.unwrap_or_default().uses)
    }

    /// What at most `limit` users used, who come after `after`; users who used nothing have empty lists.
    /// Fewer: there are no more.
    ///
    /// # Errors
    /// When the store or a record cannot be read.
    pub async fn usage(
        &self,
        after: Option<&UserId>,
        limit: usize,
    ) -> Result<Vec<Used>, VaultError> {
        let users = self.users(after, limit).await?;
        let places: Vec<_> = users.iter().map(|user| ids::usage(&user.id)).collect();
        let found = self.store.get_many(&places).await?;
        let both = users.into_iter().zip(found);
        both.map(|(user, record)| {
            let usage = record.map(|record| self.open_usage(&record)).transpose();
            let uses = opened("a record of usage", usage)?.unwrap_or_default().uses;
            Ok(Used { user, uses })
        })
        .collect()
    }

    fn open_usage(&self, record: &Record) -> Result<UsageRecord, OpenError> {
        let json = envelope::open_plain(&self.ring, record)?;
        serde_json::from_slice(&json).map_err(|_| OpenError::Form)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(server: &str, last: u64) -> Use {
        Use {
            key: "0".repeat(16),
            server: server.to_owned(),
            requests: 2,
            errors: 1,
            first: last,
            last,
            address: None,
            client: Some(format!("at {last}")),
        }
    }

    // Fails when what was counted elsewhere takes the place of what is there.
    #[test]
    fn what_several_processes_count_is_added_up() {
        let mut record = UsageRecord::default();
        record.add(&[used("a", 20)]);
        record.add(&[used("a", 10), used("b", 30)]);
        assert_eq!(record.uses.len(), 2);
        let [b, a] = &record.uses[..] else { panic!() };
        assert_eq!((&*b.server, a.requests, a.errors), ("b", 4, 2));
        assert_eq!(
            (a.first, a.last, a.client.as_deref()),
            (10, 20, Some("at 20"))
        );
    }

    #[test]
    fn one_user_has_so_many_and_the_oldest_go() {
        let mut record = UsageRecord::default();
        for at in 0..=KEPT as u64 {
            record.add(&[used(&format!("s{at}"), at)]);
        }
        assert_eq!(record.uses.len(), KEPT);
        assert!(record.uses.iter().all(|used| used.server != "s0"));
    }
}
