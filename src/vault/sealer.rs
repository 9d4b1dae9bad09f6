//! Seals small texts that leave the proxy and come back: session ids, event ids.

use super::crypto::{Aead, KeyBytes, Mac, equal};
use super::keyring::Keyring;
use crate::names::ServerName;

/// Bytes of a tag's MAC: 128 bits.
const TAG_LEN: usize = 16;

/// Seals for one server, with keys derived from that server's keys, so that every replica (and no
/// other server's sidecar) opens what another sealed.
///
/// Each context (user, server, profile) has a cipher key of its own: what was sealed for one opens
/// for no other, and no number of users comes near the limit of 2^32 seals a key.
pub struct Sealer {
    keys: Vec<SealerKey>,
}

struct SealerKey {
    id: Vec<u8>,
    seal: KeyBytes,
    mac: Mac,
}

impl Sealer {
    /// `None` when the keyring has no key for `server`.
    #[must_use]
    pub fn new(ring: &Keyring, server: &ServerName) -> Option<Self> {
        let keys: Vec<_> = ring
            .server_keys(server)
            .map(|(id, key)| SealerKey {
                id: id.as_bytes().to_vec(),
                seal: key.derive("cloakroom seal v1", &[]),
                mac: Mac::new(&key.derive("cloakroom tag v1", &[])),
            })
            .collect();
        (!keys.is_empty()).then_some(Self { keys })
    }

    /// Seals `plaintext` for `purpose` and `context`.
    #[must_use]
    pub fn seal(&self, purpose: &'static str, context: &[&[u8]], plaintext: &[u8]) -> Vec<u8> {
        let key = &self.keys[0];
        let mut out =
            Vec::with_capacity(1 + key.id.len() + plaintext.len() + super::crypto::SEAL_OVERHEAD);
        out.push(key.id.len() as u8);
        out.extend_from_slice(&key.id);
        let aad = out.clone();
        Aead::new(&key.seal.derive(purpose, context)).seal_onto(&aad, plaintext, &mut out);
        out
    }

    /// Opens what [`Sealer::seal`] made for the same purpose and context; `None` for anything else.
    #[must_use]
    pub fn open(&self, purpose: &'static str, context: &[&[u8]], sealed: &[u8]) -> Option<Vec<u8>> {
        let (key, head, rest) = self.key_of(sealed)?;
        let opened = Aead::new(&key.seal.derive(purpose, context)).open(head, rest)?;
        Some(opened.to_vec())
    }

    /// A tag that only a holder of the server's key can make for `message` in this context.
    #[must_use]
    pub fn tag(&self, purpose: &'static str, context: &[&[u8]], message: &[u8]) -> Vec<u8> {
        let key = &self.keys[0];
        let mut out = Vec::with_capacity(1 + key.id.len() + TAG_LEN);
        out.push(key.id.len() as u8);
        out.extend_from_slice(&key.id);
        out.extend_from_slice(&mac(key, purpose, context, message));
        out
    }

    /// Whether `tag` is what [`Sealer::tag`] gives for the same arguments, by this key or an older one.
    #[must_use]
    pub fn verify(
        &self,
        purpose: &'static str,
        context: &[&[u8]],
        message: &[u8],
        tag: &[u8],
    ) -> bool {
        self.key_of(tag)
            .is_some_and(|(key, _, rest)| equal(&mac(key, purpose, context, message), rest))
    }

    fn key_of<'a>(&self, sealed: &'a [u8]) -> Option<(&SealerKey, &'a [u8], &'a [u8])> {
        let id_len = usize::from(*sealed.first()?);
        let (head, rest) = sealed.split_at_checked(1 + id_len)?;
        let key = self.keys.iter().find(|key| key.id == head[1..])?;
        Some((key, head, rest))
    }
}

fn mac(key: &SealerKey, purpose: &str, context: &[&[u8]], message: &[u8]) -> [u8; TAG_LEN] {
    let mut parts = vec![purpose.as_bytes()];
    parts.extend_from_slice(context);
    parts.push(message);
    let full = key.mac.tag(&parts);
    full[..TAG_LEN]
        .try_into()
        .expect("a MAC of 32 bytes has 16")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::{KeyKind, KeyringText};

    fn sealer(ring: &Keyring, server: &str) -> Sealer {
        Sealer::new(ring, &ServerName::parse(server).unwrap()).unwrap()
    }

    #[test]
    fn a_seal_is_bound_to_purpose_context_server_and_keyring() {
        let ring = Keyring::generate();
        let github = sealer(&ring, "github");
        let sealed = github.seal("session", &[b"alice"], b"42");
        assert_eq!(github.open("session", &[b"alice"], &sealed).unwrap(), b"42");
        assert_eq!(
            sealer(&ring, "github")
                .open("session", &[b"alice"], &sealed)
                .unwrap(),
            b"42"
        );
        assert!(github.open("session", &[b"bob"], &sealed).is_none());
        assert!(github.open("task", &[b"alice"], &sealed).is_none());
        assert!(
            sealer(&ring, "jira")
                .open("session", &[b"alice"], &sealed)
                .is_none()
        );
        assert!(
            sealer(&Keyring::generate(), "github")
                .open("session", &[b"alice"], &sealed)
                .is_none()
        );
        for i in 0..sealed.len() {
            let mut bad = sealed.clone();
            bad[i] ^= 1;
            assert!(
                github.open("session", &[b"alice"], &bad).is_none(),
                "byte {i}"
            );
        }
    }

    #[test]
    fn a_replica_with_both_keys_opens_what_either_sealed() {
        let text = KeyringText::new(&Keyring::generate().to_text());
        let (made, lines) = text.keyring().unwrap().successors(KeyKind::Server);
        let both = text.with(&lines);
        let first = sealer(&both.keyring().unwrap(), "github");
        let second = sealer(&both.promoting(&made).keyring().unwrap(), "github");
        for (seals, opens) in [(&first, &second), (&second, &first)] {
            let sealed = seals.seal("session", &[b"alice"], b"42");
            assert_eq!(opens.open("session", &[b"alice"], &sealed).unwrap(), b"42");
            let tag = seals.tag("event", &[b"alice"], b"7");
            assert!(opens.verify("event", &[b"alice"], b"7", &tag));
        }
        let id = |sealer: &Sealer| sealer.seal("session", &[], b"")[..3].to_vec();
        assert_eq!(
            (id(&first), id(&second)),
            (b"\x02s1".to_vec(), b"\x02s2".to_vec())
        );
    }

    #[test]
    fn a_tag_is_bound_to_its_message_and_context() {
        let github = sealer(&Keyring::generate(), "github");
        let tag = github.tag("event", &[b"alice", b"s"], b"7");
        assert!(github.verify("event", &[b"alice", b"s"], b"7", &tag));
        assert!(!github.verify("event", &[b"alice", b"s"], b"8", &tag));
        assert!(!github.verify("event", &[b"bob", b"s"], b"7", &tag));
        assert!(!github.verify("event", &[b"alice"], b"s7", &tag));
        assert!(!github.verify("event", &[b"alice", b"s"], b"7", &tag[..tag.len() - 1]));
        assert!(!github.verify("event", &[b"alice", b"s"], b"7", b""));
    }
}
