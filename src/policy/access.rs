//! Which servers and tools a user may use: what his own record says and those of his groups, all together.
//!
//! 1. What any of the lists blocks is blocked, in small and capital letters alike.
//! 2. Where one of them allows servers, the others are not allowed; where none does, every server is, or
//!    none: the operator's `default_access`.
//! 3. Where one of them allows tools of a server, its other tools are not allowed; where none does, every
//!    tool of a server is that may be used.
//!
//! A pattern of tools is `SERVER/TOOL`; one without `/` is of every server.

use crate::names::Pattern;
use crate::vault::Access;

/// Which servers are allowed where no list allows any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DefaultAccess {
    /// Every one.
    #[default]
    All,
    /// None.
    None,
}

/// Whether a server may be used. Whether each of its tools may be is another question.
pub fn server_allowed<'a>(
    lists: impl Iterator<Item = &'a Access> + Clone,
    default: DefaultAccess,
    server: &str,
) -> bool {
    let blocked = lists.clone().flat_map(|access| &access.blocked_servers);
    let allowed = lists.flat_map(|access| &access.allowed_servers);
    if { blocked }.any(|pattern| pattern.matches_in_any_case(server)) {
        return false;
    }
    one_of(allowed, |pattern| pattern.matches(server)).unwrap_or(default == DefaultAccess::All)
}

/// Whether a tool of a server that may be used may be called and listed. `""` stands for one whose name is
/// no text: nobody can tell which it is.
pub fn tool_allowed<'a>(
    lists: impl Iterator<Item = &'a Access> + Clone,
    server: &str,
    tool: &str,
) -> bool {
    let names = |pattern: &'a Pattern| ToolPattern::of(pattern, server);
    let blocked = lists.clone().flat_map(|access| &access.blocked_tools);
    let allowed = lists.flat_map(|access| &access.allowed_tools);
    let is_blocked = |name: ToolPattern<'_>| tool.is_empty() || name.matches_in_any_case(tool);
    if blocked.filter_map(names).any(is_blocked) {
        return false;
    }
    let is_allowed = |name: ToolPattern<'_>| !tool.is_empty() && name.matches(tool);
    one_of(allowed.filter_map(names), is_allowed).unwrap_or(true)
}

/// Whether [`tool_allowed`] is false of any tool of a server.
pub fn limits_tools<'a>(lists: impl Iterator<Item = &'a Access>, server: &str) -> bool {
    let mut patterns =
        lists.flat_map(|access| access.blocked_tools.iter().chain(&access.allowed_tools));
    patterns.any(|pattern| ToolPattern::of(pattern, server).is_some())
}

/// Whether one of them fits; none if there is none.
fn one_of<T>(all: impl Iterator<Item = T>, mut fits: impl FnMut(T) -> bool) -> Option<bool> {
    let mut none = None;
    for one in all {
        if fits(one) {
            return Some(true);
        }
        none = Some(false);
    }
    none
}

/// The part of a pattern of tools that is about tools, for one server.
struct ToolPattern<'a>(&'a str);

impl<'a> ToolPattern<'a> {
    fn of(pattern: &'a Pattern, server: &str) -> Option<Self> {
        let Some((of, tool)) = pattern.as_str().split_once('/') else {
            return Some(Self(pattern.as_str()));
        };
        // Servers have small letters only: one in capitals is meant to be that server, and no other.
        Pattern::text_matches_in_any_case(of, server).then_some(Self(tool))
    }

    fn matches(&self, tool: &str) -> bool {
        Pattern::text_matches(self.0, tool)
    }

