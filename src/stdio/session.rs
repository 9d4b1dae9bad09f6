//! A session of Streamable HTTP (MCP 2025-11-25, basic/transports "Session Management"), from its
//! `initialize` on.

use bytes::Bytes;
use http::{HeaderValue, Response};

use super::agreed::HANDSHAKE;
use super::answer::Answer;
use super::child::{Child, Stop, To};
use super::mailbox::Front;
use super::service::{Visit, json};
use super::talk::Unheard;
use super::tenant::{Tenant, unheard};
use super::{agreed, random_id, told};
use crate::layer::Failure;
use crate::mcp::edit::{Edits, member};
use crate::mcp::headers::MCP_SESSION_ID;
use crate::mcp::scan::{Message, Shape};
use crate::rejection::Kind;

/// Begins a session.
///
/// # Errors
/// No child can be started, or it does not answer.
pub(super) async fn begin(
    visit: &Visit<'_>,
    text: &str,
    message: &Message<'_>,
) -> Result<Response<Answer>, Failure> {
    let id = random_id();
    let place = visit.place(Some(id.clone()));
    let tenant = visit
        .children
        .settle(place, &visit.caller, Front::Streamable);
    visit.children.hold(&tenant, &visit.caller, &visit.lease);
    // A session nobody is told of would be there for nothing.
    let unborn = Unborn(Some((visit, &tenant)));
    let child = tenant
        .child(visit.children, visit.settings, &visit.lease)
        .await?;
    let answer = initialize(&tenant, &child, text, message).await?;
    if !tenant.agreed(agreed::Agreed::has_begun) {
        return Ok(json(answer));
    }
    unborn.born();
    let mut response = json(answer);
    let id = HeaderValue::from_str(&id).map_err(|error| Failure::Broken(error.to_string()))?;
    response.headers_mut().insert(MCP_SESSION_ID, id);
    Ok(response)
}

/// Sends `initialize`, and remembers what was agreed on; gives the answer for the client.
///
/// # Errors
/// The child ends, or does not answer in time.
pub(super) async fn initialize(
    tenant: &Tenant,
    child: &Child,
    text: &str,
    message: &Message<'_>,
) -> Result<Bytes, Failure> {
    if text.len() > HANDSHAKE {
        let text = "`initialize` is remembered for as long as its session, and may have 64 KiB";
        return Err(told(Kind::BodyTooLarge, text.to_owned()));
    }
    let answer = agreed::ask(child, text.as_bytes()).await?;
    agreed::check_length(child, &answer)?;
    tenant.agree(|agreed| agreed.begin(text, &answer));
    let id = message.id.clone().map_or("null", |id| &text[id]);
    Ok(with_id(&answer, id))
}

/// The answer with this id in place of its own.
fn with_id(answer: &Bytes, id: &str) -> Bytes {
    let text = std::str::from_utf8(answer).unwrap_or_default();
    let mut edits = Edits::default();
    if let Some(at) = member(text, &(0..text.len()), "id") {
        edits.replace(at, [id.as_bytes().into()]);
    }
    edits.apply(answer)
}

/// Sends one message of a session to its child.
///
/// # Errors
/// The child takes nothing more.
pub(super) async fn send(
    tenant: &Tenant,
    child: &Child,
    text: &str,
    message: &Message<'_>,
    to: To,
) -> Result<(), Failure> {
    tenant.agree(|agreed| agreed.note(text, message));
    let why = |why| unheard(child, why);
    if message.shape == Shape::Request {
        child.ask(text, message, to).await.map_err(why)?;
    } else if !say(child, text, message).await.map_err(why)? {
        for before in tenant.retiring() {
            // One that is gone meanwhile has no use for it.
            if let Ok(true) = say(&before, text, message).await {
                break;
            }
        }
    }
    Ok(())
}

/// Sends what is no request; whether it is about something the child knows.
async fn say(child: &Child, text: &str, message: &Message<'_>) -> Result<bool, Unheard> {
    match message.shape {
        Shape::Response => child.answer(text, message).await,
        Shape::Request | Shape::Notification => child.tell(text, message).await,
    }
}

/// A session that may come to nothing.
struct Unborn<'a>(Option<(&'a Visit<'a>, &'a Tenant)>);

impl Unborn<'_> {
    fn born(mut self) {
        self.0 = None;
    }
}

impl Drop for Unborn<'_> {
    fn drop(&mut self) {
        if let Some((visit, tenant)) = self.0 {
            visit.children.remove(tenant, Stop::Gently);
        }
    }
}
