//! Cloakroom lets many people use MCP servers that were written for one person.
//!
//! A client sends `Authorization: Bearer clk_…`. Cloakroom finds out whose key it is, unseals that
//! person's secrets for the server being called, puts them where that unmodified server expects
//! them, and streams the exchange through. The ticket buys you your own coat, nobody else's.
//!
//! # The way of one request
//!
//! ```text
//! proxy::listener   accepts within proxy::places (a Unix socket asks who connects), hands the connection
//!                   to the core that serves fewest
//! proxy::connection header of the PROXY protocol, TLS, then HTTP/1.1 or HTTP/2
//! proxy::strict     below whatever reads HTTP/1.1: bytes with one reading only; deadlines
//! proxy::http1      what is usual is read and written here, on one task with the backend's connection;
//!                   what is not goes over to hyper
//! proxy::visitor    whom the request comes from; wrong keys are slowed
//! proxy::account    counted until its answer ends; a span and a line in the log, where wanted
//! proxy::guard      in good form in any version; one Host, allowed; Origin, if any, allowed
//! proxy::cors       a browser's question before a page's call is answered here
//! proxy::tool_call  a tool called with plain JSON: a session of our own through the layer, in process
//! layer             which server is asked for, in which profile, by which transport
//! gate              key -> checksum, digest (no I/O) -> resolve -> policy: does the key stand? may its user
//!                   use the server?
//! layer::budget     the user's share: too many requests under way wait in line, before the body
//! layer             body read whole, within the budget -> mcp::scan: judged whole or refused
//!                   session and event ids opened; headers that mirror the body agree with it
//! gate              its cost taken from the bounds of user and key (limits); the tools allowed? secrets
//!                   unsealed, the user's own and those of groups -> inject: the plan (data, not mutation)
//! layer             arguments spliced into the body, task ids opened, no other byte touched;
//!                   the allow-list of headers, then the plan, nothing else of the client's
//! audit             what is about to be forwarded, recorded
//! proxy::forward    which replica of the backend: the session's, or the user's place on the ring;
//!                   a connection to it of this user, server and profile alone
//! stdio             or, where the server is started: a child process of this user, profile and session
//! layer             the answer as it comes: allow-list of headers; mcp::answer: arguments and tools hidden,
//!                   session, event and task ids and message paths sealed;
//!                   an open stream ends when its key no longer stands
//! proxy::flood      the answer to a wrong key comes late, if its address sent many
//! ```
//!
//! Whatever goes wrong on the way is one [`rejection::Rejection`]; the table there is the only place
//! that decides status, code and text.
//!
//! # The house
//!
//! Core, which knows no sockets, no configuration and no command line:
//!
//! | module | what it does |
//! |---|---|
//! | [`names`] | names of servers, users, groups, profiles, secrets as checked types, patterns of them; a leaf |
//! | [`identity`] | keys as they are presented: shape, checksum, digest |
//! | [`vault`] | keyring, blob format, secret types; the one write path |
//! | [`moving`] | files of other systems and installations -> users, keys and secrets to be |
//! | [`store`] | sealed records by id: SQLite, Redis, memory; copies and backups of them |
//! | [`resolve`] | a key's digest -> whose it is; the cache, and when it may be trusted |
//! | [`policy`] | which requests a known key may make: access lists, who may act for whom |
//! | [`limits`] | rates and quotas over all replicas, leased from the store in slices |
//! | [`audit`] | who did what: a chain of records that shows what was changed or cut off |
//! | [`usage`] | what users used, counted here and told to the store now and then |
//! | [`inject`] | slots, templates, the plan for one request |
//! | [`mcp`] | scanning bodies, splicing, headers, following answers, sealed ids |
//! | [`rejection`] | the one error a client sees |
//! | [`gate`] | the one read path: authenticate, admit |
//!
//! Edges: [`layer`] (a tower Layer around any service), [`proxy`] (the listener and the service that
//! reaches backends; `cloakroom serve` is the layer around it), [`stdio`] (servers that run as a child
//! process of each user), [`connect`] (the other way round: a server over stdio for clients without HTTP),
//! [`dial`] (opens connections for it and for [`probe`], which asks a URL once), [`tls`] (of these, the
//! proxy's and the store's connections, and the listener's certificate), [`launch`] (child processes,
//! contained, none of which outlives us), [`packages`] (what `npx` and `uvx` would start), [`admin`] (users,
//! groups, keys and secrets over HTTP, on a listener of its own beside the clients'), [`cli`], [`demo`],
//! [`run`] (a stdio server without a configuration), [`config`], [`telemetry`], [`sys`]; [`serve`] wires all,
//! reads the configuration again when it changes, and drains before it ends.
//! `tests/architecture.rs` holds who may use whom.
//!
//! # Invariants, mostly of what is absent
//!
//! 1. No request carries another user's secret and no answer reaches another user: pools, caches,
//!    sessions and all other ids are keyed by user *and* server *and* profile, in full, never by a hash
//!    of it. A backend connection never serves a second user, not even later.
//! 2. Nothing but the key a request carries authenticates it. A session id authenticates nobody.
//! 3. Nothing of a client's request reaches a backend but an allow-list of headers and a body that
//!    was read and judged whole; nothing of a backend's answer reaches a client but an allow-list.
//! 4. Secret types have no `Debug`, `Display`, `Serialize` or `Clone`; they are zeroed on drop and
//!    read by methods named `expose_…`. The cache holds sealed records. Honestly: header values,
//!    buffers of HTTP and TLS, the kernel and the backend hold copies that nobody zeroes.
//! 5. A [`gate::Grant`] is made by the gate alone, and the layer sends nothing without one.
//! 6. Errors deny. A secret that is missing or does not open stops its request, never falls back.
//! 7. On the path of a cached key there is no I/O but the two sockets, no second parse, and no lock
//!    that all cores take for longer than a look-up.
//! 8. `store` knows no users, keys or ciphers; `vault::crypto` alone calls ciphers; only `store`
//!    knows Redis and SQLite; only `config` knows TOML, and the
//!    environment but for what `cli` reads of a keyring (the variable that `keyring.env` names, and
//!    `CREDENTIALS_DIRECTORY`), the key `connect` is given (`CLOAKROOM_KEY`), what says where `run` keeps its
//!    folder and what npm, uv and pip get, and what the OTLP library reads of its own (headers).
//!
//! # Where this differs from the written design
//!
//! - Which of a backend's replicas serves a user is decided by a ring that every process has the same, and
//!   which one holds a session is sealed into its id, so that nothing is kept of either. Which replicas are
//!   down each process finds out for itself, and anew after a change of configuration.
//! - The keyring has a sixth kind, `index`: the HMAC key that turns names into record ids. Were it
//!   derived from a realm key, rotating that key would lose every record.
//! - A `server` key of scope `*` is a root from which each server's key is derived, so that an
//!   export for one server opens no other even when no keys were made per server.
//! - Blobs bind the wrap kind too, so that a blob cannot be relabelled once a second one exists.
//! - `vault` uses `identity` (it issues keys) and `sys` (the time, which is asked once for each turn of a connection),
//!   and `names` is a module of its own that all share.
//! - Ciphers come from aws-lc, which TLS brings anyway: one library, one set of advisories. Only what links the
//!   records of the audit trail, HMAC-SHA-256, is the `hmac` crate's where the processor hashes (`vault::crypto`):
//!   a state of it is copied in a fifth of the time.
//! - A task id that is not its sender's is not refused here: the backend gets an id that is nobody's in
//!   its place and answers in its own words, after whatever it checks first (the conformance suite
//!   tells the difference). Task ids are tagged and not encrypted, for clients compare them.
//! - `discovery = "omit"` also lets requests without a body go (GET, DELETE): they open and end what
//!   carries notifications, and over HTTP+SSE everything.
//! - A refused message of HTTP+SSE is answered on the stream its sender listens to, if this process
//!   holds the stream: a client would wait for ever otherwise. The list of open streams is the one
//!   thing a process knows that another replica does not.
//! - HTTP/1.1 is narrower than RFC 9112 allows a server to be: no chunk extensions, no trailer fields in
//!   requests, no text outside ASCII, no `OPTIONS *`; [`proxy::strict`] has the list. A name with `_`
//!   passes after `Mcp-Param-` only, where MCP 2026-07-28 lets a server choose it.
//! - An answer of JSON has a Content-Length only where all of it is there at once: what is hidden or sealed in
//!   it changes its length, and it is not held back to be measured.
//! - HTTP/1.1 is read and written by code of our own where it is usual ([`proxy`] says why), and a user has up
//!   to 16 idle connections to a backend on each core, not one: agents call several tools at a time, and
//!   would open a connection for nearly each.
//! - A record's version is the clock's microseconds, forced upward, so that a record deleted and
//!   made again never takes a version it had before.
//! - A Redis key carries its shard (the first two characters of the id) as hash tag, so that a
//!   record and its index lie in one Cluster slot and one script changes both.
//! - The store speaks to a Cluster by connections of its own, not by the crate's cluster client:
//!   `store::redis::cluster` says why.
//! - A majority of the Sentinels named in the URL must answer, or the store counts as out of reach: fewer
//!   may be cut off together with a master that was deposed, and which knows of no revocation since.
//! - HTTP/2 is spoken over TLS only, where both sides agreed on it: a proxy in front that takes what it
//!   passes on for HTTP/1.1 would not see the requests in it (h2c smuggling).
//! - A Unix socket's file has mode 0666 when others than our own user may connect: they are asked for their
//!   uid, which a mode cannot name. For our own user alone it is 0600.
//! - A server behind a Unix socket runs as our own user or root unless `socket_uid` says otherwise: whoever
//!   can put a file there could otherwise collect secrets.
//! - Servers that are started are a module of their own, `stdio`, and not part of `proxy`: to the layer they look like
//!   any backend, and no HTTP library is needed for them. `launch` starts their processes.
//! - All children hang on one supervisor process, and not each on a launcher of its own: a child costs no
//!   process of ours, and everything below it is found when it ends.
//! - The mask of a child's standard error holds fingerprints: it lives as long as the child, and a secret is
//!   plaintext only while the request that needs it is being built.
//! - A tool call with plain JSON costs one request, which its first request to the server pays: who has
//!   nothing left makes no session begin. The trail has the call alone.
//! - A Redis that does not report changes is no reason not to start: it is read again every two seconds.

pub mod admin;
pub mod audit;
pub mod cli;
pub mod config;
pub mod connect;
pub mod demo;
pub mod dial;
pub mod gate;
pub mod identity;
pub mod inject;
pub mod launch;
pub mod layer;
pub mod limits;
pub mod mcp;
pub mod moving;
pub mod names;
pub mod packages;
pub mod policy;
pub mod probe;
pub mod proxy;
pub mod rejection;
pub mod resolve;
pub mod run;
pub mod serve;
pub mod stdio;
pub mod store;
pub mod sys;
pub mod telemetry;
pub mod tls;
pub mod usage;
pub mod vault;

// The bodies name this package as their other users do.
#[cfg(test)]
extern crate self as cloakroom;

#[cfg(test)]
#[path = "../fuzz/smoke.rs"]
mod fuzz_smoke;
