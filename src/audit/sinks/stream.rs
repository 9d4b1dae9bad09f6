//! A stream of the store.

use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::runtime::Handle;

use super::{Sink, Trouble, Wrote};

/// How long an append may take before it counts as failed.
const PATIENCE: Duration = Duration::from_secs(2);

/// What appends lines to a stream.
pub trait Stream: Send + Sync {
    /// Appends lines, without their newlines; an error says why they may not be there.
    fn append(&self, lines: Vec<Bytes>) -> BoxFuture<'_, Result<(), String>>;
}

/// Appends to a stream.
pub(crate) struct StreamSink {
    stream: Arc<dyn Stream>,
    runtime: Handle,
}

impl StreamSink {
    pub(crate) fn new(stream: Arc<dyn Stream>, runtime: Handle) -> Self {
        Self { stream, runtime }
    }

    fn append(&self, lines: Vec<Bytes>) -> Result<(), String> {
        let (tell, told) = sync_channel(1);
        let stream = self.stream.clone();
        self.runtime.spawn(async move {
            let appended = tokio::time::timeout(PATIENCE, stream.append(lines)).await;
            let appended = appended.unwrap_or_else(|_| Err("it does not answer".to_owned()));
            let _ = tell.send(appended);
        });
        let told = told.recv_timeout(2 * PATIENCE);
        told.unwrap_or_else(|_| Err("nothing runs any more that would append".to_owned()))
    }
}

impl Sink for StreamSink {
    fn ready(&mut self) -> Result<bool, String> {
        Ok(false)
    }

    fn write(&mut self, bytes: &[u8], ends: &[usize]) -> Wrote {
        let all = Bytes::copy_from_slice(bytes);
        let starts = std::iter::once(0).chain(ends.iter().copied());
        let lines = starts
            .zip(ends)
            .map(|(start, end)| all.slice(start..end - 1));
        match self.append(lines.collect()) {
            Ok(()) => Wrote::all(bytes),
            // The answer may have been lost, and not the lines.
            Err(why) => Wrote {
                bytes: 0,
                trouble: Some(Trouble {
                    why,
                    is_unclear: true,
                }),
            },
        }
    }
}
