//! The load generator of the bench. What it found is one JSON object on standard output.

mod calls;
mod connection;
mod pace;
mod process;
mod report;
mod request;
mod streams;
mod tls;
mod transport;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Sends tools/call, or opens streams of events, and measures.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// tools/call over keep-alive connections: each waits for its answer before it sends the next, unless a
    /// rate is given.
    Calls(calls::Options),
    /// Streams of events, counted.
    Streams(streams::Options),
}

/// What both need.
#[derive(Args, Clone)]
struct Target {
    /// The address of the proxy.
    #[arg(long)]
    to: SocketAddr,
    /// The path of the requests.
    #[arg(long, default_value = "/header")]
    path: String,
    /// A file with the users' keys, one a line; the first is that of user 0.
    #[arg(long)]
    keys: PathBuf,
    /// Seconds that are measured.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Seconds before them that are not.
    #[arg(long, default_value_t = 1.0)]
    warmup: f64,
    /// The processes whose CPU time and memory are measured.
    #[arg(long, value_delimiter = ',')]
    pids: Vec<u32>,
    /// TLS 1.3, whatever the certificate.
    #[arg(long)]
    tls: bool,
}

impl Target {
    fn keys(&self) -> io::Result<Vec<String>> {
        let text = std::fs::read_to_string(&self.keys)?;
        let keys: Vec<_> = text.lines().map(str::to_owned).collect();
        if keys.is_empty() {
            Err(io::Error::other("no keys"))
        } else {
            Ok(keys)
        }
    }
}

fn main() -> io::Result<()> {
    let mut found = match Arguments::parse().command {
        Command::Calls(options) => calls::run(&options)?,
        Command::Streams(options) => streams::run(&options)?,
    };
    found["own_cpu_s"] = process::own_cpu().into();
    println!("{found}");
    Ok(())
}
