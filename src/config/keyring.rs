//! `[keyring]`: where the keys come from.

use std::fmt;
use std::path::{Path, PathBuf};

use super::reader::{Section, text};
use super::{env, keys, optional, values};

/// `keyring.file`, unless the configuration names a source.
pub const DEFAULT_KEYRING_FILE: &str = "master.keys";

/// Where the keyring is read from. `Display` names the place and shows nothing of what is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyringSource {
    /// A file; it may not exist yet.
    File(PathBuf),
    /// The variable of this name holds the text itself.
    Env(String),
    /// The file of this name in `$CREDENTIALS_DIRECTORY` (systemd's `LoadCredential=`).
    Credential(String),
}

impl fmt::Display for KeyringSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Env(name) => write!(f, "the variable {name}"),
            Self::Credential(name) => write!(f, "the credential {name}"),
        }
    }
}

impl From<PathBuf> for KeyringSource {
    fn from(path: PathBuf) -> Self {
        Self::File(path)
    }
}

/// The one source that is named, else the default file.
pub(super) fn read(root: &Section<'_>, folder: &Path) -> Option<KeyringSource> {
    let section = root.section("keyring", keys::KEYRING)?;
    let named: Vec<_> = keys::KEYRING
        .iter()
        .filter(|key| section.has(key))
        .collect();
    if let [first, second, ..] = named.as_slice() {
        let message =
            format!("`{first}` is set too; keep exactly one of `file`, `env` and `credential`");
        section.fail_key(second, message);
        return None;
    }
    let file = optional(&section, "file", |value| {
        let path = text(value, "the path of a file, such as \"master.keys\"")?;
        values::file(path, folder).map(KeyringSource::File)
    })?;
    let variable = optional(&section, "env", |value| {
        variable(text(value, NAME)?).map(KeyringSource::Env)
    })?;
    let credential = optional(&section, "credential", |value| {
        credential(text(value, CREDENTIAL)?).map(KeyringSource::Credential)
    })?;
    let default = || KeyringSource::File(folder.join(DEFAULT_KEYRING_FILE));
    Some(file.or(variable).or(credential).unwrap_or_else(default))
}

const NAME: &str = "the name of a variable, such as \"CLOAKROOM_KEYRING\"";
const CREDENTIAL: &str = "the name of a credential, such as \"cloakroom.keys\"";

fn variable(name: &str) -> Result<String, String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let begins_well = name.bytes().next().is_some_and(|b| !b.is_ascii_digit());
    if !begins_well || !name.bytes().all(plain) {
        // Somebody may have put the keys themselves here.
        return Err(format!("not the name of a variable; write {NAME}"));
    }
    if name.starts_with(env::PREFIX) && name != env::KEYRING {
        return Err(format!(
            "the only such name that begins with {} is {}; write that, or another name",
            env::PREFIX,
            env::KEYRING
        ));
    }
    Ok(name.to_owned())
}

/// As systemd takes it: a file name, at most 255 bytes.
fn credential(name: &str) -> Result<String, String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-@".contains(&b);
    let fits = (1..=255).contains(&name.len()) && name.bytes().all(plain);
    if !fits || matches!(name, "." | "..") {
        return Err(format!("not the name of a credential; write {CREDENTIAL}"));
    }
    Ok(name.to_owned())
}
