//! Appending to streams.

use bytes::Bytes;
use redis::cmd;

use super::ask::{Question, read};
use super::node::Purpose;
use super::{Inner, WRITE_TIMEOUT};
use crate::store::StoreError;

impl Inner {
    pub(super) async fn append(
        &self,
        stream: &str,
        keep: u64,
        lines: &[Bytes],
    ) -> Result<(), StoreError> {
        if !is_name(stream) {
            let reason = "the name of a stream is 1 to 63 of a-z, 0-9 and -";
            return Err(StoreError::Unsupported(reason));
        }
        let key = self.layout.stream_key(stream);
        let question = |line: &Bytes| {
            let mut add = cmd("XADD");
            add.arg(&key).arg("MAXLEN").arg("~").arg(keep).arg("*");
            add.arg("line").arg(&line[..]);
            Question::new(&key, add)
        };
        let questions: Vec<_> = lines.iter().map(question).collect();
        let answers = self.ask(Purpose::Write, &questions, WRITE_TIMEOUT).await?;
        answers
            .into_iter()
            .try_for_each(|answer| read::<String>(answer).map(drop))
    }
}

/// Nothing that would end a hash tag.
fn is_name(stream: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=63).contains(&stream.len()) && stream.bytes().all(plain)
}
