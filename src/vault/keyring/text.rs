//! Changes of a keyring's text that leave every other line, and every comment, as it is.

use zeroize::Zeroizing;

use super::{Keyring, KeyringError};
use crate::vault::{KeyKind, KeyName};

/// The text of a keyring's file. Cannot be printed; zeroed on drop.
pub struct KeyringText(Zeroizing<String>);

impl KeyringText {
    /// Takes over what was read from a file.
    #[must_use]
    pub fn new(text: &str) -> Self {
        joined(text.lines())
    }

    /// With more lines at its end.
    #[must_use]
    pub fn with(&self, lines: &Self) -> Self {
        joined(self.0.lines().chain(lines.0.lines()))
    }

    /// With each key of `names` moved before the first of its kind and scope: now it is active.
    #[must_use]
    pub fn promoting(&self, names: &[KeyName]) -> Self {
        let mut lines: Vec<_> = self.0.lines().collect();
        for name in names {
            let Some(from) = lines.iter().position(|line| is(line, name)) else {
                continue;
            };
            let like = kind_and_scope(lines[from]);
            let first = lines.iter().position(|line| kind_and_scope(line) == like);
            let line = lines.remove(from);
            lines.insert(first.unwrap_or(from), line);
        }
        joined(lines.into_iter())
    }

    /// Without a key.
    #[must_use]
    pub fn without(&self, name: &KeyName) -> Self {
        joined(self.0.lines().filter(|line| !is(line, name)))
    }

    /// The keys it says.
    ///
    /// # Errors
    /// The first line that cannot be read, or what is missing as a whole.
    pub fn keyring(&self) -> Result<Keyring, KeyringError> {
        Keyring::parse(&self.0)
    }

    /// The text itself, for writing the file and nothing else.
    #[must_use]
    pub fn expose_text(&self) -> &str {
        &self.0
    }
}

fn is(line: &str, name: &KeyName) -> bool {
    let kind = kind_and_scope(line).map(|(kind, _)| kind);
    let of_kind =
        kind == Some(name.kind.as_str()) || (kind == Some("verify") && name.kind == KeyKind::Sign);
    of_kind && line.split_ascii_whitespace().next() == Some(&name.id)
}

/// `None` for what is not a key's line.
fn kind_and_scope(line: &str) -> Option<(&str, &str)> {
    let mut words = line.split_ascii_whitespace();
    words.next().filter(|id| !id.starts_with('#'))?;
    Some((words.next()?, words.next()?))
}

fn joined<'a>(lines: impl Iterator<Item = &'a str>) -> KeyringText {
    // Large enough for any keyring, so that growing never leaves a copy behind.
    let mut out = Zeroizing::new(String::with_capacity(128 * 1024));
    for line in lines {
        out.push_str(line);
        out.push('\n');
    }
    KeyringText(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# mine\nr1 realm x AA\n# r2 realm x no\n s1  server * BB\nr2 realm x CC";

    #[test]
    fn only_the_named_line_moves_or_goes() {
        let text = KeyringText::new(TEXT);
        let r2 = KeyName::new(KeyKind::Realm, "r2");
        assert_eq!(
            text.promoting(std::slice::from_ref(&r2)).expose_text(),
            "# mine\nr2 realm x CC\nr1 realm x AA\n# r2 realm x no\n s1  server * BB\n"
        );
        assert_eq!(
            text.without(&r2).expose_text(),
            "# mine\nr1 realm x AA\n# r2 realm x no\n s1  server * BB\n"
        );
        // An id is looked for among its kind alone.
        let other = KeyName::new(KeyKind::Server, "r2");
        assert_eq!(text.without(&other).expose_text(), format!("{TEXT}\n"));
        let longer = KeyringText::new("a").with(&KeyringText::new("b\n"));
        assert_eq!(longer.expose_text(), "a\nb\n");
    }
}
