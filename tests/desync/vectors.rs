//! Requests that two parsers may read differently, and their harmless neighbours. Used by the unit tests
//! of the reader and, through the real proxy, by `tests/it/desync.rs`; each names `Fault` for itself.

use super::Fault::{self, *};

/// What is to become of the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expect {
    /// So many requests, and nothing wrong.
    Accept(usize),
    /// So many requests, then this.
    Refuse(usize, Fault),
    /// A request in good form, which is refused for what it says, with this status.
    Later(u16),
    /// Something that is never complete.
    Cut,
}
use Expect::{Accept, Cut, Later, Refuse};

pub(crate) struct Vector {
    pub(crate) name: &'static str,
    /// `{KEY}` stands where the key goes.
    pub(crate) bytes: Vec<u8>,
    pub(crate) expect: Expect,
}

/// A message of 40 bytes; 0x28.
const PING: &[u8] = br#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
const LENGTH: &[u8] = b"Content-Length: 40\r\n";
const CHUNKED: &[u8] = b"Transfer-Encoding: chunked\r\n";
const FIRST: &[u8] = b"POST /one/mcp HTTP/1.1\r\n";
const HOST: &[u8] = b"Host: localhost\r\n";
const USUAL: &[u8] = b"Authorization: Bearer {KEY}\r\nContent-Type: application/json\r\n";

type Row = (&'static str, &'static [u8], Expect);

pub(crate) fn all() -> Vec<Vector> {
    let mut all = Vec::new();
    let mut add = |name, parts: &[&[u8]], expect| {
        let bytes = parts.concat();
        all.push(Vector {
            name,
            bytes,
            expect,
        });
    };
    for &(name, line, expect) in FIRST_LINES {
        add(name, &[line, HOST, USUAL, LENGTH, b"\r\n", PING], expect);
    }
    for &(name, lines, expect) in HOSTS {
        add(name, &[FIRST, lines, USUAL, LENGTH, b"\r\n", PING], expect);
    }
    for &(name, lines, expect) in FIELDS {
        add(
            name,
            &[FIRST, HOST, lines, USUAL, LENGTH, b"\r\n", PING],
            expect,
        );
    }
    for &(name, lines, expect) in LENGTHS {
        add(name, &[FIRST, HOST, USUAL, lines, b"\r\n", PING], expect);
    }
    for &(name, lines, expect) in CODINGS {
        let body = [b"28\r\n", PING, b"\r\n0\r\n\r\n"].concat();
        add(name, &[FIRST, HOST, USUAL, lines, b"\r\n", &body], expect);
    }
    for &(name, size, expect) in SIZES {
        let body = [size, PING, b"\r\n0\r\n\r\n"].concat();
        add(name, &[FIRST, HOST, USUAL, CHUNKED, b"\r\n", &body], expect);
    }
    for &(name, end, expect) in CHUNK_ENDS {
        let body = [b"28\r\n", PING, end].concat();
        add(name, &[FIRST, HOST, USUAL, CHUNKED, b"\r\n", &body], expect);
    }
    let good = [FIRST, HOST, USUAL, LENGTH, b"\r\n", PING].concat();
    for &(name, other, expect) in BEHIND {
        add(name, &[&good, other], expect);
    }
    for &(name, bytes, expect) in WHOLE {
        add(name, &[bytes], expect);
    }
    let long = |count: usize, line: &[u8]| line.repeat(count);
    let fields = |count| {
        [
            FIRST,
            HOST,
            USUAL,
            LENGTH,
            &long(count, b"X-A: b\r\n"),
            b"\r\n",
            PING,
        ]
        .concat()
    };
    add("100 headers", &[&fields(96)], Accept(1));
    add("101 headers", &[&fields(97)], Refuse(0, TooManyFields));
    let target = |count| {
        [
            b"POST /one/mcp?",
            &long(count, b"a")[..],
            b" HTTP/1.1\r\n",
            HOST,
            USUAL,
            LENGTH,
            b"\r\n",
            PING,
        ]
        .concat()
    };
    add("a target of 8000 bytes", &[&target(7988)], Accept(1));
    add(
        "a target of 65 KiB",
        &[&target(65 << 10)],
        Refuse(0, HeadTooLarge),
    );
    let value = |count| {
        [
            FIRST,
            HOST,
            USUAL,
            LENGTH,
            b"X-A: ",
            &long(count, b"a"),
            b"\r\n\r\n",
            PING,
        ]
        .concat()
    };
    add("a value of 60 KiB", &[&value(60 << 10)], Accept(1));
    add(
        "a value of 65 KiB",
        &[&value(65 << 10)],
        Refuse(0, HeadTooLarge),
    );
    add(
        "a value without end",
        &[FIRST, &long(66 << 10, b"a")],
        Refuse(0, HeadTooLarge),
    );
    add("a pipeline of three", &[&good, &good, &good], Accept(3));
    let chunks = [
        FIRST,
        HOST,
        USUAL,
        CHUNKED,
        b"\r\n8\r\n",
        &PING[..8],
        b"\r\n20\r\n",
        &PING[8..],
        b"\r\n0\r\n\r\n",
    ]
    .concat();
    add("two chunks", &[&chunks], Accept(1));
    add("chunks, then another request", &[&chunks, &good], Accept(2));
    add(
        "good, bad, good",
        &[&good, b"post / HTTP/1.1\r\n\r\n", &good],
        Refuse(1, Method),
    );
    add(
        "chunks, then too many bytes",
        &[&chunks, b"\0", &good],
        Refuse(1, Method),
    );
    all
}

