//! Why a body was refused.

use std::fmt;

/// Why a body was refused, and at which byte. Never holds or shows anything the client wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScanError {
    kind: ScanErrorKind,
    /// 32 bits, so that a result of the scanner's inner loops fits a register.
    at: u32,
}

/// The reasons for a [`ScanError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ScanErrorKind {
    /// Larger than a scan can address ([`MAX_BODY`](super::MAX_BODY)).
    TooLarge,
    /// Arrays and objects nested deeper than [`MAX_DEPTH`](super::MAX_DEPTH).
    TooDeep,
    /// A batch of more than [`MAX_BATCH`](super::MAX_BATCH) messages.
    TooMany,
    /// An object has a key twice, escapes decoded.
    DuplicateKey,
    /// A key that is a protocol field but for the case of its letters.
    MiscasedKey,
    /// Not valid UTF-8 (RFC 8259 section 8.1).
    NotUtf8,
    /// A `\u` escape that is half of a surrogate pair (RFC 8259 section 8.2).
    LoneSurrogate,
    /// Not one JSON text as RFC 8259 writes it: bad grammar, a byte order mark, trailing data.
    NotJson,
    /// JSON, but not a JSON-RPC 2.0 message as MCP has them.
    NotAMessage,
}

impl ScanError {
    pub(super) fn new(kind: ScanErrorKind, at: usize) -> Self {
        // No body is scanned past MAX_BODY, 2^30.
        Self {
            kind,
            at: at as u32,
        }
    }

    /// What is wrong.
    #[must_use]
    pub fn kind(&self) -> ScanErrorKind {
        self.kind
    }

    /// The byte of the body where it was noticed, counted from 0. At most the length of the body.
    #[must_use]
    pub fn at(&self) -> usize {
        self.at as usize
    }

    /// Whether JSON-RPC calls this a parse error (-32700) rather than an invalid request (-32600).
    #[must_use]
    pub fn is_parse_error(&self) -> bool {
        matches!(
            self.kind,
            ScanErrorKind::NotUtf8 | ScanErrorKind::NotJson | ScanErrorKind::LoneSurrogate
        )
    }
}

impl fmt::Display for ScanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            ScanErrorKind::TooLarge => "the body is larger than 1 GiB",
            ScanErrorKind::TooDeep => "arrays and objects are nested deeper than 64 levels",
            ScanErrorKind::TooMany => "the batch has more than 1024 messages",
            ScanErrorKind::DuplicateKey => "an object has the same key twice",
            ScanErrorKind::MiscasedKey => {
                "a key differs from a protocol field only in upper and lower case"
            }
            ScanErrorKind::NotUtf8 => "the body is not valid UTF-8",
            ScanErrorKind::LoneSurrogate => "a \\u escape is half of a surrogate pair",
            ScanErrorKind::NotJson => "the body is not valid JSON",
            ScanErrorKind::NotAMessage => {
                "not a JSON-RPC 2.0 message: \"jsonrpc\" must be \"2.0\", with a \"method\" (and an \
                 \"id\" that is not null, if it is a request), or an \"id\" and one of \"result\" \
                 and \"error\"; \"params\" must be an object"
            }
        };
        write!(f, "{what} (byte {})", self.at)
    }
}

impl std::error::Error for ScanError {}
