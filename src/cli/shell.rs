//! Lines to be pasted into a shell, and paths as they stand in them.

use std::path::{Path, PathBuf, absolute};

/// `word` as a shell takes it for one word.
#[must_use]
pub fn quoted(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._-+@:,%=".contains(&b);
    if !word.is_empty() && word.bytes().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// `path` from the root on, also to be pasted in another folder; as it is where the system does not say
/// where we are.
#[must_use]
pub fn full(path: &Path) -> PathBuf {
    absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// How this program was started, so that lines to paste work from a build folder too.
#[must_use]
pub fn program() -> String {
    let path = std::env::current_exe().ok();
    path.map_or("cloakroom".to_owned(), |path| {
        quoted(&path.display().to_string())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_shell_would_read_is_quoted() {
        assert_eq!(quoted("/a-b_c.toml"), "/a-b_c.toml");
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("it's $HOME"), r"'it'\''s $HOME'");
        assert_eq!(quoted(""), "''");
    }
}