#[rustfmt::skip]
const FIRST_LINES: &[Row] = &[
    ("as it should be", b"POST /one/mcp HTTP/1.1\r\n", Accept(1)),
    ("HTTP/1.0", b"POST /one/mcp HTTP/1.0\r\n", Accept(1)),
    ("an absolute target", b"POST http://localhost/one/mcp HTTP/1.1\r\n", Accept(1)),
    ("an absolute target, scheme in capitals", b"POST HTTP://LOCALHOST/one/mcp HTTP/1.1\r\n", Accept(1)),
    ("an absolute target on another host", b"POST http://evil.example/one/mcp HTTP/1.1\r\n", Later(421)),
    ("an absolute target on another port", b"POST http://localhost:1/one/mcp HTTP/1.1\r\n", Later(421)),
    ("an absolute target with a user", b"POST http://a@localhost/one/mcp HTTP/1.1\r\n", Refuse(0, TargetForm)),
    ("an absolute target without a path", b"POST http://localhost HTTP/1.1\r\n", Refuse(0, TargetForm)),
    ("an absolute target without a host", b"POST http:///one/mcp HTTP/1.1\r\n", Refuse(0, TargetForm)),
    ("another scheme", b"POST ftp://localhost/one/mcp HTTP/1.1\r\n", Refuse(0, TargetForm)),
    ("a target without a slash", b"POST one/mcp HTTP/1.1\r\n", Refuse(0, TargetForm)),
    ("authority form", b"POST localhost:80 HTTP/1.1\r\n", Refuse(0, TargetForm)),
    ("asterisk form", b"OPTIONS * HTTP/1.1\r\n", Refuse(0, TargetForm)),
    ("asterisk form of another method", b"POST * HTTP/1.1\r\n", Refuse(0, TargetForm)),
    ("CONNECT to a host", b"CONNECT localhost:80 HTTP/1.1\r\n", Refuse(0, TargetForm)),
    ("CONNECT to a path", b"CONNECT /one/mcp HTTP/1.1\r\n", Refuse(0, TargetForm)),
    ("a fragment", b"POST /one/mcp#x HTTP/1.1\r\n", Refuse(0, TargetCharacter)),
    ("a backslash", b"POST /one\\mcp HTTP/1.1\r\n", Refuse(0, TargetCharacter)),
    ("a quote in the target", b"POST /one/mcp?\" HTTP/1.1\r\n", Refuse(0, TargetCharacter)),
    ("angle brackets in the target", b"POST /one/mcp?<> HTTP/1.1\r\n", Refuse(0, TargetCharacter)),
    ("a bar in the target", b"POST /one/mcp?a|b HTTP/1.1\r\n", Refuse(0, TargetCharacter)),
    ("an encoded character", b"POST /one/mcp?a=%2f HTTP/1.1\r\n", Accept(1)),
    ("half an encoded character", b"POST /one/mcp?a=%2 HTTP/1.1\r\n", Refuse(0, TargetCharacter)),
    ("an encoded character that is none", b"POST /one/mcp?a=%zz HTTP/1.1\r\n", Refuse(0, TargetCharacter)),
    ("a query that the backend never sees", b"POST /one/mcp?a=b&c=d HTTP/1.1\r\n", Accept(1)),
    ("two slashes", b"POST //one/mcp HTTP/1.1\r\n", Later(404)),
    ("dots", b"POST /one/../one/mcp HTTP/1.1\r\n", Later(404)),
    ("an encoded path", b"POST /one%2fmcp HTTP/1.1\r\n", Later(404)),
    ("a byte above 127 in the target", b"POST /one/mcp?\xc3\xa4 HTTP/1.1\r\n", Refuse(0, NotAscii)),
    ("NUL in the target", b"POST /one/mcp?\0 HTTP/1.1\r\n", Refuse(0, Control)),
    ("DEL in the target", b"POST /one/mcp?\x7f HTTP/1.1\r\n", Refuse(0, Control)),
    ("a tab in the target", b"POST /one/mcp?\t HTTP/1.1\r\n", Refuse(0, TargetCharacter)),
    ("no target", b"POST HTTP/1.1\r\n", Refuse(0, RequestLine)),
    ("an empty target", b"POST  HTTP/1.1\r\n", Refuse(0, RequestLine)),
    ("two spaces before the target", b"POST  /one/mcp HTTP/1.1\r\n", Refuse(0, RequestLine)),
    ("two spaces behind the target", b"POST /one/mcp  HTTP/1.1\r\n", Refuse(0, RequestLine)),
    ("a space at the end", b"POST /one/mcp HTTP/1.1 \r\n", Refuse(0, RequestLine)),
    ("a space in the target", b"POST /one /mcp HTTP/1.1\r\n", Refuse(0, RequestLine)),
    ("a tab instead of a space", b"POST\t/one/mcp HTTP/1.1\r\n", Refuse(0, Method)),
    ("a tab before the version", b"POST /one/mcp\tHTTP/1.1\r\n", Refuse(0, RequestLine)),
    ("a vertical tab for a space", b"POST\x0b/one/mcp HTTP/1.1\r\n", Refuse(0, Control)),
    ("a form feed for a space", b"POST /one/mcp\x0cHTTP/1.1\r\n", Refuse(0, Control)),
    ("a bare CR for a space", b"POST\r/one/mcp HTTP/1.1\r\n", Refuse(0, Control)),
    ("a bare CR before the end", b"POST /one/mcp HTTP/1.1\r\r\n", Refuse(0, Control)),
    ("a bare LF", b"POST /one/mcp HTTP/1.1\n", Refuse(0, BareLf)),
    ("a bare CR at the end", b"POST /one/mcp HTTP/1.1\r", Refuse(0, Control)),
    ("a space before the method", b" POST /one/mcp HTTP/1.1\r\n", Refuse(0, Method)),
    ("one empty line before it", b"\r\nPOST /one/mcp HTTP/1.1\r\n", Accept(1)),
    ("two empty lines before it", b"\r\n\r\nPOST /one/mcp HTTP/1.1\r\n", Refuse(0, EmptyLines)),
    ("a bare LF before it", b"\nPOST /one/mcp HTTP/1.1\r\n", Refuse(0, BareLf)),
    ("a bare CR before it", b"\rPOST /one/mcp HTTP/1.1\r\n", Refuse(0, Control)),
    ("a line with a space before it", b" \r\nPOST /one/mcp HTTP/1.1\r\n", Refuse(0, Method)),
    ("a header before it", b"X: y\r\nPOST /one/mcp HTTP/1.1\r\n", Refuse(0, Method)),
    ("a mark of the order of bytes before it", b"\xef\xbb\xbfPOST /one/mcp HTTP/1.1\r\n", Refuse(0, Method)),
    ("a method in small letters", b"post /one/mcp HTTP/1.1\r\n", Refuse(0, Method)),
    ("a method in mixed letters", b"Post /one/mcp HTTP/1.1\r\n", Refuse(0, Method)),
    ("a method with a hyphen", b"M-SEARCH /one/mcp HTTP/1.1\r\n", Refuse(0, Method)),
    ("a method with a digit", b"POST1 /one/mcp HTTP/1.1\r\n", Refuse(0, Method)),
    ("a method with a colon", b"POST: /one/mcp HTTP/1.1\r\n", Refuse(0, Method)),
    ("a very long method", b"POSTPOSTPOSTPOSTPOSTPOSTPOST /one/mcp HTTP/1.1\r\n", Refuse(0, Method)),
    ("NUL in the method", b"PO\0ST /one/mcp HTTP/1.1\r\n", Refuse(0, Control)),
    ("no method", b" /one/mcp HTTP/1.1\r\n", Refuse(0, Method)),
    ("an unknown method", b"BREW /one/mcp HTTP/1.1\r\n", Later(405)),
    ("TRACE", b"TRACE /one/mcp HTTP/1.1\r\n", Later(405)),
    ("PUT", b"PUT /one/mcp HTTP/1.1\r\n", Later(405)),
    ("HTTP/0.9 in words", b"POST /one/mcp HTTP/0.9\r\n", Refuse(0, Version)),
    ("HTTP/1.2", b"POST /one/mcp HTTP/1.2\r\n", Refuse(0, Version)),
    ("HTTP/2.0", b"POST /one/mcp HTTP/2.0\r\n", Refuse(0, Version)),
    ("HTTP/2", b"POST /one/mcp HTTP/2\r\n", Refuse(0, Version)),
    ("HTTP/3.0", b"POST /one/mcp HTTP/3.0\r\n", Refuse(0, Version)),
    ("HTTP/1", b"POST /one/mcp HTTP/1\r\n", Refuse(0, Version)),
    ("HTTP/1.", b"POST /one/mcp HTTP/1.\r\n", Refuse(0, Version)),
    ("HTTP/01.1", b"POST /one/mcp HTTP/01.1\r\n", Refuse(0, Version)),
    ("HTTP/1.10", b"POST /one/mcp HTTP/1.10\r\n", Refuse(0, Version)),
    ("HTTP/1,1", b"POST /one/mcp HTTP/1,1\r\n", Refuse(0, Version)),
    ("http/1.1", b"POST /one/mcp http/1.1\r\n", Refuse(0, RequestLine)),
    ("HTTP /1.1", b"POST /one/mcp HTTP /1.1\r\n", Refuse(0, RequestLine)),
    ("ICY/1.1", b"POST /one/mcp ICY/1.1\r\n", Refuse(0, RequestLine)),
    ("no version", b"POST /one/mcp\r\n", Refuse(0, RequestLine)),
];

