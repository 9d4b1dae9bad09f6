//! A wire between the proxy and its store that can be held or cut.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What the wire does.
#[derive(Clone, Copy, PartialEq, Eq)]
struct State {
    held: bool,
    /// Every connection made before the last cut ends.
    cuts: u64,
}

pub(crate) struct Relay {
    pub(crate) port: u16,
    state: watch::Sender<State>,
}

impl Relay {
    pub(crate) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = listener.local_addr().unwrap().port();
        let state = watch::Sender::new(State {
            held: false,
            cuts: 0,
        });
        let watched = state.clone();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let Ok(far) = TcpStream::connect(("127.0.0.1", port)).await else {
                    continue;
                };
                let (near, far) = (near.into_split(), far.into_split());
                tokio::spawn(copy(near.0, far.1, watched.subscribe()));
                tokio::spawn(copy(far.0, near.1, watched.subscribe()));
            }
        });
        Self { port: own, state }
    }

    /// Connections stay, and nothing passes.
    pub(crate) fn hold(&self) {
        self.state.send_modify(|state| state.held = true);
    }

    /// What was held, and all that comes, passes.
    pub(crate) fn release(&self) {
        self.state.send_modify(|state| state.held = false);
    }

    /// Ends every connection; new ones are accepted.
    pub(crate) fn cut(&self) {
        self.state.send_modify(|state| state.cuts += 1);
    }
}

async fn copy(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut state: watch::Receiver<State>,
) -> Option<()> {
    let born = state.borrow().cuts;
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = tokio::select! {
            read = from.read(&mut buffer) => read.ok().filter(|&read| read > 0)?,
            _ = state.wait_for(|state| state.cuts != born) => return None,
        };
        let passes = state.wait_for(|state| !state.held || state.cuts != born);
        if passes.await.ok()?.cuts != born {
            return None;
        }
        to.write_all(&buffer[..read]).await.ok()?;
    }
}
