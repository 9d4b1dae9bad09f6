//! The PROXY protocol, versions 1 and 2: what a proxy in front says of the connection it passes on,
//! before the client's first byte (HAProxy, doc/proxy-protocol.txt).
//!
//! [`next`] says how many bytes may be read without reading into what follows, so the stream behind it
//! needs no buffer of its own. None of the crates for it does.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// What a header of version 2 begins with, and what no other protocol does.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// The header of version 2 up to its length.
const FIXED: usize = 16;
/// The longest line of version 1, its end included (section 2.1).
const LINE: usize = 107;
/// The shortest line there is, its end included: `PROXY UNKNOWN`. One of version 2 is longer.
const SHORTEST: usize = 15;
/// Bytes a header of version 2 may have after its fixed part: addresses and what proxies add to them.
const REST: usize = 4096;

/// What to do after some bytes of a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// Read on: at most so many bytes, all of which belong to the header.
    Read(usize),
    /// It is whole.
    Done(Source),
}

/// Whom the connection comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// This address.
    Address(IpAddr),
    /// The proxy itself (a health check), or it does not say: the connection's own peer.
    Peer,
}

/// Not a header of the PROXY protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it does not begin with a header of the PROXY protocol")]
pub(super) struct Malformed;

/// Reads a header, and not a byte more.
///
/// # Errors
/// The stream ends or fails, or begins with something else.
pub(super) async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<Source> {
    let mut header = Vec::with_capacity(LINE);
    loop {
        match next(&header).map_err(io::Error::other)? {
            Next::Done(source) => return Ok(source),
            Next::Read(most) => {
                let read = stream.take(most as u64).read_buf(&mut header).await?;
                if read == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
        }
    }
}

/// What [`read`] makes of a stream that begins with `bytes` and comes in pieces of `piece` bytes at most:
/// the address told, if any, and how many bytes were read. `None` when there is no whole header.
#[cfg(any(test, fuzzing))]
#[must_use]
pub fn header_in(bytes: &[u8], piece: usize) -> Option<(Option<IpAddr>, usize)> {
    let mut read = 0;
    loop {
        match next(&bytes[..read]).ok()? {
            Next::Done(Source::Address(address)) => return Some((Some(address), read)),
            Next::Done(Source::Peer) => return Some((None, read)),
            Next::Read(most) => {
                let more = most.min(piece).min(bytes.len() - read);
                read += std::num::NonZero::new(more)?.get();
            }
        }
    }
}

fn next(header: &[u8]) -> Result<Next, Malformed> {
    let begins = |with: &[u8]| {
        let both = header.len().min(with.len());
        header[..both] == with[..both]
    };
    match header {
        [] => Ok(Next::Read(SHORTEST)),
        _ if begins(SIGNATURE) => version_2(header),
        _ if begins(b"PROXY ") => version_1(header),
        _ => Err(Malformed),
    }
}

/// A line of text: `PROXY TCP4 SOURCE DESTINATION PORT PORT`.
fn version_1(header: &[u8]) -> Result<Next, Malformed> {
    let Some(end) = header.iter().position(|&b| b == b'\n') else {
        return match (header.len(), header.last()) {
            (LINE.., _) => Err(Malformed),
            (short @ ..SHORTEST, _) => Ok(Next::Read(SHORTEST - short)),
            (_, Some(b'\r')) => Ok(Next::Read(1)),
            _ => Ok(Next::Read(2)),
        };
    };
    let line = header[..end].strip_suffix(b"\r").ok_or(Malformed)?;
    if end + 1 != header.len() || header.len() > LINE {
        return Err(Malformed);
    }
    let line = std::str::from_utf8(line).map_err(|_| Malformed)?;
    let fields: Vec<_> = line.split(' ').collect();
    let source = match fields[..] {
        ["PROXY", "UNKNOWN", ..] => Source::Peer,
        ["PROXY", "TCP4", from, to, from_port, to_port] => {
            let from = address::<Ipv4Addr>([from, to], [from_port, to_port])?;
            Source::Address(from.into())
        }
        ["PROXY", "TCP6", from, to, from_port, to_port] => {
            let from = address::<Ipv6Addr>([from, to], [from_port, to_port])?;
            Source::Address(from.into())
        }
        _ => return Err(Malformed),
    };
    Ok(Next::Done(source))
}

/// The first of two addresses, when all four fields are what they should be.
fn address<A: std::str::FromStr>(addresses: [&str; 2], ports: [&str; 2]) -> Result<A, Malformed> {
    let plain = |port: &str| {
        let digits = port.bytes().all(|b| b.is_ascii_digit());
        digits && (port == "0" || !port.starts_with('0')) && port.parse::<u16>().is_ok()
    };
    let [from, to] = addresses.map(|text| text.parse::<A>().map_err(|_| Malformed));
    to?;
    if ports.into_iter().all(plain) {
        from
    } else {
        Err(Malformed)
    }
}

/// Signature, version and command, family and protocol, length; then addresses, then what we skip.
fn version_2(header: &[u8]) -> Result<Next, Malformed> {
    let Some(fixed) = header.first_chunk::<FIXED>() else {
        return Ok(Next::Read(FIXED - header.len()));
    };
    let [.., command, family, high, low] = *fixed;
    let length = usize::from(u16::from_be_bytes([high, low]));
    // What is wrong already is not waited for.
    let proxied = match command {
        0x20 => false,
        0x21 => true,
        _ => return Err(Malformed),
    };
    let (kind, protocol) = (family >> 4, family & 0x0f);
    let addresses = match kind {
        0 => 0,
        1 => 12,
        2 => 36,
        3 => 216,
        _ => return Err(Malformed),
    };
    if protocol > 2 || length > REST || (proxied && length < addresses) {
        return Err(Malformed);
    }
    let rest = &header[FIXED..];
    match length.checked_sub(rest.len()) {
        None => return Err(Malformed),
        Some(0) => {}
        Some(missing) => return Ok(Next::Read(missing)),
    }
    let source = match (proxied, kind) {
        (true, 1) => rest.first_chunk::<4>().map(|&octets| octets.into()),
        (true, 2) => rest.first_chunk::<16>().map(|&octets| octets.into()),
        _ => None,
    };
    Ok(Next::Done(source.map_or(Source::Peer, Source::Address)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[command, family][..], &length, rest].concat()
    }

    fn from(text: &str) -> Source {
        Source::Address(text.parse().unwrap())
    }

    fn headers() -> Vec<(Vec<u8>, Source)> {
        let four = [192, 0, 2, 7, 10, 0, 0, 1, 1, 2, 3, 4];
        let mut six = [0; 36];
        six[..2].copy_from_slice(&[0x20, 0x01]);
        six[15] = 9;
        let text = |line: &str, source| (format!("{line}\r\n").into_bytes(), source);
        vec![
            text("PROXY UNKNOWN", Source::Peer),
            text("PROXY UNKNOWN ffff::1 ffff::2 1 2", Source::Peer),
            text("PROXY TCP4 192.0.2.7 10.0.0.1 56324 443", from("192.0.2.7")),
            text("PROXY TCP4 0.0.0.0 0.0.0.0 0 0", from("0.0.0.0")),
            text("PROXY TCP6 2001::9 ::1 65535 443", from("2001::9")),
            text("PROXY TCP6 :: :: 1 1", from("::")),
            (v2(0x21, 0x11, &four), from("192.0.2.7")),
            (v2(0x21, 0x12, &four), from("192.0.2.7")),
            (v2(0x21, 0x21, &six), from("2001::9")),
            (
                v2(0x21, 0x11, &[&four[..], &[4, 0, 1, 0]].concat()),
                from("192.0.2.7"),
            ),
            (v2(0x21, 0x31, &[b'x'; 216]), Source::Peer),
            (v2(0x21, 0x00, &[]), Source::Peer),
            (v2(0x20, 0x00, &[]), Source::Peer),
            (v2(0x20, 0x11, &four), Source::Peer),
            (v2(0x20, 0x11, &[0; REST]), Source::Peer),
        ]
    }

    // Fails when any step reads beyond the header, or is content with less.
    #[tokio::test]
    async fn a_header_is_read_whole_and_not_a_byte_more_wherever_it_is_cut() {
        for (header, source) in headers() {
            for cut in 0..header.len() {
                let Ok(Next::Read(most)) = next(&header[..cut]) else {
                    panic!("{cut} of {}", header.escape_ascii());
                };
                assert!((1..=header.len() - cut).contains(&most));
            }
            for piece in [1, 2, 3, 16, header.len()] {
                let (mut near, far) = tokio::io::duplex(piece);
                let whole = [&header[..], b"GET"].concat();
                let sent = tokio::spawn(async move {
                    let mut far = far;
                    tokio::io::AsyncWriteExt::write_all(&mut far, &whole).await
                });
                assert_eq!(read(&mut near).await.unwrap(), source);
                let mut rest = Vec::new();
                near.read_to_end(&mut rest).await.unwrap();
                assert_eq!(rest, b"GET", "{}", header.escape_ascii());
                sent.await.unwrap().unwrap();
            }
        }
    }

    #[tokio::test]
    async fn anything_else_is_refused() {
        let four = [192, 0, 2, 7, 10, 0, 0, 1, 1, 2, 3, 4];
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(LINE));
        let mut wrong: Vec<Vec<u8>> = [
            "GET / HTTP/1.1\r\n",
            "proxy TCP4 192.0.2.7 10.0.0.1 1 2\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 1 2\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 1\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 1 2 3\r\n",
            "PROXY TCP4  192.0.2.7 10.0.0.1 1 2\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 1 65536\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 01 2\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 +1 2\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1  2\r\n",
            "PROXY TCP4 192.0.2.07 10.0.0.1 1 2\r\n",
            "PROXY TCP4 2001::9 ::1 1 2\r\n",
            "PROXY TCP6 192.0.2.7 10.0.0.1 1 2\r\n",
            "PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n",
            "PROXY UDP4 192.0.2.7 10.0.0.1 1 2\r\n",
            "PROXY UNKNOWNX\r\n",
            "PROXY \u{fffd}\u{fffd}\u{fffd}\u{fffd}\r\n",
            long.as_str(),
        ]
        .map(|line| line.as_bytes().to_vec())
        .into();
        wrong.extend([
            v2(0x22, 0x11, &four),
            v2(0x11, 0x11, &four),
            v2(0x21, 0x41, &four),
            v2(0x21, 0x13, &four),
            v2(0x21, 0x11, &four[..11]),
            v2(0x21, 0x21, &four),
            v2(0x20, 0x00, &[0; REST + 1]),
            b"\r\n\r\n\0\r\nQUIX\n".to_vec(),
            b"\x16\x03\x01".to_vec(),
        ]);
        for bytes in wrong {
            assert!(
                read(&mut &bytes[..]).await.is_err(),
                "{}",
                bytes.escape_ascii()
            );
        }
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_strange(tail: Vec<u8>, start in 0..3usize) {
            let begin = [&b""[..], b"PROXY ", SIGNATURE][start];
            let bytes = [begin, &tail].concat();
            for end in 0..=bytes.len() {
                match next(&bytes[..end]) {
                    Ok(Next::Read(most)) => prop_assert!((1..=REST).contains(&most)),
                    Ok(Next::Done(_)) | Err(Malformed) => {}
                }
            }
        }
    }
}
