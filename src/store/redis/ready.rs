//! Before first use: is this a store of ours, and may we do all we need? And what may the operator
//! want to know of it?

use std::time::Duration;

use futures_util::future::join_all;
use redis::{FromRedisValue as _, Pipeline, Value, cmd, pipe};
use tokio::time::{Instant, sleep};

use super::ask::{Question, read};
use super::link::ConnectError;
use super::node::Purpose;
use super::settle::Share;
use super::take::{TAKE, TAKE_HASH};
use super::{Inner, READ_TIMEOUT, SWAP, SWAP_HASH};
use crate::store::settings::SCHEMA;
use crate::store::{OpenError, StoreError};

/// How long a server that takes over is waited for, and how often it is looked for.
const PATIENCE: Duration = Duration::from_millis(1500);
const PAUSE: Duration = Duration::from_millis(100);

impl Inner {
    /// As [`Inner::make_ready`]; where another server may take over, that one is waited for.
    pub(super) async fn make_ready_patiently(&self) -> Result<(), OpenError> {
        let since = Instant::now();
        loop {
            let ready = self.make_ready().await;
            let lost = matches!(ready, Err(OpenError::Unreachable { .. }));
            if !lost || !self.servers.may_change() || since.elapsed() > PATIENCE {
                return ready;
            }
            sleep(PAUSE).await;
        }
    }

    /// Connects, checks the schema (writing it to a server that has none) and the permissions.
    pub(super) async fn make_ready(&self) -> Result<(), OpenError> {
        let explained = |error: ConnectError| error.explained(&self.place);
        self.servers.refresh().await.map_err(explained)?;
        let lost = |error: StoreError| explained(ConnectError::Unreachable(error.to_string()));
        let shares = self.shares().map_err(lost)?;
        let rehearsed = shares.iter().map(|share| self.rehearse(share));
        let (done, failed): (Vec<_>, Vec<_>) = join_all(rehearsed)
            .await
            .into_iter()
            .partition(Result::is_ok);
        for error in failed.into_iter().filter_map(Result::err) {
            match error {
                // The records of the others are there, and it may come back.
                ConnectError::Unreachable(reason) if !done.is_empty() => {
                    tracing::warn!(reason, "A server of the store is away.");
                }
                error => return Err(explained(error)),
            }
        }
        self.check_schema().await?;
        self.servers.settle_in(&self.layout.schema_key());
        Ok(())
    }

    async fn check_schema(&self) -> Result<(), OpenError> {
        let key = self.layout.schema_key();
        let place = self.place.clone();
        let (mut get, mut create) = (cmd("GET"), cmd("SET"));
        get.arg(&key);
        create.arg(&key).arg(SCHEMA).arg("NX");
        let ask = async |command| {
            let question = [Question::new(&key, command)];
            let answer = self.ask(Purpose::Write, &question, READ_TIMEOUT).await;
            let lost = |error: &StoreError| ConnectError::Unreachable(error.to_string());
            let value = answer.map_err(|error| lost(&error).explained(&place))?;
            let value = value
                .into_iter()
                .next()
                .unwrap_or(Value::Nil)
                .extract_error();
            value.map_err(|error| ConnectError::from_answer(&error).explained(&place))
        };
        let mut found = ask(get.clone()).await?;
        if found == Value::Nil {
            ask(create).await?;
            found = ask(get).await?;
        }
        let found: Option<u64> = read(found).ok();
        let Some(found) = found else {
            let reason = format!("{key} holds something else");
            return Err(OpenError::NotOurs { place, reason });
        };
        match found.cmp(&u64::from(SCHEMA)) {
            std::cmp::Ordering::Less => Err(OpenError::SchemaOlder { place, found }),
            std::cmp::Ordering::Greater => Err(OpenError::SchemaNewer { place, found }),
            std::cmp::Ordering::Equal => Ok(()),
        }
    }

    /// Does everything once, at one server, in a form that changes nothing. A server that cannot write
    /// for the moment (a full disk, too few replicas) can still be read, so only a missing permission or
    /// connection stops the start.
    async fn rehearse(&self, share: &Share) -> Result<(), ConnectError> {
        let live = share.node.own.connect(None).await?;
        let tag = &share.tags[0];
        let answers = live.ask(&mut self.rehearsal(tag), READ_TIMEOUT).await;
        let answers = answers.map_err(|error| ConnectError::from_answer(&error))?;
        for answer in answers {
            let Value::ServerError(error) = answer else {
                continue;
            };
            match ConnectError::from_answer(&error.into()) {
                error @ ConnectError::NotAllowed(_) => return Err(error),
                other => {
                    tracing::warn!(reason = %other, "The store may be read, but not written for now.");
                }
            }
        }
        Ok(())
    }

