//! What still holds while somebody sends too much: too many requests, wrong keys, connections, or bombs.
//!
//! `CLOAKROOM_OVERLOAD_SECONDS` sets how long a flood lasts (3; more, and others' times are compared with
//! their quiet ones: on a machine with nothing else to do).

mod bombs;
mod descriptors;
mod keys;
mod shares;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::support::client::Client;
use crate::support::memory;

/// Longer than anything takes on a loaded machine; only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection on which every byte is the test's.
struct Raw(TcpStream);

impl Raw {
    async fn connect(address: SocketAddr) -> Self {
        Self(TcpStream::connect(address).await.unwrap())
    }

    /// From this address of the machine.
    async fn from(own: IpAddr, address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((own, 0).into()).unwrap();
        Self(socket.connect(address).await.unwrap())
    }

    /// Sends; whether the other side still takes it.
    async fn send(&mut self, bytes: &[u8]) -> bool {
        self.0.write_all(bytes).await.is_ok()
    }

    /// The status of the next answer; `None` when the connection ends before.
    async fn status(&mut self) -> Option<u16> {
        let mut line = Vec::new();
        timeout(PATIENCE, async {
            while !line.ends_with(b"\r\n") {
                line.push(self.0.read_u8().await.ok()?);
            }
            std::str::from_utf8(line.get(9..12)?).ok()?.parse().ok()
        })
        .await
        .expect("an answer in time")
    }

    /// Reads up to so many bytes; how many there were.
    async fn read(&mut self, most: usize) -> usize {
        let (mut read, mut buffer) = (0, vec![0; 1 << 16]);
        while read < most {
            match timeout(PATIENCE, self.0.read(&mut buffer)).await {
                Ok(Ok(some)) if some > 0 => read += some,
                _ => break,
            }
        }
        read
    }
}

/// The head of a POST, without what says how long its body is.
fn head(server: &str, key: &str) -> String {
    format!(
        "POST /{server}/mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n\
         Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n"
    )
}

/// What a process has computed so far, all its threads together.
fn computed(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // The name, in brackets, may hold anything.
    let fields: Vec<_> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    let ticks = |at: usize| -> u64 { fields[at].parse().unwrap() };
    Duration::from_millis((ticks(11) + ticks(12)) * 10)
}

/// The most memory a process has, from now on.
struct Peak {
    most: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Peak {
    fn of(pid: u32) -> Self {
        let most = Arc::new(AtomicU64::new(memory(pid)));
        let seen = most.clone();
        let task = tokio::spawn(async move {
            loop {
                seen.fetch_max(memory(pid), Ordering::Relaxed);
                sleep(Duration::from_millis(2)).await;
            }
        });
        Self { most, task }
    }

    fn end(self) -> u64 {
        self.task.abort();
        self.most.load(Ordering::Relaxed)
    }
}

/// Somebody who asks all the time, one request after the other, and how long each answer takes.
struct Bystander {
    stop: Arc<AtomicBool>,
    task: JoinHandle<Vec<Duration>>,
}

impl Bystander {
    /// Every answer must be good.
    fn start(mut client: Client, server: &str, key: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, server, key) = (stop.clone(), server.to_owned(), key.to_owned());
        let task = tokio::spawn(async move {
            let mut times = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                let asked = Instant::now();
                let answer = client.call(&server, &key, "bystander").await;
                times.push(asked.elapsed());
                assert_eq!(answer.status, 200, "{}", answer.text());
                sleep(Duration::from_millis(3)).await;
            }
            times
        });
        Self { stop, task }
    }

    async fn stop(self) -> Vec<Duration> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap()
    }
}

/// The time so many of a hundred answers stay under.
fn percentile(times: &mut [Duration], of_100: usize) -> Duration {
    times.sort_unstable();
    times[(times.len() * of_100 / 100).min(times.len() - 1)]
}
