//! Packages of PyPI: installed by uv, or where there is none by pip, into a virtual environment.
//!
//! What comes as source only is not installed: building it runs its code as whoever installs, unless the
//! operator says so in uv's own words: `uvx --build …`.

use std::fs;
use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::grammar::{PythonSpec, normalized};
use super::request::Request;
use super::shelf::Interpreter;
use super::start::Programs;
use super::tool::{self, Tools};
use super::{INSTALL_MAX, Installed, PackageError, failure};

const WANTS: &str = "install uv (docs.astral.sh/uv), or Python 3 with venv (Debian: python3-venv), or name \
                     the program itself in `command`";
/// The environment within a package's folder.
const VENV: &str = "venv";
/// What Python says about itself.
const ASK: &str = "import sys, os; print(os.path.realpath(sys.executable)); print(sys.base_prefix)";

/// What is wanted of Python packages.
pub(super) struct Wanted<'a> {
    pub(super) package: &'a PythonSpec,
    pub(super) with: &'a [PythonSpec],
    pub(super) version: Option<&'a str>,
}

/// Installs what is `wanted` into `draft`. `scratch` is for the tool's own cache.
pub(super) async fn install(
    request: &Request,
    wanted: &Wanted<'_>,
    tools: &Tools,
    draft: &Path,
    scratch: &Path,
) -> Result<Installed, PackageError> {
    let spec = request.spec();
    let step = async |tool: &str, command: Command| {
        let Some(done) = tool::run(command, INSTALL_MAX).await? else {
            return Err(PackageError::TooSlow {
                tool: tool.to_owned(),
                spec: spec.clone(),
                after: INSTALL_MAX,
            });
        };
        if !done.status.success() {
            return Err(failure::of(tool, &spec, &done));
        }
        Ok(done)
    };
    let uv = tools.find("uv");
    let tool = if uv.is_some() { "uv" } else { "pip" };
    let [make, mut fill] = match &uv {
        Some(uv) => by_uv(uv, request, wanted.version, tools, draft, scratch),
        None => by_pip(request, wanted.version, tools, draft, scratch)?,
    };
    fill.arg("--").arg(wanted.package.to_string());
    fill.args(wanted.with.iter().map(ToString::to_string));
    let shown = tool::shown(&fill);
    step(
        if uv.is_some() {
            "uv"
        } else {
            "python3 -m venv"
        },
        make,
    )
    .await?;
    step(tool, fill).await?;
    let mut ask = tools.command(&python(draft), draft);
    ask.args(["-I", "-c", ASK]);
    let told = step("python", ask).await?;
    let (file, prefix) = told.stdout.trim_end().split_once('\n').unwrap_or_default();
    let (_, version) = described(draft, request.name())?;
    Ok(Installed {
        version,
        integrity: None,
        command: shown,
        interpreter: Some(Interpreter {
            file: file.into(),
            prefix: prefix.into(),
        }),
    })
}

fn by_uv(
    uv: &Path,
    request: &Request,
    version: Option<&str>,
    tools: &Tools,
    draft: &Path,
    scratch: &Path,
) -> [Command; 2] {
    let uv = |arguments: &[&str]| {
        let mut command = tools.command(uv, draft);
        if !tools.is_set("UV_CACHE_DIR") {
            command.env("UV_CACHE_DIR", scratch);
        }
        command.arg("--quiet").args(arguments);
        command
    };
    let mut make = uv(&["venv", "--no-project", VENV]);
    if let Some(version) = version {
        make.args(["--python", version]);
    }
    // A hard link would make read-only what other programs have of uv's cache too.
    let mut fill = uv(&["pip", "install", "--link-mode=copy", "--compile-bytecode"]);
    fill.arg("--python").arg(python(draft));
    if !request.trusted {
        fill.arg("--no-build");
    }
    [make, fill]
}

fn by_pip(
    request: &Request,
    version: Option<&str>,
    tools: &Tools,
    draft: &Path,
    scratch: &Path,
) -> Result<[Command; 2], PackageError> {
    let name = version.map_or("python3".to_owned(), |version| format!("python{version}"));
    let mut make = tools.command(&tools.need(&name, WANTS)?, draft);
    make.args(["-m", "venv", VENV]);
    let mut fill = tools.command(&python(draft), draft);
    fill.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-input",
        "--retries=2",
    ]);
    fill.env("PIP_DISABLE_PIP_VERSION_CHECK", "1");
    if !tools.is_set("PIP_CACHE_DIR") {
        fill.env("PIP_CACHE_DIR", scratch);
    }
    if !request.trusted {
        fill.arg("--only-binary=:all:");
    }
    Ok([make, fill])
}

/// The Python of an installed package.
pub(super) fn python(folder: &Path) -> PathBuf {
    folder.join(VENV).join("bin/python")
}

/// The programs of package `name`: those of its files that lie in `bin` (PyPA specifications,
/// "Recording installed projects").
pub(super) fn programs(folder: &Path, name: &str) -> Result<Programs, PackageError> {
    let (record, _) = described(folder, name)?;
    let record = record.join("RECORD");
    let text = fs::read_to_string(&record).map_err(PackageError::system(record))?;
    let bin = folder.join(VENV).join("bin");
    let names = text.lines().filter_map(|line| {
        let path = line.split(',').next()?;
        path.strip_prefix("../../../bin/")
    });
    let files = names.filter(|name| !name.contains('/') && !name.starts_with('.'));
    Ok(files
        .map(|name| (name.to_owned(), bin.join(name)))
        .collect())
}

/// The folder that describes package `name`, and its version, which is in that folder's name.
fn described(folder: &Path, name: &str) -> Result<(PathBuf, String), PackageError> {
    let lib = folder.join(VENV).join("lib");
    let wanted = normalized(name);
    for python in entries(&lib)? {
        let packages = python.join("site-packages");
        for path in entries(&packages)? {
            let stem = path.file_name().and_then(|name| name.to_str());
            let parts = stem
                .and_then(|name| name.strip_suffix(".dist-info"))
                .and_then(|stem| stem.rsplit_once('-'));
            if let Some((name, version)) = parts
                && normalized(name) == wanted
            {
                let version = version.to_owned();
                return Ok((path, version));
            }
        }
    }
    let what = format!("{name} is not in it");
    Err(PackageError::Spoiled { path: lib, what })
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, PackageError> {
    let read =
        fs::read_dir(folder).and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
    read.map_err(PackageError::system(folder))
}
