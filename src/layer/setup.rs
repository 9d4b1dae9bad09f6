//! A missing secret, put to the client in the way it can do most with.
//!
//! A client that can send its user to a page is given the page: by the error -32042 (a session of
//! 2025-11-25 that declared `elicitation.url`), or by a question it answers and then tries again
//! (2026-07-28). The model of any other is told by a failed tool's result, and who calls something else
//! than a tool gets an error. A page never comes with a secret, a key or a user's name in its address.

use crate::gate::Door;
use crate::mcp::edit::{Edits, member, members, unquoted};
use crate::mcp::ids::{Holder, is_setup, seal_setup};
use crate::mcp::revision::Era;
use crate::mcp::scan::{Capabilities, Message};
use crate::names::{ProfileName, ServerName};
use crate::rejection::{Form, Rejection, SETUP_REQUEST};

/// The page where users set their secrets.
#[derive(Debug, Clone)]
pub(super) struct SetupPage(String);

impl SetupPage {
    pub(super) fn new(template: String) -> Self {
        Self(template)
    }

    /// Its address for a server and profile, whose names need no escapes in one.
    fn url(&self, server: &ServerName, profile: &ProfileName) -> String {
        let url = self.0.replace("{server}", server.as_str());
        url.replace("{profile}", profile.as_str())
    }
}

/// Whether a request answers a question of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reply {
    /// It answers none.
    None,
    /// The user was sent to the page: the secret may be there at any moment.
    Accepted,
    /// The user would not.
    Declined,
}

/// Finds out whether a request answers a question of ours; if so, what it brought for us is taken out
/// of it.
pub(super) fn reply(
    text: &str,
    message: &Message<'_>,
    door: &Door,
    holder: &Holder<'_>,
    edits: &mut Edits<'_>,
) -> Reply {
    // Most requests are of methods that are never answered by a question.
    let (true, Some(params)) = (may_ask(message), &message.params) else {
        return Reply::None;
    };
    let found = members(text, params).unwrap_or_default();
    let at = |key: &str| found.iter().position(|member| member.key == key);
    let Some(state) = at("requestState") else {
        return Reply::None;
    };
    let ours = unquoted(&text[found[state].value.clone()])
        .is_some_and(|state| is_setup(door.sealer(), holder, &state));
    if !ours {
        return Reply::None;
    }
    let responses = at("inputResponses");
    let answer = responses.and_then(|at| member(text, &found[at].value, SETUP_REQUEST));
    let action = answer.and_then(|answer| member(text, &answer, "action"));
    let accepted = action.is_none_or(|action| &text[action] == "\"accept\"");
    let gone: Vec<_> = (0..found.len())
        .map(|at| at == state || Some(at) == responses)
        .collect();
    let whole: Vec<_> = found.into_iter().map(|member| member.whole).collect();
    edits.remove(&whole, &gone);
    if accepted {
        Reply::Accepted
    } else {
        Reply::Declined
    }
}

/// What a refusal has to be fitted to.
pub(super) struct Client<'a> {
    pub(super) era: Era,
    /// Of this request, or of the session it belongs to.
    pub(super) capabilities: Capabilities,
    /// The request, unless it is a batch or has no body.
    pub(super) message: Option<&'a Message<'a>>,
    pub(super) text: &'a str,
    pub(super) reply: Reply,
}

impl Client<'_> {
    /// Whether the request answers a question of the backend. One of ours now would lose its state.
    fn answers_backend(&self, message: &Message<'_>) -> bool {
        let params = message.params.as_ref();
        let state = params.and_then(|params| member(self.text, params, "requestState"));
        state.is_some() && self.reply == Reply::None
    }
}

/// The refusal of a request whose secret is missing.
pub(super) fn fitted(
    missing: Rejection,
    client: &Client<'_>,
    page: Option<&SetupPage>,
    door: &Door,
    holder: &Holder<'_>,
) -> Rejection {
    let Some(page) = page else {
        return missing;
    };
    let url = page.url(holder.server, holder.profile);
    let told = Rejection::with_text(
        missing.kind(),
        format!("{}, or on the page {url}", missing.text()),
    );
    let Some(message) = client.message else {
        return told;
    };
    let can_open = client.capabilities.elicitation_url() && client.reply != Reply::Declined;
    let method = message.method.as_deref();
    let form = match client.era {
        Era::Modern if can_open && may_ask(message) && !client.answers_backend(message) => {
            let state = seal_setup(door.sealer(), holder);
            Some(Form::InputRequired { url, state })
        }
        Era::Legacy if can_open && method != Some("initialize") => {
            let id = seal_setup(door.sealer(), holder);
            Some(Form::UrlElicitation { url, id })
        }
        _ => None,
    };
    if let Some(form) = form {
        return missing.in_form(form);
    }
    if method == Some("tools/call") {
        told.in_form(Form::ToolResult)
    } else {
        told
    }
}

/// The requests a server may answer with a question (MCP 2026-07-28, basic/patterns/mrtr).
fn may_ask(message: &Message<'_>) -> bool {
    matches!(
        message.method.as_deref(),
        Some("tools/call" | "prompts/get" | "resources/read")
    )
}
