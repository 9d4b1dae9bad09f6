//! Arguments set in any body: what comes out is what another parser would have made of it, and no byte
//! beside the arguments is another.

use std::sync::LazyLock;

use cloakroom::inject::{Plan, Request, Slots};
use cloakroom::layer::spliced;
use cloakroom::mcp::scan::{Body, scan};
use cloakroom::names::SecretName;
use cloakroom::vault::{SecretSet, SecretValue};
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

/// The arguments of every tool, and of `pay`, with their values.
const EVERY: (&str, &str) = ("token", "s3\"cr\\et\n\u{1}\u{1f511}");
const OF_PAY: (&str, &str) = ("secret", "}],\"x\":1");

static SLOTS: LazyLock<Slots> = LazyLock::new(|| {
    let pay = Some(["pay".to_owned()].into());
    let slots = Slots::default().with_argument(EVERY.0, "${A}", None);
    let slots = slots.and_then(|slots| slots.with_argument(OF_PAY.0, "${B}", pay));
    slots.expect("slots")
});

static PLAN: LazyLock<Plan<'static>> = LazyLock::new(|| {
    let set = |set: SecretSet, (name, text): (&str, &str)| {
        let value = SecretValue::new(Zeroizing::new(text.as_bytes().to_vec()));
        let name = SecretName::parse(name).expect("a name");
        set.with(&name, Some(&value.expect("a fit value")))
    };
    let secrets = set(SecretSet::empty(), ("A", EVERY.1));
    let secrets = set(secrets, ("B", OF_PAY.1));
    let request = Request {
        tools: &["pay"],
        optional: false,
    };
    SLOTS.plan(&secrets, &request).expect("nothing is missing")
});

pub(crate) fn run(body: &[u8]) {
    let planned: Vec<_> = PLAN.arguments("pay").collect();
    let Some((out, replaced)) = spliced(body, &planned) else {
        let refused = scan(body).is_err() || read(body).is_none_or(|v| expected(v).is_none());
        assert!(refused, "a fair call was refused");
        return;
    };
    let parsed = scan(&out).expect("what comes out is a body too");
    let untouched = !matches!(&parsed, Body::Batch(_)) && only_arguments_differ(body, &out);
    assert!(untouched || matches!(parsed, Body::Batch(_)));
    // A number no `f64` holds is refused by the other parser, and passed on here.
    if let Some(before) = read(body) {
        let (expected, gone) = expected(before).expect("what cannot be a call is refused");
        assert_eq!(read(&out), Some(expected));
        assert_eq!(replaced, gone);
    }
}

fn read(body: &[u8]) -> Option<Value> {
    serde_json::from_slice(body).ok()
}

/// The body with the arguments set, and how many there were before; `None` when it is to be refused.
fn expected(mut body: Value) -> Option<(Value, usize)> {
    let mut gone = 0;
    let messages = match &mut body {
        Value::Array(messages) => messages.as_mut_slice(),
        one => std::slice::from_mut(one),
    };
    for message in messages {
        if message
            .get("method")
            .is_none_or(|method| method != "tools/call")
        {
            continue;
        }
        let params = message.get_mut("params")?.as_object_mut()?;
        let ours = match params.get("name")?.as_str()? {
            "pay" => &[EVERY, OF_PAY][..],
            _ => &[EVERY],
        };
        let arguments = params.entry("arguments").or_insert(Value::Null);
        if arguments.is_null() {
            *arguments = Value::Object(Map::new());
        }
        let arguments = arguments.as_object_mut()?;
        let before = arguments.len();
        arguments.retain(|key, _| !ours.iter().any(|(name, _)| alike(key, name)));
        gone += before - arguments.len();
        for (name, value) in ours {
            arguments.insert((*name).to_owned(), json!(value));
        }
    }
    Some((body, gone))
}

/// As any reader that ignores case might see it.
fn alike(key: &str, name: &str) -> bool {
    let fold = |text: &str| text.to_uppercase().replace('\u{130}', "I");
    fold(key) == fold(name) || key.to_lowercase() == name.to_lowercase()
}

/// Whether both are the same up to the arguments, and after them.
fn only_arguments_differ(before: &[u8], after: &[u8]) -> bool {
    let (Ok(Body::One(old)), Ok(Body::One(new))) = (scan(before), scan(after)) else {
        return false;
    };
    if old.method.as_deref() != Some("tools/call") {
        return before == after;
    }
    match (&old.arguments, &new.arguments, &old.params) {
        (Some(old), Some(new), _) => {
            before[..old.start] == after[..new.start] && before[old.end..] == after[new.end..]
        }
        (None, Some(new), Some(params)) => {
            let open = params.start + 1;
            before[..open] == after[..open]
                && after[open..new.start] == *b"\"arguments\":"
                && after[new.end..].strip_prefix(b",") == Some(&before[open..])
        }
        _ => false,
    }
}
