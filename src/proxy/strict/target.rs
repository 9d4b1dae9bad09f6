//! The first line of a request, and hosts.

use super::fault::Fault;
use super::field::of;

/// The longest method; there is none of this length.
const METHOD: usize = 24;

/// Judges a request line without its CRLF: `true` for HTTP/1.1, `false` for HTTP/1.0.
pub(super) fn request_line(line: &[u8]) -> Result<bool, Fault> {
    let (method, rest) = split(line).ok_or(Fault::RequestLine)?;
    if method.len() > METHOD || !method.iter().all(u8::is_ascii_uppercase) {
        return Err(Fault::Method);
    }
    let (target, version) = split(rest).ok_or(Fault::RequestLine)?;
    let current = match version {
        b"HTTP/1.1" => true,
        b"HTTP/1.0" => false,
        _ if version.starts_with(b"HTTP/") && !version.contains(&b' ') => {
            return Err(Fault::Version);
        }
        _ => return Err(Fault::RequestLine),
    };
    if method == b"CONNECT" {
        return Err(Fault::TargetForm);
    }
    self::target(target)?;
    Ok(current)
}

fn split(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = memchr::memchr(b' ', line)?;
    let (word, rest) = (&line[..space], &line[space + 1..]);
    (!word.is_empty()).then_some((word, rest))
}

/// RFC 9112, 3.2: origin-form and absolute-form. The other two are for proxies of another kind.
fn target(target: &[u8]) -> Result<(), Fault> {
    let path = if target.first() == Some(&b'/') {
        target
    } else {
        let rest = scheme(target).ok_or(Fault::TargetForm)?;
        let slash = memchr::memchr(b'/', rest).ok_or(Fault::TargetForm)?;
        host(&rest[..slash]).map_err(|_| Fault::TargetForm)?;
        &rest[slash..]
    };
    if !path.iter().all(|&b| IN_TARGET[usize::from(b)]) {
        return Err(Fault::TargetCharacter);
    }
    let encoded = |at: usize| {
        let digits = path.get(at + 1..at + 3);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    if memchr::memchr_iter(b'%', path).all(encoded) {
        Ok(())
    } else {
        Err(Fault::TargetCharacter)
    }
}

fn scheme(target: &[u8]) -> Option<&[u8]> {
    [&b"http://"[..], b"https://"].into_iter().find_map(|name| {
        let (scheme, rest) = target.split_at_checked(name.len())?;
        scheme.eq_ignore_ascii_case(name).then_some(rest)
    })
}

/// `host[:port]` (RFC 9112, 3.2), with the characters names of hosts have in practice.
pub(super) fn host(value: &[u8]) -> Result<(), Fault> {
    let port = if value.first() == Some(&b'[') {
        let end = memchr::memchr(b']', value).ok_or(Fault::HostInvalid)?;
        let address = std::str::from_utf8(&value[1..end]).ok();
        let address = address.and_then(|text| text.parse::<std::net::Ipv6Addr>().ok());
        address.ok_or(Fault::HostInvalid)?;
        &value[end + 1..]
    } else {
        let named = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
        let end = value.iter().position(|b| !named(b)).unwrap_or(value.len());
        if end == 0 {
            return Err(Fault::HostInvalid);
        }
        &value[end..]
    };
    match port {
        [] => Ok(()),
        [b':', digits @ ..] if (1..=5).contains(&digits.len()) => {
            let number = digits.iter().all(u8::is_ascii_digit);
            number.then_some(()).ok_or(Fault::HostInvalid)
        }
        _ => Err(Fault::HostInvalid),
    }
}

/// RFC 3986, 3.3 and 3.4: `pchar`, `/` and `?`.
const IN_TARGET: [bool; 256] = of(b"-._~!$&'()*+,;=:@/?%");
