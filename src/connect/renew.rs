//! Sessions that begin anew, without the client: a server that lost one says 404, and the client has to
//! initialize again (MCP 2025-11-25, basic/transports "Session Management"). One that speaks over stdio
//! knows nothing of that, so its own words are said once more for it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use tokio::time::{Instant, timeout};

use super::exchange::asked;
use super::flights::Hello;
use super::headers::of_session;
use super::message::outgoing;
use super::session::Standing;
use super::shared::Shared;
use super::trouble::Problem;
use super::wire::PATIENCE;

/// How long the server may take to hear that a session is over: clients kill who is slow to end.
const FAREWELL: Duration = Duration::from_secs(1);

/// Begins a new session, unless another task did since `lost` was the current one.
///
/// # Errors
/// It cannot be had, or the server is not the one the client met.
pub(super) async fn renew(shared: &Arc<Shared>, lost: u64) -> Result<(), Problem> {
    let _one = shared.renewing.lock().await;
    let (changed, generation) = {
        let session = shared.session();
        (session.has_changed(), session.standing().generation)
    };
    if changed {
        return Err(Problem::Changed);
    }
    if generation != lost {
        return Ok(());
    }
    if let Some(sse) = &shared.sse {
        sse.close(shared).await;
    }
    let beginning = shared.session().beginning();
    let unopened = || Problem::Gone("the client never opened one".to_owned());
    let (initialize, initialized) = beginning.ok_or_else(unopened)?;
    let hello = said(shared, initialize).await?;
    let silent = || Problem::Gone("it did not answer `initialize`".to_owned());
    let Hello { id, result } = hello.ok_or_else(silent)?.map_err(Problem::Gone)?;
    let renewed = shared.session().renew(lost, id.clone(), &result);
    if renewed.is_err() {
        let new = Standing {
            id,
            ..Standing::default()
        };
        goodbye(shared, &new).await;
        return Err(Problem::Changed);
    }
    if let Some(initialized) = initialized {
        said(shared, initialized).await?;
    }
    shared.generation.send_replace(lost + 1);
    Ok(())
}

/// Says what the client said once, and waits for the answer, which is not for the client.
async fn said(shared: &Arc<Shared>, text: Bytes) -> Result<Option<Result<Hello, String>>, Problem> {
    let message = outgoing(text).map_err(|refused| Problem::Gone(refused.text))?;
    let flight = shared.flights.begin(&message, false, true);
    let done = timeout(PATIENCE * 2, asked(shared, &message, &flight)).await;
    shared.flights.end(&flight);
    done.unwrap_or(Err(Problem::Cut))?;
    Ok(flight.hello())
}

/// Tells the server that a session is over.
pub(super) async fn goodbye(shared: &Shared, standing: &Standing) {
    if standing.id.is_none() {
        return;
    }
    let ended = async {
        let to = (Method::DELETE, shared.wire.url());
        let headers = of_session(standing);
        let sent = shared.wire.send(to, headers, Bytes::new(), Instant::now());
        sent.await?.answer().await
    };
    // Nothing depends on it: the server may not let clients end sessions, and forgets them in time.
    let _ = timeout(FAREWELL, ended).await;
}
