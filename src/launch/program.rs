//! Which file a command runs.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// Why a command cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// It has no words.
    #[error("the command is empty")]
    Empty,
    /// No folder of PATH has it.
    #[error("`{name}` is not in PATH ({path})")]
    NotInPath {
        /// What was looked for.
        name: String,
        /// Where.
        path: String,
    },
    /// It would depend on the folder it is started in.
    #[error("`{0}` must be an absolute path, or a name that is looked for in PATH")]
    Relative(String),
    /// It is not there, or cannot be looked at.
    #[error("{0:?} cannot be run: {1}")]
    Missing(PathBuf, #[source] io::Error),
    /// It is a folder or the like.
    #[error("{0:?} cannot be run: it is no file")]
    NotFile(PathBuf),
    /// Nobody may run it.
    #[error("{0:?} cannot be run: it is not executable (chmod +x)")]
    NotExecutable(PathBuf),
    /// It is a script, and what is to read it cannot be run.
    #[error("{script:?} cannot be run by the interpreter its first line names: {why}")]
    Interpreter {
        /// The script.
        script: PathBuf,
        /// What is wrong with its interpreter.
        #[source]
        why: Box<ProgramError>,
    },
}

/// The file that a shell would run for this word, links not followed.
pub(super) fn find(name: &str, path: &str) -> Result<PathBuf, ProgramError> {
    let is_absolute = name.starts_with('/');
    if name.is_empty() {
        return Err(ProgramError::Empty);
    }
    if is_absolute {
        let program = PathBuf::from(name);
        return runnable(&program).map(|()| program);
    }
    if name.contains('/') {
        return Err(ProgramError::Relative(name.to_owned()));
    }
    let mut refused = None;
    // Those that are relative would depend on the folder.
    for folder in path.split(':').filter(|folder| folder.starts_with('/')) {
        let program = Path::new(folder).join(name);
        match runnable(&program) {
            Ok(()) => return Ok(program),
            Err(error @ ProgramError::NotExecutable(_)) => refused = refused.or(Some(error)),
            Err(_) => {}
        }
    }
    Err(refused.unwrap_or_else(|| ProgramError::NotInPath {
        name: name.to_owned(),
        path: path.to_owned(),
    }))
}

fn runnable(program: &Path) -> Result<(), ProgramError> {
    let found = fs::metadata(program);
    let found = found.map_err(|error| ProgramError::Missing(program.to_owned(), error))?;
    if !found.is_file() {
        return Err(ProgramError::NotFile(program.to_owned()));
    }
    if found.permissions().mode() & 0o111 == 0 {
        return Err(ProgramError::NotExecutable(program.to_owned()));
    }
    Ok(())
}

/// Scripts that are run by scripts, at most: what Linux allows.
const NESTED: usize = 4;

/// The program, and the interpreters that run it if it is a script, each found as [`find`] does.
pub(super) fn with_interpreters(
    program: PathBuf,
    path: &str,
) -> Result<Vec<PathBuf>, ProgramError> {
    let mut all = vec![program];
    while let Some(script) = all.last()
        && all.len() <= NESTED
        && let Some(line) = first_line(script)
    {
        let found = interpreters(&line, path);
        let found = found.map_err(|why| ProgramError::Interpreter {
            script: script.clone(),
            why: Box::new(why),
        })?;
        all.extend(found);
    }
    Ok(all)
}

/// What follows `#!`.
pub(super) fn first_line(script: &Path) -> Option<String> {
    let mut start = Vec::new();
    // As much as Linux reads.
    let read = File::open(script).and_then(|file| file.take(256).read_to_end(&mut start));
    read.ok()?;
    let line = start.strip_prefix(b"#!")?;
    let line = line.split(|byte| *byte == b'\n').next()?;
    Some(String::from_utf8_lossy(line).into_owned())
}

/// `/usr/bin/python3 -u`, or `/usr/bin/env node`, which finds another.
fn interpreters(line: &str, path: &str) -> Result<Vec<PathBuf>, ProgramError> {
    let mut words = line.split_ascii_whitespace();
    let first = find(words.next().unwrap_or_default(), path)?;
    let is_env = first.file_name().is_some_and(|name| name == "env");
    let mut found = vec![first];
    // Its options, and variables it sets.
    let named = words.find(|word| !word.starts_with('-') && !word.contains('='));
    if let Some(name) = named.filter(|_| is_env) {
        found.push(find(name, path)?);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn room(files: &[(&str, &str, u32)]) -> (TempDir, String) {
        let room = tempfile::tempdir().unwrap();
        for (name, text, mode) in files {
            let path = room.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(*mode)).unwrap();
        }
        let at = |folder: &str| room.path().join(folder).display().to_string();
        let path = [".", &at("a"), &at("b"), "/usr/bin"].join(":");
        (room, path)
    }

    #[test]
    fn a_command_is_found_as_a_shell_finds_it() {
        let (room, path) = room(&[
            ("a/tool", "", 0o644),
            ("b/tool", "", 0o755),
            ("a/text", "", 0o644),
            ("a/folder/x", "", 0o644),
        ]);
        let tool = room.path().join("b/tool");
        assert_eq!(find("tool", &path).unwrap(), tool);
        assert_eq!(find(tool.to_str().unwrap(), "").unwrap(), tool);
        for (name, text) in [
            ("", "empty"),
            ("nothing", "`nothing` is not in PATH (.:/"),
            ("folder", "is not in PATH"),
            ("text", "not executable (chmod +x)"),
            ("./tool", "must be an absolute path"),
            ("b/tool", "must be an absolute path"),
            ("/usr/bin", "it is no file"),
            ("/nowhere/tool", "No such file"),
        ] {
            let error = find(name, &path).unwrap_err().to_string();
            assert!(error.contains(text), "{name}: {error}");
        }
    }

    #[test]
    fn interpreters_are_found_too() {
        let (room, path) = room(&[
            ("a/script", "#!/usr/bin/env -S A=b inner --flag\nx", 0o755),
            ("b/inner", "#! /bin/sh\n", 0o755),
            ("a/broken", "#!/usr/bin/env nothing\n", 0o755),
            ("a/missing", "#!/nowhere/python\n", 0o755),
            ("a/bare", "#!\n", 0o755),
        ]);
        let all = |name| with_interpreters(find(name, &path).unwrap(), &path);
        let found = all("script").unwrap();
        let at = |name: &str| room.path().join(name);
        let expected = [
            at("a/script"),
            "/usr/bin/env".into(),
            at("b/inner"),
            "/bin/sh".into(),
        ];
        assert_eq!(found, expected);
        for (name, text) in [
            ("broken", "`nothing` is not in PATH"),
            ("missing", "\"/nowhere/python\" cannot be run: No such file"),
            ("bare", "is empty"),
        ] {
            let error = all(name).unwrap_err().to_string();
            assert!(error.contains("its first line names"), "{error}");
            assert!(error.contains(text), "{name}: {error}");
        }
    }
}
