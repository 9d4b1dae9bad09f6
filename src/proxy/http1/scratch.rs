//! The buffers of a thread, for what is read and written without waiting.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

/// Bytes read at once.
const SIZE: usize = 64 * 1024;

thread_local! {
    static READ: RefCell<Box<[u8]>> = RefCell::new(vec![0; SIZE].into());
    static WRITE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Reads what there is, up to 64 KiB, and shows it to `look`; nothing is the end.
pub(super) fn poll_read<S, T>(
    stream: &mut S,
    cx: &mut Context<'_>,
    look: impl FnOnce(&[u8]) -> T,
) -> Poll<io::Result<T>>
where
    S: AsyncRead + Unpin,
{
    READ.with_borrow_mut(|space| {
        let mut read = ReadBuf::new(space);
        ready!(Pin::new(stream).poll_read(cx, &mut read))?;
        Poll::Ready(Ok(look(read.filled())))
    })
}

/// Lends a buffer to put something together in that is written at once. It is empty.
pub(super) fn with_write<T>(write: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    WRITE.with_borrow_mut(|space| {
        let done = write(space);
        // There may be a secret in it.
        space.fill(0);
        space.clear();
        if space.capacity() > 2 * SIZE {
            *space = Vec::new();
        }
        done
    })
}
