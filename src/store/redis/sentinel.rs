//! Sentinels: who tells where the master is.
//!
//! A majority of those in the URL must answer, and the newest configuration among their answers
//! counts. Fewer may be on the wrong side of a broken network, together with a master that was deposed
//! on the other: it would go on letting revoked keys in. So without a majority the store counts as out
//! of reach, although a master might answer.
//!
//! For the same reason the watch asks again with every ping, see [`super::watch`].

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use redis::{FromRedisValue as _, Pipeline, Value, cmd, pipe};

use super::line::Line;
use super::link::{ConnectError, Dialer, words};
use super::quorum::{LAGGARDS, most};
use super::way::{Election, Way};
use crate::store::StoreError;
use crate::store::url::Address;

const TIMEOUT: Duration = Duration::from_millis(500);

/// The Sentinels of one master.
pub(super) struct Sentinels {
    lines: Vec<Line>,
    name: String,
}

/// What one Sentinel says of the master.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct View {
    /// Greater after each fail-over.
    epoch: u64,
    /// Whether a replica is just being made master. Then the others know of it later.
    changing: bool,
    address: Address,
}

impl Sentinels {
    pub(super) fn new(dialer: &Arc<Dialer>, addresses: &[Address], name: &str) -> Self {
        let line = |address: &Address| Line::new(Way::Anybody(dialer.clone(), address.clone()));
        Self {
            lines: addresses.iter().map(line).collect(),
            name: name.to_owned(),
        }
    }

    /// How many replicas are known, also those that are down: one that comes back may be made master
    /// before it has caught up. Zero when no Sentinel tells: the master knows of those that follow it.
    pub(super) async fn replicas(&self) -> u32 {
        let asked = self.lines.iter().map(async |line| {
            let mut ask = self.question("REPLICAS");
            let values = line.ask(&mut ask, TIMEOUT).await.ok()?;
            let list =
                Vec::<HashMap<String, String>>::from_redis_value_ref(values.first()?).ok()?;
            u32::try_from(list.len()).ok()
        });
        let known = futures_util::future::join_all(asked).await;
        known.into_iter().flatten().max().unwrap_or_default()
    }

    /// Those of the URL decide by majority, so it should name all there are.
    pub(super) async fn remarks(&self) -> Vec<String> {
        let asked = self.lines.iter().map(async |line| {
            let values = line.ask(&mut self.question("MASTER"), TIMEOUT).await.ok()?;
            let facts = HashMap::<String, String>::from_redis_value_ref(values.first()?).ok()?;
            facts.get("num-other-sentinels")?.parse::<usize>().ok()
        });
        let others = futures_util::future::join_all(asked).await;
        let all = others.into_iter().flatten().max().unwrap_or_default() + 1;
        if all <= self.lines.len() {
            return Vec::new();
        }
        vec![format!(
            "store.url names {} of {all} Sentinels: name all of them, for a majority of those it names \
             decides where the master is",
            self.lines.len()
        )]
    }

    async fn view(&self, line: &Line) -> Result<View, String> {
        let mut ask = self.question("GET-MASTER-ADDR-BY-NAME");
        ask.cmd("SENTINEL").arg("MASTER").arg(&self.name);
        let values = line.ask(&mut ask, TIMEOUT).await;
        let values = values.map_err(|failed| StoreError::from(failed).to_string())?;
        let values = values.into_iter().map(Value::extract_error);
        let values = values.collect::<Result<Vec<_>, _>>();
        let values = values.map_err(|error| words(&error))?;
        let view = match &values[..] {
            [address, master] => view(address, master),
            _ => None,
        };
        view.ok_or_else(|| format!("a Sentinel knows no master `{}`", self.name))
    }

    fn question(&self, what: &str) -> Pipeline {
        let mut question = cmd("SENTINEL");
        question.arg(what).arg(&self.name);
        let mut ask = pipe();
        ask.add_command(question);
        ask
    }
}

#[async_trait]
impl Election for Sentinels {
    async fn master(&self) -> Result<Address, ConnectError> {
        let answers = most(self.lines.iter().map(|line| self.view(line)), LAGGARDS).await;
        let majority = self.lines.len() / 2 + 1;
        let (mut views, mut last_words) = (Vec::new(), String::new());
        for answer in answers {
            match answer {
                Ok(view) => views.push(view),
                Err(reason) => last_words = reason,
            }
        }
        if views.len() < majority {
            return Err(ConnectError::Unreachable(format!(
                "{} of {} Sentinels tell where `{}` is, and a majority is needed to be sure: {last_words}",
                views.len(),
                self.lines.len(),
                self.name,
            )));
        }
        Ok(newest(views).expect("a majority is at least one").address)
    }
}

/// The address changes at the moment a replica is promoted, that in the answer to `MASTER` only once
/// the whole fail-over is over; the epoch is in the latter alone.
pub(super) fn view(address: &Value, master: &Value) -> Option<View> {
    let (host, port) = <(String, u16)>::from_redis_value_ref(address).ok()?;
    let facts = HashMap::<String, String>::from_redis_value_ref(master).ok()?;
    let before = (facts.get("ip"), facts.get("port"));
    Some(View {
        epoch: facts.get("config-epoch")?.parse().ok()?,
        changing: before != (Some(&host), Some(&port.to_string())),
        address: Address { host, port },
    })
}

fn newest(views: Vec<View>) -> Option<View> {
    views
        .into_iter()
        .max_by_key(|view| (view.epoch, view.changing))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::BulkString(text.into())
    }

    #[test]
    fn the_newest_configuration_counts() {
        let seen = |epoch: &str, before: &str, port: &str| {
            let address = Value::Array(vec![text("h"), text(port)]);
            let facts = [("ip", "h"), ("port", before), ("config-epoch", epoch)];
            let facts = facts.map(|(name, value)| (text(name), text(value)));
            view(&address, &Value::Map(facts.to_vec())).unwrap()
        };
        let port = |views| newest(views).unwrap().address.port;
        assert_eq!(
            port(vec![
                seen("9", "1", "1"),
                seen("11", "2", "2"),
                seen("10", "3", "3")
            ]),
            2
        );
        // A fail-over under way, of which only one knows as yet.
        assert_eq!(port(vec![seen("9", "1", "2"), seen("9", "1", "1")]), 2);
        assert_eq!(view(&Value::Nil, &Value::Map(Vec::new())), None);
    }
}
