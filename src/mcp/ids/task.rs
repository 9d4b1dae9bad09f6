//! Task ids: the backend's own, readable, bound to the user, the server and the profile, but to no
//! session: a task outlives it (MCP 2025-11-25, basic/utilities/tasks "Task Isolation and Access
//! Control": a task id belongs to the authorization context that made it).

use super::{Holder, encode, tagged};
use crate::vault::Sealer;

const PURPOSE: &str = "mcp task id";

/// The task id for the client: the backend's, `.`, and a tag over it and the holder. The same every
/// time, for clients compare the ids of several messages. Visible ASCII, some 35 bytes more than
/// `id`, or 4/3 of it if it has bytes unfit for a header.
#[must_use]
pub fn seal_task(sealer: &Sealer, holder: &Holder<'_>, id: &str) -> String {
    let value = tagged::seal(sealer, PURPOSE, &holder.context(), id.as_bytes());
    String::from_utf8(value).expect("a sealed id is visible ASCII")
}

/// The backend's task id behind one a client gave.
///
/// `None` if it was given to another user, for another server or profile, or is no task id of ours.
#[must_use]
pub fn open_task(sealer: &Sealer, holder: &Holder<'_>, value: &str) -> Option<String> {
    let id = tagged::open(sealer, PURPOSE, &holder.context(), value.as_bytes())?;
    String::from_utf8(id).ok()
}

/// What a backend is given in place of a value that is no task id of its sender's: an id nobody has, and
/// nobody can choose. So the backend refuses it in its own words, after whatever it checks first.
#[must_use]
pub fn nobodys_task(sealer: &Sealer, holder: &Holder<'_>, value: &str) -> String {
    encode(&sealer.tag("mcp foreign task id", &holder.context(), value.as_bytes()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::mcp::answer::MAX_TASK_ID;
    use crate::mcp::ids::{MAX_SEALED, open_event, seal_event, test_sealer};
    use crate::names::{ProfileName, ServerName};

    fn with_holder<T>([user, server, profile]: [&str; 3], run: impl FnOnce(&Holder<'_>) -> T) -> T {
        let server = ServerName::parse(server).unwrap();
        let profile = ProfileName::parse(profile).unwrap();
        run(&Holder {
            user_id: user.as_bytes(),
            server: &server,
            profile: &profile,
        })
    }

    const US: [&str; 3] = ["u1", "github", "default"];

    #[test]
    fn a_task_id_opens_for_its_holder_only_and_is_the_same_every_time() {
        let sealer = test_sealer();
        let seal = || with_holder(US, |holder| seal_task(&sealer, holder, "786512e2"));
        let sealed = seal();
        assert!(sealed.starts_with("786512e2."));
        assert_eq!(sealed, seal());
        let open = |whose: [&str; 3], value: &str| {
            with_holder(whose, |holder| open_task(&sealer, holder, value))
        };
        assert_eq!(open(US, &sealed).as_deref(), Some("786512e2"));
        for other in [
            ["u2", "github", "default"],
            ["u1", "jira", "default"],
            ["u1", "github", "work"],
        ] {
            assert_eq!(open(other, &sealed), None, "{other:?}");
        }
        for bad in ["", ".", "786512e2", &sealed[1..], &format!("{sealed}A")] {
            assert_eq!(open(US, bad), None, "{bad}");
        }
        assert_eq!(open(US, &"a".repeat(MAX_SEALED + 1)), None);
    }

    #[test]
    fn an_event_id_is_no_task_id_nor_the_other_way_round() {
        let sealer = test_sealer();
        with_holder(US, |holder| {
            let event = String::from_utf8(seal_event(&sealer, holder, b"", b"7")).unwrap();
            assert_eq!(open_task(&sealer, holder, &event), None);
            let task = seal_task(&sealer, holder, "7");
            assert_eq!(open_event(&sealer, holder, b"", task.as_bytes()), None);
        });
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn every_id_comes_back_and_is_visible_ascii(id in prop_oneof![any::<String>(), "[ -~]{0,40}", "[é=.]{0,512}"]) {
            prop_assume!(id.len() <= MAX_TASK_ID);
            let sealer = test_sealer();
            with_holder(US, |holder| {
                let sealed = seal_task(&sealer, holder, &id);
                assert!(sealed.len() <= MAX_SEALED && sealed.bytes().all(|b| b.is_ascii_graphic()));
                assert_eq!(open_task(&sealer, holder, &sealed), Some(id));
            });
        }
    }
}
