//! What is wrong with the bytes of a request, in words for whoever wrote the client.

use crate::rejection::{Kind, Rejection};

/// Why a connection's bytes are refused. Says nothing of what they were.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It begins with something else than a capital letter.
    #[error("a request begins with a method in capital letters (does the client speak TLS here?)")]
    Method,
    /// More than one empty line before it.
    #[error("there are empty lines before the request")]
    EmptyLines,
    /// Not three words with one space between them.
    #[error("the first line is not `METHOD TARGET HTTP/1.1`")]
    RequestLine,
    /// HTTP/2 and later, or earlier than 1.0.
    #[error("the version is neither HTTP/1.1 nor HTTP/1.0")]
    Version,
    /// CONNECT, `*`, or no path.
    #[error("the target is neither an absolute path nor an http(s) URL with one")]
    TargetForm,
    /// A character no target has.
    #[error("the target holds a character that must be percent-encoded")]
    TargetCharacter,
    /// LF without CR.
    #[error("a line ends in a bare LF; lines end in CRLF")]
    BareLf,
    /// CR without LF, NUL, or any other control character but a tab in a value.
    #[error("there is a control character in the head")]
    Control,
    /// A byte above 127.
    #[error("there is a character outside ASCII in the head")]
    NotAscii,
    /// A line that begins with white space.
    #[error("a header is continued on a second line")]
    Folded,
    /// White space between a name and its colon.
    #[error("there is white space before the colon of a header")]
    SpaceBeforeColon,
    /// No name, no colon, or a character no name has.
    #[error(
        "a header's name is empty, has no colon after it or holds a character no name may have"
    )]
    FieldName,
    /// `_` in a name.
    #[error("a header's name has an underscore")]
    Underscore,
    /// More than [`FIELDS`](super::head::FIELDS).
    #[error("there are more than 100 headers")]
    TooManyFields,
    /// Larger than the limit.
    #[error("the request line and headers are larger than the operator's `limits.headers`")]
    HeadTooLarge,
    /// No Host.
    #[error("there is no Host header")]
    NoHost,
    /// Two of them.
    #[error("there is more than one Host header")]
    SecondHost,
    /// No host and port.
    #[error("the Host header is not a host, with or without a port")]
    HostInvalid,
    /// Two of them, alike or not.
    #[error("there is more than one Content-Length header")]
    SecondLength,
    /// Not a number in plain digits.
    #[error("Content-Length is not a number in plain digits")]
    LengthInvalid,
    /// Anything but `chunked`, once.
    #[error("Transfer-Encoding is something else than `chunked`, once")]
    Coding,
    /// Both framings.
    #[error("there are both Content-Length and Transfer-Encoding")]
    LengthAndCoding,
    /// HTTP/1.0 knows none.
    #[error("Transfer-Encoding does not exist in HTTP/1.0")]
    CodingTooEarly,
    /// Anything but `100-continue`, once.
    #[error("Expect is something else than `100-continue`, once")]
    Expectation,
    /// Not 1 to 16 hexadecimal digits and CRLF.
    #[error("a chunk's size is not 1 to 16 hexadecimal digits and CRLF")]
    ChunkSize,
    /// `;` after a size.
    #[error("a chunk has an extension")]
    ChunkExtension,
    /// No CRLF after its data.
    #[error("a chunk does not end in CRLF where its size says")]
    ChunkEnd,
    /// A field after the last chunk.
    #[error("there are trailer fields after the body")]
    Trailer,
}

impl Fault {
    /// What is answered.
    pub(super) fn rejection(self) -> Rejection {
        match self {
            Self::HeadTooLarge | Self::TooManyFields => {
                Rejection::with_text(Kind::HeadTooLarge, self.to_string())
            }
            _ => Rejection::with_text(
                Kind::MalformedRequest,
                format!("this is not HTTP as it is accepted here: {self}"),
            ),
        }
    }
}
