//! What `npx` and `uvx` would start: installed once, recorded, and started directly.
//!
//! `npx` stays in memory with two processes of its own beside the server, twice what the server takes, and
//! asks the registry at every start, so that what runs may be another version than yesterday's. Here the
//! first start installs the package into a folder that is made read-only, and notes which version the
//! command line got; every later one starts that version, without any network.
//!
//! 1. No shell is ever involved, and nothing but a registry's name and version is passed on: no path, URL
//!    or git address ([`RequestError`] says what to write instead).
//! 2. Code of packages does not run while they are installed, unless the command line says so.
//! 3. npm, uv and pip see `PATH`, `HOME`, their own settings and those of proxies; nothing of Cloakroom's.
//!
//! Read-only is a guard against accidents, and against servers that run as another user; who runs as the
//! owner, or as root, can undo it. What keeps a server from writing there is its sandbox.

mod error;
mod failure;
mod grammar;
mod npm;
mod npx;
mod python;
mod request;
mod shelf;
mod start;
mod tool;
mod uvx;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

pub use error::PackageError;
pub use request::RequestError;

use request::{Package, Request};
use shelf::{Interpreter, Kept, Manifest, Shelf};
use start::Runner;
use tool::Tools;

/// How long an installation may take.
const INSTALL_MAX: Duration = Duration::from_secs(10 * 60);

/// Installed packages, and where to install more.
pub struct Packages {
    folder: PathBuf,
    environment: Vec<(OsString, OsString)>,
    refresh: bool,
}

/// What to start in place of `npx …` or `uvx …`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The program and its arguments; all paths are absolute.
    pub command: Vec<String>,
    /// The package's name, as its registry writes it.
    pub package: String,
    /// Its exact version.
    pub version: String,
    /// Where it is installed; with all below it read-only.
    pub folder: PathBuf,
    /// What else the program must be able to read and run, beside what belongs to the system: Node, or the
    /// folder of the Python it uses.
    pub runtime: PathBuf,
}

/// What installing found out.
struct Installed {
    version: String,
    integrity: Option<String>,
    command: Vec<String>,
    interpreter: Option<Interpreter>,
}

/// The package whose program `command` starts; none if it is neither `npx` nor `uvx`.
///
/// # Errors
/// When the command line is not understood.
pub fn package_of(command: &[String]) -> Result<Option<String>, RequestError> {
    let request = request::parse(command)?;
    Ok(request.map(|request| request.name().to_owned()))
}

impl Packages {
    /// Those in `folder`, which is made when something is installed. Tools are looked for in the `PATH` of
    /// `environment`, and see of it what is theirs.
    #[must_use]
    pub fn at(folder: &Path, environment: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        Self {
            folder: folder.to_owned(),
            environment: environment.into_iter().collect(),
            refresh: false,
        }
    }

    /// Asks the registries again, also for what is installed already.
    #[must_use]
    pub fn refreshed(self) -> Self {
        Self {
            refresh: true,
            ..self
        }
    }

    /// What to start for `command`; none if it is neither `npx` nor `uvx` (nor `npm exec`, `uv tool run`)
    /// and is to be started as it is. `progress` is told when something takes longer.
    ///
    /// # Errors
    /// When the command line is not understood, or leads to no program; says what to do.
    pub async fn resolve(
        &self,
        command: &[String],
        mut progress: impl FnMut(&str),
    ) -> Result<Option<Resolved>, PackageError> {
        let Some(request) = request::parse(command)? else {
            return Ok(None);
        };
        let tools = Tools::new(&self.environment, request.tools.as_deref());
        let shelf = Shelf::open(&self.folder, &request)?;
        let found = if self.refresh { None } else { shelf.find() };
        let kept = match found {
            Some(kept) => kept,
            None => {
                progress(&format!("installing {}, this once", request.spec()));
                let kept = install(&request, &shelf, &tools, self.refresh).await?;
                let Manifest {
                    package, version, ..
                } = &kept.manifest;
                progress(&format!(
                    "{package} {version} is in {}",
                    kept.folder.display()
                ));
                kept
            }
        };
        Ok(Some(started(&request, kept, &tools).await?))
    }
}

async fn install(
    request: &Request,
    shelf: &Shelf,
    tools: &Tools,
    replace: bool,
) -> Result<Kept, PackageError> {
    let (draft, scratch) = (shelf.draft()?, shelf.draft()?);
    let (path, scratch) = (draft.path(), scratch.path());
    let installed = match &request.package {
        Package::Npm(spec) => npm::install(request, spec, tools, path, scratch).await?,
        Package::Python {
            package,
            with,
            version,
        } => {
            let version = version.as_deref();
            let wanted = python::Wanted {
                package,
                with,
                version,
            };
            python::install(request, &wanted, tools, path, scratch).await?
        }
    };
    let manifest = Manifest {
        package: request.name().to_owned(),
        version: installed.version,
        requested: request.spec(),
        variant: request.variant(),
        integrity: installed.integrity,
        installed: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
        command: installed.command,
        interpreter: installed.interpreter,
    };
    let shelf = shelf.clone();
    // Thousands of files get another mode, and reach the disk.
    let kept = tokio::task::spawn_blocking(move || shelf.keep(draft, manifest, replace)).await;
    kept.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}

/// The command line that starts what `request` means of an installed package.
async fn started(request: &Request, kept: Kept, tools: &Tools) -> Result<Resolved, PackageError> {
    let folder = &kept.folder;
    let programs = match &request.package {
        Package::Npm(spec) => npm::programs(folder, &spec.name)?,
        Package::Python { package, .. } => python::programs(folder, &package.name)?,
    };
    let file = start::choose(request, &kept, programs)?;
    let runner = start::runner(&file).map_err(PackageError::system(&file))?;
    let interpreter = kept.manifest.interpreter.as_ref();
    let (mut command, runtime) = match (runner, interpreter) {
        (Runner::Node(options), _) => {
            let node = npm::node(tools).await?;
            ([vec![text(&node)?], options].concat(), node)
        }
        (Runner::Python, Some(it)) => (vec![text(&python::python(folder))?], it.prefix.clone()),
        (_, Some(it)) => (Vec::new(), it.prefix.clone()),
        (_, None) => (Vec::new(), folder.clone()),
    };
    command.push(text(&file)?);
    command.extend(request.arguments.iter().cloned());
    Ok(Resolved {
        command,
        package: kept.manifest.package,
        version: kept.manifest.version,
        folder: kept.folder,
        runtime,
    })
}

/// A path as a word of a command line.
fn text(path: &Path) -> Result<String, PackageError> {
    let text = path.to_str().map(str::to_owned);
    text.ok_or_else(|| PackageError::Spoiled {
        path: path.to_owned(),
        what: "the path is not UTF-8: name another folder for packages".to_owned(),
    })
}
