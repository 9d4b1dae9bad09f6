//! The values that change, whole.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;

use super::{AnswerError, MAX_TASK_ID, Rules};
use crate::mcp::edit::{self, Edits, Member};

/// What becomes of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    Nothing,
    To(Bytes),
    /// It goes. Only an element of a list may, for a member would leave its key behind.
    Gone,
}

/// A tool: whether it goes, and if not, without the arguments that are hidden.
///
/// # Errors
/// [`AnswerError::NotJson`] if it cannot be read where its name or arguments would stand.
pub(super) fn tool<R: Rules>(rules: &R, text: &[u8]) -> Result<Change, AnswerError> {
    let text = str::from_utf8(text).map_err(|_| AnswerError::NotJson)?;
    let members = members(text, &(0..text.len()))?.unwrap_or_default();
    let mut names: Vec<_> = named(&members, "name")
        .map(|value| edit::unquoted(&text[value]).unwrap_or_default())
        .collect();
    if names.is_empty() {
        names.push(Cow::Borrowed(""));
    }
    if names.iter().any(|name| rules.hides_tool(name)) {
        return Ok(Change::Gone);
    }
    let hidden = |argument: &str| names.iter().any(|name| rules.hides(name, argument));
    let mut edits = Edits::default();
    for schema in named(&members, "inputSchema") {
        let parts = self::members(text, &schema)?.unwrap_or_default();
        for properties in named(&parts, "properties") {
            let all = self::members(text, &properties)?.unwrap_or_default();
            let gone: Vec<_> = all.iter().map(|member| hidden(&member.key)).collect();
            let whole: Vec<_> = all.into_iter().map(|member| member.whole).collect();
            remove(&mut edits, &whole, &gone);
        }
        for required in named(&parts, "required") {
            let all = elements(text, &required)?.unwrap_or_default();
            let gone: Vec<_> = all
                .iter()
                .map(|value| edit::unquoted(&text[value.clone()]).is_some_and(|name| hidden(&name)))
                .collect();
            remove(&mut edits, &all, &gone);
        }
    }
    Ok(changed(edits, text))
}

/// The literal of a task id, sealed.
///
/// # Errors
/// [`AnswerError::TaskIdTooLong`], and [`AnswerError::NotJson`] if it is no string literal.
pub(super) fn task_id<R: Rules>(rules: &R, literal: &[u8]) -> Result<Bytes, AnswerError> {
    let id = str::from_utf8(literal).ok().and_then(edit::unquoted);
    let id = id.ok_or(AnswerError::NotJson)?;
    if id.len() > MAX_TASK_ID {
        return Err(AnswerError::TaskIdTooLong);
    }
    let sealed = rules.seal_task(&id);
    let mut out = Vec::with_capacity(edit::quoted_len(&sealed));
    edit::quote(&sealed, &mut out);
    Ok(out.into())
}

/// The tasks capability without `list`.
///
/// # Errors
/// [`AnswerError::NotJson`] if it cannot be read.
pub(super) fn tasks_capability(text: &[u8]) -> Result<Change, AnswerError> {
    let text = str::from_utf8(text).map_err(|_| AnswerError::NotJson)?;
    let all = members(text, &(0..text.len()))?.unwrap_or_default();
    let gone: Vec<_> = all.iter().map(|member| member.key == "list").collect();
    let whole: Vec<_> = all.into_iter().map(|member| member.whole).collect();
    let mut edits = Edits::default();
    remove(&mut edits, &whole, &gone);
    Ok(changed(edits, text))
}

/// The literal of a cache scope: what is answered to one user is nobody else's, whatever the backend
/// thinks who knows of one user only.
pub(super) fn cache_scope(literal: &[u8]) -> Change {
    const PRIVATE: &[u8] = b"\"private\"";
    if literal == PRIVATE {
        Change::Nothing
    } else {
        Change::To(Bytes::from_static(PRIVATE))
    }
}

/// The values of the members `key`, however often it is written.
fn named<'a>(
    members: &'a [Member<'_>],
    key: &'static str,
) -> impl Iterator<Item = Range<usize>> + 'a {
    members
        .iter()
        .filter(move |member| member.key == key)
        .map(|member| member.value.clone())
}

/// `None` if the value is no object, which has nothing to hide.
fn members<'a>(
    text: &'a str,
    value: &Range<usize>,
) -> Result<Option<Vec<Member<'a>>>, AnswerError> {
    if !text[value.clone()].starts_with('{') {
        return Ok(None);
    }
    edit::members(text, value)
        .ok_or(AnswerError::NotJson)
        .map(Some)
}

/// `None` if the value is no array.
fn elements(text: &str, value: &Range<usize>) -> Result<Option<Vec<Range<usize>>>, AnswerError> {
    if !text[value.clone()].starts_with('[') {
        return Ok(None);
    }
    edit::elements(text, value)
        .ok_or(AnswerError::NotJson)
        .map(Some)
}

fn remove(edits: &mut Edits<'_>, whole: &[Range<usize>], gone: &[bool]) {
    if gone.contains(&true) {
        edits.remove(whole, gone);
    }
}

fn changed(edits: Edits<'_>, text: &str) -> Change {
    if edits.is_empty() {
        Change::Nothing
    } else {
        Change::To(edits.apply(text.as_bytes()))
    }
}
