//! Which keys follow which: what a rotation goes by.
//!
//! Keys of one kind, and of one scope where they are `server` keys, follow each other. The first line is
//! the active key, whatever the keys are called. A later one is to come only if the line above it says
//! that it was made by a rotation to follow the key that is active now; else it has been. So the file
//! alone shows how far a rotation is, and it can be gone on with after anything:
//!
//! | lines, first to last | what it means |
//! |---|---|
//! | `r1` | no rotation |
//! | `r1`, `# next: r2 follows r1`, `r2` | `r2` was made and only opens as yet: it is brought to every replica |
//! | `r2`, `r1` | `r2` seals; `r1` stays for as long as a record needs it |

use std::collections::BTreeMap;
use std::fmt::Write as _;

use zeroize::Zeroizing;

use super::text::write_follows;
use super::{Keyring, KeyringText, Line, Scope, write_line};
use crate::vault::crypto::KeyBytes;
use crate::vault::{KeyKind, KeyName};

/// The keys of one kind by what they are for.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Succession {
    /// Those that seal or sign.
    pub active: Vec<KeyName>,
    /// Those that were made to follow an active one, and only open as yet.
    pub next: Vec<KeyName>,
    /// Those that only open what was sealed before.
    pub old: Vec<KeyName>,
}

impl Keyring {
    /// How far a rotation of `kind` is.
    #[must_use]
    pub fn succession(&self, kind: KeyKind) -> Succession {
        let mut found = Succession::default();
        let mut rest: Vec<_> = self.ids(kind);
        for group in self.groups(kind) {
            found.active.push(KeyName::new(kind, group[0]));
            rest.retain(|id| *id != group[0]);
            if let Some(next) = self.next(kind, &group) {
                found.next.push(KeyName::new(kind, next));
                rest.retain(|id| *id != next);
            }
        }
        found.old = rest.into_iter().map(|id| KeyName::new(kind, id)).collect();
        found
    }

