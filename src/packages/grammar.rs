//! Names and versions as the registries write them, and nothing that npm, uv or pip would take for a
//! path, a URL, a git address or an option.

use std::fmt;

use super::request::RequestError;

/// The longest that is read, well below what a file's name may have.
const SPEC_MAX: usize = 128;
/// What npm, uv and pip take for a file when a name ends so.
const ARCHIVES: [&str; 6] = [".tgz", ".tar", ".tar.gz", ".whl", ".zip", ".tar.bz2"];

/// `name`, `@scope/name`, each with `@version`, `@range` or `@tag` if wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NpmSpec {
    /// With its scope.
    pub(super) name: String,
    pub(super) version: Option<String>,
}

impl NpmSpec {
    /// # Errors
    /// When it is anything else.
    pub(super) fn parse(text: &str) -> Result<Self, RequestError> {
        // The first character may be the scope's `@`.
        let at = text.get(1..).and_then(|rest| rest.find('@'));
        let (name, version) = match at {
            Some(at) => (&text[..=at], Some(&text[at + 2..])),
            None => (text, None),
        };
        let bare = match name.strip_prefix('@').map(|scoped| scoped.split_once('/')) {
            None => Some(name),
            Some(Some((scope, bare))) if is_npm_word(scope) => Some(bare),
            Some(_) => None,
        };
        let sound = text.len() <= SPEC_MAX
            && bare.is_some_and(is_npm_word)
            && version.is_none_or(is_npm_version);
        if !sound {
            return Err(refused(
                text,
                "NAME or @SCOPE/NAME, with @VERSION if wanted",
            ));
        }
        Ok(Self {
            name: name.to_owned(),
            version: version.map(str::to_owned),
        })
    }

    /// The name without its scope.
    pub(super) fn bare(&self) -> &str {
        self.name.rsplit('/').next().unwrap_or(&self.name)
    }
}

impl fmt::Display for NpmSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        match &self.version {
            Some(version) => write!(f, "@{version}"),
            None => Ok(()),
        }
    }
}

/// validate-npm-package-name, old packages included (capitals), less `!'()*`, which nobody has.
fn is_npm_word(word: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._~-".contains(&byte);
    word.starts_with(|first: char| first.is_ascii_alphanumeric())
        && word.bytes().all(allowed)
        && !is_archive(word)
}

/// A version or range of semver, or a tag.
fn is_npm_version(version: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".+^~<>=|*_- ".contains(&byte);
    version.starts_with(|first: char| first.is_ascii_alphanumeric() || "^~<>=*".contains(first))
        && version.bytes().all(allowed)
        && !is_archive(version)
}

/// A requirement of PEP 508, name and versions only: `name`, `name[extra]`, `name==1.2`,
/// `name>=1,<2`, and uv's `name@1.2`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PythonSpec {
    pub(super) name: String,
    pub(super) extras: Vec<String>,
    /// `==1.2`, `>=1,<2`, or empty.
    versions: String,
}

impl PythonSpec {
    /// # Errors
    /// When it is anything else.
    pub(super) fn parse(text: &str) -> Result<Self, RequestError> {
        let wrong = || refused(text, "NAME, NAME==VERSION or NAME[EXTRA]>=VERSION");
        let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || "._-".contains(c)));
        let (name, rest) = text.split_at(end.unwrap_or(text.len()));
        let (extras, rest) = match rest.strip_prefix('[').map(|rest| rest.split_once(']')) {
            None => (Vec::new(), rest),
            Some(Some((extras, rest))) => (extras.split(',').collect(), rest),
            Some(None) => return Err(wrong()),
        };
        let versions = match rest.strip_prefix('@') {
            Some("latest") => String::new(),
            Some(version) => format!("=={version}"),
            None => rest.to_owned(),
        };
        let names = extras.iter().copied().chain([name]).all(is_python_name);
        let bounded = versions.is_empty() || versions.split(',').all(is_python_bound);
        if text.len() > SPEC_MAX || !names || !bounded {
            return Err(wrong());
        }
        Ok(Self {
            name: name.to_owned(),
            extras: extras.into_iter().map(str::to_owned).collect(),
            versions,
        })
    }
}

impl fmt::Display for PythonSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if !self.extras.is_empty() {
            write!(f, "[{}]", self.extras.join(","))?;
        }
        f.write_str(&self.versions)
    }
}

/// PEP 508, "Names".
fn is_python_name(name: &str) -> bool {
    let ends = |c: char| c.is_ascii_alphanumeric();
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    name.starts_with(ends) && name.ends_with(ends) && name.bytes().all(allowed) && !is_archive(name)
}

