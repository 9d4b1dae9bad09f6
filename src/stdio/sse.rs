//! HTTP+SSE (MCP 2024-11-05, basic/transports): one stream carries everything to the client, which posts
//! its messages beside it. The session is the stream.

use std::sync::Arc;

use bytes::Bytes;
use http::{Response, StatusCode};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::answer::{Answer, Leaving};
use super::child::{Child, To};
use super::mailbox::{Front, LOOSE};
use super::pool::Children;
use super::service::{Visit, empty, events, messages};
use super::settings::Settings;
use super::talk::LITERAL;
use super::tenant::Tenant;
use super::waiting::room_for;
use super::{random_id, session};
use crate::layer::{BackendPath, Failure, Lease};
use crate::mcp::scan::{Message, Shape};
use crate::rejection::Ids;

/// Before the session's id in the path for messages.
const PATH: &str = "/message?session_id=";

/// Messages of one session that may wait for its child to start.
const WAITING: usize = 16;

/// What a session was posted.
pub(super) struct Posted {
    body: Bytes,
    settings: Arc<Settings>,
    lease: Lease,
    /// Its place among what waits.
    _room: OwnedSemaphorePermit,
}

/// Opens a stream, and with it a session.
pub(super) fn open(visit: &Visit<'_>) -> Response<Answer> {
    let id = random_id();
    let place = visit.place(Some(id.clone()));
    let children = visit.children;
    let tenant = children.settle(place, &visit.caller, Front::Sse);
    children.hold(&tenant, &visit.caller, &visit.lease);
    let (posts, posted) = mpsc::channel(WAITING);
    tenant.takes_posts(posts);
    let worker = pass_on(tenant.clone(), children.clone(), posted);
    children.runtime().spawn(worker);
    let reader = tenant.mailbox.listen();
    let endpoint = Bytes::from(format!("event: endpoint\ndata: {PATH}{id}\n\n"));
    let leaving = Leaving::Session {
        children: children.clone(),
        tenant,
    };
    events(Answer::events(
        reader,
        Front::Sse,
        Some(endpoint),
        None,
        Some(leaving),
    ))
}

/// Takes a message to a session; it is answered on the stream.
///
/// # Errors
/// There is no such stream.
pub(super) async fn post(
    visit: &Visit<'_>,
    path: Option<&BackendPath>,
    body: &Bytes,
) -> Result<Response<Answer>, Failure> {
    let id = path.and_then(|BackendPath(path)| path.as_str().strip_prefix(PATH));
    let tenant = id.and_then(|id| visit.find(id)).ok_or(Failure::Gone)?;
    let posts = tenant.posts().ok_or(Failure::Gone)?;
    // Until there is room it counts as a request under way, with its body.
    let room = tenant.waiting().acquire_many_owned(room_for(body)).await;
    let posted = Posted {
        body: body.clone(),
        settings: visit.settings.clone(),
        lease: visit.lease.clone(),
        _room: room.map_err(|_| Failure::Gone)?,
    };
    posts.send(posted).await.map_err(|_| Failure::Gone)?;
    Ok(empty(StatusCode::ACCEPTED))
}

/// Passes on what a session is posted, in order. Its client does not wait for the child to start: many
/// give a POST a few seconds only.
async fn pass_on(tenant: Arc<Tenant>, children: Children, mut posted: mpsc::Receiver<Posted>) {
    let over = tenant.until_over();
    tokio::pin!(over);
    loop {
        let posted = tokio::select! {
            () = &mut over => return,
            posted = posted.recv() => posted,
        };
        let Some(posted) = posted else { return };
        tokio::select! {
            () = &mut over => return,
            () = pass_on_one(&tenant, &children, posted) => {}
        }
    }
}

async fn pass_on_one(tenant: &Arc<Tenant>, children: &Children, posted: Posted) {
    let Posted {
        body,
        settings,
        lease,
        _room,
    } = posted;
    // Who does not read what was answered so far is not answered more.
    tenant.mailbox.room().await;
    let child = tenant.child(children, &settings, &lease).await;
    // The environment in it is not to wait for a child that does not read.
    drop(lease);
    for (text, message) in messages(&body).unwrap_or_default() {
        let sent = match &child {
            Ok(child) => send(tenant, child, text, &message).await,
            Err(failure) => Err(failure.clone()),
        };
        if let Err(failure) = sent {
            tell(tenant, &failure, &settings, text, &message);
        }
    }
}

async fn send(
    tenant: &Tenant,
    child: &Child,
    text: &str,
    message: &Message<'_>,
) -> Result<(), Failure> {
    if message.method.as_deref() == Some("initialize") && message.shape == Shape::Request {
        let answer = session::initialize(tenant, child, text, message).await?;
        tenant.mailbox.put(LOOSE, answer, true);
        return Ok(());
    }
    session::send(tenant, child, text, message, To::Stream(LOOSE)).await
}

/// Tells the client on its stream that a request is refused.
fn tell(
    tenant: &Tenant,
    failure: &Failure,
    settings: &Settings,
    text: &str,
    message: &Message<'_>,
) {
    let id = message.id.clone().filter(|id| id.len() <= LITERAL);
    if let (Shape::Request, Some(id)) = (message.shape, id) {
        let refusal = failure.rejection(&settings.server);
        let refusal = refusal.for_ids(&Ids::One(text[id].into()));
        tenant.mailbox.put(LOOSE, refusal.body(), true);
    }
    if matches!(failure, Failure::Gone) {
        // Nothing would answer on it any more: its client is to open another.
        tenant.mailbox.end(LOOSE);
    }
}
