//! What an import has to know of the configured servers.

use std::collections::{BTreeMap, BTreeSet};

use zeroize::Zeroizing;

use super::draft::{NewSet, Parsed, Refusal, shown};
use crate::names::{ProfileName, SecretName, ServerName};
use crate::vault::SecretValue;

/// The servers by name, and what their slots take.
#[derive(Default)]
pub struct Servers(BTreeMap<ServerName, Uses>);

/// What the slots of a server take.
struct Uses {
    /// Secrets that become part of a header.
    in_headers: BTreeSet<SecretName>,
    /// All secrets; `None`: whatever there is.
    all: Option<BTreeSet<SecretName>>,
}

impl Servers {
    /// Adds a server, with the secrets its slots put into headers, and all that its slots use; `None` when
    /// every secret goes there.
    pub fn add(
        &mut self,
        server: ServerName,
        in_headers: BTreeSet<SecretName>,
        all: Option<BTreeSet<SecretName>>,
    ) {
        self.0.insert(server, Uses { in_headers, all });
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &ServerName> {
        self.0.keys()
    }

    /// `SERVER.SECRET`.
    ///
    /// # Errors
    /// When it is not of that form, or there is no such server.
    pub(super) fn place(&self, text: &str) -> Result<(ServerName, SecretName), Refusal> {
        let form = || Refusal::new(format!("`{}` is not SERVER.SECRET", shown(text)));
        let (server, name) = text.split_once('.').ok_or_else(form)?;
        let server = ServerName::parse(server).map_err(|_| form())?;
        let name = SecretName::parse(name).map_err(|_| form())?;
        if !self.0.contains_key(&server) {
            let known: Vec<_> = self.names().map(ServerName::as_str).collect();
            return Err(Refusal::new(format!(
                "no server `{server}` in the configuration; there is {}",
                known.join(", ")
            )));
        }
        Ok((server, name))
    }

    /// Checks a value and puts it with those of its server.
    pub(super) fn put(
        &self,
        sets: &mut Vec<NewSet>,
        (server, name): &(ServerName, SecretName),
        profile: &ProfileName,
        value: Zeroizing<Vec<u8>>,
        parsed: &mut Parsed,
    ) -> Result<(), Refusal> {
        let bad = |error| Refusal::new(format!("{server}.{name}: {error}"));
        let value = SecretValue::new(value).map_err(bad)?;
        if let Some(uses) = self.0.get(server) {
            if uses.in_headers.contains(name) {
                value.fits_header().map_err(bad)?;
            }
            if uses.all.as_ref().is_some_and(|all| !all.contains(name)) {
                parsed.note(format!(
                    "no slot of `{server}` uses {name}, so it will go nowhere"
                ));
            }
        }
        let is_it = |set: &&mut NewSet| set.server == *server && set.profile == *profile;
        match sets.iter_mut().find(is_it) {
            Some(set) => set.values.push((name.clone(), value)),
            None => sets.push(NewSet {
                server: server.clone(),
                profile: profile.clone(),
                values: vec![(name.clone(), value)],
            }),
        }
        Ok(())
    }
}
