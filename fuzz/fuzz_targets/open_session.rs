//! No header value opens as a session, and none makes the opening panic.
#![no_main]

use std::sync::LazyLock;

use cloakroom::mcp::ids::{Holder, open_event, open_session};
use cloakroom::names::{ProfileName, ServerName};
use cloakroom::vault::{Keyring, Sealer};
use libfuzzer_sys::fuzz_target;

static SERVER: LazyLock<ServerName> =
    LazyLock::new(|| ServerName::parse("github").expect("a name"));
static PROFILE: LazyLock<ProfileName> = LazyLock::new(ProfileName::default_profile);
static SEALER: LazyLock<Sealer> = LazyLock::new(|| {
    Sealer::new(&Keyring::generate(), &SERVER).expect("a new keyring has a key for every server")
});

fuzz_target!(|value: &[u8]| {
    let holder = Holder {
        user_id: b"u",
        server: &SERVER,
        profile: &PROFILE,
    };
    assert!(open_session(&SEALER, &holder, value, 0).is_none());
    assert!(open_event(&SEALER, &holder, b"s", value).is_none());
});
