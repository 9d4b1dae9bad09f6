//! `cloakroom connect`: a server of MCP over stdio for clients that cannot speak HTTP, which passes everything
//! on to one that does: a Cloakroom, or any other endpoint of Streamable HTTP, or of HTTP+SSE where the URL's
//! path ends in `/sse`.
//!
//! 1. A message is passed as it was written, in both directions, but for ends of lines. Standard output carries
//!    messages and nothing else; what goes wrong is the answer of the request it is about, else a line on
//!    standard error.
//! 2. Messages are sent in the order they came, each by itself, and none waits for the answer of another:
//!    but `initialize` is answered first, and `notifications/initialized` accepted, before what follows.
//! 3. What was sent is never sent again, but in a new session if the server does not know the one it was
//!    sent in. While there is no connection, a message waits for one for ten seconds.
//! 4. The key comes from the environment or a file, goes to the origin of the URL, and is shown nowhere. No
//!    redirect is followed and no proxy is taken from the environment.
//! 5. When standard input ends, or after SIGTERM, what is under way has ten seconds; then the session is
//!    ended too. A second signal, or one after the end of the input, waits for nobody.

mod bridge;
mod exchange;
mod flights;
mod headers;
mod key;
mod line;
mod listen;
mod listing;
mod message;
mod renew;
mod session;
mod shared;
mod sse;
mod trouble;
mod wire;

use std::io::{self, BufReader, Write as _};
use std::net::IpAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http::Uri;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, timeout};

use crate::cli::{ConnectArgs, Failure, Output, open};
use crate::dial::bare_host;
use bridge::Bridge;
use line::{LONGEST, Line};
use shared::Shared;
use sse::Sse;
use wire::Wire;

/// How long what is under way may take at the end.
const GRACE: Duration = Duration::from_secs(10);
/// How long the client may take to read what is left.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// Lines that wait between here and the client, in either direction.
const LINES: usize = 16;

/// Serves until standard input ends.
///
/// # Errors
/// What kept it from starting, and what to do about it. That the server cannot be reached is no reason: the
/// client may have been started before it.
pub fn run(args: &ConnectArgs, out: &Output) -> Result<(), Failure> {
    let url = url(args)?;
    let authorization = key::authorization(args.key_file.as_deref())?;
    if travels_bare(&url) {
        out.note(
            "http:// to another machine: the key and all messages travel unencrypted; use https://",
        );
    }
    let sse = url.path().ends_with("/sse").then(Sse::default);
    let wire = Wire::new(url, args.ca_file.as_deref(), authorization).map_err(Failure::new)?;
    let runtime = open::runtime()?;
    let done = runtime.block_on(serve(wire, sse));
    // A name may still be looked up, which cannot be interrupted.
    runtime.shutdown_background();
    done
}

async fn serve(wire: Wire, sse: Option<Sse>) -> Result<(), Failure> {
    let system = |error: io::Error| Failure::new(format!("the system gives no signals: {error}"));
    let mut term = signal(SignalKind::terminate()).map_err(system)?;
    let mut int = signal(SignalKind::interrupt()).map_err(system)?;
    let (mut lines, end) = read_lines();
    let (to_client, written) = write_lines();
    let closed = to_client.clone();
    let shared = Arc::new(Shared::new(wire, sse, to_client));
    let mut bridge = Bridge::new(shared);
    let (stop, stopped) = watch::channel(false);
    tokio::select! {
        () = bridge.run(&mut lines, stopped) => {}
        () = out_of_time(end, stop, &mut term, &mut int) => {}
        () = closed.closed() => {}
    }
    bridge.finish().await;
    // Whoever does not read is not waited for.
    let last = async {
        let _ = closed.send(Bytes::new()).await;
        written.await
    };
    let _ = timeout(LAST_WORDS, last).await;
    Ok(())
}

