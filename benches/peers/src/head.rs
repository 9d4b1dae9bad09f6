//! The heads of requests and answers: what of them the bench looks at.

use std::io;

use crate::decoder::{Framing, Head};
use crate::text::number;

const HEADERS: usize = 64;

/// The head of a request, as the origin gets it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Request {
    /// It asks for a stream of events.
    pub stream: bool,
    /// The secret is expected in the body, among the arguments.
    pub in_arguments: bool,
    /// Whose credential the Authorization header carries.
    pub credential: Credential,
    /// The client's key came through.
    pub leaks_key: bool,
    framing: Framing,
}

/// Whose secret it is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Credential {
    /// There is none, or something else in its place.
    #[default]
    None,
    /// One that stands for all users, of a peer that has no more than one.
    Anyone,
    /// That of one user.
    User(u64),
}

impl Credential {
    /// Reads `secret-000017-…` or `secret-anyone`.
    pub fn parse(text: &[u8]) -> Self {
        let Some(owner) = text.strip_prefix(b"secret-") else {
            return Self::None;
        };
        match number(owner) {
            Some(user) => Self::User(user),
            None if owner.starts_with(b"anyone") => Self::Anyone,
            None => Self::None,
        }
    }

    /// Whether a request of that user may carry it.
    pub fn suits(self, user: u64) -> bool {
        self == Self::Anyone || self == Self::User(user)
    }
}

impl Head for Request {
    fn parse(bytes: &[u8]) -> io::Result<Self> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS];
        let mut request = httparse::Request::new(&mut headers);
        request.parse(bytes).map_err(io::Error::other)?;
        let mut head = Self {
            stream: request.method == Some("GET"),
            in_arguments: request
                .path
                .is_some_and(|path| path.ends_with("/arguments")),
            ..Self::default()
        };
        for header in request.headers.iter() {
            if header.name.eq_ignore_ascii_case("authorization") {
                let token = header.value.strip_prefix(b"Bearer ");
                let token = token.unwrap_or_default();
                head.credential = Credential::parse(token);
                head.leaks_key = token.starts_with(b"clk_");
            }
            head.framing.read(header)?;
        }
        Ok(head)
    }

    fn framing(&self) -> Framing {
        self.framing
    }
}

/// The head of an answer, as the load generator gets it.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    framing: Framing,
}

impl Head for Answer {
    fn parse(bytes: &[u8]) -> io::Result<Self> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS];
        let mut answer = httparse::Response::new(&mut headers);
        answer.parse(bytes).map_err(io::Error::other)?;
        let status = answer.code.unwrap_or_default();
        let mut framing = match status {
            100..200 | 204 | 304 => Framing::Length(0),
            _ => Framing::Close,
        };
        for header in answer.headers.iter() {
            framing.read(header)?;
        }
        Ok(Self { status, framing })
    }

    fn framing(&self) -> Framing {
        self.framing
    }
}

impl Framing {
    fn read(&mut self, header: &httparse::Header<'_>) -> io::Result<()> {
        if header.name.eq_ignore_ascii_case("content-length") {
            let length = number(header.value);
            *self = Self::Length(length.ok_or_else(|| io::Error::other("no length"))?);
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            *self = Self::Chunked;
        }
        Ok(())
    }
}
