//! Watching: `CLIENT TRACKING` in broadcast mode, on a connection of its own to every master.
//!
//! The server tells such a connection the name of every key of ours that anybody changes. What it says
//! is in order: once a `PING` is answered, every earlier change has been reported.
//!
//! With every ping each server is asked whether it still is a master, the Sentinels whether they still
//! name it, the Cluster whether it still has the same masters. A server that was demoted or deposed
//! answers on, but hears of changes late or never: it is left before the next ping.
//!
//! A server that refuses to report changes is watched all the same, blindly: what it knows is then read
//! again and again (see [`Event::Blind`]), and it is asked anew with every ping.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{join_all, try_join_all};
use redis::{PushInfo, PushKind, Value, pipe};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

use super::Inner;
use super::layout::Layout;
use super::link::{ConnectError, Live};
use super::node::Node;
use super::way::replicas;
use crate::store::{Event, RecordId};

/// Somewhat less than a second, so that `Alive` comes every second also when the answer takes a while.
const PING_EVERY: Duration = Duration::from_millis(800);
const PING_TIMEOUT: Duration = Duration::from_secs(1);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Why a watch is over.
enum End {
    /// Something failed; at which server, if that is known.
    Lost(Option<Arc<Node>>, ConnectError),
    /// There are other servers than those watched.
    OtherServers,
}

/// Until nobody listens: watch; after a failure say Down once, and try again.
pub(super) async fn run(inner: Arc<Inner>, events: UnboundedSender<Event>) {
    let mut pause = FIRST_PAUSE;
    let mut told = false;
    while !events.is_closed() {
        let end = match Watch::start(&inner).await {
            Ok(mut watch) => {
                (pause, told) = (FIRST_PAUSE, false);
                watch
                    .watched
                    .iter()
                    .for_each(|watched| watched.node.found());
                tokio::select! {
                    () = events.closed() => return,
                    end = watch.run(&inner, &events) => end,
                }
            }
            Err(end) => end,
        };
        if !told {
            tell_why(&end);
            let _ = events.send(Event::Down);
            told = true;
        }
        // What other connections lead to is no better: perhaps a server that was demoted. After every
        // failure, for one of them may have been made between two; nobody else looks after them.
        if let End::Lost(at, _) = end {
            for node in at.map_or_else(|| inner.servers.all(), |node| vec![node]) {
                node.lost();
            }
        }
        tokio::select! {
            () = events.closed() => return,
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(LONGEST_PAUSE),
        }
    }
}

fn tell_why(end: &End) {
    match end {
        End::Lost(_, error) => {
            tracing::warn!(%error, "The store cannot be watched; trying again.");
        }
        End::OtherServers => tracing::info!("The store has other servers now; watching those."),
    }
}

/// A server and the connection on which it reports changes.
struct Watched {
    node: Arc<Node>,
    live: Live,
}

struct Watch {
    watched: Vec<Watched>,
    pushes: UnboundedReceiver<PushInfo>,
    /// Whether some server refused to report changes.
    blind: bool,
}

impl Watch {
    /// Connects to every server and turns tracking on; from then on nothing is missed.
    async fn start(inner: &Inner) -> Result<Self, End> {
        let unknown = |error| End::Lost(None, error);
        inner.servers.refresh().await.map_err(unknown)?;
        let (sender, pushes) = mpsc::unbounded_channel();
        let connecting = inner.servers.all().into_iter().map(async |node| {
            match node.own.connect(Some(sender.clone())).await {
                Ok(live) => Ok(Watched { node, live }),
                Err(error) => {
                    inner.servers.forget(&node);
                    Err(End::Lost(Some(node), error))
                }
            }
        });
        let watched = try_join_all(connecting).await?;
        let blind = !tracking_on(inner, &watched).await?;
        Ok(Self {
            watched,
            pushes,
            blind,
        })
    }

