//! `uvx …` and `uv tool run …` (`uv help tool run`).

use super::grammar::PythonSpec;
use super::request::{Package, Request, RequestError, option, owned, value};

pub(super) fn parse(words: &[&str]) -> Result<Request, RequestError> {
    let (mut rest, mut from, mut with) = (words, None, Vec::new());
    let (mut version, mut trusted) = (None, false);
    let positional = loop {
        let Some((word, after)) = rest.split_first() else {
            break None;
        };
        rest = after;
        let Some((name, joined)) = option(word) else {
            break Some(*word);
        };
        match (name, joined) {
            ("--", None) => {
                let Some((word, after)) = rest.split_first() else {
                    break None;
                };
                rest = after;
                break Some(*word);
            }
            ("-q" | "--quiet", None) => {}
            ("--build", None) => trusted = true,
            ("--no-build", None) => trusted = false,
            ("--from", joined) => {
                from = Some(PythonSpec::parse(value(name, joined, &mut rest)?)?);
            }
            ("-w" | "--with", joined) => {
                with.push(PythonSpec::parse(value(name, joined, &mut rest)?)?);
            }
            ("-p" | "--python", joined) => {
                version = Some(python_version(value(name, joined, &mut rest)?)?);
            }
            _ => {
                return Err(RequestError::new(format!(
                    "uvx: option {} is not known here (--from, --with, --python, --build, -q and -- are)",
                    name.escape_default()
                )));
            }
        }
    };
    let Some(positional) = positional else {
        return Err(RequestError::new(
            "uvx: nothing to run is named: write uvx PACKAGE ARGUMENTS",
        ));
    };
    let (package, program) = match from {
        Some(package) => (package, Some(positional.to_owned())),
        None => (PythonSpec::parse(positional)?, None),
    };
    Ok(Request {
        package: Package::Python {
            package,
            with,
            version,
        },
        trusted,
        program,
        arguments: owned(rest),
        tools: None,
    })
}

/// `3.12`, also as `python3.12`. Not a path, which would be another program to run.
fn python_version(text: &str) -> Result<String, RequestError> {
    let version = text.strip_prefix("python").unwrap_or(text);
    let parts: Vec<_> = version.split('.').collect();
    let digits = |part: &&str| {
        (1..=3).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
    };
    if parts.len() <= 3 && parts[0] == "3" && parts.iter().all(digits) {
        return Ok(version.to_owned());
    }
    Err(RequestError::new(format!(
        "uvx: `{}` is no version of Python: write one such as 3.12",
        text.escape_default()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uvx(line: &str) -> Result<Request, RequestError> {
        parse(&line.split(' ').collect::<Vec<_>>())
    }

    #[test]
    fn a_package_its_program_and_its_arguments() {
        for (line, spec, program, arguments) in [
            ("mcp-atlassian", "mcp-atlassian", None, ""),
            ("-q a@1.2 --from x", "a==1.2", None, "--from x"),
            ("a@latest", "a", None, ""),
            (
                "--from a==1.2 bin --with z",
                "a==1.2",
                Some("bin"),
                "--with z",
            ),
            (
                "--from=a[x,y]>=1,<2 -- bin",
                "a[x,y]>=1,<2",
                Some("bin"),
                "",
            ),
        ] {
            let request = uvx(line).unwrap();
            assert_eq!(request.spec(), spec, "{line}");
            assert_eq!(request.program.as_deref(), program, "{line}");
            assert_eq!(request.arguments.join(" "), arguments, "{line}");
        }
    }

    #[test]
    fn what_else_gets_installed_is_told_apart() {
        let plain = uvx("a").unwrap().variant();
        assert!(plain.is_empty());
        let all = uvx("--with b>=1 --python python3.12 --build a[x]").unwrap();
        let expected = ["extra x", "with b>=1", "python 3.12", "trusted"];
        assert_eq!(all.variant(), expected);
    }

    #[test]
    fn what_is_not_understood_is_refused_with_a_way_out() {
        for (line, says) in [
            ("-q", "nothing to run"),
            ("--from a", "nothing to run"),
            ("--from", "wants a value"),
            ("--index-url http://evil a", "--index-url"),
            ("--python /tmp/python a", "no version of Python"),
            ("--python 2.7 a", "no version of Python"),
            ("--with ./a b", "not a package"),
            ("--with-editable . b", "--with-editable"),
        ] {
            let error = uvx(line).unwrap_err().to_string();
            assert!(error.contains(says), "{line}: {error}");
            assert!(error.contains("name the program itself"), "{error}");
        }
    }
}
