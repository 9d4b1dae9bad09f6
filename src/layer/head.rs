//! A request's head, and what follows from it alone.
//!
//! Most clients begin every request of a connection with the same head, which is then one in memory
//! ([`crate::proxy`] compares the bytes). So what follows from nothing but a head is found out once for all of them.
//! Whatever depends on more, such as what a key stands for, is asked again for each.

use std::ops::Deref;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use http::request::Parts;
use http::{HeaderName, HeaderValue};

use super::call::check_type;
use super::route::Named;
use crate::gate::Presented;
use crate::mcp::headers::{LAST_EVENT_ID, MCP_SESSION_ID, Metadata, Passage, to_backend};
use crate::mcp::revision::Era;

/// The head of a request, or of several that say the same. What it says cannot be changed. No `Debug`: a key is in it.
pub(crate) struct Head {
    parts: Parts,
    named: OnceLock<Option<Named>>,
    presented: OnceLock<Presented>,
    facts: OnceLock<Facts>,
    for_backend: OnceLock<Box<[(HeaderName, HeaderValue)]>>,
    /// Who let it pass last.
    passed: AtomicU64,
}

/// What is asked of a head once it is known who sent it.
pub(super) struct Facts {
    /// Whether it leaves one way to read a body, which is JSON in UTF-8.
    pub(super) is_json: bool,
    /// The era its version tells.
    pub(super) era: Era,
    /// What is to agree with the body.
    pub(super) metadata: Metadata,
    /// Whether it brings ids that are sealed.
    pub(super) has_ids: bool,
}

impl Head {
    /// What its path names.
    pub(super) fn named(&self) -> Option<&Named> {
        let named = self.named.get_or_init(|| Named::of(self.parts.uri.path()));
        named.as_ref()
    }

    /// The key it carries.
    pub(super) fn presented(&self) -> &Presented {
        let headers = &self.parts.headers;
        self.presented.get_or_init(|| Presented::of(headers))
    }

    /// What is asked of it once it is known who sent it.
    pub(super) fn facts(&self) -> &Facts {
        self.facts.get_or_init(|| {
            let headers = &self.parts.headers;
            Facts {
                is_json: check_type(headers).is_ok(),
                era: Era::of_header(headers),
                metadata: Metadata::of(headers),
                has_ids: headers.contains_key(MCP_SESSION_ID)
                    || headers.contains_key(LAST_EVENT_ID),
            }
        })
    }

    /// The headers of it that go on to a backend, whoever sent it.
    pub(super) fn for_backend(&self) -> &[(HeaderName, HeaderValue)] {
        self.for_backend.get_or_init(|| {
            let all = self.parts.headers.iter();
            let on = all.filter(|(name, _)| to_backend(name) == Passage::AsIs);
            on.map(|(name, value)| (name.clone(), value.clone()))
                .collect()
        })
    }

    /// Whether `judge`, a number of one who always says the same of a head, let it pass already.
    pub(crate) fn was_passed_by(&self, judge: u64) -> bool {
        self.passed.load(Ordering::Relaxed) == judge
    }

    /// It is passed by `judge`, who is not 0.
    pub(crate) fn pass(&self, judge: u64) {
        self.passed.store(judge, Ordering::Relaxed);
    }
}

impl From<Parts> for Head {
    fn from(parts: Parts) -> Self {
        Self {
            parts,
            named: OnceLock::new(),
            presented: OnceLock::new(),
            facts: OnceLock::new(),
            for_backend: OnceLock::new(),
            passed: AtomicU64::new(0),
        }
    }
}

impl Deref for Head {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.parts
    }
}
