//! `[limits]`: what clients may send and have under way, and what backends may answer.

use std::time::Duration;

use super::document::Value;
use super::reader::Section;
use super::{Limits, keys, optional, values};

/// Reads `[limits]`.
pub(super) fn read(root: &Section<'_>) -> Option<Limits> {
    let section = root.section("limits", keys::LIMITS)?;
    let size = |key, min, max| {
        let bytes = section.required(key, |value| values::size(value, min, max))?;
        usize::try_from(bytes).ok()
    };
    let number = |key, max| section.required(key, |value| values::number(value, 1, max));
    let body = size("body", 1 << 10, 1 << 30);
    let in_flight = size("in_flight", 1 << 10, 1 << 40);
    if let (Some(body), Some(in_flight)) = (body, in_flight)
        && in_flight < body
    {
        section.fail(
            "in_flight",
            "must not be less than `body`; raise it or lower `body`",
        );
    }
    let user_in_flight = user_in_flight(&section, body, in_flight);
    let headers = size("headers", 8 << 10, 1 << 20);
    let list = size("list", 64 << 10, 1 << 30);
    let (requests, user_requests) = (
        number("requests", 1_000_000),
        number("user_requests", 1_000_000),
    );
    let (streams, user_streams) = (
        number("streams", 1_000_000),
        number("user_streams", 1_000_000),
    );
    let connections = optional(&section, "connections", |value| {
        values::number(value, 1, 1_000_000)
    });
    let failed_keys = number("failed_keys", 1_000_000);
    let time = |key, max| {
        let min = Duration::from_millis(100);
        section.required(key, |value| values::duration(value, min, max))
    };
    let read_timeout = time("read_timeout", Duration::from_secs(300));
    let idle_timeout = time("idle_timeout", Duration::from_secs(3600));
    let (children, user_children) = (
        number("children", 100_000),
        number("user_children", 100_000),
    );
    let child_sessions = number("child_sessions", 100_000);
    let child_message = size("child_message", 64 << 10, 1 << 30);
    Some(Limits {
        body: body?,
        in_flight: in_flight?,
        user_in_flight: user_in_flight?,
        headers: headers?,
        list: list?,
        requests: requests?,
        user_requests: user_requests?,
        streams: streams?,
        user_streams: user_streams?,
        connections: connections?,
        failed_keys: failed_keys?,
        read_timeout: read_timeout?,
        idle_timeout: idle_timeout?,
        children: children?,
        user_children: user_children?,
        child_sessions: child_sessions?,
        child_message: child_message?,
    })
}

/// An eighth of `in_flight`, and not less than one body, unless it is written.
fn user_in_flight(
    section: &Section<'_>,
    body: Option<usize>,
    in_flight: Option<usize>,
) -> Option<usize> {
    const KEY: &str = "user_in_flight";
    let size = |value: &Value| values::size(value, 1 << 10, 1 << 40);
    let written = optional(section, KEY, size);
    let (body, in_flight) = (body?, in_flight?);
    let Some(written) = written? else {
        return Some((in_flight / 8).max(body));
    };
    let written = usize::try_from(written).ok()?;
    if written < body {
        section.fail(
            KEY,
            "must not be less than `body`; raise it or lower `body`",
        );
    } else if written > in_flight {
        section.fail(KEY, "must not be more than `in_flight`; lower it");
    }
    Some(written)
}
