//! Changes of a keyring's text that leave every other line, and every comment, as it is.

use std::fmt::Write as _;

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

    /// With each key of `names` moved before the first of its kind and scope: now it is active, and
    /// nothing says any more that it is only to follow.
    #[must_use]
    pub fn promoting(&self, names: &[KeyName]) -> Self {
        let mut lines: Vec<_> = self.0.lines().collect();
        for name in names {
            let Some(line) = take(&mut lines, name) else {
                continue;
            };
            let like = kind_and_scope(line);
            let first = lines.iter().position(|line| kind_and_scope(line) == like);
            lines.insert(first.unwrap_or(lines.len()), line);
        }
        joined(lines.into_iter())
    }

    /// Without a key.
    #[must_use]
    pub fn without(&self, name: &KeyName) -> Self {
        let mut lines: Vec<_> = self.0.lines().collect();
        while take(&mut lines, name).is_some() {}
        joined(lines.into_iter())
    }

    /// With lines at its end that count only once they are [`KeyringText::accepted`].
    #[must_use]
    pub fn proposing(&self, lines: &Self) -> Self {
        let mut out = KeyringText::new(&self.0);
        for line in lines.0.lines() {
            for part in [PROPOSED, line, "\n"] {
                out.0.push_str(part);
            }
        }
        out
    }

    /// Whether lines are proposed in it.
    #[must_use]
    pub fn proposes(&self) -> bool {
        self.0.lines().any(|line| line.starts_with(PROPOSED))
    }

    /// With what is proposed in it.
    #[must_use]
    pub fn accepted(&self) -> Self {
        let bare = |line| str::strip_prefix(line, PROPOSED).unwrap_or(line);
        joined(self.0.lines().map(bare))
    }

    /// Without what is proposed in it.
    #[must_use]
    pub fn rejected(&self) -> Self {
        joined(self.0.lines().filter(|line| !line.starts_with(PROPOSED)))
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

/// Takes the line of a key out, and the one above it that says which key it is to follow.
fn take<'a>(lines: &mut Vec<&'a str>, name: &KeyName) -> Option<&'a str> {
    let at = lines.iter().position(|line| is(line, name))?;
    let line = lines.remove(at);
    if let Some(above) = at.checked_sub(1)
        && follows(lines[above], line).is_some()
    {
        lines.remove(above);
    }
    Some(line)
}

/// Before a line that counts only once the store knows its key: until then a comment.
const PROPOSED: &str = "# proposed: ";

const FOLLOWS: &str = "# next:";

/// What `rotate` writes above the line of a key it made. The order of the lines alone does not say
/// whether a later key is to come or has been: somebody may have put a new one first by hand, because
/// this one leaked.
pub(super) fn write_follows(out: &mut String, id: &str, active: &str) {
    let _ = writeln!(
        out,
        "{FOLLOWS} {id} follows {active} (made by cloakroom keyring rotate, only opens as yet)"
    );
}

/// Which key `line`'s was made to follow, if the line above it says so of that very key.
pub(super) fn follows(above: &str, line: &str) -> Option<(KeyName, String)> {
    let mut said = above.trim().strip_prefix(FOLLOWS)?.split_ascii_whitespace();
    let (id, word, active) = (said.next()?, said.next()?, said.next()?);
    let kind = kind_and_scope(line)?.0.parse().ok()?;
    let of_line = line.split_ascii_whitespace().next() == Some(id);
    (of_line && word == "follows").then(|| (KeyName::new(kind, id), active.to_owned()))
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
    #[test]
    fn what_is_said_above_a_key_goes_with_it() {
        let r2 = KeyName::new(KeyKind::Realm, "r2");
        let mut said = String::new();
        write_follows(&mut said, "r2", "r1");
        let text = KeyringText::new(&format!(
            "r1 realm x AA\n# mine\n{said}r2 realm x CC\n# end"
        ));
        assert_eq!(
            text.promoting(std::slice::from_ref(&r2)).expose_text(),
            "r2 realm x CC\nr1 realm x AA\n# mine\n# end\n"
        );
        assert_eq!(
            text.without(&r2).expose_text(),
            "r1 realm x AA\n# mine\n# end\n"
        );
    }
    #[test]
    fn what_is_proposed_counts_once_it_is_accepted() {
        let text = KeyringText::new("r1 realm x AA");
        let lines = KeyringText::new("# next: r2 follows r1\nr2 realm x CC");
        let proposed = text.proposing(&lines);
        assert!(proposed.proposes() && !text.proposes());
        assert!(proposed.0.lines().skip(1).all(|line| line.starts_with('#')));
        assert_eq!(proposed.accepted().0, text.with(&lines).0);
        assert_eq!(proposed.rejected().0, text.0);
    }
}