/// One clause of PEP 440, "Version specifiers".
fn is_python_bound(bound: &str) -> bool {
    const OPERATORS: [&str; 8] = ["===", "==", "!=", "<=", ">=", "~=", "<", ">"];
    let version = OPERATORS
        .iter()
        .find_map(|operator| bound.strip_prefix(operator));
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".*+!_-".contains(&byte);
    version.is_some_and(|version| {
        version.starts_with(|first: char| first.is_ascii_alphanumeric())
            && version.bytes().all(allowed)
            && !is_archive(version)
    })
}

/// As PyPI compares names: in small letters, each run of `-`, `_` and `.` one `-` (PEP 503).
pub(super) fn normalized(name: &str) -> String {
    let words = name
        .split(['-', '_', '.'])
        .filter(|word| !word.is_empty())
        .map(str::to_ascii_lowercase);
    words.collect::<Vec<_>>().join("-")
}

fn is_archive(text: &str) -> bool {
    let small = text.to_ascii_lowercase();
    ARCHIVES.iter().any(|ending| small.ends_with(ending))
}

fn refused(text: &str, write: &str) -> RequestError {
    let shown: String = text
        .chars()
        .take(SPEC_MAX)
        .flat_map(char::escape_default)
        .collect();
    RequestError::new(format!(
        "`{shown}` is not a package of a registry: write {write} (no path, URL, git address or \
         option, at most {SPEC_MAX} characters)"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_registry_has_is_an_npm_package() {
        for (text, name, version) in [
            ("pkg", "pkg", None),
            ("JSONStream@1", "JSONStream", Some("1")),
            ("@s/p.k_g-2@^1.2.3", "@s/p.k_g-2", Some("^1.2.3")),
            ("pkg@>=1 <2 || 3", "pkg", Some(">=1 <2 || 3")),
            ("pkg@latest", "pkg", Some("latest")),
        ] {
            let spec = NpmSpec::parse(text).unwrap();
            assert_eq!((&*spec.name, spec.version.as_deref()), (name, version));
            assert_eq!(spec.to_string(), text);
        }
        for bad in [
            "",
            "@",
            "@s",
            "@s/",
            "@/p",
            "s/p",
            "@s/p/q",
            "-p",
            "--global",
            "@-s/p",
            ".",
            "..",
            "./p",
            "/p",
            "~/p",
            "p@",
            "p@./q",
            "p@../q",
            "p@/q",
            "p@-1",
            "p@file:q",
            "p@npm:q@1",
            "p@s/q",
            "git@github.com:s/q",
            "github:s/q",
            "https://h/p.tgz",
            "p.tgz",
            "P.TGZ",
            "p@q.tar.gz",
            "p q",
            "p\n",
            "p\0",
            "p;ls",
            "$(ls)",
            "pé",
            &"p".repeat(129),
        ] {
            assert!(NpmSpec::parse(bad).is_err(), "{bad:?}");
        }
        assert_eq!(NpmSpec::parse("@s/p").unwrap().bare(), "p");
    }

    #[test]
    fn only_what_an_index_has_is_a_python_package() {
        for text in [
            "a",
            "A.b_c-2",
            "a==1.2",
            "a[x,y-z]>=1!2.0,<3",
            "a~=1.0.post1",
            "a===1.0+local",
        ] {
            assert_eq!(PythonSpec::parse(text).unwrap().to_string(), text);
        }
        for bad in [
            "",
            "-a",
            "-r",
            "a-",
            "./a",
            "/a",
            "a/b",
            "a @ https://h/a.whl",
            "a@https://h",
            "git+https://h",
            "a;python_version>'3'",
            "a==",
            "a=1",
            "a==1,",
            "a==1,b",
            "a,b",
            "a[",
            "a[]",
            "a[x",
            "a]",
            "a.whl",
            "a==-1",
            "a==../b",
            "a b",
            "a\n",
            &"a".repeat(129),
        ] {
            assert!(PythonSpec::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn names_are_compared_as_the_index_does() {
        assert_eq!(normalized("MCP__Atlassian.x"), "mcp-atlassian-x");
    }

    #[test]
    fn a_refusal_shows_no_control_characters() {
        let error = NpmSpec::parse("a\u{1b}[2J").unwrap_err().to_string();
        assert!(
            !error.contains('\u{1b}') && error.contains("@SCOPE/NAME"),
            "{error}"
        );
    }
}