#[rustfmt::skip]
const HOSTS: &[Row] = &[
    ("no Host", b"", Refuse(0, NoHost)),
    ("an empty Host", b"Host:\r\n", Refuse(0, HostInvalid)),
    ("a Host of spaces", b"Host:   \r\n", Refuse(0, HostInvalid)),
    ("Host in small letters, no space", b"host:localhost\r\n", Accept(1)),
    ("Host in capitals", b"HOST: LOCALHOST\r\n", Accept(1)),
    ("a Host with a port", b"Host: localhost:8080\r\n", Accept(1)),
    ("an IPv4 address", b"Host: 127.0.0.1:1\r\n", Accept(1)),
    ("an IPv6 address", b"Host: [::1]:8080\r\n", Accept(1)),
    ("half an IPv6 address", b"Host: [::1\r\n", Refuse(0, HostInvalid)),
    ("an IPv6 address that is none", b"Host: [localhost]\r\n", Refuse(0, HostInvalid)),
    ("an IPv6 address with a zone", b"Host: [fe80::1%25lo]\r\n", Refuse(0, HostInvalid)),
    ("an IPv6 address without brackets", b"Host: ::1\r\n", Refuse(0, HostInvalid)),
    ("spaces around the Host", b"Host:   localhost   \r\n", Accept(1)),
    ("two Hosts alike", b"Host: localhost\r\nHost: localhost\r\n", Refuse(0, SecondHost)),
    ("two Hosts that differ", b"Host: localhost\r\nHost: evil.example\r\n", Refuse(0, SecondHost)),
    ("two Hosts, in letters that differ", b"Host: localhost\r\nhOST: localhost\r\n", Refuse(0, SecondHost)),
    ("a list of Hosts", b"Host: localhost, evil.example\r\n", Refuse(0, HostInvalid)),
    ("a Host with a user", b"Host: a@localhost\r\n", Refuse(0, HostInvalid)),
    ("a Host with a path", b"Host: localhost/one\r\n", Refuse(0, HostInvalid)),
    ("a Host with a query", b"Host: localhost?x\r\n", Refuse(0, HostInvalid)),
    ("a Host with a fragment", b"Host: localhost#x\r\n", Refuse(0, HostInvalid)),
    ("a Host with a scheme", b"Host: http://localhost\r\n", Refuse(0, HostInvalid)),
    ("a Host with a space", b"Host: local host\r\n", Refuse(0, HostInvalid)),
    ("a Host with a tab", b"Host:\tlocalhost\r\n", Refuse(0, HostInvalid)),
    ("a Host encoded", b"Host: %6cocalhost\r\n", Refuse(0, HostInvalid)),
    ("a port without digits", b"Host: localhost:\r\n", Refuse(0, HostInvalid)),
    ("a port in letters", b"Host: localhost:http\r\n", Refuse(0, HostInvalid)),
    ("a port with a user behind it", b"Host: localhost:80@evil.example\r\n", Refuse(0, HostInvalid)),
    ("a port of six digits", b"Host: localhost:080800\r\n", Refuse(0, HostInvalid)),
    ("two ports", b"Host: localhost:1:2\r\n", Refuse(0, HostInvalid)),
    ("another host", b"Host: evil.example\r\n", Later(421)),
    ("another host that begins like ours", b"Host: localhost.evil.example\r\n", Later(421)),
    ("a Host with a space before the colon", b"Host : localhost\r\n", Refuse(0, SpaceBeforeColon)),
    ("a Host on a line of its own", b"Host:\r\n localhost\r\n", Refuse(0, HostInvalid)),
    ("a first header that begins with a space", b" X: y\r\nHost: localhost\r\n", Refuse(0, Folded)),
];

