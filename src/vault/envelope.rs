//! The blob format, version 1, and what seals and opens it.
//!
//! ```text
//! version 1 | record kind | wrap kind | key id length | key id | sealed
//! sealed of all kinds but s:    nonce 12 | ciphertext | tag 16               by the realm key
//! sealed of kind s:           nonce 12 | data key 32 | tag 16              by the server key
//!                             nonce 12 | ciphertext | tag 16               by the data key
//! ```
//!
//! AES-256-GCM throughout. The key is picked by its id, never tried. The AAD is the length-prefixed
//! list (version, wrap kind, realm, record kind, record id, record version); the wrap kind is in it
//! so that a blob cannot be relabelled once there is a second one. So a blob moved to another id,
//! another version or another realm does not open.
//!
//! Inside the realm's seal, all kinds but c, h, r and t hold `key id length | key id | signature 64 |
//! payload`: the Ed25519 signature is over the same list and the payload. Holders of an exported
//! keyring can open those records, but not make them.

use zeroize::Zeroizing;

use super::crypto::{Aead, KEY_LEN, KeyBytes, SEAL_OVERHEAD, SIGNATURE_LEN, length_prefixed};
use super::key_name::{KeyKind, KeyName};
use super::keyring::{Keyring, ReadOnly};
use super::secret::SecretSet;
use crate::names::ServerName;
use crate::store::{Record, RecordId};

const VERSION: u8 = 1;
/// Keys come from the keyring. 1 is reserved for vaults only a bearer key opens.
const WRAP_KEYRING: u8 = 0;
/// Record kind of a wrapped data key, which has no record of its own.
const DATA_KEY: u8 = b'd';

/// How the records of a kind are sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// By the realm key, with a signature inside.
    Signed,
    /// By the realm key alone.
    Plain,
    /// By a data key that a server key wraps.
    Set,
}

impl Form {
    /// Kinds that are not listed below are signed: the rule that lets nobody but us make them.
    pub(super) fn of(id: &RecordId) -> Self {
        match kind(id) {
            b'c' | b'h' | b'r' | b't' => Self::Plain,
            b's' => Self::Set,
            _ => Self::Signed,
        }
    }
}

/// Why a blob does not open. Says nothing of its content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Not of a form this release reads.
    #[error("the record is not of a form this release reads")]
    Form,
    /// Sealed by a key that is not in the keyring.
    #[error("the record was sealed by the key `{0}`, which this keyring does not hold")]
    NoKey(String),
    /// Changed, moved, or sealed by another key of the same id.
    #[error("the record does not open: it was changed or moved, or belongs to another keyring")]
    Seal,
    /// Opens, but was not signed by this installation.
    #[error("the record's signature is not of this installation")]
    Signature,
}

/// Seals `payload` as the signed record `id` at `version`.
///
/// # Errors
/// [`ReadOnly`] without a `sign` key.
pub(super) fn seal_signed(
    ring: &Keyring,
    id: &RecordId,
    version: u64,
    payload: &[u8],
) -> Result<Record, ReadOnly> {
    let (signer_id, signer) = ring.signer().ok_or(ReadOnly(()))?;
    let aad = aad(ring, kind(id), id, version);
    let signature = signer.sign(&signed_message(&aad, payload));
    let mut inner = vec![signer_id.len() as u8];
    inner.extend_from_slice(signer_id.as_bytes());
    inner.extend_from_slice(&signature);
    inner.extend_from_slice(payload);
    Ok(seal_realm(ring, id, version, &aad, &inner))
}

/// Opens a signed record and gives its payload.
///
/// # Errors
/// Every way in which it is not what this installation wrote there.
pub(super) fn open_signed(
    ring: &Keyring,
    record: &Record,
) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    let aad = aad(ring, kind(&record.id), &record.id, record.version);
    let inner = open_realm(ring, record, &aad)?;
    let (signer, rest) = split_signer(&inner)?;
    let (signature, payload) = rest
        .split_at_checked(SIGNATURE_LEN)
        .ok_or(OpenError::Form)?;
    if !ring.verify(signer, &signed_message(&aad, payload), signature) {
        return Err(OpenError::Signature);
    }
    Ok(Zeroizing::new(payload.to_vec()))
}

