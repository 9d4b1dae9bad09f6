//! `npx …` and `npm exec …` (npm 7 and later: `npm help exec`).

use super::grammar::NpmSpec;
use super::request::{Package, Request, RequestError, option, owned, value};

/// How the two differ: whose options those after the package are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// The program's.
    Npx,
    /// npm's, down to `--`.
    NpmExec,
}

pub(super) fn parse(style: Style, words: &[&str]) -> Result<Request, RequestError> {
    let (mut rest, mut package, mut trusted) = (words, None, false);
    let mut is_after_dashes = false;
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
                is_after_dashes = true;
                break Some(*word);
            }
            ("-y" | "--yes" | "-q" | "--quiet" | "-s" | "--silent", None) => {}
            ("--ignore-scripts", None | Some("true")) => trusted = false,
            ("--ignore-scripts", Some("false")) => trusted = true,
            ("-p" | "--package", joined) => {
                let spec = NpmSpec::parse(value(name, joined, &mut rest)?)?;
                if package.replace(spec).is_some() {
                    return Err(RequestError::new("npx: write one --package, not several"));
                }
            }
            ("-c" | "--call", _) => {
                return Err(RequestError::new(format!(
                    "npx {name} runs a shell, which is never done here: write npx -y PACKAGE ARGUMENTS"
                )));
            }
            _ => {
                return Err(RequestError::new(format!(
                    "npx: option {} is not known here (-y, -q, -p PACKAGE, --ignore-scripts=false and -- are)",
                    name.escape_default()
                )));
            }
        }
    };
    let rest = match style {
        Style::NpmExec if !is_after_dashes => arguments_of_exec(rest)?,
        _ => rest,
    };
    let (package, program) = match (package, positional) {
        (Some(package), Some(program)) => (package, Some(program.to_owned())),
        (None, Some(spec)) => (NpmSpec::parse(spec)?, None),
        (_, None) => {
            return Err(RequestError::new(
                "npx: nothing to run is named: write npx -y PACKAGE ARGUMENTS",
            ));
        }
    };
    Ok(Request {
        package: Package::Npm(package),
        trusted,
        program,
        arguments: owned(rest),
        tools: None,
    })
}

/// npm takes options anywhere before `--` for its own.
fn arguments_of_exec<'a, 'b>(rest: &'b [&'a str]) -> Result<&'b [&'a str], RequestError> {
    let end = rest.iter().position(|word| *word == "--");
    let before = &rest[..end.unwrap_or(rest.len())];
    if before.iter().any(|word| option(word).is_some()) {
        return Err(RequestError::new(
            "npm exec takes options after the package for its own: write -- before the program's",
        ));
    }
    match end {
        // Words on both sides of it: npm joins them.
        Some(end) if end > 0 => Err(RequestError::new(
            "npm exec: write -- right after the package, before all arguments",
        )),
        Some(_) => Ok(&rest[1..]),
        None => Ok(rest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn npx(line: &str) -> Result<Request, RequestError> {
        parse(Style::Npx, &line.split(' ').collect::<Vec<_>>())
    }

    fn shown(request: &Request) -> (String, Option<&str>, String, bool) {
        let Request {
            program, trusted, ..
        } = request;
        (
            request.spec(),
            program.as_deref(),
            request.arguments.join(" "),
            *trusted,
        )
    }

    #[test]
    fn a_package_its_program_and_its_arguments() {
        for (line, spec, program, arguments) in [
            ("-y pkg", "pkg", None, ""),
            ("pkg@1.2.3 -y --flag x", "pkg@1.2.3", None, "-y --flag x"),
            ("-y -q @s/pkg@^1 -- a", "@s/pkg@^1", None, "-- a"),
            ("-p @s/pkg bin -p x", "@s/pkg", Some("bin"), "-p x"),
            ("--package=pkg@next -- bin", "pkg@next", Some("bin"), ""),
            ("-- pkg --help", "pkg", None, "--help"),
        ] {
            let request = npx(line).unwrap();
            let expected = (spec.to_owned(), program, arguments.to_owned(), false);
            assert_eq!(shown(&request), expected, "{line}");
        }
        assert!(npx("--ignore-scripts=false pkg").unwrap().trusted);
    }

    #[test]
    fn npm_exec_leaves_options_to_the_program_after_dashes_only() {
        let exec = |line: &str| parse(Style::NpmExec, &line.split(' ').collect::<Vec<_>>());
        assert_eq!(shown(&exec("-y pkg -- --flag").unwrap()).2, "--flag");
        assert_eq!(shown(&exec("-- pkg --flag").unwrap()).2, "--flag");
        assert_eq!(
            shown(&exec("--yes -p pkg -- bin a").unwrap()).1,
            Some("bin")
        );
        assert!(exec("pkg --flag").is_err() && exec("pkg a -- b").is_err());
    }

    #[test]
    fn what_is_not_understood_is_refused_with_a_way_out() {
        for (line, says) in [
            ("", "nothing to run"),
            ("-y", "nothing to run"),
            ("-y --", "nothing to run"),
            ("-p pkg", "nothing to run"),
            ("-p", "wants a value"),
            ("-c ls", "shell"),
            ("--call=ls pkg", "shell"),
            ("-p a -p b bin", "one --package"),
            ("--registry=http://evil pkg", "--registry"),
            ("--prefix /tmp pkg", "--prefix"),
        ] {
            let words: Vec<_> = line.split(' ').filter(|word| !word.is_empty()).collect();
            let error = parse(Style::Npx, &words).unwrap_err().to_string();
            assert!(error.contains(says), "{line}: {error}");
            assert!(error.contains("name the program itself"), "{error}");
        }
    }
}
