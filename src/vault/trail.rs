//! What the vault gives the audit trail: the key of each writer's chain, and anchors in the store.
//!
//! The key comes from the `index` key: it is never rotated, and an exported keyring holds it too. So a
//! trail can be checked for as long as it is kept, wherever it was written; and whoever holds any keyring
//! of the installation can forge it.
//!
//! An anchor, `t/<writer>`, says how far a chain goes, so that one whose end was cut off is found. A
//! sidecar cannot sign, so the realm key alone seals it: whoever can write to the store can delete it or
//! put an earlier one back, but not make one.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::crypto::{LinkMac, fill_random};
use super::{Keyring, OpenError, Vault, VaultError, envelope, ids, next_version, wrote};
use crate::store::{Record, RecordId};

/// Who writes one chain of the audit trail: 128 random bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WriterId([u8; 16]);

impl WriterId {
    /// A new one.
    #[must_use]
    pub fn generate() -> Self {
        let mut id = [0; 16];
        fill_random(&mut id);
        Self(id)
    }

    /// From exactly what [`fmt::Display`] writes: 32 lower-case hexadecimal digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        let fits = text.len() == 32 && text.bytes().all(digits);
        let number = u128::from_str_radix(text, 16).ok().filter(|_| fits)?;
        Some(Self(number.to_be_bytes()))
    }
}

impl fmt::Display for WriterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for WriterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WriterId({self})")
    }
}

impl Serialize for WriterId {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// Links the records of one writer. Cannot be printed.
pub struct TrailMac(LinkMac);

impl TrailMac {
    /// What links the records of `writer`.
    #[must_use]
    pub fn new(ring: &Keyring, writer: &WriterId) -> Self {
        Self(LinkMac::new(&ring.trail_key(&writer.0)))
    }

    /// HMAC-SHA-256 of the tag before and the text of a record.
    #[must_use]
    pub fn link(&self, previous: &[u8; 32], text: &[u8]) -> [u8; 32] {
        self.0.tag(previous, text)
    }
}

/// How far a chain of the audit trail goes, as the store remembers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anchor {
    /// The number of the last record.
    pub seq: u64,
    /// Its tag, in hexadecimal.
    pub mac: String,
    /// When this was written; unix seconds.
    pub at: u64,
    /// The machine it was written on.
    pub host: String,
    /// Where the records go: `file`, `stdout`, `stderr` or `stream`.
    pub sink: String,
    /// The file they go to, as a full path, if it is one.
    pub file: Option<String>,
    /// Whether that record is the chain's last.
    pub ended: bool,
}

impl Vault {
    /// What links the records of `writer`.
    #[must_use]
    pub fn trail_mac(&self, writer: &WriterId) -> TrailMac {
        TrailMac::new(&self.ring, writer)
    }

    /// The name of the key that comes from: `index:i1`.
    #[must_use]
    pub fn trail_key_name(&self) -> String {
        self.ring.trail_key_name()
    }

    /// Says in the store how far the chain of `writer` goes.
    ///
    /// # Errors
    /// When the store does not take it.
    pub async fn anchor(&self, writer: &WriterId, anchor: &Anchor) -> Result<(), VaultError> {
        let json = serde_json::to_vec(anchor).expect("text keys and no floats");
        self.put_plain(&ids::anchor(writer), &json).await
    }

