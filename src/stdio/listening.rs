//! The pipes of a child: lines in, lines out, until it ends.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt as _;
use tokio::net::unix::pipe;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::child::{Child, End};
use super::heard::hear;
use super::mailbox::Put;
use super::waiting::Line;
use crate::launch::Exit;
use crate::rejection::Kind;

/// Bytes read at once. They lie on the stack: a child that says nothing holds no buffer.
const CHUNK: usize = 16 * 1024;

/// Bytes a child may say to nobody between two answers.
const NOISE: usize = 16 * 1024 * 1024;

/// How long a child may live without its standard output.
const MUTE: Duration = Duration::from_secs(1);

/// What a child says.
pub(super) struct Pipes {
    pub(super) stdout: pipe::Receiver,
    pub(super) stderr: pipe::Receiver,
}

/// Writes lines to a child's standard input, which ends when there can be no more.
pub(super) async fn write(mut stdin: pipe::Sender, mut lines: mpsc::Receiver<Line>) {
    while let Some(line) = lines.recv().await {
        // Why it does not read is told by its end.
        if stdin.write_all(&line.line).await.is_err() {
            return;
        }
    }
}

/// Takes in what a child says, until it ends.
pub(super) async fn listen(child: Arc<Child>, pipes: Pipes) {
    let over = talking(&child, &pipes).await;
    if !matches!(over, Over::Exit(_)) {
        child.handle().kill();
    }
    let exit = match over {
        Over::Exit(exit) => exit,
        _ => child.handle().exited().await,
    };
    while read_words(&child, &pipes.stderr) {}
    child.words().end(Instant::now());
    child.ended(end(&child, over, exit));
}

/// Why a child is listened to no longer.
#[derive(Debug, Clone, Copy)]
enum Over {
    /// It ended.
    Exit(Exit),
    /// It closed its standard output and lives on.
    Mute,
    /// A message is too long.
    Long,
    /// It says too much that nobody asked for.
    Noise,
}

async fn talking(child: &Arc<Child>, pipes: &Pipes) -> Over {
    let mut lines = Lines::default();
    let (mut out_ends, mut err_ends) = (false, false);
    let exited = child.handle().exited();
    tokio::pin!(exited);
    loop {
        tokio::select! {
            _ = pipes.stderr.readable(), if !err_ends => err_ends = !read_words(child, &pipes.stderr),
            _ = pipes.stdout.readable(), if !out_ends => match lines.read(child, &pipes.stdout) {
                Ok(Some(Put::Full)) => {
                    if let Some(mailbox) = child.mailbox() {
                        tokio::select! {
                            () = mailbox.room() => {}
                            exit = &mut exited => {
                                while let Ok(Some(_)) = lines.read(child, &pipes.stdout) {}
                                return Over::Exit(exit);
                            }
                        }
                    }
                }
                Ok(Some(Put::Taken | Put::Lost)) => {}
                Ok(None) => out_ends = true,
                Err(over) => return over,
            },
            exit = &mut exited => {
                // What it said last is still in the pipe.
                while let Ok(Some(_)) = lines.read(child, &pipes.stdout) {}
                return Over::Exit(exit);
            }
        }
        if out_ends {
            return match timeout(MUTE, &mut exited).await {
                Ok(exit) => Over::Exit(exit),
                Err(_) => Over::Mute,
            };
        }
    }
}

/// Takes in what is there of a child's standard error; whether there may be more, now or later.
fn read_words(child: &Child, stderr: &pipe::Receiver) -> bool {
    let mut chunk = [0; CHUNK / 4];
    match stderr.try_read(&mut chunk) {
        Ok(0) => false,
        Ok(length) => {
            child.words().push(&chunk[..length], Instant::now());
            true
        }
        Err(error) => {
            error.kind() == io::ErrorKind::WouldBlock && child.end().is_none() && !has_exited(child)
        }
    }
}

fn has_exited(child: &Child) -> bool {
    use futures_util::FutureExt as _;
    child.handle().exited().now_or_never().is_some()
}

