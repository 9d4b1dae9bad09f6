//! Templates such as `Bearer ${GITHUB_TOKEN}`.
//!
//! | written | becomes |
//! |---|---|
//! | `${NAME}` | the value of the secret `NAME` |
//! | `${base64(A)}` | base64 (standard alphabet, padded) of the value of `A` |
//! | `${base64(A:B)}` | base64 of the values of `A` and `B` joined by a colon; more names likewise |
//! | `$$` | a single `$` |
//! | anything else | itself |

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::names::SecretName;

const NAME_RULE: &str =
    "not a secret's name; write 1 to 64 of A-Z a-z 0-9 _, not starting with a digit";

/// A parsed template: literal text and the names of the secrets that go between.
///
/// Holds no secret. `Debug` shows the names only, since an operator may have written a credential as
/// literal text.
#[derive(Clone, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, PartialEq, Eq)]
enum Part {
    Literal(Box<str>),
    Secret(SecretName),
    Base64(Vec<SecretName>),
}

/// Why a text is not a template: where, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("at character {position}: {message}")]
pub struct TemplateError {
    position: usize,
    message: &'static str,
}

/// The secrets a template names and nobody could supply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    names: Vec<SecretName>,
}

impl Template {
    /// Parses the form described in the module's table. The empty text is a template.
    ///
    /// # Errors
    /// A `$` that begins nothing, an unclosed `${`, a name that is not a secret's, or an unknown
    /// function; the error says at which character and what to write.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(dollar) = rest.find('$') {
            literal.push_str(&rest[..dollar]);
            let at = text.len() - rest.len() + dollar;
            let after = &rest[dollar + 1..];
            if let Some(after) = after.strip_prefix('$') {
                literal.push('$');
                rest = after;
            } else if let Some(inner) = after.strip_prefix('{') {
                let end = inner.find('}').ok_or_else(|| {
                    TemplateError::new(text, at, "`${` is never closed; write `${NAME}`")
                })?;
                push_literal(&mut parts, &mut literal);
                parts.push(placeholder(&inner[..end], text, at + 2)?);
                rest = &inner[end + 1..];
            } else {
                const LONE: &str = "a single `$`; write `${NAME}` for a secret or `$$` for a `$`";
                return Err(TemplateError::new(text, at, LONE));
            }
        }
        literal.push_str(rest);
        push_literal(&mut parts, &mut literal);
        Ok(Self { parts })
    }

    /// Parses a template whose result becomes a header's value.
    ///
    /// # Errors
    /// Those of [`Template::parse`], and literal text HTTP cannot carry: anything but printable ASCII,
    /// or a space at either end, which every HTTP parser drops.
    pub fn parse_header(text: &str) -> Result<Self, TemplateError> {
        const ILLEGAL: &str = "not allowed in a header's value; write printable ASCII characters";
        const SPACE: &str = "HTTP drops a space at the start or end of a header's value; remove it";
        if let Some((at, _)) = text.char_indices().find(|(_, c)| !matches!(c, ' '..='~')) {
            return Err(TemplateError::new(text, at, ILLEGAL));
        }
        if text.is_empty() {
            return Err(TemplateError::new(
                text,
                0,
                "empty; write a value such as `Bearer ${TOKEN}`",
            ));
        }
        if text.starts_with(' ') {
            return Err(TemplateError::new(text, 0, SPACE));
        }
        if text.ends_with(' ') {
            return Err(TemplateError::new(text, text.len() - 1, SPACE));
        }
        Self::parse(text)
    }

    /// The names of the secrets this template needs, in the order written; a name written twice comes
    /// twice.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretName> {
        self.parts.iter().flat_map(|part| part.names())
    }

    /// Whether the result is the same for every user.
    #[must_use]
    pub fn is_constant(&self) -> bool {
        self.secrets().next().is_none()
    }

    /// Builds the result, asking `lookup` for the value of every secret.
    ///
    /// The answer is allocated once at its exact size, so no growing leaves a copy behind, and is
    /// zeroized when dropped; so is the one intermediate buffer, of values to be encoded.
    ///
    /// # Errors
    /// [`Missing`] with the name of every secret `lookup` had no value for.
    pub fn render<'v>(
        &self,
        mut lookup: impl FnMut(&SecretName) -> Option<&'v [u8]>,
    ) -> Result<Zeroizing<Vec<u8>>, Missing> {
        let mut missing = Vec::new();
        let mut values = Vec::new();
        for name in self.secrets() {
            match lookup(name) {
                Some(value) => values.push(value),
                None if missing.contains(name) => {}
                None => missing.push(name.clone()),
            }
        }
        if !missing.is_empty() {
            return Err(Missing { names: missing });
        }
        let mut out = Zeroizing::new(Vec::with_capacity(self.rendered_len(&values)));
        let mut values = values.as_slice();
        for part in &self.parts {
            let (own, others) = values.split_at(part.names().len());
            part.append(own, &mut out);
            values = others;
        }
        Ok(out)
    }

    fn rendered_len(&self, mut values: &[&[u8]]) -> usize {
        let mut len = 0;
        for part in &self.parts {
            let (own, others) = values.split_at(part.names().len());
            len += part.len(own);
            values = others;
        }
        len
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.secrets().collect();
        f.debug_struct("Template")
            .field("secrets", &names)
            .finish_non_exhaustive()
    }
}