    /// How far each chain goes; an error where this keyring cannot open it.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn anchors(&self) -> Result<Vec<(WriterId, Result<Anchor, OpenError>)>, VaultError> {
        let mut anchors = Vec::new();
        let mut pages = self.pages(ids::ANCHORS);
        while let Some(page) = pages.next().await? {
            anchors.extend(page.iter().filter_map(|record| self.opened_anchor(record)));
        }
        Ok(anchors)
    }

    fn opened_anchor(&self, record: &Record) -> Option<(WriterId, Result<Anchor, OpenError>)> {
        let opened = envelope::open_plain(&self.ring, record);
        let anchor =
            opened.and_then(|json| serde_json::from_slice(&json).map_err(|_| OpenError::Form));
        Some((writer_of(&record.id)?, anchor))
    }

    /// Deletes anchors that were not written for `age`.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn sweep_anchors(&self, age: Duration) -> Result<(), VaultError> {
        let mut pages = self.pages(ids::ANCHORS);
        while let Some(page) = pages.next().await? {
            for record in page {
                let since = next_version(None).saturating_sub(record.version);
                if Duration::from_micros(since) > age {
                    wrote(self.store.delete_if(&record.id, record.version).await)?;
                }
            }
        }
        Ok(())
    }
}

fn writer_of(id: &RecordId) -> Option<WriterId> {
    WriterId::parse(id.as_str().strip_prefix(ids::ANCHORS)?)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::names::ServerName;
    use crate::vault::tests::memory;

    fn anchor(seq: u64) -> Anchor {
        Anchor {
            seq,
            mac: "00".repeat(32),
            at: 1,
            host: "host-1".to_owned(),
            sink: "file".to_owned(),
            file: None,
            ended: false,
        }
    }

    // Fails when the key is the same for every writer, or comes from a key that a sidecar lacks.
    #[test]
    fn a_chain_has_a_key_of_its_own_that_a_sidecar_has_too() {
        let ring = Keyring::generate();
        let github = ServerName::parse("github").unwrap();
        let sidecar = Keyring::parse(&ring.export(&github).unwrap()).unwrap();
        let (one, other) = (WriterId::generate(), WriterId::generate());
        let link = |ring: &Keyring, writer| TrailMac::new(ring, writer).link(&[7; 32], b"text");
        assert_eq!(link(&ring, &one), link(&sidecar, &one));
        assert_ne!(link(&ring, &one), link(&ring, &other));
        assert_ne!(link(&ring, &one), link(&Keyring::generate(), &one));
    }

    #[test]
    fn a_writer_has_one_text() {
        let id = WriterId::generate();
        assert_eq!(WriterId::parse(&id.to_string()), Some(id));
        for bad in ["", "ab", &"A".repeat(32), &format!("+{}", "1".repeat(31))] {
            assert_eq!(WriterId::parse(bad), None, "{bad}");
        }
    }

    #[tokio::test]
    async fn the_last_anchor_counts_until_it_is_old() {
        let ring = Arc::new(Keyring::generate());
        let vault = Vault::new(memory().await, ring);
        let writer = WriterId::generate();
        vault.anchor(&writer, &anchor(1)).await.unwrap();
        vault.anchor(&writer, &anchor(9)).await.unwrap();
        let found = vault.anchors().await.unwrap();
        assert_eq!(found, [(writer, Ok(anchor(9)))]);
        vault.sweep_anchors(Duration::from_secs(60)).await.unwrap();
        assert_eq!(vault.anchors().await.unwrap().len(), 1);
        tokio::time::sleep(Duration::from_millis(2)).await;
        vault.sweep_anchors(Duration::ZERO).await.unwrap();
        assert!(vault.anchors().await.unwrap().is_empty());
    }

    // Fails when an anchor is sealed without its id: another writer's would cover a chain that was cut.
    #[tokio::test]
    async fn an_anchor_that_was_moved_does_not_open() {
        let vault = Vault::new(memory().await, Arc::new(Keyring::generate()));
        let (one, other) = (WriterId::generate(), WriterId::generate());
        vault.anchor(&one, &anchor(1)).await.unwrap();
        let mut record = vault.get(&ids::anchor(&one)).await.unwrap().unwrap();
        record.id = ids::anchor(&other);
        vault.store.put_if(record, None).await.unwrap();
        let found = vault.anchors().await.unwrap();
        let of = |id| found.iter().find(|(writer, _)| *writer == id);
        assert!(of(one).unwrap().1.is_ok());
        assert_eq!(of(other).unwrap().1, Err(OpenError::Seal));
    }
}