    /// Reports until something fails.
    async fn run(&mut self, inner: &Inner, events: &UnboundedSender<Event>) -> End {
        // Whether somebody listens is for the caller to see.
        let tell = |event| {
            let _ = events.send(event);
        };
        tell(if self.blind { Event::Blind } else { Event::Up });
        let (watched, pushes) = (&self.watched, &mut self.pushes);
        let report = |push: Option<PushInfo>| match push
            .map_or(Pushed::Closed, |push| pushed(&inner.layout, &push))
        {
            Pushed::Changes(ids) => {
                ids.into_iter().map(Event::Changed).for_each(tell);
                Ok(())
            }
            end => Err(over(watched, &end)),
        };
        let ping = ping(inner, watched, Duration::ZERO);
        tokio::pin!(ping);
        loop {
            tokio::select! {
                biased;
                push = pushes.recv() => {
                    if let Err(end) = report(push) {
                        return end;
                    }
                }
                answer = &mut ping => {
                    if let Err(end) = answer {
                        return end;
                    }
                    // They arrived before the answer, perhaps after we looked.
                    while let Ok(push) = pushes.try_recv() {
                        if let Err(end) = report(Some(push)) {
                            return end;
                        }
                    }
                    if self.blind {
                        match tracking_on(inner, watched).await {
                            Ok(on) => self.blind = !on,
                            Err(end) => return end,
                        }
                        if !self.blind {
                            tell(Event::Up);
                        }
                    }
                    tell(Event::Alive);
                    ping.set(self::ping(inner, watched, PING_EVERY));
                }
            }
        }
    }
}

/// Asks every server to report changes; `false` when one refuses.
async fn tracking_on(inner: &Inner, watched: &[Watched]) -> Result<bool, End> {
    let asked = watched.iter().map(async |Watched { node, live }| {
        let mut on = pipe();
        on.add_command(inner.layout.tracking_on());
        let answer = live.ask(&mut on, PING_TIMEOUT).await;
        let failed = |error| End::Lost(Some(node.clone()), ConnectError::from_answer(&error));
        Ok(!matches!(
            answer.map_err(failed)?[..],
            [Value::ServerError(_)]
        ))
    });
    let all = try_join_all(asked).await?;
    Ok(all.into_iter().all(|on| on))
}

/// After a pause, asks every server for a sign of life, and whether it still is where records are.
async fn ping(inner: &Inner, watched: &[Watched], pause: Duration) -> Result<(), End> {
    tokio::time::sleep(pause).await;
    let asked = watched.iter().map(async |Watched { node, live }| {
        let lost = |error| End::Lost(Some(node.clone()), error);
        let mut ask = pipe();
        ask.cmd("PING").cmd("ROLE");
        let answers = live.demand(&mut ask, PING_TIMEOUT).await.map_err(lost)?;
        if answers.get(1).and_then(replicas).is_none() {
            return Err(lost(ConnectError::Unreachable(
                "it became a replica".to_owned(),
            )));
        }
        inner.servers.confirm(&live.address).await.map_err(lost)
    });
    let (asked, found) = tokio::join!(join_all(asked), inner.servers.refresh());
    asked.into_iter().collect::<Result<(), End>>()?;
    found.map_err(|error| End::Lost(None, error))?;
    let now = inner.servers.all();
    let same = |(now, then): (&Arc<Node>, &Watched)| Arc::ptr_eq(now, &then.node);
    if now.len() == watched.len() && now.iter().zip(watched).all(same) {
        return Ok(());
    }
    Err(End::OtherServers)
}

/// What a server said unasked.
pub(super) enum Pushed {
    /// These records changed.
    Changes(Vec<RecordId>),
    /// Everything was deleted. Then it is best to start anew: a server also forgets everything when it
    /// becomes a replica.
    Everything,
    /// Nothing will be said any more.
    Closed,
}

pub(super) fn pushed(layout: &Layout, push: &PushInfo) -> Pushed {
    match (&push.kind, push.data.as_slice()) {
        (PushKind::Disconnection, _) => Pushed::Closed,
        (PushKind::Invalidate, [Value::Array(keys)]) => {
            let keys = keys.iter().filter_map(|key| match key {
                Value::BulkString(key) => layout.id_of(key),
                _ => None,
            });
            Pushed::Changes(keys.collect())
        }
        (PushKind::Invalidate, _) => Pushed::Everything,
        _ => Pushed::Changes(Vec::new()),
    }
}

fn over(watched: &[Watched], how: &Pushed) -> End {
    let reason = match how {
        Pushed::Everything => "everything in it was deleted",
        _ => "the connection was closed",
    };
    let closed = watched.iter().find(|watched| watched.live.is_closed());
    let node = closed.map(|watched| watched.node.clone());
    End::Lost(node, ConnectError::Unreachable(reason.to_owned()))
}
