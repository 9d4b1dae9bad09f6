use std::os::unix::fs::symlink;

use tempfile::TempDir;

use super::*;
use crate::launch::{ProcessLimits, Sandbox};

struct Room {
    folder: TempDir,
    containment: Containment,
}

impl Room {
    /// Empty files, executable; those ending in `/` are folders.
    fn with(files: &[&str]) -> Self {
        let room = Self {
            folder: tempfile::tempdir().unwrap(),
            containment: Containment {
                sandbox: Sandbox::Landlock,
                readable: Vec::new(),
                forbidden: Vec::new(),
                limits: ProcessLimits::default(),
                user: Some((1000, 1000)),
                path: "/usr/bin:/bin".to_owned(),
            },
        };
        for file in files {
            room.write(file, "");
        }
        room
    }

    fn write(&self, file: &str, text: &str) {
        let path = self.at(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        if file.ends_with('/') {
            fs::create_dir_all(&path).unwrap();
            return;
        }
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().canonicalize().unwrap().join(path)
    }

    fn link(&self, target: &str, link: &str) {
        fs::create_dir_all(self.at(link).parent().unwrap()).unwrap();
        symlink(self.at(target), self.at(link)).unwrap();
    }

    /// What of the room is readable for a command, relative to it; words with `@` are paths in it.
    fn readable(&self, command: &str) -> Result<Vec<String>, ReadableError> {
        let place = |word: &str| match word.strip_prefix('@') {
            Some(path) => self.at(path).display().to_string(),
            None => word.to_owned(),
        };
        let words: Vec<_> = command.split(' ').map(place).collect();
        let room = self.at("");
        let readable = readable(&words, &self.containment)?;
        let inside = readable
            .iter()
            .filter_map(|path| path.strip_prefix(&room).ok());
        Ok(inside.map(|path| path.display().to_string()).collect())
    }
}

#[test]
fn the_system_is_readable_and_nothing_else_is_for_a_command_of_it() {
    let room = Room::with(&[]);
    let all = readable(&["sh".to_owned(), "-c".to_owned()], &room.containment).unwrap();
    let usr = fs::canonicalize("/usr/bin").unwrap();
    assert!(all.iter().any(|path| usr.starts_with(path)));
    for never in ["/", "/root", "/home", "/tmp", "/var", "/opt", "/proc"] {
        assert!(!all.contains(&PathBuf::from(never)), "{never}");
    }
}

#[test]
fn a_program_is_readable_and_its_neighbours_are_not() {
    let room = Room::with(&[
        "tools/server",
        "tools/other",
        "tools/lib.txt",
        "cargo/bin/server",
    ]);
    assert_eq!(room.readable("@tools/server").unwrap(), ["tools/server"]);
    assert_eq!(
        room.readable("@cargo/bin/server").unwrap(),
        ["cargo/bin/server"]
    );
}

#[test]
fn the_package_around_a_program_is_readable() {
    // As nvm has it: bin/npx leads into lib/node_modules.
    let room = Room::with(&[
        "v24/bin/node",
        "v24/lib/node_modules/npm/bin/npx-cli.js",
        "v24/share/doc",
        "v24/etc/secret",
    ]);
    room.link("v24/lib/node_modules/npm/bin/npx-cli.js", "v24/bin/npx");
    let parts = ["v24/bin", "v24/bin/node", "v24/lib", "v24/share"];
    assert_eq!(room.readable("@v24/bin/node").unwrap(), parts);
    let found = room.readable("@v24/bin/npx").unwrap();
    for part in ["v24/bin", "v24/lib", "v24/lib/node_modules"] {
        assert!(found.contains(&part.to_owned()), "{found:?}");
    }
    // By a link from elsewhere, whose neighbours have nothing to do with it.
    room.link("v24/bin/node", "links/node");
    room.write("links/other", "");
    let found = room.readable("@links/node").unwrap();
    let expected = [
        "links/node",
        "v24/bin",
        "v24/bin/node",
        "v24/lib",
        "v24/share",
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_python_environment_is_readable_with_the_python_it_was_made_of() {
    let room = Room::with(&["py/bin/python3.13", "py/lib/os.py", "py/notes"]);
    room.link("py/bin/python3.13", "app/.venv/bin/python");
    let home = format!("home = {}\nversion = 3.13\n", room.at("py/bin").display());
    room.write("app/.venv/pyvenv.cfg", &home);
    let interpreter = format!("#!{}\n", room.at("app/.venv/bin/python").display());
    room.write("app/.venv/bin/mcp-atlassian", &interpreter);
    room.write("app/secret", "");
    let expected = [
        "app/.venv",
        "app/.venv/bin/mcp-atlassian",
        "app/.venv/bin/python",
    ];
    let found = room.readable("@app/.venv/bin/mcp-atlassian").unwrap();
    assert_eq!(found[..3], expected);
    assert_eq!(found[3..], ["py/bin", "py/bin/python3.13", "py/lib"]);
}

#[test]
fn the_outermost_node_modules_around_a_script_is_readable_and_what_is_beside_it_is_not() {
    let script = "app/node_modules/a/node_modules/b/cli.js";
    let room = Room::with(&[script, "app/.env", "app/package.json"]);
    room.link(script, "app/node_modules/.bin/b");
    for command in [
        format!("sh @{script}"),
        "@app/node_modules/.bin/b".to_owned(),
    ] {
        let found = room.readable(&command).unwrap();
        assert!(found.contains(&"app/node_modules".to_owned()), "{found:?}");
        assert!(
            found
                .iter()
                .all(|path| path.starts_with("app/node_modules"))
        );
    }
}

#[test]
fn the_package_of_a_script_that_is_an_argument_is_readable() {
    let room = Room::with(&[
        "app/package.json",
        "app/dist/index.js",
        "app/node_modules/",
        "plain/server.py",
        "data/my.db",
        "data/other.db",
        "files/a",
        "open/server.py",
    ]);
    let found = room.readable("sh @app/dist/index.js").unwrap();
    assert_eq!(found, ["app", "app/dist/index.js", "app/node_modules"]);
    let found = room.readable("sh -u @plain/server.py").unwrap();
    assert_eq!(found, ["plain", "plain/server.py"]);
    assert_eq!(room.readable("sh @data/my.db").unwrap(), ["data/my.db"]);
    assert_eq!(room.readable("sh @files").unwrap(), ["files"]);
    assert!(
        room.readable("sh relative/path @nothing")
            .unwrap()
            .is_empty()
    );
    // Where anybody can put a file, what lies there is no package.
    fs::set_permissions(room.at("open"), fs::Permissions::from_mode(0o777)).unwrap();
    assert_eq!(
        room.readable("sh @open/server.py").unwrap(),
        ["open/server.py"]
    );
    assert!(room.readable("sh @open").unwrap().is_empty());
}

// Fails when homes count as packages: everything of a person would be readable.
#[test]
fn no_home_is_readable() {
    let room = Room::with(&[]);
    for path in ["/", "/root", "/home", "/tmp", "/var/lib", "/home/somebody"] {
        let wanted = Wanted::new();
        assert!(wanted.is_wide(Path::new(path)), "{path}");
    }
    let wanted = readable(
        &["ls".into(), "/root".into(), "/".into()],
        &room.containment,
    );
    let wanted = wanted.unwrap();
    assert!(!wanted.contains(&"/root".into()) && !wanted.contains(&"/".into()));
}

// Fails when `refuse` looks in one direction only, or links are not resolved.
#[test]
fn what_would_show_something_forbidden_is_refused_with_both_paths() {
    let mut room = Room::with(&["app/server.py", "app/keys/master.keys", "state/evil.py"]);
    room.link("app/keys", "elsewhere");
    for forbidden in [
        "app/keys/master.keys",
        "elsewhere/master.keys",
        "app",
        "app/later.db",
    ] {
        room.containment.forbidden = vec![room.at(forbidden)];
        let error = room.readable("sh @app/server.py").unwrap_err().to_string();
        assert!(error.contains(&format!("{:?}", room.at("app"))), "{error}");
        assert!(error.contains("sandbox = \"none\""), "{error}");
    }
    room.containment.forbidden = vec![room.at("app/keys")];
    assert!(room.readable("sh").is_ok());
    room.containment.forbidden = vec![room.at("state")];
    assert!(room.readable("sh @state/evil.py").is_err(), "beneath it");
    room.containment.readable = vec![room.at("state")];
    assert!(room.readable("sh").is_err(), "by the operator's own word");
    room.containment.readable = vec![room.at("nothing")];
    let error = room.readable("sh").unwrap_err().to_string();
    assert!(
        error.contains("cannot be made readable: No such file"),
        "{error}"
    );
}

#[test]
fn a_folder_with_something_forbidden_in_it_is_nobodys() {
    let mut room = Room::with(&["own/x"]);
    room.containment.forbidden = vec![room.at("own/later/store.db")];
    assert!(refuse_folder(&room.at("own"), &room.containment).is_err());
    room.containment.forbidden = vec![room.at("")];
    assert!(refuse_folder(&room.at("own"), &room.containment).is_ok());
}

// Fails when what is hidden is not cut out, or more is cut out than that.
#[test]
fn of_a_folder_of_the_system_all_but_what_is_hidden_is_readable() {
    let room = Room::with(&[
        "etc/hosts",
        "etc/ssl/certs/a",
        "etc/ssl/private",
        "etc/app/store.db",
        "etc/app/store.db-wal",
        "etc/app/store.dbx",
        "etc/app/other",
    ]);
    room.link("etc/hosts", "etc/link");
    let carved = |hidden: &[&str]| {
        let hidden: Vec<_> = hidden.iter().map(|path| room.at(path)).collect();
        let mut found = Vec::new();
        carve(&room.at("etc"), &hidden, &mut found);
        let room = room.at("");
        let names = found.iter().map(|path| path.strip_prefix(&room).unwrap());
        let mut names: Vec<_> = names.map(|path| path.display().to_string()).collect();
        names.sort();
        names
    };
    assert_eq!(carved(&["etc2", "et"]), ["etc"]);
    let all = [
        "etc/app/other",
        "etc/app/store.dbx",
        "etc/hosts",
        "etc/ssl/certs",
    ];
    assert_eq!(carved(&["etc/app/store.db", "etc/ssl/private"]), all);
    assert_eq!(carved(&["etc/app", "etc/ssl"]), ["etc/hosts"]);
}

#[test]
fn what_others_may_not_read_is_hidden_from_roots_children() {
    let room = Room::with(&[
        "etc/shadow",
        "etc/ssh/key",
        "etc/ssh/config",
        "etc/private/x",
    ]);
    for (path, mode) in [
        ("etc/shadow", 0o640),
        ("etc/ssh/key", 0o600),
        ("etc/private", 0o750),
    ] {
        fs::set_permissions(room.at(path), fs::Permissions::from_mode(mode)).unwrap();
    }
    let mut hidden = Vec::new();
    kept_from_others(&room.at("etc"), &mut hidden);
    hidden.sort();
    let expected = ["etc/private", "etc/shadow", "etc/ssh/key"];
    assert_eq!(hidden, expected.map(|path| room.at(path)));
}
