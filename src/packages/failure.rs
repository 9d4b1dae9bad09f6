//! What npm, uv and pip meant when they failed.

use super::PackageError;
use super::tool::Done;

/// Words that only one cause makes a tool say; the first that is found counts.
const CAUSES: [(&str, Cause); 27] = [
    ("npm error code E404", Cause::NoSuchPackage),
    ("npm error code ETARGET", Cause::NoSuchVersion),
    ("npm error code ENOVERSIONS", Cause::NoSuchVersion),
    ("npm error code E401", Cause::Refused),
    ("npm error code E403", Cause::Refused),
    ("npm error code ECONNREFUSED", Cause::Unreachable),
    ("npm error code ECONNRESET", Cause::Unreachable),
    ("npm error code ENOTFOUND", Cause::Unreachable),
    ("npm error code EAI_AGAIN", Cause::Unreachable),
    ("npm error code ETIMEDOUT", Cause::Unreachable),
    ("npm error code ERR_SOCKET_TIMEOUT", Cause::Unreachable),
    ("npm error code EHOSTUNREACH", Cause::Unreachable),
    ("npm error code ENETUNREACH", Cause::Unreachable),
    ("npm error code ENOTCACHED", Cause::Unreachable),
    ("error sending request for url", Cause::Unreachable),
    ("Network connectivity is disabled", Cause::Unreachable),
    ("the network was disabled", Cause::Unreachable),
    ("Failed to establish a new connection", Cause::Unreachable),
    ("after connection broken by", Cause::Unreachable),
    ("401 Unauthorized", Cause::Refused),
    ("403 Forbidden", Cause::Refused),
    ("has no usable wheels", Cause::OnlySource),
    ("no wheels with a matching", Cause::OnlySource),
    (
        "was not found in the package registry",
        Cause::NoSuchPackage,
    ),
    ("there is no version of", Cause::NoSuchVersion),
    // pip says the same of a package that is not there and of one without wheels.
    ("(from versions: none)", Cause::NoneOrSource),
    ("(from versions: ", Cause::NoSuchVersion),
];
/// Lines that say nothing to a reader.
const IDLE: [&str; 9] = [
    "code ",
    "syscall ",
    "errno ",
    "at ",
    "A complete log",
    "network ",
    "Note that you",
    "tarball, ",
    "hint:",
];
/// How much of what a tool said is repeated.
const SHOWN_MAX: usize = 400;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    NoSuchPackage,
    NoSuchVersion,
    NoneOrSource,
    OnlySource,
    Refused,
    Unreachable,
}

/// Why `tool` did not install `spec`.
pub(super) fn of(tool: &str, spec: &str, done: &Done) -> PackageError {
    let said = said(&done.stderr);
    let spec = spec.to_owned();
    let cause = CAUSES
        .iter()
        .find(|(words, _)| done.stderr.contains(words))
        .map(|(_, cause)| cause);
    match cause {
        Some(Cause::NoSuchPackage) => PackageError::NoSuchPackage { spec, said },
        Some(Cause::NoSuchVersion) => PackageError::NoSuchVersion { spec, said },
        Some(Cause::NoneOrSource | Cause::OnlySource) => PackageError::OnlySource { spec, said },
        Some(Cause::Refused) => PackageError::Refused { spec, said },
        Some(Cause::Unreachable) => PackageError::Unreachable { spec, said },
        None => {
            let tool = tool.to_owned();
            PackageError::Failed { tool, spec, said }
        }
    }
}

/// The lines that tell something, on one line, with nothing in it that a terminal would obey.
fn said(stderr: &str) -> String {
    let lines = stderr
        .lines()
        .map(|line| {
            ["npm error", "npm ERR!", "ERROR:", "error:"]
                .iter()
                .fold(line.trim(), |line, word| {
                    line.strip_prefix(word).unwrap_or(line).trim_start()
                })
        })
        .filter(|line| {
            line.contains(' ') && !line.starts_with("npm warn") && !line.starts_with("WARNING")
        })
        .filter(|line| !IDLE.iter().any(|idle| line.starts_with(idle)));
    let text = lines.take(3).collect::<Vec<_>>().join("; ");
    if text.is_empty() {
        return "it said nothing".to_owned();
    }
    let harmless = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().take(SHOWN_MAX).map(harmless).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    fn told(stderr: &str) -> PackageError {
        let done = Done {
            status: std::process::ExitStatus::from_raw(256),
            stdout: String::new(),
            stderr: stderr.to_owned(),
        };
        of("npm", "a@1", &done)
    }

    // What npm 11.19, uv 0.13.9 and pip 23.2 write.
    #[test]
    fn what_the_tools_write_is_told_apart() {
        use PackageError as E;
        type Is = fn(&E) -> bool;
        let cases: [(&str, Is); 9] = [
            (
                "npm warn Unknown user config \"x\".\nnpm error code E404\nnpm error 404 Not Found - GET https://r/a\n",
                |e| matches!(e, E::NoSuchPackage { said, .. } if said == "404 Not Found - GET https://r/a"),
            ),
            (
                "npm error code ETARGET\nnpm error notarget No matching version found for a@99.\n",
                |e| matches!(e, E::NoSuchVersion { .. }),
            ),
            (
                "npm error code ECONNREFUSED\nnpm error syscall connect\nnpm error errno ECONNREFUSED\n\
                 npm error FetchError: request to http://127.0.0.1:9/a failed\nnpm error     at X\n",
                |e| matches!(e, E::Unreachable { said, .. } if said.starts_with("FetchError: request to")),
            ),
            (
                "npm error code E401\nnpm error Incorrect or missing password.\n",
                |e| matches!(e, E::Refused { .. }),
            ),
            (
                "error: No solution found when resolving dependencies\n  cause: Because a was not found in the package registry\n",
                |e| matches!(e, E::NoSuchPackage { .. }),
            ),
            (
                "error: No solution found\n  cause: Because there is no version of a==99 and you require it\n",
                |e| matches!(e, E::NoSuchVersion { .. }),
            ),
            (
                "  cause: Because docopt==0.6.2 has no usable wheels and you require docopt==0.6.2\n",
                |e| matches!(e, E::OnlySource { .. }),
            ),
            (
                "WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError'\n\
                 ERROR: Could not find a version that satisfies the requirement a (from versions: none)\n",
                |e| matches!(e, E::Unreachable { .. }),
            ),
            (
                "npm error code ENOSPC\nnpm error no space left on device\u{1b}[2J\n",
                |e| matches!(e, E::Failed { said, .. } if said.starts_with("no space left on device") && !said.contains('\u{1b}')),
            ),
        ];
        for (stderr, is_told) in cases {
            let error = told(stderr);
            assert!(is_told(&error), "{stderr}: {error:?}");
        }
    }
}
