//! Watching: `CLIENT TRACKING` in broadcast mode, on a connection of its own.
//!
//! The server tells this connection the name of every key of ours that anybody changes. What it says
//! is in order: once a `PING` is answered, every earlier change has been reported.

use std::sync::Arc;
use std::time::Duration;

use redis::{PushInfo, PushKind, RedisError, Value, pipe};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

use super::Inner;
use super::link::{ConnectError, Live, replicas};
use crate::store::{Event, RecordId};

/// Somewhat less than a second, so that `Alive` comes every second also when the answer takes a while.
const PING_EVERY: Duration = Duration::from_millis(800);
const PING_TIMEOUT: Duration = Duration::from_secs(1);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Until nobody listens: watch; after a failure say Down once, and try again.
pub(super) async fn run(inner: Arc<Inner>, events: UnboundedSender<Event>) {
    let mut pause = FIRST_PAUSE;
    let mut told = false;
    while !events.is_closed() {
        let error = match Watcher::start(&inner).await {
            Ok(mut watcher) => {
                (pause, told) = (FIRST_PAUSE, false);
                inner.reads.found();
                inner.writes.found();
                tokio::select! {
                    () = events.closed() => return,
                    error = watcher.run(&inner, &events) => error,
                }
            }
            Err(error) => error,
        };
        if !told {
            // What the other connections lead to is no better: perhaps a server that was demoted.
            inner.reads.lost();
            inner.writes.lost();
            tracing::warn!(%error, "The store cannot be watched; trying again.");
            let _ = events.send(Event::Down);
            told = true;
        }
        tokio::select! {
            () = events.closed() => return,
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(LONGEST_PAUSE),
        }
    }
}

struct Watcher {
    live: Live,
    pushes: UnboundedReceiver<PushInfo>,
}

impl Watcher {
    /// Connects and turns tracking on; from then on nothing is missed.
    async fn start(inner: &Inner) -> Result<Self, ConnectError> {
        let (sender, pushes) = mpsc::unbounded_channel();
        let live = inner.target.connect(Some(sender)).await?;
        let mut on = pipe();
        on.add_command(inner.layout.tracking_on());
        let answer = live.ask::<()>(&on, PING_TIMEOUT).await;
        answer.map_err(|error| ConnectError::from_answer(&error))?;
        Ok(Self { live, pushes })
    }

    /// Reports until something fails.
    async fn run(&mut self, inner: &Inner, events: &UnboundedSender<Event>) -> ConnectError {
        // Whether somebody listens is for the caller to see.
        let tell = |event| {
            let _ = events.send(event);
        };
        let closed = || ConnectError::Unreachable("the connection was closed".to_owned());
        tell(Event::Up);
        let ping = ping(&self.live, Duration::ZERO);
        tokio::pin!(ping);
        loop {
            tokio::select! {
                biased;
                push = self.pushes.recv() => match push {
                    Some(push) if push.kind == PushKind::Disconnection => return closed(),
                    Some(push) => match changed(inner, &push) {
                        Some(ids) => ids.into_iter().map(Event::Changed).for_each(tell),
                        None => return flushed(),
                    },
                    None => return closed(),
                },
                answer = &mut ping => {
                    match answer {
                        Ok(role) if replicas(&role).is_some() => {}
                        Ok(_) => return ConnectError::Unreachable("it became a replica".to_owned()),
                        Err(error) => return ConnectError::from_answer(&error),
                    }
                    // They arrived before the answer, perhaps after we looked.
                    while let Ok(push) = self.pushes.try_recv() {
                        match changed(inner, &push) {
                            Some(ids) => ids.into_iter().map(Event::Changed).for_each(tell),
                            None => return flushed(),
                        }
                    }
                    tell(Event::Alive);
                    ping.set(self::ping(&self.live, PING_EVERY));
                }
            }
        }
    }
}

/// After a pause, asks for a sign of life, and whether the server still is a master: one that was
/// demoted answers on, but hears of changes late or never.
async fn ping(live: &Live, pause: Duration) -> Result<Value, RedisError> {
    tokio::time::sleep(pause).await;
    let mut ask = pipe();
    ask.cmd("PING").ignore().cmd("ROLE");
    let (role,) = live.ask::<(Value,)>(&ask, PING_TIMEOUT).await?;
    Ok(role)
}

fn flushed() -> ConnectError {
    ConnectError::Unreachable("everything in it was deleted".to_owned())
}

/// The records a push is about; `None` when that is every one. Then it is best to start anew: a
/// server also forgets everything when it becomes a replica.
fn changed(inner: &Inner, push: &PushInfo) -> Option<Vec<RecordId>> {
    if push.kind != PushKind::Invalidate {
        return Some(Vec::new());
    }
    let [Value::Array(keys)] = push.data.as_slice() else {
        return None;
    };
    let keys = keys.iter().filter_map(|key| match key {
        Value::BulkString(key) => inner.layout.id_of(key),
        _ => None,
    });
    Some(keys.collect())
}