    /// The one that was made to follow the first of a group and nothing else.
    fn next<'a>(&self, kind: KeyKind, group: &[&'a str]) -> Option<&'a str> {
        let active = *group.first()?;
        let follows = |id: &str| {
            self.follows
                .iter()
                .any(|(key, before)| key.kind == kind && key.id == id && before == active)
        };
        group[1..].iter().copied().find(|id| follows(id))
    }

    /// New keys to follow the active ones of `kind`: their names, and their lines.
    #[must_use]
    pub fn successors(&self, kind: KeyKind) -> (Vec<KeyName>, KeyringText) {
        self.successors_beside(kind, &[])
    }

    /// As [`Keyring::successors`], none of which is called as one of `taken`.
    #[must_use]
    pub fn successors_beside(
        &self,
        kind: KeyKind,
        taken: &[KeyName],
    ) -> (Vec<KeyName>, KeyringText) {
        // Large enough for any keyring, so that growing never leaves a copy behind.
        let mut lines = Zeroizing::new(String::with_capacity(64 * 1024));
        let mut names = Vec::new();
        let taken = taken.iter().filter(|key| key.kind == kind);
        let taken = taken.map(|key| key.id.as_str());
        let ids = self.ids(kind).into_iter().chain(taken);
        let mut number = ids.map(number).max().unwrap_or(0);
        for group in self.groups(kind) {
            number += 1;
            let id = numbered(group[0], kind, number);
            let key = KeyBytes::generate();
            let scope = self.scope(kind, group[0]);
            write_follows(&mut lines, &id, group[0]);
            write_line(&mut lines, &id, kind.as_str(), &scope, key.expose_bytes());
            names.push(KeyName { kind, id });
        }
        (names, KeyringText::new(&lines))
    }

    /// Whether everything `id` wraps is wrapped by an active key, whatever server it is for.
    pub(in crate::vault) fn always_active(&self, id: &str) -> bool {
        let Some(at) = self.servers.iter().position(|line| line.id == id) else {
            return false;
        };
        let earlier = &self.servers[..at];
        match &self.servers[at].key.scope {
            Scope::Root => earlier.is_empty(),
            Scope::Servers(names) => names
                .iter()
                .all(|name| !earlier.iter().any(|line| line.key.scope.covers(name))),
        }
    }

    /// Whether a realm or signing key is the one that seals or signs.
    pub(in crate::vault) fn is_active(&self, key: &KeyName) -> bool {
        let active = match key.kind {
            KeyKind::Realm => ids(&self.realm_keys),
            KeyKind::Sign => ids(&self.signers),
            KeyKind::Server => return self.always_active(&key.id),
        };
        active.first() == Some(&key.id.as_str())
    }

    /// Every key this keyring writes with. One that cannot sign writes only what it seals with the realm
    /// key: a record of its process.
    pub(in crate::vault) fn active(&self) -> Vec<KeyName> {
        let realm = ids(&self.realm_keys);
        let mut active = vec![KeyName::new(KeyKind::Realm, realm[0])];
        if let Some(signer) = self.signers.first() {
            let servers = ids(&self.servers);
            let servers = servers.into_iter().filter(|id| self.active_for_any(id));
            active.extend(servers.map(|id| KeyName::new(KeyKind::Server, id)));
            active.push(KeyName::new(KeyKind::Sign, &signer.id));
        }
        active
    }

    /// How many keys are held whose signatures count.
    pub(in crate::vault) fn signers_known(&self) -> usize {
        self.verifiers.len()
    }

    /// Every id of a kind in the order of the lines. Of signers also those that can only be verified.
    fn ids(&self, kind: KeyKind) -> Vec<&str> {
        match kind {
            KeyKind::Realm => ids(&self.realm_keys),
            KeyKind::Server => ids(&self.servers),
            KeyKind::Sign => ids(&self.verifiers),
        }
    }

    /// The ids that follow each other, the active one first, without those of a scope for which
    /// another is active.
    fn groups(&self, kind: KeyKind) -> Vec<Vec<&str>> {
        match kind {
            KeyKind::Realm => vec![ids(&self.realm_keys)],
            KeyKind::Sign => vec![ids(&self.signers)],
            KeyKind::Server => {
                let mut by_scope: BTreeMap<String, Vec<&str>> = BTreeMap::new();
                for line in &self.servers {
                    let group = by_scope.entry(line.key.scope.to_string()).or_default();
                    group.push(&line.id);
                }
                let mut groups: Vec<_> = by_scope.into_values().collect();
                groups.retain(|group| self.active_for_any(group[0]));
                groups
            }
        }
        .into_iter()
        .filter(|group| !group.is_empty())
        .collect()
    }

    fn active_for_any(&self, id: &str) -> bool {
        let earlier: Vec<_> = self.servers.iter().take_while(|l| l.id != id).collect();
        let Some(line) = self.servers.get(earlier.len()) else {
            return false;
        };
        let covered = |name| earlier.iter().any(|line| line.key.scope.covers(name));
        match &line.key.scope {
            Scope::Root => !earlier.iter().any(|l| matches!(l.key.scope, Scope::Root)),
            Scope::Servers(names) => names.iter().any(|name| !covered(name)),
        }
    }

    fn scope(&self, kind: KeyKind, id: &str) -> String {
        let server = self.servers.iter().find(|line| line.id == id);
        match server.filter(|_| kind == KeyKind::Server) {
            Some(line) => line.key.scope.to_string(),
            None => self.realm.clone(),
        }
    }
}

fn ids<K>(lines: &[Line<K>]) -> Vec<&str> {
    lines.iter().map(|line| line.id.as_str()).collect()
}

fn stem(id: &str) -> &str {
    id.trim_end_matches(|c: char| c.is_ascii_digit())
}

fn number(id: &str) -> u64 {
    id[stem(id).len()..].parse().unwrap_or(0)
}

