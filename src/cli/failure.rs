//! What a command says when it failed, and its exit code.

use std::fmt;
use std::process::ExitCode;

use crate::config::ConfigErrors;
use crate::moving::FileError;
use crate::store::{BackupError, CopyError, OpenError, StoreError};
use crate::vault::{CheckError, KeyringError, PassphraseError, ReadOnly, SecretError, VaultError};

/// Why a command was not done, what to do about it, and the exit code.
#[derive(Debug)]
pub struct Failure {
    message: String,
    code: u8,
}

impl Failure {
    /// Something went wrong: exit code 1.
    pub fn new(message: impl fmt::Display) -> Self {
        Self {
            message: message.to_string(),
            code: 1,
        }
    }

    /// The command line is not right: exit code 2, as for what clap refuses.
    pub fn usage(message: impl fmt::Display) -> Self {
        Self {
            message: message.to_string(),
            code: 2,
        }
    }

    /// The configuration is not right: exit code 64 (EX_USAGE of sysexits).
    pub fn config(message: impl fmt::Display) -> Self {
        Self {
            message: message.to_string(),
            code: 64,
        }
    }

    /// Told by a signal to stop before there was anything to finish: exit code 128 and the signal's number,
    /// as a shell says of who dies of it.
    pub fn stopped(signal: u8) -> Self {
        Self {
            message: "told to stop before it served".to_owned(),
            code: 128 + signal,
        }
    }

    /// A failure that has been told already, in a document or by the reader who went away.
    pub(super) fn told(code: u8) -> Self {
        Self {
            message: String::new(),
            code,
        }
    }

    /// The exit code as a number.
    pub(super) fn code(&self) -> u8 {
        self.code
    }

    /// For the shell.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        self.code.into()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<ConfigErrors> for Failure {
    fn from(errors: ConfigErrors) -> Self {
        Self::config(errors)
    }
}

macro_rules! failures {
    ($($error:ty),*) => {$(
        impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::new(error)
            }
        }
    )*};
}

failures!(
    BackupError,
    CheckError,
    CopyError,
    FileError,
    KeyringError,
    OpenError,
    PassphraseError,
    ReadOnly,
    SecretError,
    StoreError,
    VaultError
);
