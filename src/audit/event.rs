//! What is recorded: requests, and what administrators do.
//!
//! Names, ids, versions and counts only. No type here holds, or can be made from, a secret or a key.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use super::act::Act;
use super::line::MARK;
use crate::identity::KeyId;
use crate::names::{ProfileName, SecretName, ServerName};
use crate::vault::UserId;

/// Bytes kept of a text somebody chose.
const TEXT_MAX: usize = 256;
/// Methods and tools listed of one request.
const LISTED: usize = 32;
/// Bytes an administrative act may tell of itself.
const DETAIL_MAX: usize = 8 << 10;

/// One thing to be recorded.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event<'a> {
    /// A request that is about to be forwarded.
    Start(Start<'a>),
    /// What became of it.
    End(End),
    /// What an administrator did.
    Admin(Admin),
}

/// A request that is about to be forwarded.
#[derive(Debug, Clone, Serialize)]
pub struct Start<'a> {
    /// Its number, from [`super::Trail::next_request`]; that of its end is the same.
    pub request: u64,
    /// Whose key it carries.
    pub user: Text<'a>,
    /// The same for good: a name may be somebody else's later.
    #[serde(serialize_with = "shown")]
    pub user_id: UserId,
    /// Who called, where that was somebody who may act for the user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<Text<'a>>,
    /// The key; none for a default user.
    #[serde(serialize_with = "named_if_any")]
    pub key: Option<KeyId>,
    /// The server it is for.
    #[serde(serialize_with = "named")]
    pub server: &'a ServerName,
    /// Whose set of secrets is used.
    #[serde(serialize_with = "named")]
    pub profile: &'a ProfileName,
    /// What it asks of the server.
    #[serde(flatten)]
    pub called: Called<'a>,
    /// The secrets that were put into it.
    pub secrets: Vec<SecretUsed>,
    /// Where it came from, if that is known.
    pub address: Option<IpAddr>,
    /// What the client calls itself.
    pub client: Option<Text<'a>>,
}

/// What a request asks of a server: methods and tools, of a batch all of them, as far as there is room.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Called<'a> {
    pub(super) methods: Vec<&'static str>,
    pub(super) tools: Vec<Text<'a>>,
    /// How many more there were.
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) unlisted: usize,
}

impl<'a> Called<'a> {
    /// The first 32 of each are listed, and the others counted.
    #[must_use]
    pub fn new(mut methods: Vec<&'static str>, tools: &[&'a str]) -> Self {
        let unlisted = |all: usize| all.saturating_sub(LISTED);
        let unlisted = unlisted(methods.len()) + unlisted(tools.len());
        methods.truncate(LISTED);
        let tools = tools.iter().take(LISTED).map(|tool| Text::from(*tool));
        Self {
            methods,
            tools: tools.collect(),
            unlisted,
        }
    }
}

/// A secret that was put into a request; never its value.
#[derive(Debug, Clone, Serialize)]
pub struct SecretUsed {
    /// Its name.
    #[serde(serialize_with = "named")]
    pub name: SecretName,
    /// The version of the set it is in.
    pub version: u64,
    /// Whose it is.
    pub from: Owner,
}

/// Whose a secret is.
#[derive(Debug, Clone)]
pub enum Owner {
    /// The user's own.
    User,
    /// Shared by the group of this name.
    Group(Text<'static>),
}

impl Serialize for Owner {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::User => to.serialize_str("user"),
            Self::Group(name) => to.collect_str(&format_args!("group:{name}")),
        }
    }
}

/// What became of a request.
#[derive(Debug, Clone, Serialize)]
pub struct End {
    /// That of its start.
    pub request: u64,
    /// The status its client was sent; none when there was nobody to send it to.
    pub status: Option<u16>,
    /// Why it was refused, if it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rejection: Option<&'static str>,
    /// Bytes of the answer's body that were passed on.
    pub bytes_out: u64,
    /// From its start to its end, in microseconds.
    pub duration_us: u64,
    /// Whether the answer was passed on to its last byte.
    pub complete: bool,
}

/// What an administrator does: recorded when it begins, and when it ended.
#[derive(Debug, Clone, Serialize)]
pub struct Admin {
    /// Its number, from [`super::Trail::next_request`]; both records have the same.
    pub request: u64,
    /// Who.
    pub actor: Actor,
    /// What: `user.add`, `key.issue`, …
    pub act: Act,
    /// To whom or what.
    pub target: Text<'static>,
    /// What else is to be known of it; nothing that is secret.
    pub detail: Detail,
    /// Whether it lets the actor, or whom he gives it, pass for somebody else.
    pub impersonation: bool,
    /// What came of it.
    pub outcome: Outcome,
    /// Where it came from, if it came over the network.
    pub address: Option<IpAddr>,
}

/// Who did something.
#[derive(Debug, Clone, Serialize)]
pub struct Actor {
    /// By which way.
    pub kind: ActorKind,
    /// The name of the admin key, or of the user of this machine.
    pub name: Text<'static>,
    /// The key's role.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<&'static str>,
    /// The admin key.
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "named_if_any"
    )]
    pub key: Option<KeyId>,
}

/// By which way something was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum ActorKind {
    /// Over the admin API.
    #[serde(rename = "admin key")]
    AdminKey,
    /// By a command on the machine.
    #[serde(rename = "command line")]
    CommandLine,
}