impl Part {
    fn names(&self) -> &[SecretName] {
        match self {
            Self::Literal(_) => &[],
            Self::Secret(name) => std::slice::from_ref(name),
            Self::Base64(names) => names,
        }
    }

    fn len(&self, values: &[&[u8]]) -> usize {
        match self {
            Self::Literal(text) => text.len(),
            Self::Secret(_) => joined_len(values),
            Self::Base64(_) => joined_len(values).div_ceil(3) * 4,
        }
    }

    fn append(&self, values: &[&[u8]], out: &mut Vec<u8>) {
        match self {
            Self::Literal(text) => out.extend_from_slice(text.as_bytes()),
            Self::Secret(_) => join(values, out),
            Self::Base64(_) => {
                let mut joined = Zeroizing::new(Vec::with_capacity(joined_len(values)));
                join(values, &mut joined);
                let start = out.len();
                out.resize(start + self.len(values), 0);
                STANDARD
                    .encode_slice(joined.as_slice(), &mut out[start..])
                    .expect("the slice has the padded length of what is encoded");
            }
        }
    }
}

fn joined_len(values: &[&[u8]]) -> usize {
    values.iter().map(|value| value.len()).sum::<usize>() + values.len().saturating_sub(1)
}

fn join(values: &[&[u8]], out: &mut Vec<u8>) {
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            out.push(b':');
        }
        out.extend_from_slice(value);
    }
}

fn push_literal(parts: &mut Vec<Part>, literal: &mut String) {
    if !literal.is_empty() {
        parts.push(Part::Literal(std::mem::take(literal).into_boxed_str()));
    }
}

/// Parses what stands between `${` and `}`; `at` is its byte offset in `text`.
fn placeholder(inner: &str, text: &str, at: usize) -> Result<Part, TemplateError> {
    const UNKNOWN: &str = "unknown function; the only one is `${base64(A:B)}`";
    const UNCLOSED: &str = "`base64(` is never closed; write `${base64(A:B)}`";
    const EMPTY: &str = "no secret is named; write `${NAME}`";
    let Some((function, arguments)) = inner.split_once('(') else {
        if inner.is_empty() {
            return Err(TemplateError::new(text, at, EMPTY));
        }
        return secret(inner, text, at).map(Part::Secret);
    };
    if function != "base64" {
        return Err(TemplateError::new(text, at, UNKNOWN));
    }
    let names = arguments
        .strip_suffix(')')
        .ok_or_else(|| TemplateError::new(text, at + inner.len(), UNCLOSED))?;
    let mut next = at + function.len() + 1;
    let mut parsed = Vec::new();
    for name in names.split(':') {
        parsed.push(secret(name, text, next)?);
        next += name.len() + 1;
    }
    Ok(Part::Base64(parsed))
}

fn secret(name: &str, text: &str, at: usize) -> Result<SecretName, TemplateError> {
    // The name's own error repeats the text, which may be a credential pasted in the wrong place.
    SecretName::parse(name).map_err(|_| TemplateError::new(text, at, NAME_RULE))
}

impl TemplateError {
    fn new(text: &str, at: usize, message: &'static str) -> Self {
        Self {
            position: text[..at].chars().count() + 1,
            message,
        }
    }

    /// The character the error is at, counted from 1.
    #[must_use]
    pub fn position(&self) -> usize {
        self.position
    }
}

