//! Packages of the npm registry: installed by npm, started by Node.
//!
//! Scripts of packages (`postinstall` and its like) run as whoever installs, with all the files that
//! user may read, so they do not run unless the operator says so in npm's own words:
//! `npx --ignore-scripts=false …`.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::grammar::NpmSpec;
use super::request::Request;
use super::start::Programs;
use super::tool::{self, Tools};
use super::{INSTALL_MAX, Installed, PackageError, failure};

const WANTS: &str =
    "install Node.js (nodejs.org), which brings it, or name the program itself in `command`";
/// What does not depend on the package.
const OPTIONS: [&str; 6] = [
    "install",
    "--no-audit",
    "--no-fund",
    "--no-update-notifier",
    "--omit=dev",
    "--location=project",
];
/// How often a registry that does not answer is asked again, unless the operator says.
const RETRIES: [&str; 3] = [
    "--fetch-retries=2",
    "--fetch-retry-mintimeout=1000",
    "--fetch-retry-maxtimeout=5000",
];
/// How long Node may take to say where it is.
const ASK_MAX: std::time::Duration = std::time::Duration::from_secs(20);

/// Installs `spec` into `draft`. `scratch` is for npm's own cache.
pub(super) async fn install(
    request: &Request,
    spec: &NpmSpec,
    tools: &Tools,
    draft: &Path,
    scratch: &Path,
) -> Result<Installed, PackageError> {
    let npm = tools.need("npm", WANTS)?;
    // Without one npm looks for a project in the folders above.
    fs::write(draft.join("package.json"), "{\"private\":true}\n")
        .map_err(PackageError::system(draft))?;
    let mut command = tools.command(&npm, draft);
    command
        .args(OPTIONS)
        .arg(format!("--ignore-scripts={}", !request.trusted));
    if !is_set(tools, "fetch_retries") {
        command.args(RETRIES);
    }
    if !is_set(tools, "cache") {
        command.arg("--cache").arg(scratch);
    }
    let spec = spec.to_string();
    command.arg("--prefix").arg(draft).arg("--").arg(&spec);
    let shown = tool::shown(&command);
    let Some(done) = tool::run(command, INSTALL_MAX).await? else {
        return Err(PackageError::TooSlow {
            tool: "npm".to_owned(),
            spec,
            after: INSTALL_MAX,
        });
    };
    if !done.status.success() {
        return Err(failure::of("npm", &spec, &done));
    }
    let manifest = package_json(draft, request.name())?;
    let version = manifest["version"].as_str().unwrap_or_default().to_owned();
    Ok(Installed {
        version,
        integrity: integrity(draft, request.name()),
        command: shown,
        interpreter: None,
    })
}

/// Where Node is, of which the one in `PATH` may be the shim of a version manager.
pub(super) async fn node(tools: &Tools) -> Result<PathBuf, PackageError> {
    let found = tools.need("node", "install Node.js (nodejs.org)")?;
    let mut command = tools.command(&found, Path::new("/"));
    command.args(["-p", "process.execPath"]);
    let told = tool::run(command, ASK_MAX).await?;
    let path = told.map(|done| PathBuf::from(done.stdout.trim()));
    Ok(path.filter(|path| path.is_file()).unwrap_or(found))
}

/// The programs of package `name`: `bin` in its package.json (`npm help package.json`).
pub(super) fn programs(folder: &Path, name: &str) -> Result<Programs, PackageError> {
    let package = place(folder, name);
    let manifest = package_json(folder, name)?;
    let files = match &manifest["bin"] {
        Value::String(file) => {
            let bare = name.rsplit('/').next().unwrap_or(name);
            vec![(bare.to_owned(), file.clone())]
        }
        Value::Object(files) => files
            .iter()
            .filter_map(|(name, file)| Some((name.clone(), file.as_str()?.to_owned())))
            .collect(),
        _ => Vec::new(),
    };
    let found = files.into_iter().map(|(name, file)| {
        let file = inside(&package, Path::new(&file))?;
        Ok((name, file))
    });
    found.collect()
}

/// A file of the package, and not one that a link or `..` makes of it.
fn inside(package: &Path, file: &Path) -> Result<PathBuf, PackageError> {
    let path = package.join(file);
    let real = path.canonicalize().map_err(PackageError::system(&path))?;
    let package = package
        .canonicalize()
        .map_err(PackageError::system(package))?;
    if real.starts_with(package) {
        return Ok(real);
    }
    let what = "the package names a file outside of it as its program".to_owned();
    Err(PackageError::Spoiled { path, what })
}

fn place(folder: &Path, name: &str) -> PathBuf {
    folder.join("node_modules").join(name)
}

fn package_json(folder: &Path, name: &str) -> Result<Value, PackageError> {
    let path = place(folder, name).join("package.json");
    let text = fs::read(&path).map_err(PackageError::system(&path))?;
    serde_json::from_slice(&text).map_err(|why| PackageError::Spoiled {
        path,
        what: why.to_string(),
    })
}

/// What the registry says the package's archive hashes to.
fn integrity(folder: &Path, name: &str) -> Option<String> {
    let text = fs::read(folder.join("package-lock.json")).ok()?;
    let lock: Value = serde_json::from_slice(&text).ok()?;
    let entry = &lock["packages"][format!("node_modules/{name}")];
    Some(entry["integrity"].as_str()?.to_owned())
}

/// npm's settings are variables in small or capital letters.
fn is_set(tools: &Tools, setting: &str) -> bool {
    let capitals = setting.to_ascii_uppercase();
    tools.is_set(&format!("npm_config_{setting}"))
        || tools.is_set(&format!("NPM_CONFIG_{capitals}"))
}
