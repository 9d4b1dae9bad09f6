//! Where a request carries its key: `Authorization: Bearer` (RFC 6750, 2.1) or `X-API-Key`.

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName};

/// The header that carries a key where `Authorization` does not.
pub const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// The headers that carry keys.
pub const CARRIERS: [HeaderName; 2] = [AUTHORIZATION, X_API_KEY];

/// Why no single key could be taken from the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// Neither header is there.
    #[error("no key in the request")]
    Missing,
    /// Two keys, or a scheme that is not `Bearer`.
    #[error("the request's key cannot be read")]
    Malformed,
}

/// The key a request carries, as it was sent.
///
/// Two keys are refused even when equal: whoever sits in front of us and reads "the" key must not
/// see another one than we do.
///
/// # Errors
/// When there is none, or more than one, or another scheme than `Bearer`.
pub fn credential(headers: &HeaderMap) -> Result<&[u8], CredentialError> {
    let mut found = None;
    for value in headers.get_all(AUTHORIZATION) {
        let key = bearer(value.as_bytes()).ok_or(CredentialError::Malformed)?;
        one(&mut found, key)?;
    }
    for value in headers.get_all(X_API_KEY) {
        one(&mut found, value.as_bytes().trim_ascii())?;
    }
    found.ok_or(CredentialError::Missing)
}

fn one<'a>(found: &mut Option<&'a [u8]>, key: &'a [u8]) -> Result<(), CredentialError> {
    match found.replace(key) {
        None => Ok(()),
        Some(_) => Err(CredentialError::Malformed),
    }
}

fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked(7)?;
    scheme
        .eq_ignore_ascii_case(b"bearer ")
        .then(|| rest.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(&'static str, &'static str)]) -> HeaderMap {
        list.iter()
            .map(|(n, v)| (n.parse().unwrap(), v.parse().unwrap()))
            .collect()
    }

    #[test]
    fn one_key_in_either_header() {
        assert_eq!(
            credential(&headers(&[("authorization", "Bearer k")])),
            Ok(&b"k"[..])
        );
        assert_eq!(
            credential(&headers(&[("authorization", "bEARER  k ")])),
            Ok(&b"k"[..])
        );
        assert_eq!(credential(&headers(&[("x-api-key", "k")])), Ok(&b"k"[..]));
    }

    #[test]
    fn none_or_several_are_refused() {
        assert_eq!(credential(&headers(&[])), Err(CredentialError::Missing));
        for list in [
            &[("authorization", "Basic k")][..],
            &[("authorization", "Bearer a"), ("authorization", "Bearer a")],
            &[("authorization", "Bearer a"), ("x-api-key", "a")],
            &[("x-api-key", "a"), ("x-api-key", "b")],
            &[("authorization", "Bearer")],
        ] {
            assert_eq!(
                credential(&headers(list)),
                Err(CredentialError::Malformed),
                "{list:?}"
            );
        }
    }
}
