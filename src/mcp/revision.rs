//! Protocol revisions, and which era a request belongs to.

use std::fmt;

use http::HeaderMap;

use super::headers::MCP_PROTOCOL_VERSION;
use super::scan::Message;

/// A revision of MCP: a date, ordered by it. Dates of revisions we do not know are revisions too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(u32);

impl Revision {
    /// HTTP+SSE.
    pub const V2024_11_05: Self = Self::on(2024, 11, 5);
    /// Streamable HTTP, sessions, batches.
    pub const V2025_03_26: Self = Self::on(2025, 3, 26);
    /// No batches; the `MCP-Protocol-Version` header.
    pub const V2025_06_18: Self = Self::on(2025, 6, 18);
    /// Polling by `Last-Event-ID`, URL elicitation.
    pub const V2025_11_25: Self = Self::on(2025, 11, 25);
    /// No sessions: every request says everything about itself.
    pub const V2026_07_28: Self = Self::on(2026, 7, 28);

    const fn on(year: u32, month: u32, day: u32) -> Self {
        Self(year * 10_000 + month * 100 + day)
    }

    /// Reads `YYYY-MM-DD`; anything else is not a revision.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        if bytes.len() != 10 || bytes[4] != b'-' || bytes[7] != b'-' {
            return None;
        }
        let digits = bytes
            .iter()
            .enumerate()
            .filter(|(at, _)| !matches!(at, 4 | 7));
        let mut date = 0;
        for (_, b) in digits {
            date = date * 10 + char::from(*b).to_digit(10)?;
        }
        let (month, day) = (date / 100 % 100, date % 100);
        ((1..=12).contains(&month) && (1..=31).contains(&day)).then_some(Self(date))
    }

    /// Whether it is one of the revisions this proxy was written for.
    #[must_use]
    pub fn is_known(self) -> bool {
        self == Self::V2026_07_28 || self.is_known_legacy()
    }

    fn is_known_legacy(self) -> bool {
        [
            Self::V2024_11_05,
            Self::V2025_03_26,
            Self::V2025_06_18,
            Self::V2025_11_25,
        ]
        .contains(&self)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(date) = self;
        write!(
            f,
            "{:04}-{:02}-{:02}",
            date / 10_000,
            date / 100 % 100,
            date % 100
        )
    }
}

/// How a request tells who it is (MCP 2026-07-28, basic/versioning "Terminology").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Era {
    /// 2025-11-25 and before: an `initialize` handshake, sessions.
    Legacy,
    /// 2026-07-28 and after: metadata on every request, no sessions.
    Modern,
}

impl Era {
    /// Its name in logs and traces.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Legacy => "legacy",
            Self::Modern => "modern",
        }
    }

    /// The era of one request.
    ///
    /// A version in the request's `_meta` decides, since a server of both eras goes by it
    /// (MCP 2026-07-28, basic/versioning "Backward Compatibility"); any version there is modern,
    /// also one nobody knows, unless it is a legacy revision's. Without one the
    /// `MCP-Protocol-Version` header decides, and without that the request is legacy. The method
    /// and the parameters of `initialize` say nothing: rmcp 3.9 sends an `initialize` that asks
    /// for 2026-07-28 and speaks 2025-11-25.
    ///
    /// Where the two contradict each other, what checks the headers ([`super::headers`]) has
    /// refused the request before.
    #[must_use]
    pub fn of(headers: &HeaderMap, message: &Message<'_>) -> Self {
        Self::of_header(headers).of_message(message)
    }

    /// The era of one request, of whose headers it is this.
    #[must_use]
    pub fn of_message(self, message: &Message<'_>) -> Self {
        match message.protocol_version.as_deref() {
            None => self,
            Some(version) if Revision::parse(version).is_some_and(Revision::is_known_legacy) => {
                Self::Legacy
            }
            Some(_) => Self::Modern,
        }
    }

    /// The era of a request without a body.
    #[must_use]
    pub fn of_header(headers: &HeaderMap) -> Self {
        let revision = headers
            .get(MCP_PROTOCOL_VERSION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| Revision::parse(value.trim_matches([' ', '\t'])));
        match revision {
            Some(revision) if revision >= Revision::V2026_07_28 => Self::Modern,
            _ => Self::Legacy,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mcp::scan::{Body, scan};

    #[test]
    fn revisions_are_dates_in_order() {
        let text = [
            "2024-11-05",
            "2025-03-26",
            "2025-06-18",
            "2025-11-25",
            "2026-07-28",
        ];
        let parsed: Vec<_> = text.iter().filter_map(|t| Revision::parse(t)).collect();
        assert!(parsed.len() == 5 && parsed.is_sorted() && parsed.iter().all(|r| r.is_known()));
        assert_eq!(
            parsed.iter().map(Revision::to_string).collect::<Vec<_>>(),
            text
        );
        let later = Revision::parse("2027-01-31").unwrap();
        assert!(later > Revision::V2026_07_28 && !later.is_known());
        for bad in [
            "",
            "2026-7-28",
            "2026-07-28 ",
            "DRAFT-2026-v1",
            "2026-13-01",
            "2026-07-00",
        ] {
            assert_eq!(Revision::parse(bad), None, "{bad}");
        }
        assert_eq!(Revision::parse("2026+07-28"), None);
        assert_eq!(Revision::parse("２０２6-1"), None);
    }

    #[test]
    fn the_era_is_told_by_meta_then_header_and_by_nothing_else() {
        let initialize = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2026-07-28"}}"#;
        let list = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
        let meta = |version: &str| {
            format!(
                r#"{{"jsonrpc":"2.0","id":1,"method":"initialize","params":{{"_meta":{{"io.modelcontextprotocol/protocolVersion":"{version}"}}}}}}"#
            )
        };
        for (body, header, era) in [
            (initialize.to_owned(), None, Era::Legacy),
            (list.to_owned(), Some("2025-11-25"), Era::Legacy),
            (list.to_owned(), Some("nonsense"), Era::Legacy),
            (list.to_owned(), Some("2026-07-28"), Era::Modern),
            (list.to_owned(), Some(" 2027-01-01\t"), Era::Modern),
            (meta("2026-07-28"), None, Era::Modern),
            (meta("1900-01-01"), None, Era::Modern),
            (meta("2025-11-25"), None, Era::Legacy),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(header) = header {
                headers.insert(MCP_PROTOCOL_VERSION, header.parse().unwrap());
            }
            let Body::One(message) = scan(body.as_bytes()).unwrap() else {
                panic!()
            };
            assert_eq!(Era::of(&headers, &message), era, "{body} {header:?}");
        }
    }
}