    fn matches_in_any_case(&self, tool: &str) -> bool {
        Pattern::text_matches_in_any_case(self.0, tool)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn access(lists: [&[&str]; 4]) -> Access {
        let parse = |list: &[&str]| {
            list.iter()
                .map(|text| Pattern::parse(text).unwrap())
                .collect()
        };
        let [
            allowed_servers,
            blocked_servers,
            allowed_tools,
            blocked_tools,
        ] = lists.map(parse);
        Access {
            allowed_servers,
            blocked_servers,
            allowed_tools,
            blocked_tools,
        }
    }

    fn server(lists: &[Access], default: DefaultAccess, server: &str) -> bool {
        server_allowed(lists.iter(), default, server)
    }

    // Each row fails with the rule it is named for left out.
    #[test]
    fn servers_as_a_table() {
        use DefaultAccess::{All, None};
        let nothing = access([&[], &[], &[], &[]]);
        let git = access([&["git*"], &[], &[], &[]]);
        let jira = access([&["jira"], &[], &[], &[]]);
        let no_lab = access([&[], &["gitlab"], &[], &[]]);
        let no_lab_loud = access([&[], &["GITLAB"], &[], &[]]);
        let tools = access([&[], &[], &["github/get_*"], &[]]);
        for (rule, lists, default, name, expected) in [
            ("no list, all", vec![&nothing], All, "github", true),
            ("no list, none", vec![&nothing], None, "github", false),
            ("allowed", vec![&git], None, "github", true),
            ("not among those allowed", vec![&git], All, "jira", false),
            ("allowed by a group", vec![&git, &jira], All, "jira", true),
            ("block wins", vec![&git, &no_lab], All, "gitlab", false),
            (
                "a user's block wins",
                vec![&no_lab, &git],
                All,
                "gitlab",
                false,
            ),
            (
                "block in capitals",
                vec![&no_lab_loud],
                All,
                "gitlab",
                false,
            ),
            (
                "a block allows nothing",
                vec![&no_lab],
                None,
                "github",
                false,
            ),
            ("what is not blocked", vec![&no_lab], All, "github", true),
            ("tools grant no server", vec![&tools], None, "github", false),
            ("tools take no server", vec![&tools], All, "jira", true),
        ] {
            let lists: Vec<_> = lists.into_iter().cloned().collect();
            assert_eq!(server(&lists, default, name), expected, "{rule}");
        }
    }

    #[test]
    fn tools_as_a_table() {
        let get = access([&[], &[], &["github/get_*"], &[]]);
        let any_get = access([&[], &[], &["get_*"], &[]]);
        let no_delete = access([&[], &[], &[], &["*/delete_*"]]);
        let bare = access([&[], &[], &[], &["delete_*"]]);
        let slash = access([&[], &[], &[], &["github/repo/drop"]]);
        for (rule, lists, name, tool, expected) in [
            ("no list", vec![], "github", "anything", true),
            ("allowed", vec![&get], "github", "get_me", true),
            (
                "not among those allowed",
                vec![&get],
                "github",
                "set_me",
                false,
            ),
            ("in another case", vec![&get], "github", "GET_me", false),
            ("of another server", vec![&get], "jira", "set_me", true),
            ("of every server", vec![&any_get], "jira", "set_me", false),
            ("blocked", vec![&no_delete], "jira", "delete_all", false),
            (
                "blocked in capitals",
                vec![&no_delete],
                "jira",
                "Delete_all",
                false,
            ),
            (
                "blocked without a server",
                vec![&bare],
                "jira",
                "delete_all",
                false,
            ),
            (
                "block wins",
                vec![&any_get, &access([&[], &[], &[], &["*"]])],
                "a",
                "get_x",
                false,
            ),
            (
                "a slash in the tool",
                vec![&slash],
                "github",
                "repo/drop",
                false,
            ),
            ("no name, nothing said", vec![], "github", "", true),
            ("no name, some allowed", vec![&get], "github", "", false),
            ("no name, some blocked", vec![&bare], "github", "", false),
        ] {
            let lists = lists.into_iter();
            assert_eq!(tool_allowed(lists, name, tool), expected, "{rule}");
        }
        assert!(limits_tools([&get].into_iter(), "github"));
        assert!(!limits_tools([&get].into_iter(), "jira"));
        assert!(limits_tools([&bare].into_iter(), "jira"));
    }

    /// The rules once more, over names that are matched by equality or by `*` alone.
    fn model(lists: &[Access], default: DefaultAccess, name: &str, tool: &str) -> bool {
        let all = |of: fn(&Access) -> &Vec<Pattern>| -> Vec<String> {
            lists.iter().flat_map(of).map(ToString::to_string).collect()
        };
        let is = |pattern: &str, text: &str| pattern == "*" || pattern == text;
        let allowed = all(|a| &a.allowed_servers);
        let blocked = all(|a| &a.blocked_servers);
        if blocked.iter().any(|p| is(p, name)) {
            return false;
        }
        let server = match allowed.is_empty() {
            true => default == DefaultAccess::All,
            false => allowed.iter().any(|p| is(p, name)),
        };
        let parts = |p: &String| match p.split_once('/') {
            None => ("*".to_owned(), p.clone()),
            Some((server, tool)) => (server.to_owned(), tool.to_owned()),
        };
        let of_server = |list: Vec<String>| -> Vec<String> {
            let parts = list.iter().map(parts);
            parts.filter(|(s, _)| is(s, name)).map(|(_, t)| t).collect()
        };
        let allowed = of_server(all(|a| &a.allowed_tools));
        let blocked = of_server(all(|a| &a.blocked_tools));
        server
            && !blocked.iter().any(|p| is(p, tool))
            && (allowed.is_empty() || allowed.iter().any(|p| is(p, tool)))
    }

    fn lists() -> impl Strategy<Value = Vec<Access>> {
        let servers = || vec(prop_oneof![Just("a"), Just("b"), Just("*")], 0..3);
        let names = ["x", "y", "*", "a/x", "b/y", "*/x", "a/*", "*/*"];
        let tools = || vec(proptest::sample::select(names.to_vec()), 0..3);
        let one = (servers(), servers(), tools(), tools());
        vec(one.prop_map(|(a, b, c, d)| access([&a, &b, &c, &d])), 0..4)
    }

    proptest! {
        #[test]
        fn it_is_what_the_rules_say(
            lists in lists(),
            none in any::<bool>(),
            name in prop_oneof![Just("a"), Just("b"), Just("c")],
            tool in prop_oneof![Just("x"), Just("y"), Just("z")],
        ) {
            let default = if none { DefaultAccess::None } else { DefaultAccess::All };
            let of_server = server(&lists, default, name);
            let judged = of_server && tool_allowed(lists.iter(), name, tool);
            prop_assert_eq!(judged, model(&lists, default, name, tool));
            if of_server && !limits_tools(lists.iter(), name) {
                prop_assert!(judged);
            }
        }
    }
}
