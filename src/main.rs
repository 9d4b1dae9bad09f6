//! Arguments -> subcommand -> exit code.

use std::process::ExitCode;

use clap::Parser;
use cloakroom::cli::{self, Args, Command, Failure, Output, open};
use cloakroom::{connect, demo, launch, run, serve, sys, telemetry};

#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: sys::Allocator = sys::Allocator;

fn main() -> ExitCode {
    if let Some(code) = launch::dispatch() {
        return code;
    }
    let args = Args::parse();
    let out = Output::new(args.json);
    let done = match &args.command {
        Command::Serve => serve(&args, &out),
        Command::Demo(demo) => demo::run(demo, &out),
        Command::Run(args) => run::run(args, &out),
        command => {
            // The keyring, or a key, may be in a variable, which other processes of the same user could read.
            sys::keep_memory_private();
            match command {
                Command::Connect(connect) => connect::run(connect, &out),
                _ => cli::run(&args, &out),
            }
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            out.failure(&failure);
            failure.exit_code()
        }
    }
}

fn serve(args: &Args, out: &Output) -> Result<(), Failure> {
    let source = open::Source::of(args.config.as_deref());
    let config = source.load()?;
    let format = serve::log_format(&config);
    telemetry::init(&config.log, format);
    // Whoever reads objects should not meet a line that is none.
    let is_json = format == telemetry::Format::Json;
    for warning in &config.warnings {
        if is_json {
            tracing::warn!("{warning}");
        } else {
            out.note(warning);
        }
    }
    let running = serve::start(config, Some(source))?;
    let url = running.url();
    out.answer(&serde_json::json!({ "listening": url }), "")?;
    if is_json {
        tracing::info!(%url, "listening");
    } else {
        out.note(&format!("listening on {url}"));
    }
    running.wait();
    Ok(())
}