/// What came of an administrative act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// None yet: it begins.
    Begun,
    /// It was done.
    Done,
    /// The actor may not, or it made no sense.
    Refused,
    /// It should have been done, and was not, or not for certain.
    Failed,
}

/// A text somebody chose, cut to 256 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text<'a>(Cow<'a, str>);

impl Text<'_> {
    /// What is left of it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0)
    }
}

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Self {
        const CUT: &str = "…";
        if text.len() <= TEXT_MAX {
            return Self(Cow::Borrowed(text));
        }
        let mut end = TEXT_MAX - CUT.len();
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        Self(Cow::Owned(format!("{}{CUT}", &text[..end])))
    }
}

impl From<String> for Text<'static> {
    fn from(text: String) -> Self {
        if text.len() <= TEXT_MAX {
            return Self(Cow::Owned(text));
        }
        let Text(cut) = text.as_str().into();
        Self(Cow::Owned(cut.into_owned()))
    }
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Facts of an administrative act, 8 KiB of JSON at most; of what is longer the beginning, and how much more
/// there was.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Detail(Value);

impl From<Value> for Detail {
    fn from(facts: Value) -> Self {
        let whole = facts.to_string();
        if whole.len() <= DETAIL_MAX {
            // What begins a record begins nothing else, so that a line in which two were joined can be parted.
            return Self(if whole.contains(MARK) {
                Value::String(whole)
            } else {
                facts
            });
        }
        let fewer = std::iter::successors(Some(LISTED), |most| (*most > 1).then_some(most / 2));
        let mut short = fewer.map(|most| shortened(&facts, most));
        let short = short.find(|short| {
            let text = short.to_string();
            text.len() <= DETAIL_MAX && !text.contains(MARK)
        });
        Self(short.unwrap_or_else(|| json!({ "left_out": whole.len() })))
    }
}

/// Facts with the first `most` entries of each list, the others counted under `unlisted`, and with texts cut.
fn shortened(facts: &Value, most: usize) -> Value {
    let Value::Object(facts) = facts else {
        return facts.clone();
    };
    let (mut short, mut unlisted) = (Map::new(), Map::new());
    for (name, fact) in facts {
        let fact = match fact {
            Value::Array(list) if list.len() > most => {
                unlisted.insert(name.clone(), (list.len() - most).into());
                list[..most].into()
            }
            Value::String(text) => json!(Text::from(text.as_str())),
            fact => fact.clone(),
        };
        short.insert(name.clone(), fact);
    }
    short.insert("unlisted".to_owned(), Value::Object(unlisted));
    Value::Object(short)
}

fn shown<T: fmt::Display, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(value)
}

fn named<T: AsRef<str>, S: Serializer>(name: &T, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(name.as_ref())
}

fn named_if_any<T: AsRef<str>, S: Serializer>(name: &Option<T>, to: S) -> Result<S::Ok, S::Error> {
    match name {
        Some(name) => named(name, to),
        None => to.serialize_none(),
    }
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    // Fails when a list or a text is as long as its sender likes.
    #[test]
    fn what_a_client_chose_is_bounded() {
        let long = "ä".repeat(5000);
        let text = Text::from(&*long);
        assert!(text.0.len() <= TEXT_MAX && text.0.ends_with('…'));
        assert_eq!(Text::from("x".repeat(256)).as_str(), "x".repeat(256));
        let many = Called::new(vec!["tools/call"; 40], &["t"]);
        let json = serde_json::to_value(&many).unwrap();
        assert_eq!(json["methods"].as_array().unwrap().len(), 32);
        assert_eq!(
            (&json["tools"], &json["unlisted"]),
            (&json!(["t"]), &json!(8))
        );
        let nested = json!({ "note": { "text": "x".repeat(9000) } });
        assert_eq!(Detail::from(nested).0, json!({ "left_out": 9020 }));
    }

    // Fails when all of a long list is left out, or nobody says how much of it is.
    #[test]
    fn of_long_lists_the_first_are_kept_and_the_others_counted() {
        let users: Vec<_> = (0..2000).map(|n| format!("user-{n:04}")).collect();
        let detail = Detail::from(json!({ "users": users, "note": "x".repeat(9000) })).0;
        assert_eq!(detail["users"], json!(users[..32]));
        assert_eq!(detail["unlisted"], json!({ "users": 1968 }));
        assert_eq!(detail["note"].as_str().unwrap().len(), TEXT_MAX);
        // Fewer of what is longer.
        let pattern = "p".repeat(250);
        let lists = ["a", "b", "c", "d"].map(|name| (name, vec![&pattern; 256]));
        let facts: Map<_, _> = lists
            .map(|(name, list)| (name.to_owned(), json!(list)))
            .into_iter()
            .collect();
        let detail = Detail::from(Value::Object(facts)).0;
        assert!(detail.to_string().len() <= DETAIL_MAX);
        assert_eq!(detail["d"].as_array().unwrap().len(), 8);
        assert_eq!(detail["unlisted"]["d"], 248);
    }

    #[test]
    fn what_begins_a_record_stands_in_no_detail() {
        let nested = json!({ "metadata": { "v": 1, "writer": "0".repeat(32), "seq": 1 } });
        assert!(nested.to_string().contains(MARK));
        let detail = serde_json::to_string(&Detail::from(nested)).unwrap();
        assert!(!detail.contains(MARK), "{detail}");
    }
}
