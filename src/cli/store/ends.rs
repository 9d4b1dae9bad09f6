//! Which two stores `store copy` is about.

use std::path::Path;

use super::super::Failure;
use super::super::open::Source;
use crate::config;
use crate::store::{Settings, StoreUrl};

/// Both ends of a copy.
pub(super) struct Ends {
    pub(super) from: Settings,
    pub(super) to: Settings,
}

/// The ends that are named, each the configuration in use where it is not.
pub(super) fn ends(from: Option<&str>, to: Option<&str>, in_use: &Source) -> Result<Ends, Failure> {
    let ends = Ends {
        from: end("--from", from, in_use)?,
        to: end("--to", to, in_use)?,
    };
    let same =
        ends.from.url.shown() == ends.to.url.shown() && ends.from.key_prefix == ends.to.key_prefix;
    if same {
        return Err(Failure::usage(
            "--from and --to are the same store: name at least one, by a configuration's file or a \
             URL without a password",
        ));
    }
    Ok(ends)
}

fn end(option: &str, named: Option<&str>, in_use: &Source) -> Result<Settings, Failure> {
    match named {
        None => in_use.load_store(),
        Some(text) if is_url(text) => Ok(Settings {
            url: bare_url(option, text)?,
            ..in_use.load_store()?
        }),
        Some(file) if is_database(file) => Err(Failure::usage(format!(
            "{option}: {file} is no configuration's file by its name; a SQLite file is written as a \
             URL: {option} sqlite:{file}"
        ))),
        Some(file) => {
            // The variables are about the configuration in use: laid over both, they would make the
            // two ends one.
            let nothing = std::iter::empty::<(std::ffi::OsString, std::ffi::OsString)>();
            Ok(config::load_store(Some(Path::new(file)), nothing)?.settings)
        }
    }
}

/// Whether a text is a URL and not the path of a file: it begins with a scheme.
fn is_url(text: &str) -> bool {
    let scheme = text.split_once(':').map_or("", |(scheme, _)| scheme);
    !scheme.is_empty()
        && scheme
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
}

/// Whether a file's name is that of a database: read as a configuration it would only be called broken,
/// or missing.
fn is_database(file: &str) -> bool {
    let ending = Path::new(file).extension();
    ending.is_some_and(|ending| {
        ["db", "sqlite", "sqlite3"]
            .iter()
            .any(|known| ending == *known)
    })
}

/// A URL that everybody on the machine may read: arguments are no place for a password.
fn bare_url(option: &str, text: &str) -> Result<StoreUrl, Failure> {
    let login = || {
        Failure::usage(format!(
            "{option}: a URL with a login does not belong on the command line, where everybody on \
             this machine can read it: write it as `url` into the [store] table of a file and give \
             that file ({option} FILE), or set CLOAKROOM_STORE__URL and leave {option} out"
        ))
    };
    let a_file = text.starts_with("sqlite:");
    if text.contains('@') && !a_file {
        return Err(login());
    }
    let url = StoreUrl::parse(text, Path::new(""))
        .map_err(|why| Failure::usage(format!("{option}: {why}")))?;
    match url.shown() {
        shown if shown == "memory:" => Err(Failure::usage(format!(
            "{option}: memory: is gone with its process; name a store that stays"
        ))),
        // Wherever else a URL may hold a password, it is not shown.
        shown if shown.contains("***") && !a_file => Err(login()),
        _ => Ok(url),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_with_a_login_is_refused_and_never_repeated() {
        for text in [
            "redis://me:hunter2@h",
            "rediss://:hunter2@h:1/3",
            "redis://hunter2@h",
            "hunter2://me:hunter2@h",
            "redis+sentinel://me:hunter2@a,b/x",
        ] {
            assert!(is_url(text));
            let failure = bare_url("--to", text).err().unwrap().to_string();
            assert!(!failure.contains("hunter2"), "{failure}");
            assert!(failure.contains("CLOAKROOM_STORE__URL"), "{failure}");
        }
        assert!(bare_url("--to", "redis://h:1/3").is_ok());
        assert!(bare_url("--to", "sqlite:me:you@***.db").is_ok());
    }

    #[test]
    fn files_and_urls_are_told_apart() {
        for url in ["sqlite:a.db", "redis+cluster://a", "memory:"] {
            assert!(is_url(url), "{url}");
        }
        for file in ["new.toml", "/etc/a:b.toml", "./sqlite:a", "a b:c", ":x"] {
            assert!(!is_url(file), "{file}");
        }
    }
}