/// The key without which the record does not open, read from its header.
///
/// # Errors
/// [`OpenError::Form`].
pub(super) fn sealed_by(record: &Record) -> Result<KeyName, OpenError> {
    let (key_id, _) = split(&record.blob, kind(&record.id))?;
    let sealed_by = match Form::of(&record.id) {
        Form::Set => KeyKind::Server,
        Form::Signed | Form::Plain => KeyKind::Realm,
    };
    Ok(KeyName::new(sealed_by, key_id))
}

/// Who is said to have signed a signed record; the signature itself is not looked at.
///
/// # Errors
/// When the realm's seal does not open.
pub(super) fn signed_by(ring: &Keyring, record: &Record) -> Result<KeyName, OpenError> {
    let aad = aad(ring, kind(&record.id), &record.id, record.version);
    let inner = open_realm(ring, record, &aad)?;
    let (signer, _) = split_signer(&inner)?;
    Ok(KeyName::new(KeyKind::Sign, signer))
}

/// Seals `payload` by the realm key without a signature: for check values.
pub(super) fn seal_plain(ring: &Keyring, id: &RecordId, version: u64, payload: &[u8]) -> Record {
    let aad = aad(ring, kind(id), id, version);
    seal_realm(ring, id, version, &aad, payload)
}

/// Opens what [`seal_plain`] sealed.
pub(super) fn open_plain(ring: &Keyring, record: &Record) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    open_realm(
        ring,
        record,
        &aad(ring, kind(&record.id), &record.id, record.version),
    )
}

/// Seals what a record of the realm says again, with the active keys: one version newer, so that
/// whatever was decided about older versions holds against it too.
///
/// `None` without a `sign` key.
///
/// # Errors
/// When it does not open.
pub(super) fn reseal(ring: &Keyring, record: &Record) -> Result<Option<Record>, OpenError> {
    let version = record.version + 1;
    if Form::of(&record.id) == Form::Plain {
        let payload = open_plain(ring, record)?;
        return Ok(Some(seal_plain(ring, &record.id, version, &payload)));
    }
    let payload = open_signed(ring, record)?;
    Ok(seal_signed(ring, &record.id, version, &payload).ok())
}

/// Seals a secret set under a new data key, wrapped by the active key of `server`.
///
/// `None` when the keyring has no key for `server`.
pub(super) fn seal_secrets(
    ring: &Keyring,
    server: &ServerName,
    id: &RecordId,
    version: u64,
    set: &SecretSet,
) -> Option<Record> {
    let (key_id, server_key) = ring.server_keys(server).next()?;
    let data_key = KeyBytes::generate();
    let mut blob = header(kind(id), key_id);
    let wrap_aad = aad(ring, DATA_KEY, id, version);
    Aead::new(&server_key).seal_onto(&wrap_aad, data_key.expose_bytes(), &mut blob);
    let set_aad = aad(ring, kind(id), id, version);
    Aead::new(&data_key).seal_onto(&set_aad, set.expose_bytes(), &mut blob);
    Some(Record {
        id: id.clone(),
        version,
        blob: blob.into(),
    })
}

/// The keys of one server, ready to open its users' secret sets.
pub struct SecretOpener {
    realm: String,
    keys: Vec<(String, Aead)>,
    /// Of this opener alone.
    own: Aead,
}

impl SecretOpener {
    /// `None` when the keyring has no key for `server`.
    #[must_use]
    pub fn new(ring: &Keyring, server: &ServerName) -> Option<Self> {
        let keys: Vec<_> = ring
            .server_keys(server)
            .map(|(id, key)| (id.to_owned(), Aead::new(&key)))
            .collect();
        (!keys.is_empty()).then(|| Self {
            realm: ring.realm().to_owned(),
            keys,
            own: Aead::new(&KeyBytes::generate()),
        })
    }

