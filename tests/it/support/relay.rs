//! A wire between the proxy and its store, with the faults of real ones.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

/// What becomes of what is sent in one direction.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Way {
    #[default]
    Passes,
    /// It waits until this changes.
    Held,
    /// It arrives so much later, however much there is of it.
    Late(Duration),
    /// Byte by byte, with a pause after each.
    Trickles(Duration),
    /// It is lost, and so is all that follows on the same connection.
    Lost,
}

/// Which connections [`Faults::to_server`] and [`Faults::to_client`] are about.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Which {
    #[default]
    All,
    /// Those on which changes are to be told.
    Tracking,
    Others,
}

/// What becomes of new connections.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Door {
    #[default]
    Open,
    /// They are closed at once.
    Shut,
    /// They are accepted, and nobody ever answers.
    Deaf,
}

#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Faults {
    pub(crate) to_server: Way,
    pub(crate) to_client: Way,
    pub(crate) of: Which,
    pub(crate) door: Door,
}

impl Faults {
    pub(crate) fn both(way: Way) -> Self {
        Self {
            to_server: way,
            to_client: way,
            ..Self::default()
        }
    }
}

#[derive(Clone, Copy, Default)]
struct State {
    faults: Faults,
    /// Every connection made before the last cut ends.
    cuts: u64,
}

pub(crate) struct Relay {
    pub(crate) port: u16,
    state: watch::Sender<State>,
    connections: Arc<AtomicUsize>,
}

impl Relay {
    pub(crate) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = listener.local_addr().unwrap().port();
        let state = watch::Sender::new(State::default());
        let connections = Arc::new(AtomicUsize::new(0));
        tokio::spawn(accept(listener, port, state.clone(), connections.clone()));
        Self {
            port: own,
            state,
            connections,
        }
    }

    pub(crate) fn set(&self, faults: Faults) {
        self.state.send_modify(|state| state.faults = faults);
    }

    /// Connections stay, and nothing passes.
    pub(crate) fn hold(&self) {
        self.set(Faults::both(Way::Held));
    }

    /// What was held, and all that comes, passes.
    pub(crate) fn release(&self) {
        self.set(Faults::default());
    }

    /// Ends every connection; new ones are accepted.
    pub(crate) fn cut(&self) {
        self.state.send_modify(|state| state.cuts += 1);
    }

    /// How many connections were tried until now.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn accept(
    listener: TcpListener,
    port: u16,
    state: watch::Sender<State>,
    connections: Arc<AtomicUsize>,
) {
    while let Ok((near, _)) = listener.accept().await {
        connections.fetch_add(1, Ordering::SeqCst);
        match state.borrow().faults.door {
            Door::Open => {}
            Door::Shut => continue,
            Door::Deaf => {
                tokio::spawn(stay_deaf(near, state.subscribe()));
                continue;
            }
        }
        let Ok(far) = TcpStream::connect(("127.0.0.1", port)).await else {
            continue;
        };
        for socket in [&near, &far] {
            let _ = socket.set_nodelay(true);
        }
        let (near, far) = (near.into_split(), far.into_split());
        let there = Direction {
            to_server: true,
            tracking: Arc::default(),
            born: state.borrow().cuts,
            state: state.subscribe(),
        };
        let back = Direction {
            to_server: false,
            ..there.clone()
        };
        tokio::spawn(there.carry(near.0, far.1));
        tokio::spawn(back.carry(far.0, near.1));
    }
}

async fn stay_deaf(stream: TcpStream, mut state: watch::Receiver<State>) {
    let born = state.borrow().cuts;
    let _ = state.wait_for(|state| state.cuts != born).await;
    drop(stream);
}

/// One of the two of a connection.
#[derive(Clone)]
struct Direction {
    to_server: bool,
    /// Whether the client asked to be told of changes.
    tracking: Arc<AtomicBool>,
    born: u64,
    state: watch::Receiver<State>,
}

impl Direction {
    async fn carry(self, from: OwnedReadHalf, to: OwnedWriteHalf) {
        let mut state = self.state.clone();
        let (queue, queued) = mpsc::unbounded_channel();
        tokio::select! {
            _ = self.clone().write(queued, to) => {}
            () = self.read(from, queue) => {}
            _ = state.wait_for(|state| state.cuts != self.born) => {}
        }
    }

    /// Reads on whatever happens to what was read, as a wire does. Does not end before all is written.
    async fn read(&self, mut from: OwnedReadHalf, queue: mpsc::UnboundedSender<(Instant, Bytes)>) {
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(read) = from.read(&mut buffer).await
            && read > 0
        {
            let bytes = &buffer[..read];
            if self.to_server && bytes.windows(8).any(|word| word == b"TRACKING") {
                self.tracking.store(true, Ordering::SeqCst);
            }
            let _ = queue.send((Instant::now(), Bytes::copy_from_slice(bytes)));
        }
        drop(queue);
        std::future::pending().await
    }

    async fn write(
        mut self,
        mut queued: mpsc::UnboundedReceiver<(Instant, Bytes)>,
        mut to: OwnedWriteHalf,
    ) -> Option<()> {
        while let Some((arrived, bytes)) = queued.recv().await {
            match self.way_of(arrived).await? {
                // Nor is the other side told when the connection is closed.
                Way::Lost => return std::future::pending().await,
                Way::Trickles(pause) => {
                    for byte in &bytes {
                        to.write_all(std::slice::from_ref(byte)).await.ok()?;
                        sleep(pause).await;
                    }
                }
                _ => to.write_all(&bytes).await.ok()?,
            }
        }
        None
    }

    /// Waits as long as what arrived then has to; how it goes on. `None`: the relay is gone.
    async fn way_of(&mut self, arrived: Instant) -> Option<Way> {
        loop {
            let way = self.way();
            match way {
                Way::Held => self.state.changed().await.ok()?,
                Way::Late(by) => tokio::select! {
                    () = sleep_until(arrived + by) => return Some(way),
                    changed = self.state.changed() => changed.ok()?,
                },
                Way::Passes | Way::Trickles(_) | Way::Lost => return Some(way),
            }
        }
    }

    fn way(&mut self) -> Way {
        let faults = self.state.borrow_and_update().faults;
        let tracking = self.tracking.load(Ordering::SeqCst);
        let concerned = match faults.of {
            Which::All => true,
            Which::Tracking => tracking,
            Which::Others => !tracking,
        };
        match concerned {
            true if self.to_server => faults.to_server,
            true => faults.to_client,
            false => Way::Passes,
        }
    }
}
