//! Arguments of tools, spliced into a request's body: every other byte stays as the client wrote it.

use std::borrow::Cow;
use std::ops::Range;

use crate::gate::Planned;
use crate::mcp::edit::{Edits, Member, members, quote, quoted_len, same_ignoring_case};
use crate::mcp::scan::Message;
use crate::rejection::{Kind, Rejection};

/// The tool a message calls, if it calls one.
///
/// # Errors
/// A call that names no tool: which slots it needs cannot be said, and a lenient backend might read a
/// name where none was seen here.
pub(super) fn tool<'m>(message: &'m Message<'_>) -> Result<Option<&'m str>, Rejection> {
    if message.method.as_deref() != Some("tools/call") {
        return Ok(None);
    }
    match message.name.as_deref() {
        Some(name) => Ok(Some(name)),
        None => Err(not_a_call("`params.name` of a `tools/call` must be a text")),
    }
}

/// Sets the arguments `planned` for the tool this message calls, in place of any the client sent, and
/// says how many it had sent.
///
/// # Errors
/// A call whose `arguments` are no object.
pub(super) fn set_arguments(
    text: &str,
    message: &Message<'_>,
    planned: &[&Planned<'_>],
    edits: &mut Edits<'_>,
) -> Result<usize, Rejection> {
    let (false, Some(params)) = (planned.is_empty(), &message.params) else {
        return Ok(0);
    };
    match &message.arguments {
        Some(range) if &text[range.clone()] != "null" => merge(text, range, planned, edits),
        // None, or `null`, which some clients send for none.
        written => {
            let mut object = listed(planned);
            object.insert(0, piece("{"));
            object.push(piece("}"));
            match written {
                Some(range) => edits.replace(range.clone(), object),
                None => {
                    object.insert(0, piece("\"arguments\":"));
                    // There is a member already, the tool's name.
                    object.push(piece(","));
                    edits.replace(params.start + 1..params.start + 1, object);
                }
            }
            Ok(0)
        }
    }
}

/// Into an object that is there: the client's own values of these names go, in any case of letters,
/// for backends that ignore it would find two.
fn merge(
    text: &str,
    object: &Range<usize>,
    planned: &[&Planned<'_>],
    edits: &mut Edits<'_>,
) -> Result<usize, Rejection> {
    let found = members(text, object)
        .ok_or_else(|| not_a_call("`params.arguments` of a `tools/call` must be an object"))?;
    let is_ours = |member: &Member<'_>| {
        let mut names = planned.iter().map(|planned| planned.name());
        names.any(|name| same_ignoring_case(&member.key, name))
    };
    let gone: Vec<bool> = found.iter().map(is_ours).collect();
    let whole: Vec<_> = found.into_iter().map(|member| member.whole).collect();
    edits.remove(&whole, &gone);
    let mut ours = listed(planned);
    if gone.contains(&false) {
        ours.push(piece(","));
    }
    edits.replace(object.start + 1..object.start + 1, ours);
    Ok(gone.iter().filter(|gone| **gone).count())
}

/// `"name":"value"` of each, with commas between.
fn listed(planned: &[&Planned<'_>]) -> Vec<Cow<'static, [u8]>> {
    let mut list = Vec::with_capacity(2 * planned.len() + 3);
    for planned in planned {
        let (name, value) = (planned.name(), planned.expose_value());
        let mut pair = Vec::with_capacity(1 + quoted_len(name) + quoted_len(value));
        quote(name, &mut pair);
        pair.push(b':');
        quote(value, &mut pair);
        if !list.is_empty() {
            list.push(piece(","));
        }
        list.push(Cow::Owned(pair));
    }
    list
}

fn piece(text: &'static str) -> Cow<'static, [u8]> {
    Cow::Borrowed(text.as_bytes())
}

/// A body with `planned` set in its calls, and how many values of the client's they replaced; `None` when
/// it is refused.
#[cfg(any(test, fuzzing))]
#[must_use]
pub fn spliced(body: &[u8], planned: &[&Planned<'_>]) -> Option<(bytes::Bytes, usize)> {
    use crate::mcp::scan::{Body, scan_text};

    let (text, scanned) = scan_text(body).ok()?;
    let messages = match &scanned {
        Body::One(message) => std::slice::from_ref(&**message),
        Body::Batch(messages) => messages,
    };
    let set = || {
        let (mut edits, mut replaced) = (Edits::default(), 0);
        for message in messages {
            if let Some(tool) = tool(message).ok()? {
                let planned: Vec<_> = planned.iter().copied().filter(|p| p.serves(tool)).collect();
                replaced += set_arguments(text, message, &planned, &mut edits).ok()?;
            }
        }
        Some((edits, replaced))
    };
    let (edits, replaced) = set()?;
    let whole = edits.apply(body);
    let pieces = set()?.0.pieces(&bytes::Bytes::copy_from_slice(body));
    assert_eq!(pieces.concat(), whole, "in pieces it is something else");
    Some((whole, replaced))
}

fn not_a_call(text: &str) -> Rejection {
    Rejection::with_text(Kind::NotAMessage, text.to_owned())
}
