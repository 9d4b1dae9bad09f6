//! A header of the PROXY protocol: the same however it is cut, nothing read beyond its end, and the address
//! it tells is the one that stands there.

use std::net::IpAddr;

use cloakroom::proxy::header_in;

pub(crate) fn run(input: &[u8]) {
    let Some((&piece, bytes)) = input.split_first() else {
        return;
    };
    let whole = header_in(bytes, usize::MAX);
    assert_eq!(header_in(bytes, usize::from(piece).max(1)), whole);
    assert_eq!(header_in(bytes, 1), whole);
    let Some((source, length)) = whole else {
        return;
    };
    let header = &bytes[..length];
    assert_eq!(header_in(header, usize::MAX), whole);
    assert_eq!(header_in(&header[..length - 1], usize::MAX), None);
    assert_eq!(header_in(&[header, b"\r\nGET"].concat(), usize::MAX), whole);
    assert_eq!(source, told(header));
}

/// The address in a header that is well-formed.
fn told(header: &[u8]) -> Option<IpAddr> {
    if header[0] == b'P' {
        let line = std::str::from_utf8(header).expect("a line of version 1 is text");
        let mut fields = line.trim_end().split(' ').skip(1);
        let family = fields.next().expect("there is one");
        let address = fields.next().and_then(|text| text.parse::<IpAddr>().ok());
        return address.filter(|_| family != "UNKNOWN");
    }
    let proxied = header[12] == 0x21;
    match header[13] >> 4 {
        1 if proxied => header[16..].first_chunk::<4>().map(|&a| a.into()),
        2 if proxied => header[16..].first_chunk::<16>().map(|&a| a.into()),
        _ => None,
    }
}
