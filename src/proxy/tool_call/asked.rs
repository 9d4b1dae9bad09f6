//! What the body of a tool call says.

use std::ops::Range;

use crate::mcp::edit::{members, unquoted};
use crate::names::{ProfileName, ServerName, UserName};
use crate::rejection::{Kind, Rejection};

/// A tool call as it was asked for.
#[derive(Debug)]
pub(super) struct Asked {
    /// In whose name, if that is said.
    pub(super) user: Option<UserName>,
    pub(super) server: ServerName,
    pub(super) profile: Option<ProfileName>,
    /// The tool.
    pub(super) tool: String,
    /// The arguments: an object, as it was written.
    pub(super) arguments: String,
}

impl Asked {
    /// Reads a body that was judged: it is JSON, and no key is there twice.
    ///
    /// # Errors
    /// A member that is missing, of another type, or not known.
    pub(super) fn parse(text: &str) -> Result<Self, Rejection> {
        let start = text.len() - text.trim_start().len();
        let found = members(text, &(start..text.trim_end().len()));
        let found = found.ok_or_else(|| shape("the body is to be an object"))?;
        let (mut user, mut server, mut profile) = (None, None, None);
        let (mut tool, mut arguments) = (None, None);
        for member in found {
            let value = member.value;
            match &*member.key {
                "username" => user = optional(text, value)?,
                "serverName" => server = Some(string(text, value)?),
                "profile" => profile = optional(text, value)?,
                "methodName" => tool = Some(string(text, value)?),
                "args" => arguments = Some(text[value].to_owned()),
                _ => return Err(shape("there is a member that is not known here")),
            }
        }
        let server = server.ok_or_else(|| shape("`serverName` is missing"))?;
        let tool = tool.ok_or_else(|| shape("`methodName`, the name of the tool, is missing"))?;
        let arguments = arguments.filter(|value| value != "null");
        let arguments = arguments.unwrap_or_else(|| "{}".to_owned());
        if !arguments.starts_with('{') {
            return Err(shape("`args` must be an object"));
        }
        let user = user.map(|name| UserName::parse(&name)).transpose();
        // No server or profile has a name that cannot be one.
        let profile = profile.map(|name| ProfileName::parse(&name)).transpose();
        Ok(Self {
            user: user.map_err(|error| shape(&format!("`username`: {error}")))?,
            server: ServerName::parse(&server).map_err(|_| Rejection::new(Kind::UnknownServer))?,
            profile: profile.map_err(|_| Rejection::new(Kind::UnknownProfile))?,
            tool,
            arguments,
        })
    }
}

fn optional(text: &str, value: Range<usize>) -> Result<Option<String>, Rejection> {
    match &text[value.clone()] {
        "null" => Ok(None),
        _ => string(text, value).map(Some),
    }
}

fn string(text: &str, value: Range<usize>) -> Result<String, Rejection> {
    let said = unquoted(&text[value]).map(String::from);
    said.ok_or_else(|| shape("names are texts"))
}

fn shape(why: &str) -> Rejection {
    let text = format!(
        "{why}: send {{\"serverName\": …, \"methodName\": …, \"args\": {{…}}}}, and `username` or `profile` \
         where you need them"
    );
    Rejection::with_text(Kind::NotAMessage, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    // Fails when an unknown member is passed over, or arguments are read and written again.
    #[test]
    fn a_call_is_read_to_the_letter() {
        let text = r#" {"args": {"n": 12345678901234567890.10, "s":"\u0041"}, "methodName":"a\"b",
                       "serverName":"github","username":"alice","profile":null}"#;
        let asked = Asked::parse(text).unwrap();
        assert_eq!(
            asked.arguments,
            r#"{"n": 12345678901234567890.10, "s":"\u0041"}"#
        );
        assert_eq!((&*asked.tool, asked.server.as_str()), ("a\"b", "github"));
        assert_eq!(asked.user.unwrap().as_str(), "alice");
        assert!(asked.profile.is_none());
        let none = Asked::parse(r#"{"serverName":"x","methodName":"t","args":null}"#).unwrap();
        assert_eq!(none.arguments, "{}");
        for (text, kind) in [
            ("[]", Kind::NotAMessage),
            ("7", Kind::NotAMessage),
            ("{}", Kind::NotAMessage),
            (r#"{"serverName":"x"}"#, Kind::NotAMessage),
            (r#"{"serverName":"x","methodName":7}"#, Kind::NotAMessage),
            (
                r#"{"serverName":"x","methodName":"t","args":[]}"#,
                Kind::NotAMessage,
            ),
            (
                r#"{"serverName":"x","methodName":"t","args":"{"}"#,
                Kind::NotAMessage,
            ),
            (
                r#"{"serverName":"x","methodName":"t","arguments":{}}"#,
                Kind::NotAMessage,
            ),
            (
                r#"{"serverName":"x","methodName":"t","username":"A B"}"#,
                Kind::NotAMessage,
            ),
            (
                r#"{"serverName":"../x","methodName":"t"}"#,
                Kind::UnknownServer,
            ),
            (
                r#"{"serverName":"x","methodName":"t","profile":"@"}"#,
                Kind::UnknownProfile,
            ),
        ] {
            assert_eq!(Asked::parse(text).unwrap_err().kind(), kind, "{text}");
        }
    }
}