#[rustfmt::skip]
const FIELDS: &[Row] = &[
    ("an empty value", b"X-A:\r\n", Accept(1)),
    ("no space behind the colon", b"X-A:b\r\n", Accept(1)),
    ("every character of a name", b"!#$%&'*+-.^`|~09azAZ: b\r\n", Accept(1)),
    ("a tab in a value", b"X-A: a\tb\r\n", Accept(1)),
    ("colons in a value", b"X-A: a:b:c\r\n", Accept(1)),
    ("a space before the colon", b"X-A : b\r\n", Refuse(0, SpaceBeforeColon)),
    ("a tab before the colon", b"X-A\t: b\r\n", Refuse(0, SpaceBeforeColon)),
    ("a space in a name", b"X A: b\r\n", Refuse(0, SpaceBeforeColon)),
    ("a vertical tab before the colon", b"X-A\x0b: b\r\n", Refuse(0, Control)),
    ("NUL before the colon", b"X-A\0: b\r\n", Refuse(0, Control)),
    ("a folded value", b"X-A: a\r\n b\r\n", Refuse(0, Folded)),
    ("a value folded by a tab", b"X-A: a\r\n\tb\r\n", Refuse(0, Folded)),
    ("a line of a space", b"X-A: a\r\n \r\n", Refuse(0, Folded)),
    ("no colon", b"X-A\r\n", Refuse(0, FieldName)),
    ("no name", b": b\r\n", Refuse(0, FieldName)),
    ("a name in quotes", b"\"X\": b\r\n", Refuse(0, FieldName)),
    ("a slash in a name", b"X/A: b\r\n", Refuse(0, FieldName)),
    ("a semicolon in a name", b"X;A: b\r\n", Refuse(0, FieldName)),
    ("a comma in a name", b"X,A: b\r\n", Refuse(0, FieldName)),
    ("brackets in a name", b"X[A]: b\r\n", Refuse(0, FieldName)),
    ("an equals sign in a name", b"X=A: b\r\n", Refuse(0, FieldName)),
    ("a byte above 127 in a name", b"X-\xc3\xa4: b\r\n", Refuse(0, NotAscii)),
    ("a byte above 127 in a value", b"X-A: caf\xe9\r\n", Refuse(0, NotAscii)),
    ("UTF-8 in a value", b"X-A: caf\xc3\xa9\r\n", Refuse(0, NotAscii)),
    ("a space of two bytes in a value", b"X-A:\xc2\xa0b\r\n", Refuse(0, NotAscii)),
    ("NUL in a value", b"X-A: a\0b\r\n", Refuse(0, Control)),
    ("BEL in a value", b"X-A: a\x07b\r\n", Refuse(0, Control)),
    ("ESC in a value", b"X-A: a\x1bb\r\n", Refuse(0, Control)),
    ("DEL in a value", b"X-A: a\x7fb\r\n", Refuse(0, Control)),
    ("a vertical tab in a value", b"X-A: a\x0bb\r\n", Refuse(0, Control)),
    ("a bare CR in a value", b"X-A: a\rb\r\n", Refuse(0, Control)),
    ("a bare CR, then a header", b"X-A: a\rTransfer-Encoding: chunked\r\n", Refuse(0, Control)),
    ("CR CR LF", b"X-A: a\r\r\n", Refuse(0, Control)),
    ("a bare LF behind a value", b"X-A: a\n", Refuse(0, BareLf)),
    ("a bare LF in a value", b"X-A: a\nTransfer-Encoding: chunked\r\n", Refuse(0, BareLf)),
    ("LF CR", b"X-A: a\n\r", Refuse(0, BareLf)),
    ("an underscore in a name", b"X_A: b\r\n", Refuse(0, Underscore)),
    ("Content_Length", b"Content_Length: 5\r\n", Refuse(0, Underscore)),
    ("Transfer_Encoding", b"Transfer_Encoding: chunked\r\n", Refuse(0, Underscore)),
    ("Mcp-Session_Id", b"Mcp-Session_Id: x\r\n", Refuse(0, Underscore)),
    ("a parameter with an underscore", b"Mcp-Param-user_id: x\r\n", Accept(1)),
    ("an underscore before a parameter", b"Mcp_Param-user: x\r\n", Refuse(0, Underscore)),
    ("a parameter with an underscore and a space", b"mcp-param-user_id : x\r\n", Refuse(0, SpaceBeforeColon)),
    ("a parameter without a colon", b"mcp-param-user_id\r\n", Refuse(0, FieldName)),
    ("Expect: 100-continue", b"Expect: 100-Continue\r\n", Accept(1)),
    ("Expect, twice", b"Expect: 100-continue\r\nExpect: 100-continue\r\n", Refuse(0, Expectation)),
    ("Expect: 200-ok", b"Expect: 200-ok\r\n", Refuse(0, Expectation)),
    ("an empty Expect", b"Expect:\r\n", Refuse(0, Expectation)),
    ("Expect: 100-continue with more", b"Expect: 100-continue, x\r\n", Refuse(0, Expectation)),
    ("Upgrade to a web socket", b"Connection: Upgrade\r\nUpgrade: websocket\r\n", Accept(1)),
    ("Upgrade to HTTP/2", b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n", Accept(1)),
    ("Connection names the length", b"Connection: Content-Length\r\n", Accept(1)),
    ("Connection names the key", b"Connection: Authorization, Host\r\n", Accept(1)),
    ("Connection: close", b"Connection: close\r\n", Accept(1)),
    ("TE: trailers", b"TE: trailers\r\n", Accept(1)),
    ("Trailer", b"Trailer: Authorization\r\n", Accept(1)),
    ("another method in a header", b"X-HTTP-Method-Override: DELETE\r\n", Accept(1)),
    ("another target in a header", b"X-Original-URL: /admin\r\nX-Rewrite-URL: /admin\r\n", Accept(1)),
    ("another host in a header", b"X-Forwarded-Host: evil.example\r\nForwarded: host=evil.example\r\n", Accept(1)),
    ("Content-Encoding", b"Content-Encoding: gzip\r\n", Later(415)),
];

#[rustfmt::skip]
const LENGTHS: &[Row] = &[
    ("spaces around the length", b"Content-Length:   40  \r\n", Accept(1)),
    ("no space before the length", b"content-length:40\r\n", Accept(1)),
    ("two lengths alike", b"Content-Length: 40\r\nContent-Length: 40\r\n", Refuse(0, SecondLength)),
    ("two lengths that differ", b"Content-Length: 40\r\nContent-Length: 4\r\n", Refuse(0, SecondLength)),
    ("a length and a zero", b"Content-Length: 40\r\nContent-Length: 0\r\n", Refuse(0, SecondLength)),
    ("a length and an empty one", b"Content-Length: 40\r\nContent-Length:\r\n", Refuse(0, SecondLength)),
    ("a list of lengths alike", b"Content-Length: 40, 40\r\n", Refuse(0, LengthInvalid)),
    ("a list of lengths that differ", b"Content-Length: 40,4\r\n", Refuse(0, LengthInvalid)),
    ("a length with a comma", b"Content-Length: 40,\r\n", Refuse(0, LengthInvalid)),
    ("a length with a plus", b"Content-Length: +40\r\n", Refuse(0, LengthInvalid)),
    ("a length with a minus", b"Content-Length: -40\r\n", Refuse(0, LengthInvalid)),
    ("minus nothing", b"Content-Length: -0\r\n", Refuse(0, LengthInvalid)),
    ("a length in hexadecimal", b"Content-Length: 0x28\r\n", Refuse(0, LengthInvalid)),
    ("a length with a zero before it", b"Content-Length: 040\r\n", Refuse(0, LengthInvalid)),
    ("a length with an exponent", b"Content-Length: 4e1\r\n", Refuse(0, LengthInvalid)),
    ("a length with a point", b"Content-Length: 40.0\r\n", Refuse(0, LengthInvalid)),
    ("a length with an underscore", b"Content-Length: 4_0\r\n", Refuse(0, LengthInvalid)),
    ("a length in two parts", b"Content-Length: 4 0\r\n", Refuse(0, LengthInvalid)),
    ("a length in quotes", b"Content-Length: \"40\"\r\n", Refuse(0, LengthInvalid)),
    ("a length with a parameter", b"Content-Length: 40;x\r\n", Refuse(0, LengthInvalid)),
    ("a length behind a tab", b"Content-Length:\t40\r\n", Refuse(0, LengthInvalid)),
    ("a length with NUL", b"Content-Length: 40\0\r\n", Refuse(0, Control)),
    ("a length with a bare CR", b"Content-Length: \r40\r\n", Refuse(0, Control)),
    ("a length with digits of another script", b"Content-Length: \xd9\xa4\xd9\xa0\r\n", Refuse(0, NotAscii)),
    ("an empty length", b"Content-Length:\r\n", Refuse(0, LengthInvalid)),
    ("a length in words", b"Content-Length: forty\r\n", Refuse(0, LengthInvalid)),
    ("a length past 64 bits", b"Content-Length: 18446744073709551656\r\n", Refuse(0, LengthInvalid)),
    ("a length past 128 bits", b"Content-Length: 340282366920938463463374607431768211496\r\n", Refuse(0, LengthInvalid)),
    ("a length of 16 digits", b"Content-Length: 1000000000000000\r\n", Refuse(0, LengthInvalid)),
    ("a length past any limit", b"Content-Length: 100000000000000\r\n", Later(413)),
    ("a length with a space before the colon", b"Content-Length : 40\r\n", Refuse(0, SpaceBeforeColon)),
    ("a folded length", b"Content-Length:\r\n 40\r\n", Refuse(0, LengthInvalid)),
    ("no length, so the body is a request", b"", Refuse(1, Method)),
    ("a length of nothing, so the body is a request", b"Content-Length: 0\r\n", Refuse(1, Method)),
    ("a length too short, so the rest is a request", b"Content-Length: 39\r\n", Refuse(1, Method)),
    ("a length too long", b"Content-Length: 41\r\n", Cut),
    ("a length, then a coding", b"Content-Length: 40\r\nTransfer-Encoding: chunked\r\n", Refuse(0, LengthAndCoding)),
    ("a length, then identity", b"Content-Length: 40\r\nTransfer-Encoding: identity\r\n", Refuse(0, Coding)),
    ("a length of nothing, then a coding", b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", Refuse(0, LengthAndCoding)),
];

#[rustfmt::skip]
const CODINGS: &[Row] = &[
    ("chunked", b"Transfer-Encoding: chunked\r\n", Accept(1)),
    ("chunked in capitals", b"TRANSFER-ENCODING: CHUNKED\r\n", Accept(1)),
    ("chunked with spaces", b"Transfer-Encoding:  chunked  \r\n", Accept(1)),
    ("a coding, then a length", b"Transfer-Encoding: chunked\r\nContent-Length: 40\r\n", Refuse(0, LengthAndCoding)),
    ("a coding, then a length of nothing", b"Transfer-Encoding: chunked\r\nContent-Length: 0\r\n", Refuse(0, LengthAndCoding)),
    ("chunked, twice", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", Refuse(0, Coding)),
    ("chunked, chunked", b"Transfer-Encoding: chunked, chunked\r\n", Refuse(0, Coding)),
    ("identity, then chunked", b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n", Refuse(0, Coding)),
    ("chunked, then identity", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", Refuse(0, Coding)),
    ("identity, chunked", b"Transfer-Encoding: identity, chunked\r\n", Refuse(0, Coding)),
    ("chunked, identity", b"Transfer-Encoding: chunked, identity\r\n", Refuse(0, Coding)),
    ("gzip, chunked", b"Transfer-Encoding: gzip, chunked\r\n", Refuse(0, Coding)),
    ("identity", b"Transfer-Encoding: identity\r\n", Refuse(0, Coding)),
    ("gzip", b"Transfer-Encoding: gzip\r\n", Refuse(0, Coding)),
    ("cow", b"Transfer-Encoding: cow\r\n", Refuse(0, Coding)),
    ("xchunked", b"Transfer-Encoding: xchunked\r\n", Refuse(0, Coding)),
    ("chunkedx", b"Transfer-Encoding: chunkedx\r\n", Refuse(0, Coding)),
    ("an empty coding", b"Transfer-Encoding:\r\n", Refuse(0, Coding)),
    ("chunked with a comma", b"Transfer-Encoding: chunked,\r\n", Refuse(0, Coding)),
    ("a comma and chunked", b"Transfer-Encoding: ,chunked\r\n", Refuse(0, Coding)),
    ("chunked with a parameter", b"Transfer-Encoding: chunked;q=1\r\n", Refuse(0, Coding)),
    ("chunked in quotes", b"Transfer-Encoding: \"chunked\"\r\n", Refuse(0, Coding)),
    ("chunked in other quotes", b"Transfer-Encoding: 'chunked'\r\n", Refuse(0, Coding)),
    ("chunked behind a tab", b"Transfer-Encoding:\tchunked\r\n", Refuse(0, Coding)),
    ("chunked before a tab", b"Transfer-Encoding: chunked\t\r\n", Refuse(0, Coding)),
    ("chunked behind a vertical tab", b"Transfer-Encoding: \x0bchunked\r\n", Refuse(0, Control)),
    ("chunked behind NUL", b"Transfer-Encoding: \0chunked\r\n", Refuse(0, Control)),
    ("chunked behind a bare CR", b"Transfer-Encoding: \rchunked\r\n", Refuse(0, Control)),
    ("chunked behind a bare LF", b"X: y\nTransfer-Encoding: chunked\r\n", Refuse(0, BareLf)),
    ("chunked on the next line", b"Transfer-Encoding:\r\n chunked\r\n", Refuse(0, Coding)),
    ("chunked folded behind another header", b"X: y\r\n Transfer-Encoding: chunked\r\n", Refuse(0, Folded)),
    ("a space before the colon of the coding", b"Transfer-Encoding : chunked\r\n", Refuse(0, SpaceBeforeColon)),
    ("a space before the name of the coding", b" Transfer-Encoding: chunked\r\n", Refuse(0, Folded)),
    ("a coding without a colon", b"Transfer-Encoding chunked\r\n", Refuse(0, SpaceBeforeColon)),
    ("chunked with a byte above 127", b"Transfer-Encoding: chun\xc4\xb1ked\r\n", Refuse(0, NotAscii)),
    ("chunked with the sign for kelvin", b"Transfer-Encoding: chun\xe2\x84\xaaed\r\n", Refuse(0, NotAscii)),
    ("content-coding for a transfer coding", b"Transfer-Encoding: aws-chunked\r\n", Refuse(0, Coding)),
    ("no coding, so the chunks are a request", b"", Refuse(1, Method)),
];

#[rustfmt::skip]
const SIZES: &[Row] = &[
    ("a size of 16 digits", b"0000000000000028\r\n", Accept(1)),
    ("a size of 17 digits", b"00000000000000028\r\n", Refuse(1, ChunkSize)),
    ("a size past 64 bits", b"10000000000000028\r\n", Refuse(1, ChunkSize)),
    ("the largest size", b"FFFFFFFFFFFFFFFF\r\n", Cut),
    ("a size too large by one", b"29\r\n", Refuse(1, ChunkEnd)),
    ("a size too small by one", b"27\r\n", Refuse(1, ChunkEnd)),
    ("a size in hexadecimal with its mark", b"0x28\r\n", Refuse(1, ChunkSize)),
    ("a size with a plus", b"+28\r\n", Refuse(1, ChunkSize)),
    ("a size with a minus", b"-28\r\n", Refuse(1, ChunkSize)),
    ("a size with an underscore", b"2_8\r\n", Refuse(1, ChunkSize)),
    ("a size with a point", b"28.0\r\n", Refuse(1, ChunkSize)),
    ("no size", b"\r\n", Refuse(1, ChunkSize)),
    ("a space before the size", b" 28\r\n", Refuse(1, ChunkSize)),
    ("a space behind the size", b"28 \r\n", Refuse(1, ChunkSize)),
    ("a tab behind the size", b"28\t\r\n", Refuse(1, ChunkSize)),
    ("a space within the size", b"2 8\r\n", Refuse(1, ChunkSize)),
    ("NUL behind the size", b"28\0\r\n", Refuse(1, ChunkSize)),
    ("a letter that is no digit", b"2g\r\n", Refuse(1, ChunkSize)),
    ("a size and a bare LF", b"28\n", Refuse(1, ChunkSize)),
    ("a size and a bare CR", b"28\r", Refuse(1, ChunkSize)),
    ("a size and CR CR LF", b"28\r\r\n", Refuse(1, ChunkSize)),
    ("an extension", b"28;a=b\r\n", Refuse(1, ChunkExtension)),
    ("an extension without a name", b"28;\r\n", Refuse(1, ChunkExtension)),
    ("an extension behind a space", b"28 ;a\r\n", Refuse(1, ChunkSize)),
    ("an extension in quotes", b"28;a=\"\r\n0\r\n\r\n\"\r\n", Refuse(1, ChunkExtension)),
    ("an extension with a bare LF", b"28;a\n", Refuse(1, ChunkExtension)),
    ("an extension with a bare CR", b"28;a\rb\r\n", Refuse(1, ChunkExtension)),
    ("a comma behind the size", b"28,\r\n", Refuse(1, ChunkSize)),
];

#[rustfmt::skip]
const CHUNK_ENDS: &[Row] = &[
    ("the end in many zeros", b"\r\n0000\r\n\r\n", Accept(1)),
    ("no CRLF behind the data", b"0\r\n\r\n", Refuse(1, ChunkEnd)),
    ("a bare LF behind the data", b"\n0\r\n\r\n", Refuse(1, ChunkEnd)),
    ("a bare CR behind the data", b"\r0\r\n\r\n", Refuse(1, ChunkEnd)),
    ("two bytes that are not CRLF", b"XX0\r\n\r\n", Refuse(1, ChunkEnd)),
    ("an empty line before the next size", b"\r\n\r\n0\r\n\r\n", Refuse(1, ChunkSize)),
    ("the last size and a bare LF", b"\r\n0\n\r\n", Refuse(1, ChunkSize)),
    ("the end in a bare LF", b"\r\n0\r\n\n", Refuse(1, Trailer)),
    ("the end in a bare CR", b"\r\n0\r\n\rG", Refuse(1, Trailer)),
    ("a trailer", b"\r\n0\r\nX-A: b\r\n\r\n", Refuse(1, Trailer)),
    ("a key in a trailer", b"\r\n0\r\nAuthorization: Bearer x\r\n\r\n", Refuse(1, Trailer)),
    ("a length in a trailer", b"\r\n0\r\nContent-Length: 5\r\n\r\n", Refuse(1, Trailer)),
    ("an extension of the last chunk", b"\r\n0;a\r\n\r\n", Refuse(1, ChunkExtension)),
    ("a space behind the last size", b"\r\n0 \r\n\r\n", Refuse(1, ChunkSize)),
    ("minus nothing as the last size", b"\r\n-0\r\n\r\n", Refuse(1, ChunkSize)),
    ("no last chunk", b"\r\n", Cut),
    ("no end of the last chunk", b"\r\n0\r\n", Cut),
    ("half an end", b"\r\n0\r\n\r", Cut),
    ("one more CRLF", b"\r\n0\r\n\r\n\r\n", Accept(1)),
    ("a word behind the end", b"\r\n0\r\n\r\nG", Cut),
    ("a line behind the end", b"\r\n0\r\n\r\nx=1\r\n\r\n", Refuse(1, Method)),
];

/// Behind a good request on the same connection.
#[rustfmt::skip]
const BEHIND: &[Row] = &[
    ("a good request behind a good one", b"GET /one/mcp HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\nAccept: text/event-stream\r\n\r\n", Accept(2)),
    ("one CRLF between two requests", b"\r\nGET /one/mcp HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\nAccept: text/event-stream\r\n\r\n", Accept(2)),
    ("two CRLF between two requests", b"\r\n\r\nGET /one/mcp HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\n\r\n", Refuse(1, EmptyLines)),
    ("a request without a host behind a good one", b"GET /one/mcp HTTP/1.1\r\n\r\n", Refuse(1, NoHost)),
    ("a bare LF behind a good one", b"GET /one/mcp HTTP/1.1\nHost: localhost\n\n", Refuse(1, BareLf)),
    ("both framings behind a good one", b"POST /one/mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", Refuse(1, LengthAndCoding)),
    ("HTTP/2 behind a good one", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Refuse(1, Version)),
    ("garbage behind a good one", b"\x16\x03\x01\x00", Refuse(1, Method)),
    ("a head that never ends behind a good one", b"GET /one/mcp HTTP/1.1\r\nHost: localhost\r\n", Cut),
];

#[rustfmt::skip]
const WHOLE: &[Row] = &[
    ("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0", Refuse(0, Version)),
    ("half the preface of HTTP/2", b"PRI * HTT", Cut),
    ("a TLS greeting", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", Refuse(0, Method)),
    ("a greeting of SSH", b"SSH-2.0-OpenSSH_9.9\r\n", Refuse(0, RequestLine)),
    ("a command of Redis", b"*1\r\n$4\r\nPING\r\n", Refuse(0, Method)),
    ("HTTP/0.9", b"GET /one/mcp\r\n", Refuse(0, RequestLine)),
    ("an answer instead of a request", b"HTTP/1.1 200 OK\r\n\r\n", Refuse(0, Method)),
    ("PROXY of a load balancer", b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n", Refuse(0, RequestLine)),
    ("NUL alone", b"\0", Refuse(0, Method)),
    ("nothing", b"", Cut),
    ("one letter", b"P", Cut),
    ("an empty line alone", b"\r\n", Cut),
    ("a request line alone", b"POST /one/mcp HTTP/1.1\r\n", Cut),
    ("a head without its last line", b"GET /one/mcp HTTP/1.1\r\nHost: localhost\r\n", Cut),
    ("a head without its last byte", b"GET /one/mcp HTTP/1.1\r\nHost: localhost\r\n\r", Cut),
    ("HTTP/1.0 without a host", b"GET /one/mcp HTTP/1.0\r\n\r\n", Refuse(0, NoHost)),
    ("HTTP/1.0 with a coding", b"POST /one/mcp HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", Refuse(0, CodingTooEarly)),
    ("HTTP/1.0, kept alive", b"GET /one/mcp HTTP/1.0\r\nHost: localhost\r\nConnection: keep-alive\r\nAuthorization: Bearer {KEY}\r\n\r\n", Accept(1)),
    ("GET", b"GET /one/mcp HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\nAccept: text/event-stream\r\n\r\n", Accept(1)),
    ("GET with a body", b"GET /one/mcp HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\nContent-Length: 5\r\n\r\nGET /", Accept(1)),
    ("GET with chunks", b"GET /one/mcp HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nGET /\r\n0\r\n\r\n", Accept(1)),
    ("DELETE", b"DELETE /one/mcp HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\n\r\n", Accept(1)),
    ("HEAD", b"HEAD /one/mcp HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\n\r\n", Later(405)),
    ("no key", b"GET /one/mcp HTTP/1.1\r\nHost: localhost\r\n\r\n", Later(401)),
    ("no key, and a length past any limit", b"POST /one/mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000000000000\r\n\r\n{", Later(401)),
    ("a page that may not call", b"POST /one/mcp HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\nContent-Length: 2\r\n\r\n{}", Later(403)),
    ("a page that may call, twice", b"POST /one/mcp HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost\r\nOrigin: http://localhost\r\nContent-Length: 2\r\n\r\n{}", Later(403)),
    ("every page", b"POST /one/mcp HTTP/1.1\r\nHost: localhost\r\nOrigin: null\r\nContent-Length: 2\r\n\r\n{}", Later(403)),
];
