//! Query parameters a slot may set.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use zeroize::Zeroizing;

/// The unreserved characters of RFC 3986 section 2.3 stay; no reader of queries takes them for
/// anything else. A space is `%20`, which every reader knows, and not `+`, which some take literally.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Why no slot can set a query parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a query parameter's name: 1 to 256 bytes, no control characters, written without %-escapes"
)]
pub struct QueryNameError;

/// The name of a query parameter a slot may set.
///
/// # Errors
/// When it is none.
pub fn query_name(text: &str) -> Result<String, QueryNameError> {
    let fits = (1..=256).contains(&text.len()) && !text.chars().any(char::is_control);
    if fits {
        Ok(text.to_owned())
    } else {
        Err(QueryNameError)
    }
}

/// Appends `name=value` to a query.
pub(super) fn append(query: &mut Zeroizing<String>, name: &str, value: &str) {
    let parts = || {
        let name = utf8_percent_encode(name, ENCODED);
        name.chain(["="]).chain(utf8_percent_encode(value, ENCODED))
    };
    let more = 1 + parts().map(str::len).sum::<usize>();
    // Growing in place would leave the old buffer, secrets and all, to the allocator.
    let mut grown = Zeroizing::new(String::with_capacity(query.len() + more));
    grown.push_str(query);
    if !grown.is_empty() {
        grown.push('&');
    }
    grown.extend(parts());
    *query = grown;
}

/// Whether a query names the parameter `name`, however it writes it.
#[must_use]
pub fn query_names(query: &str, name: &str) -> bool {
    query.split('&').any(|pair| {
        let key = pair.split('=').next().unwrap_or_default().replace('+', " ");
        percent_encoding::percent_decode_str(&key).decode_utf8_lossy() == name
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_cannot_leave_its_place() {
        let mut query = Zeroizing::new(String::new());
        append(&mut query, "to ken", "a&b=c#d %/é?+~");
        append(&mut query, "x", "");
        assert_eq!(*query, "to%20ken=a%26b%3Dc%23d%20%25%2F%C3%A9%3F%2B~&x=");
    }

    #[test]
    fn a_parameter_is_known_in_every_spelling() {
        for query in ["token=1", "a=b&token", "%74oken=x", "a&tok%65n=2&b"] {
            assert!(query_names(query, "token"), "{query}");
        }
        for query in ["", "a=token", "tokens=1", "Token=1"] {
            assert!(!query_names(query, "token"), "{query}");
        }
        assert!(query_names("to+ken=1", "to ken"));
    }
}