    /// Opens a secret set.
    ///
    /// # Errors
    /// Every way in which it is not a set sealed for this server, at this id and version.
    pub fn open(&self, record: &Record) -> Result<SecretSet, OpenError> {
        let (key_id, sealed) = split(&record.blob, kind(&record.id))?;
        let (_, server_key) = self
            .keys
            .iter()
            .find(|(id, _)| id == key_id)
            .ok_or_else(|| OpenError::NoKey(key_id.to_owned()))?;
        let (wrapped, sealed) = sealed
            .split_at_checked(KEY_LEN + SEAL_OVERHEAD)
            .ok_or(OpenError::Form)?;
        let wrap_aad = aad_of(&self.realm, DATA_KEY, &record.id, record.version);
        let data_key = server_key.open(&wrap_aad, wrapped).ok_or(OpenError::Seal)?;
        let data_key = KeyBytes::from_slice(&data_key).ok_or(OpenError::Form)?;
        let set_aad = aad_of(&self.realm, kind(&record.id), &record.id, record.version);
        let set = Aead::new(&data_key)
            .open(&set_aad, sealed)
            .ok_or(OpenError::Seal)?;
        SecretSet::from_bytes(set).ok_or(OpenError::Form)
    }

    /// Seals the set of a record with the opener's own key, for that record.
    pub(super) fn seal_own(&self, record: &Record, set: &SecretSet) -> Vec<u8> {
        let mut sealed = Vec::new();
        let aad = Self::own_aad(record);
        self.own.seal_onto(&aad, set.expose_bytes(), &mut sealed);
        sealed
    }

    /// Opens what [`SecretOpener::seal_own`] gave for this record. `None` when it is not exactly that.
    pub(super) fn open_own(&self, record: &Record, sealed: &[u8]) -> Option<SecretSet> {
        let set = self.own.open(&Self::own_aad(record), sealed)?;
        SecretSet::from_bytes(set)
    }

    /// What tells one record from another. The rest is the same for all an opener opens: sets of one realm.
    fn own_aad(record: &Record) -> Vec<u8> {
        let version = record.version.to_be_bytes();
        [&version[..], record.id.as_str().as_bytes()].concat()
    }
}

fn seal_realm(ring: &Keyring, id: &RecordId, version: u64, aad: &[u8], inner: &[u8]) -> Record {
    let (key_id, key) = ring
        .realm_keys()
        .next()
        .expect("a keyring holds a realm key");
    let mut blob = header(kind(id), key_id);
    Aead::new(key).seal_onto(aad, inner, &mut blob);
    Record {
        id: id.clone(),
        version,
        blob: blob.into(),
    }
}

fn open_realm(
    ring: &Keyring,
    record: &Record,
    aad: &[u8],
) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    let (key_id, sealed) = split(&record.blob, kind(&record.id))?;
    let (_, key) = ring
        .realm_keys()
        .find(|(id, _)| *id == key_id)
        .ok_or_else(|| OpenError::NoKey(key_id.to_owned()))?;
    Aead::new(key).open(aad, sealed).ok_or(OpenError::Seal)
}

fn header(kind: u8, key_id: &str) -> Vec<u8> {
    let mut out = vec![VERSION, kind, WRAP_KEYRING, key_id.len() as u8];
    out.extend_from_slice(key_id.as_bytes());
    out
}

fn split(blob: &[u8], kind: u8) -> Result<(&str, &[u8]), OpenError> {
    let (head, rest) = blob.split_at_checked(4).ok_or(OpenError::Form)?;
    if head[..3] != [VERSION, kind, WRAP_KEYRING] {
        return Err(OpenError::Form);
    }
    let (key_id, sealed) = rest
        .split_at_checked(head[3].into())
        .ok_or(OpenError::Form)?;
    let well_formed = key_id
        .iter()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-');
    let key_id = std::str::from_utf8(key_id).map_err(|_| OpenError::Form)?;
    if well_formed {
        Ok((key_id, sealed))
    } else {
        Err(OpenError::Form)
    }
}

/// The signer's id, and what comes after it.
fn split_signer(inner: &[u8]) -> Result<(&str, &[u8]), OpenError> {
    let (&id_len, rest) = inner.split_first().ok_or(OpenError::Form)?;
    let (signer, rest) = rest
        .split_at_checked(id_len.into())
        .ok_or(OpenError::Form)?;
    let signer = std::str::from_utf8(signer).map_err(|_| OpenError::Form)?;
    Ok((signer, rest))
}

fn kind(id: &RecordId) -> u8 {
    id.as_str().as_bytes()[0]
}

fn aad(ring: &Keyring, kind: u8, id: &RecordId, version: u64) -> Vec<u8> {
    aad_of(ring.realm(), kind, id, version)
}

