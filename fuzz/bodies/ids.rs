//! Sealed ids: none opens that was not given out, or was changed, or was given to somebody else.

use std::sync::LazyLock;

use cloakroom::mcp::ids::{
    Holder, Session, open_event, open_session, open_task, seal_event, seal_session, seal_task,
};
use cloakroom::mcp::scan::Capabilities;
use cloakroom::names::{ProfileName, ServerName};
use cloakroom::vault::{Keyring, Sealer};

use super::edited::edited;

static SERVER: LazyLock<ServerName> =
    LazyLock::new(|| ServerName::parse("github").expect("a name"));
static PROFILE: LazyLock<ProfileName> = LazyLock::new(ProfileName::default_profile);
static SEALER: LazyLock<Sealer> = LazyLock::new(|| {
    Sealer::new(&Keyring::generate(), &SERVER).expect("a new keyring has a key for every server")
});

fn holder(user_id: &[u8]) -> Holder<'_> {
    Holder {
        user_id,
        server: &SERVER,
        profile: &PROFILE,
    }
}

/// A length, a backend's id of that length, and how the sealed one is changed.
pub(crate) fn run(input: &[u8]) {
    let Some((&length, rest)) = input.split_first() else {
        return;
    };
    as_they_are(rest);
    let (id, program) = rest.split_at(rest.len().min(length.into()));
    session(id, program);
    event(id, program);
    if let Ok(id) = std::str::from_utf8(id) {
        task(id, program);
    }
}

fn as_they_are(value: &[u8]) {
    let holder = holder(b"u");
    assert!(open_session(&SEALER, &holder, value, 0).is_none());
    assert!(open_event(&SEALER, &holder, b"s", value).is_none());
    if let Ok(value) = std::str::from_utf8(value) {
        assert!(open_task(&SEALER, &holder, value).is_none());
    }
}

fn session(id: &[u8], program: &[u8]) {
    let Some(session) = Session::new(Some(id), 0, Capabilities::default(), 1, 0) else {
        return;
    };
    let sealed = seal_session(&SEALER, &holder(b"u"), &session);
    let changed = edited(sealed.as_bytes(), program);
    let opened = open_session(&SEALER, &holder(b"u"), &changed, 0);
    assert_eq!(opened, (changed == sealed.as_bytes()).then_some(session));
    assert!(open_session(&SEALER, &holder(b"v"), &changed, 0).is_none());
}

fn event(id: &[u8], program: &[u8]) {
    let sealed = seal_event(&SEALER, &holder(b"u"), b"s", id);
    let changed = edited(&sealed, program);
    if changed != sealed {
        assert!(open_event(&SEALER, &holder(b"u"), b"s", &changed).is_none());
    }
    assert!(open_event(&SEALER, &holder(b"v"), b"s", &changed).is_none());
    assert!(open_event(&SEALER, &holder(b"u"), b"t", &changed).is_none());
}

fn task(id: &str, program: &[u8]) {
    let sealed = seal_task(&SEALER, &holder(b"u"), id);
    let changed = edited(sealed.as_bytes(), program);
    let Ok(changed) = std::str::from_utf8(&changed) else {
        return;
    };
    let opened = open_task(&SEALER, &holder(b"u"), changed);
    assert_eq!(opened.as_deref(), (changed == sealed).then_some(id));
    assert!(open_task(&SEALER, &holder(b"v"), changed).is_none());
}