/// An id with this number that is like `id`, or like those `init` gives where it would be too long.
fn numbered(id: &str, kind: KeyKind, number: u64) -> String {
    let mut text = stem(id).to_owned();
    let _ = write!(text, "{number}");
    if text.len() <= 8 {
        return text;
    }
    let letter = match kind {
        KeyKind::Realm => 'r',
        KeyKind::Server => 's',
        KeyKind::Sign => 'g',
    };
    format!("{letter}{number}")
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;

    use super::*;

    fn names(list: &[KeyName]) -> Vec<&str> {
        list.iter().map(|name| name.id.as_str()).collect()
    }

    fn shape(text: &KeyringText, kind: KeyKind) -> (String, String, String) {
        let found = text.keyring().unwrap().succession(kind);
        let join = |list| names(list).join(" ");
        (join(&found.active), join(&found.next), join(&found.old))
    }

    fn is(shape: (String, String, String), active: &str, next: &str, old: &str) {
        assert_eq!(shape, (active.into(), next.into(), old.into()));
    }

    #[test]
    fn a_rotation_is_seen_in_the_file_alone_at_every_step() {
        let first = KeyringText::new(&Keyring::generate().to_text());
        for (kind, one, two) in [
            (KeyKind::Realm, "r1", "r2"),
            (KeyKind::Server, "s1", "s2"),
            (KeyKind::Sign, "g1", "g2"),
        ] {
            is(shape(&first, kind), one, "", "");
            let (made, lines) = first.keyring().unwrap().successors(kind);
            let text = first.with(&lines);
            is(shape(&text, kind), one, two, "");
            let text = text.promoting(&made);
            is(shape(&text, kind), two, "", one);
            let text = text.without(&KeyName::new(kind, one));
            is(shape(&text, kind), two, "", "");
            for other in KeyKind::ALL.into_iter().filter(|other| *other != kind) {
                assert_eq!(shape(&text, other), shape(&first, other));
            }
        }
    }

    #[test]
    fn keys_of_servers_follow_each_other_by_scope() {
        let base = Keyring::generate().to_text();
        let key = base.lines().find(|l| l.contains(" server ")).unwrap();
        let key = key.rsplit(' ').next().unwrap();
        let scoped =
            format!("s1 server github {key}\ns2 server jira,wiki {key}\ns3 server * {key}\n");
        let rest = KeyringText::new(&base).without(&KeyName::new(KeyKind::Server, "s1"));
        let text = rest.with(&KeyringText::new(&scoped));
        let (made, lines) = text.keyring().unwrap().successors(KeyKind::Server);
        assert_eq!(made.len(), 3);
        let after = text.with(&lines).promoting(&made).keyring().unwrap();
        let active = |server: &str| {
            let server = crate::names::ServerName::parse(server).unwrap();
            let (id, _) = after.server_keys(&server).next().unwrap();
            (after.scope(KeyKind::Server, id), number(id) > 3)
        };
        assert_eq!(active("github"), ("github".into(), true));
        assert_eq!(active("wiki"), ("jira,wiki".into(), true));
        assert_eq!(active("other"), ("*".into(), true));
        let old = after.succession(KeyKind::Server).old;
        assert_eq!(names(&old), ["s1", "s2", "s3"]);
        assert!(!old.iter().any(|name| after.always_active(&name.id)));
        // A root before them all makes the others old; they get no successors.
        let root = KeyringText::new(&format!("s9 server * {key}\n{scoped}"));
        is(
            shape(&rest.with(&root), KeyKind::Server),
            "s9",
            "",
            "s1 s2 s3",
        );
    }

    /// Fails when `next` finds a key by the number of its id, or leaves out whom it follows.
    #[test]
    fn a_later_key_is_old_unless_it_was_made_to_follow_the_active_one() {
        let first = KeyringText::new(&Keyring::generate().to_text());
        for (kind, one, two) in [
            (KeyKind::Realm, "r1", "r2"),
            (KeyKind::Server, "s1", "s2"),
            (KeyKind::Sign, "g1", "g2"),
        ] {
            let ring = first.keyring().unwrap();
            let key = super::super::STANDARD.encode(KeyBytes::generate().expose_bytes());
            let scope = ring.scope(kind, one);
            let by_hand = format!("prod {kind} {scope} {key}\n");
            let prepend =
                |text: &KeyringText| KeyringText::new(&format!("{by_hand}{}", text.expose_text()));
            // A new key was put first by hand, since the one below it leaked.
            is(shape(&prepend(&first), kind), "prod", "", one);
            // The same while a rotation was under way: what it made follows nothing any more.
            let made = first.with(&ring.successors(kind).1);
            is(shape(&made, kind), one, two, "");
            let both = format!("{one} {two}");
            is(shape(&prepend(&made), kind), "prod", "", &both);
            // Said in another place it is said of nothing.
            let apart = made
                .expose_text()
                .replace(" as yet)\n", " as yet)\n# mine\n");
            is(shape(&KeyringText::new(&apart), kind), one, "", two);
        }
    }

    #[test]
    fn ids_go_on_from_those_there_are() {
        assert_eq!(numbered("r1", KeyKind::Realm, 2), "r2");
        assert_eq!(numbered("prod", KeyKind::Realm, 1), "prod1");
        assert_eq!(numbered("summer26", KeyKind::Realm, 27), "summer27");
        assert_eq!(numbered("realmkey", KeyKind::Realm, 1), "r1");
        // A retired key's name is not given again.
        let ring = Keyring::generate();
        let taken = ["r7", "r3"].map(|id| KeyName::new(KeyKind::Realm, id));
        let of = |kind| names(&ring.successors_beside(kind, &taken).0).join(" ");
        assert_eq!(
            (of(KeyKind::Realm), of(KeyKind::Sign)),
            ("r8".into(), "g2".into())
        );
        assert_eq!((number("r12"), number("prod"), number("7")), (12, 0, 7));
    }
}