fn aad_of(realm: &str, kind: u8, id: &RecordId, version: u64) -> Vec<u8> {
    let parts: [&[u8]; 6] = [
        &[VERSION],
        &[WRAP_KEYRING],
        realm.as_bytes(),
        &[kind],
        id.as_str().as_bytes(),
        &version.to_be_bytes(),
    ];
    length_prefixed(parts.into_iter())
}

fn signed_message(aad: &[u8], payload: &[u8]) -> Vec<u8> {
    length_prefixed([b"cloakroom record v1".as_slice(), aad, payload].into_iter())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::SecretName;
    use crate::vault::secret::SecretValue;

    fn id(text: &str) -> RecordId {
        RecordId::parse(text).unwrap()
    }

    fn server(text: &str) -> ServerName {
        ServerName::parse(text).unwrap()
    }

    fn moved(record: &Record) -> Vec<(&'static str, Record)> {
        let mut list = vec![
            (
                "another id",
                Record {
                    id: id("u/bb"),
                    ..record.clone()
                },
            ),
            (
                "another version",
                Record {
                    version: 8,
                    ..record.clone()
                },
            ),
        ];
        for i in 0..record.blob.len() {
            let mut blob = record.blob.to_vec();
            blob[i] ^= 1;
            list.push((
                "a changed byte",
                Record {
                    blob: blob.into(),
                    ..record.clone()
                },
            ));
            list.push((
                "a cut blob",
                Record {
                    blob: record.blob.slice(..i),
                    ..record.clone()
                },
            ));
        }
        list
    }

    #[test]
    fn a_signed_record_opens_where_and_as_it_was_written_only() {
        let ring = Keyring::generate();
        let record = seal_signed(&ring, &id("u/aa"), 7, b"payload").unwrap();
        assert_eq!(open_signed(&ring, &record).unwrap().as_slice(), b"payload");
        for (how, bad) in moved(&record) {
            assert!(open_signed(&ring, &bad).is_err(), "{how}");
        }
        assert!(open_signed(&Keyring::generate(), &record).is_err());
    }

    #[test]
    fn a_sidecar_reads_records_but_cannot_make_them() {
        let ring = Keyring::generate();
        let part_text = ring.export(&server("github")).unwrap();
        let part = Keyring::parse(&part_text).unwrap();
        let record = seal_signed(&ring, &id("k/aa"), 1, b"alice").unwrap();
        assert_eq!(open_signed(&part, &record).unwrap().as_slice(), b"alice");
        assert!(seal_signed(&part, &id("k/aa"), 1, b"mallory").is_err());
        // The realm key alone is not enough: a record sealed by it, signed by somebody else.
        let text: String = part_text
            .lines()
            .filter(|l| !l.contains(" verify "))
            .map(|l| format!("{l}\n"))
            .collect();
        let text = format!(
            "{text}g1 sign {} QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=\n",
            ring.realm()
        );
        let forger = Keyring::parse(&text).unwrap();
        let forged = seal_signed(&forger, &id("k/aa"), 1, b"mallory").unwrap();
        assert_eq!(
            open_signed(&ring, &forged).err(),
            Some(OpenError::Signature)
        );
    }

    #[test]
    fn secrets_open_for_their_server_id_and_version_only() {
        let ring = Keyring::generate();
        let value = SecretValue::new(Zeroizing::new(b"ghp_1".to_vec()))
            .ok()
            .unwrap();
        let name = SecretName::parse("TOKEN").unwrap();
        let set = SecretSet::empty().with(&name, Some(&value));
        let record = seal_secrets(&ring, &server("github"), &id("s/aa/bb"), 7, &set).unwrap();
        let opener = SecretOpener::new(&ring, &server("github")).unwrap();
        assert_eq!(
            opener.open(&record).ok().unwrap().expose(&name),
            Some(&b"ghp_1"[..])
        );
        for (how, bad) in moved(&record) {
            assert!(opener.open(&bad).is_err(), "{how}");
        }
        assert!(
            SecretOpener::new(&ring, &server("jira"))
                .unwrap()
                .open(&record)
                .is_err()
        );
        let part = Keyring::parse(&ring.export(&server("github")).unwrap()).unwrap();
        assert!(
            SecretOpener::new(&part, &server("github"))
                .unwrap()
                .open(&record)
                .is_ok()
        );
        assert!(SecretOpener::new(&part, &server("jira")).is_none());
    }
}