    /// Every command used later, but those without which the store works on.
    fn rehearsal(&self, tag: &str) -> Pipeline {
        let (record, index) = (self.layout.unused_key(tag), self.layout.index_key('k', tag));
        let mut all = pipe();
        all.cmd("GET").arg(&record);
        all.cmd("DEL").arg(&record);
        all.cmd("ZREM").arg(&index).arg("");
        // XX: only if it exists, which it never does.
        all.cmd("ZADD").arg(&record).arg("XX").arg(0).arg("");
        all.cmd("SET").arg(&record).arg("").arg("XX");
        all.cmd("ZRANGEBYLEX")
            .arg(&index)
            .arg("-")
            .arg("+")
            .arg("LIMIT")
            .arg(0)
            .arg(1);
        // Updates a record that does not exist: a conflict.
        for (command, script) in [("EVAL", SWAP), ("EVALSHA", &SWAP_HASH)] {
            all.cmd(command).arg(script).arg(2).arg(&record).arg(&index);
            all.arg(&[0_u8; 8]).arg("").arg("");
        }
        // Takes nothing of a meter that does not exist.
        for (command, script) in [("EVAL", TAKE), ("EVALSHA", &TAKE_HASH)] {
            all.cmd(command).arg(script).arg(1).arg(&record);
            all.arg(0).arg("rate").arg(1).arg(1);
        }
        all.cmd("XADD").arg(&record).arg("NOMKSTREAM");
        all.arg("MAXLEN")
            .arg("~")
            .arg(1)
            .arg("*")
            .arg("line")
            .arg("");
        all.cmd("TIME");
        all.cmd("WAIT").arg(0).arg(1);
        all.cmd("PING");
        if self.servers.are_many() {
            all.cmd("ASKING").cmd("CLUSTER").arg("SLOTS");
        }
        all
    }

    /// What works, but not as well as it should: a sentence each.
    pub(super) async fn remarks(&self) -> Result<Vec<String>, StoreError> {
        let shares = self.shares()?;
        let mut remarks = self.servers.remarks().await;
        let asked = shares.iter().map(async |share| {
            let unreachable = |error: ConnectError| StoreError::Unreachable(error.to_string());
            let live = share.node.own.connect(None).await.map_err(unreachable)?;
            let mut ask = pipe();
            ask.cmd("INFO").arg("memory").cmd("INFO").arg("persistence");
            ask.add_command(self.layout.tracking_on());
            let answers = live.ask(&mut ask, READ_TIMEOUT).await;
            let answers =
                answers.map_err(|error| unreachable(ConnectError::from_answer(&error)))?;
            let remarks = of_answers(&answers).into_iter();
            Ok::<_, StoreError>(
                remarks
                    .map(|remark| format!("{}: {remark}", live.address))
                    .collect::<Vec<_>>(),
            )
        });
        for found in join_all(asked).await {
            remarks.extend(found.unwrap_or_else(|error| vec![error.to_string()]));
        }
        Ok(remarks)
    }
}

/// From the answers to `INFO memory`, `INFO persistence` and `CLIENT TRACKING`.
fn of_answers(answers: &[Value]) -> Vec<String> {
    let [memory, persistence, tracking] = answers else {
        return Vec::new();
    };
    let mut remarks = Vec::new();
    match (
        fact(memory, "maxmemory_policy"),
        fact(persistence, "aof_enabled"),
    ) {
        (None, None) => remarks.push(
            "its settings cannot be looked at (INFO): see that maxmemory-policy is noeviction and \
             appendonly is yes, or allow the user of store.url +info"
                .to_owned(),
        ),
        (policy, log) => {
            if let Some(policy) = policy.filter(|policy| policy != "noeviction") {
                remarks.push(format!(
                    "maxmemory-policy is {policy}: a full server throws users and secrets away; set it \
                     to noeviction"
                ));
            }
            if log.is_some_and(|log| log == "0") {
                remarks.push(
                    "it keeps no append-only file: after a crash it forgets the last changes, and keys \
                     revoked last work again; set appendonly to yes"
                        .to_owned(),
                );
            }
        }
    }
    if let Value::ServerError(error) = tracking {
        remarks.push(format!(
            "it refuses to report changes ({error}): a revoked key works for up to 5 seconds; allow the \
             user of store.url +client|tracking"
        ));
    }
    remarks
}

/// A line of `INFO`.
fn fact(info: &Value, name: &str) -> Option<String> {
    let text = String::from_redis_value_ref(info).ok()?;
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    value.map(|value| value.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(text: &str) -> Value {
        Value::BulkString(text.into())
    }

    #[test]
    fn remarks_on_what_loses_records_only() {
        let good = [
            info("# Memory\r\nmaxmemory:0\r\nmaxmemory_policy:noeviction\r\n"),
            info("# Persistence\r\naof_enabled:1\r\n"),
            Value::Okay,
        ];
        assert_eq!(of_answers(&good), Vec::<String>::new());
        let bad = [
            info("maxmemory_policy:allkeys-lru\r\n"),
            info("aof_enabled:0\r\n"),
            Value::Okay,
        ];
        let found = of_answers(&bad);
        assert!(
            found[0].contains("allkeys-lru") && found[1].contains("appendonly"),
            "{found:?}"
        );
        let refused = redis::parse_redis_value(b"-NOPERM no\r\n").unwrap();
        let found = of_answers(&[refused.clone(), refused.clone(), refused]);
        assert!(
            found[0].contains("+info") && found[1].contains("+client|tracking"),
            "{found:?}"
        );
    }
}
