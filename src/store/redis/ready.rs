//! Before first use: is this a store of ours, and may we do all we need?

use redis::{Pipeline, RedisError, Value, pipe};

use super::link::ConnectError;
use super::{Inner, READ_TIMEOUT, SWAP, SWAP_HASH};
use crate::store::OpenError;
use crate::store::settings::SCHEMA;

impl Inner {
    /// Connects, checks the schema (writing it to a server that has none) and the permissions.
    pub(super) async fn make_ready(&self) -> Result<(), OpenError> {
        let place = self.target.url().address();
        let explained = |error: ConnectError| error.explained(&place);
        let live = self.target.connect(None).await.map_err(explained)?;
        let key = self.layout.schema_key();
        let mut get = pipe();
        get.cmd("GET").arg(&key);
        let mut create = pipe();
        create
            .cmd("SET")
            .arg(&key)
            .arg(SCHEMA)
            .arg("NX")
            .ignore()
            .cmd("GET")
            .arg(&key);

        let ask = async |request: &Pipeline| {
            let answer = live.ask::<Vec<Option<String>>>(request, READ_TIMEOUT).await;
            answer.map_err(|error| ConnectError::from_answer(&error))
        };
        let mut found = ask(&get).await.map_err(explained)?.pop().flatten();
        if found.is_none() {
            found = ask(&create).await.map_err(explained)?.pop().flatten();
        }
        let found = found.unwrap_or_default();
        let Ok(found) = found.parse::<u64>() else {
            let reason = format!("{key} holds something else");
            return Err(OpenError::NotOurs { place, reason });
        };
        match found.cmp(&u64::from(SCHEMA)) {
            std::cmp::Ordering::Less => return Err(OpenError::SchemaOlder { place, found }),
            std::cmp::Ordering::Greater => return Err(OpenError::SchemaNewer { place, found }),
            std::cmp::Ordering::Equal => {}
        }
        let tried = live
            .ask::<Vec<Value>>(&self.rehearsal(), READ_TIMEOUT)
            .await;
        tried
            .or_else(|error| forbidden_or_lost(&error))
            .map(drop)
            .map_err(explained)
    }

    /// Every command used later, in a form that changes nothing.
    fn rehearsal(&self) -> Pipeline {
        let (record, index) = (self.layout.unused_key(), self.layout.index_key('k', "00"));
        let mut all = pipe();
        all.cmd("MGET").arg(&record);
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
        all.cmd("WAIT").arg(0).arg(1);
        all.cmd("PING");
        all.add_command(self.layout.tracking_on());
        all.cmd("CLIENT").arg("TRACKING").arg("OFF");
        all
    }
}

/// A server that cannot write for the moment (a full disk, too few replicas) can still be read, so
/// only a missing permission or connection stops the start.
fn forbidden_or_lost(error: &RedisError) -> Result<Vec<Value>, ConnectError> {
    let Some(answers) = error.clone().into_server_errors() else {
        return Err(ConnectError::from_answer(error));
    };
    for (_, answer) in answers.iter() {
        let answer = ConnectError::from_answer(&answer.clone().into());
        match answer {
            ConnectError::NotAllowed(_) => return Err(answer),
            other => {
                tracing::warn!(reason = %other, "The store may be read, but not written for now.")
            }
        }
    }
    Ok(Vec::new())
}
