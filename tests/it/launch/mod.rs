//! Child processes: what they get, what they are kept from, and that none of them stays.

mod beginning;
mod refusals;
mod runtimes;
mod survivors;
mod thief;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cloakroom::launch::{
    Containment, Exit, LaunchError, Launcher, Process, ProcessLimits, Sandbox, Spec,
};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;
use zeroize::Zeroizing;

const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// A launcher, and a folder for what its children have.
struct Room {
    launcher: Launcher,
    folder: TempDir,
    containment: Containment,
}

/// What a child left.
#[derive(Debug)]
struct Left {
    exit: Exit,
    out: String,
    err: String,
}

impl Room {
    fn new() -> Self {
        let program = Path::new(env!("CARGO_BIN_EXE_cloakroom"));
        Self {
            launcher: Launcher::start_as(program).unwrap(),
            folder: tempfile::tempdir().unwrap(),
            containment: Containment {
                sandbox: Sandbox::Landlock,
                readable: Vec::new(),
                forbidden: Vec::new(),
                limits: ProcessLimits::default(),
                user: None,
                path: PATH.to_owned(),
            },
        }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// A child in the folder `own`.
    fn spec(&self, command: &[&str], environment: &[(&str, &str)]) -> Spec {
        let variable = |(name, value): &(&str, &str)| {
            let value = Zeroizing::new(value.as_bytes().to_vec());
            ((*name).to_owned(), value)
        };
        Spec {
            command: command.iter().map(|word| (*word).to_owned()).collect(),
            environment: environment.iter().map(variable).collect(),
            folder: self.at("own"),
            containment: Arc::new(self.containment.clone()),
        }
    }

    async fn launch(&self, command: &[&str]) -> Result<Process, LaunchError> {
        self.launcher.launch(self.spec(command, &[])).await
    }

    /// Why it is not started.
    async fn refusal(&self, command: &[&str]) -> String {
        match self.launch(command).await {
            Ok(_) => panic!("{command:?} was started"),
            Err(error) => error.to_string(),
        }
    }

    async fn run(&self, command: &[&str]) -> Left {
        finish(self.launch(command).await.unwrap()).await
    }

    async fn sh(&self, script: &str) -> Left {
        self.run(&["sh", "-c", script]).await
    }
}

/// Reads what a child says until it ends.
async fn finish(mut process: Process) -> Left {
    drop(process.stdin);
    let read = async {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let (a, b) = tokio::join!(
            process.stdout.read_to_end(&mut out),
            process.stderr.read_to_end(&mut err)
        );
        a.and(b).unwrap();
        let exit = process.handle.exited().await;
        let [out, err] = [out, err].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        Left { exit, out, err }
    };
    timeout(Duration::from_secs(60), read).await.unwrap()
}