/// Comes back when nothing is waited for any more. After a signal nothing more is taken from the client.
async fn out_of_time(
    end: oneshot::Receiver<()>,
    stop: watch::Sender<bool>,
    term: &mut Signal,
    int: &mut Signal,
) {
    tokio::select! {
        _ = end => {}
        _ = term.recv() => { stop.send_replace(true); }
        _ = int.recv() => { stop.send_replace(true); }
    }
    tokio::select! {
        () = sleep(GRACE) => {}
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
}

/// Reads standard input, on a thread of its own: reading cannot be interrupted. The lines, and word of the
/// end.
fn read_lines() -> (mpsc::Receiver<(Line, Instant)>, oneshot::Receiver<()>) {
    let (found, lines) = mpsc::channel(LINES);
    let (ended, end) = oneshot::channel();
    thread::spawn(move || {
        let mut input = BufReader::with_capacity(64 * 1024, io::stdin());
        while let Ok(Some(line)) = line::next(&mut input, LONGEST)
            && found.blocking_send((line, Instant::now())).is_ok()
        {}
        // Told before the lines end, which is when `found` is dropped.
        let _ = ended.send(());
    });
    (lines, end)
}

/// Writes lines on standard output, likewise; an empty one is the end. The second tells that all is written.
fn write_lines() -> (mpsc::Sender<Bytes>, oneshot::Receiver<()>) {
    let (to_client, mut lines) = mpsc::channel::<Bytes>(LINES);
    let (ended, written) = oneshot::channel();
    thread::spawn(move || {
        let mut output = io::stdout();
        while let Some(line) = lines.blocking_recv().filter(|line| !line.is_empty()) {
            let whole = output.write_all(&line).and_then(|()| {
                output.write_all(b"\n")?;
                output.flush()
            });
            if whole.is_err() {
                break;
            }
        }
        let _ = ended.send(());
    });
    (to_client, written)
}

/// The URL, if it is one. Not shown when it is not: some will give the key in its place.
fn url(args: &ConnectArgs) -> Result<Uri, Failure> {
    const WRITE: &str = "write the URL of one endpoint, such as https://mcp.example.com/github/mcp, and \
                         nothing else: the key is taken from CLOAKROOM_KEY or --key-file, since an argument \
                         is seen by others on this machine";
    let known = |url: &Uri| {
        let plain = url.authority().is_some_and(|a| !a.as_str().contains('@'));
        plain && matches!(url.scheme_str(), Some("http" | "https"))
    };
    let url = args.url.parse().ok().filter(known);
    let alone = args.rest.is_empty() && !args.url.contains('#');
    url.filter(|_| alone).ok_or_else(|| Failure::usage(WRITE))
}

/// Whether others on the way can read it.
fn travels_bare(url: &Uri) -> bool {
    let host = bare_host(url);
    let ours = host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
    url.scheme_str() == Some("http") && !ours
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(url: &str, rest: &[&str]) -> ConnectArgs {
        ConnectArgs {
            url: url.to_owned(),
            key_file: None,
            ca_file: None,
            rest: rest.iter().map(Into::into).collect(),
        }
    }

    // Fails when the complaint repeats what was given.
    #[test]
    fn what_is_no_url_is_refused_and_not_shown() {
        assert!(url(&args("https://h/a/mcp?b=c", &[])).is_ok());
        for (given, rest) in [
            ("clk_hunter2", &[][..]),
            ("ftp://h/hunter2", &[]),
            ("http://u:hunter2@h/mcp", &[]),
            ("http://h/mcp#hunter2", &[]),
            ("http://h/mcp", &["clk_hunter2"]),
        ] {
            let said = url(&args(given, rest)).unwrap_err().to_string();
            assert!(
                said.contains("CLOAKROOM_KEY") && !said.contains("hunter2"),
                "{said}"
            );
        }
    }

    #[test]
    fn a_warning_is_given_where_the_key_can_be_read_on_its_way() {
        for (url, bare) in [
            ("http://127.0.0.1:1/mcp", false),
            ("http://[::1]/mcp", false),
            ("http://localhost/mcp", false),
            ("https://h.example/mcp", false),
            ("http://h.example/mcp", true),
            ("http://10.0.0.1/mcp", true),
            ("http://localhost.example/mcp", true),
        ] {
            assert_eq!(travels_bare(&url.parse().unwrap()), bare, "{url}");
        }
    }
}
