//! Arguments -> subcommand -> exit code.

use std::process::ExitCode;

use clap::Parser;
use cloakroom::cli::{self, Args, Command, Failure, Output, open};
use cloakroom::{demo, serve, sys, telemetry};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let args = Args::parse();
    let out = Output::new(args.json);
    let done = match &args.command {
        Command::Serve => serve(&args, &out),
        Command::Demo(demo) => demo::run(demo, &out),
        _ => {
            // The keyring may be in a variable, which other processes of the same user could read.
            sys::keep_memory_private();
            cli::run(&args, &out)
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
    telemetry::init(&config.log, serve::log_format(&config));
    for warning in &config.warnings {
        out.note(warning);
    }
    let running = serve::start(config, Some(source))?;
    let url = running.url();
    out.answer(&serde_json::json!({ "listening": url }), "")?;
    out.note(&format!("listening on {url}"));
    running.wait();
    Ok(())
}
