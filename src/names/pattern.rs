//! Patterns of names: `*` stands for any characters, also none, `?` for one; everything else for itself.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The longest pattern, in bytes.
const MAX: usize = 256;

/// A pattern of server or tool names: 1 to 256 visible characters of ASCII.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern(Box<str>);

/// The text is not a pattern. Does not repeat it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a pattern: write 1 to {MAX} visible ASCII characters; * stands for any, ? for one")]
pub struct PatternError;

impl Pattern {
    /// Checks `text`.
    ///
    /// # Errors
    /// When it is empty, longer than 256 bytes, or holds a space, a control or a character outside of ASCII.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let fits = (1..=MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        fits.then(|| Self(text.into())).ok_or(PatternError)
    }

    /// The pattern as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `text` is one of those it stands for, letter by letter.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        Self::text_matches(&self.0, text)
    }

    /// The same, small and capital letters of ASCII being one: for what is forbidden, since a server may
    /// take either for the same name.
    #[must_use]
    pub fn matches_in_any_case(&self, text: &str) -> bool {
        Self::text_matches_in_any_case(&self.0, text)
    }

    /// As [`Pattern::matches`], for a part of a pattern.
    #[must_use]
    pub fn text_matches(part: &str, text: &str) -> bool {
        stands_for(part, text, |a, b| a == b)
    }

    /// As [`Pattern::matches_in_any_case`], for a part of a pattern.
    #[must_use]
    pub fn text_matches_in_any_case(part: &str, text: &str) -> bool {
        stands_for(part, text, |a, b| a.eq_ignore_ascii_case(&b))
    }
}

/// Whether `pattern` stands for `text`; `same` compares two bytes. Goes back to the last `*` only, so the
/// time is at most the product of both lengths.
fn stands_for(pattern: &str, text: &str, same: impl Fn(u8, u8) -> bool) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    let mut star = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p + 1, t));
                p += 1;
            }
            Some(&b) if b == b'?' || same(b, text[t]) => {
                p += 1;
                t += 1;
            }
            _ => match &mut star {
                Some((after, from)) => {
                    *from += 1;
                    (p, t) = (*after, *from);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|b| *b == b'*')
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        Self::parse(text)
    }
}

impl TryFrom<String> for Pattern {
    type Error = PatternError;

    fn try_from(text: String) -> Result<Self, PatternError> {
        Self::parse(&text)
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.0.into()
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::parse(text).unwrap()
    }

    #[test]
    fn stars_and_question_marks_stand_for_others() {
        for (text, yes, no) in [
            (
                "github",
                &["github"][..],
                &["githu", "github2", "Github", ""][..],
            ),
            ("get_*", &["get_", "get_a_b"], &["get", "a_get_", "Get_a"]),
            ("*", &["", "anything", "*"], &[]),
            ("*_*_x", &["__x", "a_b_x", "a_b_c_x"], &["_x", "a_b_xy"]),
            ("a?c", &["abc", "a?c"], &["ac", "abbc"]),
            ("**", &["", "a"], &[]),
        ] {
            let pattern = pattern(text);
            for name in yes {
                assert!(pattern.matches(name), "{text} {name}");
            }
            for name in no {
                assert!(!pattern.matches(name), "{text} {name}");
            }
        }
        assert!(pattern("delete_*").matches_in_any_case("Delete_All"));
    }

    #[test]
    fn what_no_name_can_hold_is_no_pattern() {
        for text in ["", "a b", "a\n", "é", &"a".repeat(257)] {
            assert_eq!(Pattern::parse(text), Err(PatternError), "{text:?}");
        }
        assert!(Pattern::parse(&"*".repeat(256)).is_ok());
    }

    #[test]
    fn a_hostile_pattern_takes_little_time() {
        let pattern = pattern(&"*a".repeat(128));
        assert!(!pattern.matches(&"a".repeat(100)));
        assert!(!pattern.matches(&format!("{}b", "a".repeat(100_000))));
    }

    /// By definition, in exponential time.
    fn model(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, None) => true,
            (Some((b'*', rest)), _) => {
                model(rest, text) || (!text.is_empty() && model(pattern, &text[1..]))
            }
            (Some((b, rest)), Some((c, others))) => (*b == b'?' || b == c) && model(rest, others),
            _ => false,
        }
    }

    proptest! {
        // Fails when going back to a star forgets where the text was.
        #[test]
        fn it_is_what_the_definition_says(text in "[ab]{0,8}", stars in "[ab*?]{1,8}") {
            let expected = model(stars.as_bytes(), text.as_bytes());
            prop_assert_eq!(pattern(&stars).matches(&text), expected);
        }
    }
}
