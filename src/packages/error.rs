//! Why a package cannot be started, and what to do about it.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::request::RequestError;

/// Why a command line of `npx` or `uvx` leads to no program.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// The command line says something that is not understood here.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// What installs or runs it is not on this machine.
    #[error("{program} is not in PATH: {wants}")]
    Missing {
        /// What was looked for.
        program: String,
        /// What to install.
        wants: &'static str,
    },
    /// The registry does not answer.
    #[error(
        "{spec} is not installed yet, and its registry is out of reach (behind a proxy, set \
         HTTPS_PROXY; another registry: npm_config_registry, or PIP_INDEX_URL and UV_INDEX_URL): {said}"
    )]
    Unreachable {
        /// What was asked for.
        spec: String,
        /// The tool's last words.
        said: String,
    },
    /// The registry wants another or any credential.
    #[error("the registry refuses {spec}: see to the token in ~/.npmrc or of the index: {said}")]
    Refused {
        /// What was asked for.
        spec: String,
        /// The tool's last words.
        said: String,
    },
    /// The registry has no such package.
    #[error(
        "the registry has no package {spec}, or lacks one that it needs: check the name: {said}"
    )]
    NoSuchPackage {
        /// What was asked for.
        spec: String,
        /// The tool's last words.
        said: String,
    },
    /// The registry has the package, and not in this version.
    #[error("the registry has no version of the package that fits {spec}: {said}")]
    NoSuchVersion {
        /// What was asked for.
        spec: String,
        /// The tool's last words.
        said: String,
    },
    /// It comes as source only, and building runs its authors' code.
    #[error(
        "{spec}, or something it needs, comes as source only, and building it would run its code as \
         you: if you trust it, write `uvx --build …`: {said}"
    )]
    OnlySource {
        /// What was asked for.
        spec: String,
        /// The tool's last words.
        said: String,
    },
    /// It took too long.
    #[error("{tool} did not install {spec} within {}: it was stopped", humantime::format_duration(*.after))]
    TooSlow {
        /// npm, uv or pip.
        tool: String,
        /// What was asked for.
        spec: String,
        /// The time it had.
        after: Duration,
    },
    /// The tool failed for a reason of its own.
    #[error("{tool} could not install {spec}: {said}")]
    Failed {
        /// npm, uv or pip.
        tool: String,
        /// What was asked for.
        spec: String,
        /// Its last words.
        said: String,
    },
    /// The package has programs, and none that is called so.
    #[error("{package} has no program {wanted}; it has {has}: write {write}")]
    WhichProgram {
        /// The package and its version.
        package: String,
        /// What was asked for.
        wanted: String,
        /// The names of those it has.
        has: String,
        /// A command line that names one.
        write: String,
    },
    /// The package is a library.
    #[error("{package} has no program to start: it is a library, or not meant for npx or uvx")]
    NoProgram {
        /// The package and its version.
        package: String,
    },
    /// What is installed is not as it was left.
    #[error("{path}: {what}: delete the folder, and it is installed again")]
    Spoiled {
        /// What is wrong.
        path: PathBuf,
        /// How.
        what: String,
    },
    /// Others could put programs there, which would run as our user.
    #[error(
        "{0} belongs to another user, or others may write to it: name a folder of your own \
         (chmod go-w, chown)"
    )]
    NotOurs(PathBuf),
    /// The system does not let us.
    #[error("{path}: {why}")]
    System {
        /// Where.
        path: PathBuf,
        /// Why.
        why: io::Error,
    },
}

impl PackageError {
    /// For `map_err`: what the system said about `path`.
    pub(super) fn system(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |why| Self::System { path, why }
    }
}
