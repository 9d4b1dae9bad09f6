//! Which of a package's programs is meant, and what starts it.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::PackageError;
use super::request::{Package, Request};
use super::shelf::Kept;

/// A package's programs: names and files.
pub(super) type Programs = Vec<(String, PathBuf)>;

/// What runs a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Runner {
    /// Node, with options.
    Node(Vec<String>),
    Python,
    /// The kernel.
    Itself,
}

/// The program that `request` means, of those `kept` has: the one it names, or the one that is called like
/// the package, or the only one.
pub(super) fn choose(
    request: &Request,
    kept: &Kept,
    programs: Programs,
) -> Result<PathBuf, PackageError> {
    let bare = match &request.package {
        Package::Npm(spec) => spec.bare(),
        Package::Python { package, .. } => &package.name,
    };
    let wanted = request.program.as_deref().unwrap_or(bare);
    let named = programs.iter().find(|(name, _)| name == wanted);
    let package = format!("{} {}", kept.manifest.package, kept.manifest.version);
    let Some((first, file)) = named.or(programs.first()) else {
        return Err(PackageError::NoProgram { package });
    };
    let is_clear = programs.iter().all(|(_, other)| other == file);
    if named.is_some() || (is_clear && request.program.is_none()) {
        return Ok(file.clone());
    }
    let write = match &request.package {
        Package::Npm(_) => format!("npx -y -p {} {first}", request.spec()),
        Package::Python { .. } => format!("uvx --from {} {first}", request.spec()),
    };
    let has: Vec<_> = programs.iter().map(|(name, _)| name.as_str()).collect();
    Err(PackageError::WhichProgram {
        package,
        wanted: wanted.escape_default().to_string(),
        has: has.join(", "),
        write,
    })
}

/// What runs `file`, by its first line.
pub(super) fn runner(file: &Path) -> io::Result<Runner> {
    let mut start = Vec::new();
    File::open(file)?.take(512).read_to_end(&mut start)?;
    let start = String::from_utf8_lossy(&start);
    let ending = file.extension().and_then(|ending| ending.to_str());
    let Some(line) = start
        .strip_prefix("#!")
        .and_then(|start| start.lines().next())
    else {
        let is_script = matches!(ending, Some("js" | "mjs" | "cjs"));
        return Ok(if is_script {
            Runner::Node(Vec::new())
        } else {
            Runner::Itself
        });
    };
    // For an interpreter whose path is long or has spaces, pip and uv write a script that is
    // both a shell's and Python's.
    if start.contains("\n'''exec' ") {
        return Ok(Runner::Python);
    }
    let mut words = line.split_whitespace().peekable();
    let mut interpreter = words.next().unwrap_or_default();
    if base(interpreter) == "env" {
        words.next_if_eq(&"-S");
        interpreter = words.next().unwrap_or_default();
    }
    Ok(match base(interpreter) {
        "node" => Runner::Node(words.map(str::to_owned).collect()),
        name if name.starts_with("python") => Runner::Python,
        _ => Runner::Itself,
    })
}

fn base(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::super::request::parse;
    use super::super::shelf::Manifest;
    use super::*;

    fn chosen(command: &[&str], programs: &[(&str, &str)]) -> Result<PathBuf, PackageError> {
        let command: Vec<_> = command.iter().map(|word| (*word).to_owned()).collect();
        let kept = Kept {
            folder: PathBuf::new(),
            manifest: Manifest {
                package: "pkg".to_owned(),
                version: "1.0.0".to_owned(),
                ..Manifest::default()
            },
        };
        let programs = programs
            .iter()
            .map(|(name, file)| ((*name).to_owned(), file.into()))
            .collect();
        choose(&parse(&command).unwrap().unwrap(), &kept, programs)
    }

    #[test]
    fn the_program_is_the_one_named_or_the_packages_own_or_the_only_one() {
        let two = [("other", "o.js"), ("pkg", "p.js")];
        for (command, programs, file) in [
            (&["npx", "@s/pkg"][..], &two[..], "p.js"),
            (&["npx", "-p", "pkg", "other"], &two, "o.js"),
            (&["uvx", "pkg"], &two, "p.js"),
            (&["npx", "else"], &[("a", "x.js"), ("b", "x.js")], "x.js"),
        ] {
            let found = chosen(command, programs).unwrap();
            assert_eq!(found, Path::new(file), "{command:?}");
        }
        let error = chosen(&["npx", "-y", "else@2"], &two)
            .unwrap_err()
            .to_string();
        assert!(error.contains("it has other, pkg"), "{error}");
        assert!(error.contains("npx -y -p else@2 other"), "{error}");
        // What was named and is not there is not something else.
        assert!(chosen(&["uvx", "--from", "pkg", "x"], &[("pkg", "p")]).is_err());
        let error = chosen(&["npx", "pkg"], &[]).unwrap_err().to_string();
        assert!(error.contains("library"), "{error}");
    }

    #[test]
    fn the_first_line_says_what_runs_a_file() {
        let root = tempfile::tempdir().unwrap();
        let node = |flags: &[&str]| Runner::Node(flags.iter().map(|f| (*f).to_owned()).collect());
        for (name, text, expected) in [
            ("a", "#!/usr/bin/env node\nx", node(&[])),
            (
                "b",
                "#!/usr/bin/env -S node --no-warnings -r x\n",
                node(&["--no-warnings", "-r", "x"]),
            ),
            ("c", "#!/usr/local/bin/node\r\nx", node(&[])),
            ("d.mjs", "import 'x'", node(&[])),
            ("e", "#!/tmp/.draft-x/venv/bin/python3\n", Runner::Python),
            (
                "f",
                "#!/bin/sh\n'''exec' '/a b/bin/python' \"$0\" \"$@\"\n' '''\n",
                Runner::Python,
            ),
            ("g", "#!/bin/sh\nexec node x", Runner::Itself),
            ("h", "\u{7f}ELF", Runner::Itself),
            ("i", "", Runner::Itself),
        ] {
            let file = root.path().join(name);
            std::fs::write(&file, text).unwrap();
            assert_eq!(runner(&file).unwrap(), expected, "{text:?}");
        }
    }
}