impl Missing {
    /// The names, each once, in the order the template has them; never empty.
    #[must_use]
    pub fn names(&self) -> &[SecretName] {
        &self.names
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no value for ")?;
        for (index, name) in self.names.iter().enumerate() {
            write!(f, "{}{name}", if index == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

impl std::error::Error for Missing {}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(name: &SecretName) -> Option<&'static [u8]> {
        match name.as_str() {
            "A" => Some(b"alice"),
            "B" => Some(b"s3cret"),
            "EMPTY" => Some(b""),
            "BYTES" => Some(&[0xff, 0x00]),
            _ => None,
        }
    }

    #[test]
    fn every_form_becomes_what_the_table_says() {
        let table: &[(&str, &[u8])] = &[
            ("", b""),
            ("plain", b"plain"),
            ("Bearer ${A}", b"Bearer alice"),
            ("${A}${B}", b"alices3cret"),
            ("<${A}|${EMPTY}|${A}>", b"<alice||alice>"),
            ("${base64(A)}", b"YWxpY2U="),
            ("Basic ${base64(A:B)}!", b"Basic YWxpY2U6czNjcmV0!"),
            ("${base64(A:EMPTY:B)}", b"YWxpY2U6OnMzY3JldA=="),
            ("${base64(EMPTY)}", b""),
            ("${BYTES}", &[0xff, 0x00]),
            ("$$", b"$"),
            ("$${A}", b"${A}"),
            ("$$${A}$$", b"$alice$"),
            ("a}b{c", b"a}b{c"),
            ("\u{e9}${A}", "\u{e9}alice".as_bytes()),
        ];
        for (text, expected) in table {
            let template = Template::parse(text).unwrap();
            let rendered = template.render(lookup).unwrap();
            assert_eq!(rendered.as_slice(), *expected, "{text}");
            assert_eq!(
                rendered.capacity(),
                rendered.len(),
                "grown or oversized: {text}"
            );
        }
    }

    #[test]
    fn an_error_says_where_and_what_to_write() {
        let table = [
            (
                "cost $5",
                "at character 6: a single `$`; write `${NAME}` for a secret or `$$` for a `$`",
            ),
            (
                "a$",
                "at character 2: a single `$`; write `${NAME}` for a secret or `$$` for a `$`",
            ),
            (
                "\u{e9}\u{e9} ${A",
                "at character 4: `${` is never closed; write `${NAME}`",
            ),
            ("${}", "at character 3: no secret is named; write `${NAME}`"),
            (
                "${b64(A)}",
                "at character 3: unknown function; the only one is `${base64(A:B)}`",
            ),
            (
                "${base64(A}",
                "at character 11: `base64(` is never closed; write `${base64(A:B)}`",
            ),
        ];
        for (text, expected) in table {
            assert_eq!(
                Template::parse(text).unwrap_err().to_string(),
                expected,
                "{text}"
            );
        }
        for (text, position) in [
            ("x ${9A}", 5),
            ("${A-B}", 3),
            ("${ A}", 3),
            ("${base64()}", 10),
            ("${base64(A:)}", 12),
        ] {
            let error = Template::parse(text).unwrap_err();
            assert_eq!(
                (error.position(), error.message),
                (position, NAME_RULE),
                "{text}"
            );
        }
    }

    #[test]
    fn an_error_does_not_repeat_a_credential_pasted_as_a_name() {
        let error = Template::parse("Bearer ${sk-live-1234}").unwrap_err();
        assert!(!format!("{error} {error:?}").contains("live"));
    }

    #[test]
    fn all_missing_names_are_told_once_each() {
        let template = Template::parse("${X} ${A} ${base64(Y:X)}").unwrap();
        let missing = template.render(lookup).unwrap_err();
        assert_eq!(missing.to_string(), "no value for X, Y");
        assert_eq!(missing.names().len(), 2);
    }

    #[test]
    fn secrets_are_listed_in_order() {
        let template = Template::parse("${B}${base64(A:B)}").unwrap();
        let names: Vec<_> = template.secrets().map(SecretName::as_str).collect();
        assert_eq!(names, ["B", "A", "B"]);
        assert!(!template.is_constant() && Template::parse("$$ 5").unwrap().is_constant());
    }

    #[test]
    fn a_header_template_holds_only_what_a_header_may() {
        assert!(Template::parse_header("Bearer ${A}~").is_ok());
        for (text, position) in [
            ("a\r\nX: y", 2),
            ("\u{e9}", 1),
            ("a\tb", 2),
            ("\u{7f}", 1),
            (" a", 1),
            ("a ", 2),
            ("", 1),
        ] {
            assert_eq!(
                Template::parse_header(text).unwrap_err().position(),
                position,
                "{text:?}"
            );
        }
    }

    #[test]
    fn debug_shows_names_and_no_literal() {
        let shown = format!("{:?}", Template::parse("Bearer pasted ${A}").unwrap());
        assert_eq!(shown, "Template { secrets: [A], .. }");
    }

    proptest::proptest! {
        #[test]
        fn any_text_can_be_written_and_none_panics(text in "(\\PC|[${}():AB]){0,40}") {
            let escaped = Template::parse(&text.replace('$', "$$")).unwrap();
            let rendered = escaped.render(lookup).unwrap();
            proptest::prop_assert_eq!(rendered.as_slice(), text.as_bytes());
            if let Err(error) = Template::parse(&text) {
                proptest::prop_assert!(error.position() <= text.chars().count() + 1);
            }
            if let Ok(Ok(rendered)) = Template::parse_header(&text).map(|t| t.render(lookup)) {
                proptest::prop_assert_eq!(rendered.capacity(), rendered.len());
            }
        }
    }
}
