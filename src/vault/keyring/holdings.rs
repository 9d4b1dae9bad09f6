//! What a process says of the keys it holds, so that another can tell whether they are the same.
//!
//! A fingerprint is made from a key of 256 random bits by a one-way function of its own (HKDF, then
//! HMAC), so nothing can be learnt from it but whether two keys are equal. Of `server` keys it is that of
//! the key derived for one server, since a sidecar holds no other.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::Keyring;
use crate::names::ServerName;
use crate::vault::crypto::{KeyBytes, Mac};
use crate::vault::{KeyKind, KeyName};

/// One key that is held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::vault) struct Holding {
    /// Kind and id, as a [`KeyName`] is written.
    key: String,
    /// Of a `server` key: for which server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    server: Option<String>,
    fingerprint: String,
}

impl Holding {
    fn new(name: &KeyName, server: Option<&ServerName>, key: &KeyBytes) -> Self {
        let tag = Mac::new(&key.derive("cloakroom key fingerprint v1", &[])).tag(&[]);
        let fingerprint = tag[..16].iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        });
        Self {
            key: name.to_string(),
            server: server.map(ServerName::to_string),
            fingerprint,
        }
    }
}

impl Keyring {
    /// Everything held that somebody who serves `servers` could need, the active of each first.
    pub(in crate::vault) fn holdings(&self, servers: &[ServerName]) -> Vec<Holding> {
        let mut out = Vec::new();
        for line in &self.realm_keys {
            let name = KeyName::new(KeyKind::Realm, &line.id);
            out.push(Holding::new(&name, None, &line.key));
        }
        for server in servers {
            for (id, key) in self.server_keys(server) {
                let name = KeyName::new(KeyKind::Server, id);
                out.push(Holding::new(&name, Some(server), &key));
            }
        }
        for line in &self.verifiers {
            let name = KeyName::new(KeyKind::Sign, &line.id);
            let public = KeyBytes::from_slice(&line.key).expect("a public key has 32 bytes");
            out.push(Holding::new(&name, None, &public));
        }
        out
    }

    /// Which of this keyring's active keys somebody who holds `held` and serves `servers` lacks, or
    /// holds another key in the place of.
    pub(in crate::vault) fn lacking(
        &self,
        held: &[Holding],
        servers: &[ServerName],
    ) -> Vec<KeyName> {
        let mut lacking = Vec::new();
        for ours in firsts(&self.holdings(servers)) {
            let name = ours.key.split_once(':');
            let name = name.and_then(|(kind, id)| Some(KeyName::new(kind.parse().ok()?, id)));
            if let Some(name) = name.filter(|name| !held.contains(ours) && !lacking.contains(name))
            {
                lacking.push(name);
            }
        }
        lacking
    }
}

/// Whether `key` stands first where `held` was read, so that it seals or signs.
pub(in crate::vault) fn stands_first(held: &[Holding], key: &KeyName) -> bool {
    let name = key.to_string();
    firsts(held).any(|first| first.key == name)
}

/// Of each kind and server the first.
fn firsts(held: &[Holding]) -> impl Iterator<Item = &Holding> {
    let place = |holding: &Holding| {
        let kind = holding.key.split(':').next().map(str::to_owned);
        (kind, holding.server.clone())
    };
    let is_first = move |at: &usize| {
        let earlier = held[..*at].iter();
        !earlier.map(place).any(|other| other == place(&held[*at]))
    };
    (0..held.len()).filter(is_first).map(|at| &held[at])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::KeyringText;

    fn server(name: &str) -> ServerName {
        ServerName::parse(name).unwrap()
    }

    #[test]
    fn a_replica_lacks_a_new_key_until_it_has_that_very_key() {
        let text = KeyringText::new(&Keyring::generate().to_text());
        let old = text.keyring().unwrap();
        let servers = [server("github")];
        for kind in KeyKind::ALL {
            let (made, lines) = old.successors(kind);
            let with = text.with(&lines);
            let next = with.promoting(&made).keyring().unwrap();
            let lacking = |ring: &Keyring| next.lacking(&ring.holdings(&servers), &servers);
            assert_eq!(lacking(&old), made);
            assert!(lacking(&with.keyring().unwrap()).is_empty());
            assert!(lacking(&next).is_empty());
            // Another key of the same id.
            let (_, others) = old.successors(kind);
            assert_eq!(lacking(&text.with(&others).keyring().unwrap()), made);
            // A sidecar: one server's derived keys, and the public halves.
            let part = |ring: &Keyring| Keyring::parse(&ring.export(&servers[0]).unwrap()).unwrap();
            assert!(lacking(&part(&with.keyring().unwrap())).is_empty());
            assert_eq!(lacking(&part(&old)), made);
            // It need not have what only other servers need.
            let none = next.lacking(&old.holdings(&[]), &[]);
            assert_eq!(none.is_empty(), kind == KeyKind::Server);
        }
    }

    #[test]
    fn what_is_first_seals() {
        let text = KeyringText::new(&Keyring::generate().to_text());
        let (made, lines) = text.keyring().unwrap().successors(KeyKind::Server);
        let held = |text: &KeyringText| text.keyring().unwrap().holdings(&[server("github")]);
        let s1 = KeyName::new(KeyKind::Server, "s1");
        let with = text.with(&lines);
        assert!(stands_first(&held(&with), &s1) && !stands_first(&held(&with), &made[0]));
        let next = with.promoting(&made);
        assert!(!stands_first(&held(&next), &s1) && stands_first(&held(&next), &made[0]));
        let g1 = KeyName::new(KeyKind::Sign, "g1");
        assert!(stands_first(&held(&next), &g1));
    }

    #[test]
    fn a_fingerprint_shows_nothing_of_its_key() {
        let text = Keyring::generate().to_text();
        let held = Keyring::parse(&text).unwrap().holdings(&[server("github")]);
        let shown = serde_json::to_string(&held).unwrap();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let encoded = line.rsplit(' ').next().unwrap();
            assert!(!shown.contains(&encoded[..8]));
        }
    }
}