/// The lines of a child's standard output.
#[derive(Default)]
struct Lines {
    /// The beginning of the next one.
    begun: Vec<u8>,
    /// Bytes that were for nobody since the last answer.
    noise: usize,
}

impl Lines {
    /// Takes in what is there; `None` when there will be no more.
    fn read(&mut self, child: &Child, stdout: &pipe::Receiver) -> Result<Option<Put>, Over> {
        let mut chunk = [0; CHUNK];
        let length = match stdout.try_read(&mut chunk) {
            Ok(0) => return Ok(None),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return if has_exited(child) {
                    Ok(None)
                } else {
                    Ok(Some(Put::Taken))
                };
            }
            Err(_) => return Ok(None),
        };
        let mut put = Put::Taken;
        let mut rest = &chunk[..length];
        while let Some(at) = memchr::memchr(b'\n', rest) {
            let (line, after) = (&rest[..at], &rest[at + 1..]);
            rest = after;
            let heard = if self.begun.is_empty() {
                self.heard(child, line)
            } else {
                let mut begun = std::mem::take(&mut self.begun);
                begun.extend_from_slice(line);
                self.heard(child, &begun)
            };
            if heard == Put::Full {
                put = Put::Full;
            }
        }
        self.begun.extend_from_slice(rest);
        if self.begun.len() > child.settings.message_max {
            return Err(Over::Long);
        }
        if self.noise > NOISE {
            return Err(Over::Noise);
        }
        Ok(Some(put))
    }

    /// Takes in a line.
    fn heard(&mut self, child: &Child, line: &[u8]) -> Put {
        // No string of JSON holds one, and readers of event streams take it for the end of a line.
        let flat;
        let line = if memchr::memchr(b'\r', line).is_some() {
            flat = line.iter().map(|&b| if b == b'\r' { b' ' } else { b });
            &flat.collect::<Vec<u8>>()[..]
        } else {
            line
        };
        let messages = std::str::from_utf8(line).ok().and_then(hear);
        let Some(messages) = messages else {
            self.noise += line.len() + 1;
            return Put::Lost;
        };
        let mut all = Put::Lost;
        for message in &messages {
            match child.hear(message) {
                Put::Full => all = Put::Full,
                Put::Taken if all == Put::Lost => all = Put::Taken,
                Put::Taken | Put::Lost => {}
            }
        }
        match all {
            Put::Lost => self.noise += line.len() + 1,
            Put::Taken | Put::Full => self.noise = 0,
        }
        all
    }
}

fn end(child: &Child, over: Over, exit: Exit) -> End {
    let server = &child.settings.server;
    let is_failure = !child.is_stopping();
    let exit = match exit {
        Exit::Code(code) => format!("exit code {code}"),
        Exit::Signal(signal) => format!("signal {signal}"),
    };
    let (kind, text) = match over {
        Over::Exit(_) if is_failure => (
            Kind::ChildFails,
            format!("the process of the server `{server}` ended ({exit})"),
        ),
        Over::Exit(_) => (
            Kind::ChildFails,
            format!("the process of the server `{server}` was stopped: send the request again"),
        ),
        Over::Mute => (
            Kind::ChildFails,
            format!(
                "the process of the server `{server}` closed its standard output, and was stopped"
            ),
        ),
        Over::Long => (
            Kind::ChildLimit,
            format!(
                "the server `{server}` sent a message of more than {} bytes, the operator's \
                 `limits.child_message`, and its process was stopped",
                child.settings.message_max
            ),
        ),
        Over::Noise => (
            Kind::ChildLimit,
            format!(
                "the server `{server}` wrote more than {} MiB that answer nothing to its standard output, \
                 and its process was stopped",
                NOISE >> 20
            ),
        ),
    };
    let text = match is_failure {
        true => text + &child.last_words(),
        false => text,
    };
    End {
        kind,
        text,
        is_failure,
    }
}
