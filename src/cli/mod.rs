//! The commands, thin over the vault.
//!
//! 1. With `--json` a command writes exactly one document on standard output; everything else, and
//!    without `--json` everything but what was asked for, goes to standard error.
//! 2. No command takes a secret or a key as an argument: arguments are read by everybody on the
//!    machine, and shells keep them. They come from a hidden prompt or from standard input.
//! 3. A failure is one line that says what to do. Exit codes: 0; 1 failure; 2 usage; 64 a bad
//!    configuration.
//!
//! `serve`, `demo`, `run` and `connect` are not here but with those who call them: nothing in this module
//! knows the proxy, or how messages pass.

mod access;
mod acts;
mod admin;
mod args;
mod audit;
mod check;
pub mod client_config;
pub mod containment;
mod explain;
mod export;
mod failure;
mod group;
mod health;
mod import;
mod init;
mod input;
mod key;
mod keyring;
mod keyring_file;
mod keyring_source;
mod kinds;
pub mod open;
mod output;
mod paste;
pub mod private;
mod progress;
mod ps;
mod retire;
mod rotate;
mod secret;
pub mod shell;
mod store;
pub mod trail;
mod usage;
mod user;

pub use args::{Args, Command, ConnectArgs, DemoArgs, RunArgs};
pub use failure::Failure;
pub use output::Output;

use crate::store::Settled;
use crate::vault::Vault;

/// Runs a command other than `serve`, `demo`, `run` and `connect`.
///
/// # Errors
/// What kept it from being done, and what to do about it.
pub fn run(args: &Args, out: &Output) -> Result<(), Failure> {
    open::runtime()?.block_on(dispatch(args, out))
}

async fn dispatch(args: &Args, out: &Output) -> Result<(), Failure> {
    let from = open::Source::of(args.config.as_deref());
    let mut record = acts::Record::new(&from, out);
    if let Some(deed) = acts::deed(&args.command) {
        record.begin(deed).await?;
    }
    let done = dispatched(args, &from, &mut record, out).await;
    record.end(&done).await;
    done
}

async fn dispatched(
    args: &Args,
    from: &open::Source,
    record: &mut acts::Record<'_>,
    out: &Output,
) -> Result<(), Failure> {
    match &args.command {
        Command::User { command } => user::run(command, from, out).await,
        Command::Group { command } => group::run(command, from, out).await,
        Command::Access { command } => access::run(command, from, out).await,
        Command::Usage(args) => usage::run(args, from, out).await,
        Command::Key { command } => key::run(command, from, record, out).await,
        Command::Secret { command } => secret::run(command, from, out).await,
        Command::Keyring { command } => keyring::run(command, from, out).await,
        Command::Store { command } => store::run(command, from, record, out).await,
        Command::Audit { command } => audit::run(command, from, out).await,
        Command::ClientConfig(args) => paste::run(args, from, out),
        Command::Explain(args) => explain::run(args, from, out).await,
        Command::Ps => ps::run(from, out).await,
        Command::Check { offline } => check::run(*offline, from, out).await,
        Command::Health { url } => health::run(url.as_ref(), from, out).await,
        Command::Import(args) => import::run(args, from, record, out).await,
        Command::Export { file } => export::run(file, from, out).await,
        Command::Backup { file } => store::backup(file, from, out).await,
        Command::Restore { file } => store::restore(file, from, record, out).await,
        Command::Admin { command } => admin::run(command, from, record, out).await,
        Command::Init(init) => init::run(init, args.config.as_deref(), out),
        Command::Serve | Command::Demo(_) | Command::Run(_) | Command::Connect(_) => {
            unreachable!("the caller runs these, which need more than the vault")
        }
    }
}

/// Waits for the store's copies after something was taken away, and says when some did not confirm:
/// after a failover to such a copy, what was revoked would work again.
async fn settle(vault: &Vault, out: &Output) -> Result<bool, Failure> {
    Ok(on_all_copies(vault.settle().await?, out))
}

/// Whether all copies of the store have what was written; says so when not.
fn on_all_copies(settled: Settled, out: &Output) -> bool {
    match settled {
        Settled::Everywhere => true,
        Settled::Partly { confirmed, of } => {
            out.note(&format!(
                "only {confirmed} of {of} copies of the store confirmed the change in time: run \
                 the same command again once they are back"
            ));
            false
        }
    }
}
