//! The head of a backend's answer, and what follows from it alone.
//!
//! Most backends begin every answer on a connection with the same head but for its length, which is then one in memory,
//! as the heads of requests are ([`super::head`]). So what follows from nothing but a head is found out once.

use std::ops::Deref;
use std::sync::OnceLock;

use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::response::Parts;

use super::answer::is_stream;
use crate::mcp::headers::{Passage, to_client};

/// The head of an answer, or of several that say the same. What it says cannot be changed.
pub(crate) struct AnswerHead {
    parts: Parts,
    known: OnceLock<Known>,
}

struct Known {
    is_stream: bool,
    flaw: Option<&'static str>,
    for_client: HeaderMap,
}

impl AnswerHead {
    /// Whether the answer is an event stream: see [`is_stream`].
    pub(super) fn is_stream(&self) -> bool {
        self.known().is_stream
    }

    /// What about its type and coding keeps the answer from being read in one way, and by us.
    pub(super) fn flaw(&self) -> Option<&'static str> {
        self.known().flaw
    }

    /// The headers of it that go on to a client.
    pub(super) fn for_client(&self) -> &HeaderMap {
        &self.known().for_client
    }

    fn known(&self) -> &Known {
        self.known.get_or_init(|| {
            let headers = &self.parts.headers;
            Known {
                is_stream: is_stream(headers),
                flaw: flaw(headers),
                for_client: for_client(headers),
            }
        })
    }
}

impl From<Parts> for AnswerHead {
    fn from(parts: Parts) -> Self {
        Self {
            parts,
            known: OnceLock::new(),
        }
    }
}

impl Deref for AnswerHead {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.parts
    }
}

fn flaw(headers: &HeaderMap) -> Option<&'static str> {
    // Two readers might take different ones, and only one of them an event stream.
    if headers.get_all(CONTENT_TYPE).iter().nth(1).is_some() {
        return Some("the server's answer has two types");
    }
    let mut codings = headers.get_all(CONTENT_ENCODING).iter();
    let is_coded = codings.any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"));
    is_coded.then_some("the server compressed an answer although it was told not to")
}

fn for_client(headers: &HeaderMap) -> HeaderMap {
    let mut passing = HeaderMap::new();
    for (name, value) in headers {
        if to_client(name) == Passage::AsIs {
            passing.append(name, value.clone());
        }
    }
    passing
}
