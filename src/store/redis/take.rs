//! Meters: the rule of [`crate::store::meter`] as a script, by the server's clock.

use std::sync::LazyLock;
use std::time::Duration;

use redis::{Cmd, Script, ServerErrorKind, Value, cmd};

use super::ask::{Question, read};
use super::node::Purpose;
use super::{Inner, READ_TIMEOUT};
use crate::store::meter::{GRACE_US, quota_bounds, rate_us};
use crate::store::{Ask, Meter, StoreError, Taken};

/// `KEYS`: the meter. `ARGV`: how many are wanted, then `rate`, interval and window in microseconds; or
/// `quota`, the greatest number, the end in seconds, how long it is remembered after that in milliseconds.
/// Answers how many were granted, and in how many microseconds one more may be had.
///
/// What is kept: of a rate when all are back, in microseconds; of a quota how many were taken, and its
/// end. Writing a number in full takes `%.0f`: Lua writes 1e+15 otherwise.
pub(super) const TAKE: &str = "\
    local time = redis.call('TIME') \
    local now = time[1] * 1000000 + time[2] \
    local kept = redis.call('GET', KEYS[1]) \
    local want = tonumber(ARGV[1]) \
    local granted, wait \
    if ARGV[2] == 'rate' then \
      local interval, window = tonumber(ARGV[3]), tonumber(ARGV[4]) \
      local back = tonumber(kept or now) \
      back = math.max(now, math.min(back, now + window)) \
      granted = math.min(want, math.floor((now + window - back) / interval)) \
      back = back + granted * interval \
      wait = math.max(0, back + interval - now - window) \
      if granted > 0 then \
        local left = math.ceil((back - now) / 1000) + 1 \
        redis.call('SET', KEYS[1], string.format('%.0f', back), 'PX', string.format('%.0f', left)) \
      end \
    else \
      local max, ends = tonumber(ARGV[3]), tonumber(ARGV[4]) \
      local used = 0 \
      if kept then \
        local was, till = string.match(kept, '^(%d+) (%d+)$') \
        was, till = tonumber(was), tonumber(till) \
        if till >= ends or till * 1000000 > now then used, ends = was, till end \
      end \
      local left = ends * 1000000 - now \
      granted = math.min(want, math.max(0, max - used)) \
      wait = math.max(left, 1000000) \
      if granted > 0 then \
        local value = string.format('%.0f %.0f', used + granted, ends) \
        local px = math.ceil(math.max(left, 0) / 1000) + tonumber(ARGV[5]) \
        redis.call('SET', KEYS[1], value, 'PX', string.format('%.0f', px)) \
      end \
    end \
    if granted == want then wait = 0 end \
    return {granted, wait}";
pub(super) static TAKE_HASH: LazyLock<String> =
    LazyLock::new(|| Script::new(TAKE).get_hash().to_owned());

impl Inner {
    pub(super) async fn take(&self, asks: &[Ask]) -> Result<Vec<Taken>, StoreError> {
        let all: Vec<_> = (0..asks.len()).collect();
        let mut answers = self.take_by(("EVALSHA", &TAKE_HASH), asks, &all).await?;
        let unknown: Vec<_> = all
            .into_iter()
            .filter(|&n| is_unknown(&answers[n]))
            .collect();
        if !unknown.is_empty() {
            let again = self.take_by(("EVAL", TAKE), asks, &unknown).await?;
            for (n, answer) in unknown.into_iter().zip(again) {
                answers[n] = answer;
            }
        }
        answers.into_iter().map(taken).collect()
    }

    async fn take_by(
        &self,
        script: (&str, &str),
        asks: &[Ask],
        which: &[usize],
    ) -> Result<Vec<Value>, StoreError> {
        let question = |n: &usize| {
            let key = self.layout.meter_key(&asks[*n]);
            let command = command(script, &key, &asks[*n]);
            Question::new(&key, command)
        };
        let questions: Vec<_> = which.iter().map(question).collect();
        self.ask(Purpose::Take, &questions, READ_TIMEOUT).await
    }
}

fn command((name, script): (&str, &str), key: &str, ask: &Ask) -> Cmd {
    let mut command = cmd(name);
    command.arg(script).arg(1).arg(key).arg(ask.want);
    match ask.meter {
        Meter::Rate { interval, burst } => {
            let (interval, window) = rate_us(interval, burst);
            command.arg("rate").arg(interval).arg(window);
        }
        Meter::Quota { max, until } => {
            let (max, until) = quota_bounds(max, until);
            command.arg("quota").arg(max).arg(until);
            command.arg(GRACE_US / 1000);
        }
    }
    command
}

/// Whether the server does not know the script: it was restarted, or never asked before.
fn is_unknown(answer: &Value) -> bool {
    matches!(answer, Value::ServerError(e) if e.kind() == Some(ServerErrorKind::NoScript))
}

fn taken(answer: Value) -> Result<Taken, StoreError> {
    let (granted, wait): (u32, u64) = read(answer)?;
    Ok(Taken {
        granted,
        retry_after: Duration::from_micros(wait),
    })
}
