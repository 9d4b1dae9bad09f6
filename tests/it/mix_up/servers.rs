//! The servers of the crowd: every way a secret takes, and every way an answer comes.

use std::fmt::Write as _;

use crate::support::echo::{Manner, echo, echo_sse};

/// How a server is spoken to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Speech {
    /// 2025-03-26: a call, or a batch of two.
    Plain,
    /// 2026-07-28, with an argument that is mirrored in a header.
    Modern,
    /// HTTP+SSE.
    Streams,
    /// One call at a time, to one who keeps no rule.
    Chaos,
}

/// One server.
pub(super) struct Kind {
    pub(super) name: &'static str,
    pub(super) speech: Speech,
    /// Where it must see a credential in every call.
    pub(super) places: &'static [&'static str],
    /// Whether its tool `drop` wants a secret that only some users have.
    pub(super) drops: bool,
}

const fn kind(
    name: &'static str,
    speech: Speech,
    places: &'static [&'static str],
    drops: bool,
) -> Kind {
    Kind {
        name,
        speech,
        places,
        drops,
    }
}

pub(super) const SERVERS: [Kind; 8] = [
    kind("json", Speech::Plain, &["header", "connection"], false),
    kind("events", Speech::Plain, &["header", "connection"], false),
    kind("moody", Speech::Plain, &["header", "connection"], false),
    kind("chaos", Speech::Chaos, &["header", "connection"], false),
    kind("argument", Speech::Plain, &["argument", "connection"], true),
    kind("query", Speech::Plain, &["query", "connection"], false),
    kind(
        "modern",
        Speech::Modern,
        &["header", "argument", "mirrored", "view", "connection"],
        false,
    ),
    kind(
        "streams",
        Speech::Streams,
        &["header", "query", "argument", "stream", "connection"],
        true,
    ),
];

/// Profiles of every user at every server.
pub(super) const PROFILES: [&str; 2] = ["default", "work"];

const HEADER: &str = "headers.Authorization = \"Bearer ${TOKEN}\"";
const QUERY: &str = "query.token = \"${TOKEN}\"";
const ARGUMENT: &str = "arguments.token = \"${TOKEN}\"";
const DROP: &str = "arguments.admin = { value = \"${ADMIN}\", tools = [\"drop\"] }";

/// Starts all but the chaotic one, which is at `chaos`; their tables of the configuration.
pub(super) async fn start(chaos: &str) -> String {
    let mut tables = String::new();
    for Kind { name, .. } in SERVERS {
        let url = match name {
            "json" => echo(Manner::Json).await,
            "events" => echo(Manner::Events).await,
            "chaos" => chaos.to_owned(),
            "streams" => echo_sse().await,
            _ => echo(Manner::Moody).await,
        };
        let (key, slots): (_, &[&str]) = match name {
            "argument" => ("url", &[ARGUMENT, DROP]),
            "query" => ("url", &[QUERY]),
            "modern" => ("url", &[HEADER, ARGUMENT]),
            "streams" => ("sse_url", &[HEADER, QUERY, ARGUMENT, DROP]),
            _ => ("url", &[HEADER]),
        };
        let slots = slots.join("\n");
        writeln!(tables, "[servers.{name}]\n{key} = \"{url}\"\n{slots}").unwrap();
    }
    tables
}
