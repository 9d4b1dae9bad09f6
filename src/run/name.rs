//! What a server is called when nobody says.

use std::path::Path;

use crate::names::ServerName;

/// Words that every package of its kind has in its name.
const OF_PACKAGES: &[&str] = &["mcp", "server", "servers"];
/// And words that many a program's path has.
const OF_PATHS: &[&str] = &[
    "mcp", "server", "servers", "app", "bin", "build", "cli", "dist", "index", "lib", "main",
    "opt", "out", "src", "srv", "stdio", "usr",
];
/// Programs that run others: what follows them says more.
const RUNNERS: &[&str] = &[
    "bun", "deno", "docker", "env", "java", "node", "nodejs", "podman", "ruby", "sh", "bash", "uv",
    "run", "exec",
];

/// From the package that is started, or else from the command.
pub(super) fn guess(package: Option<&str>, command: &[String]) -> ServerName {
    let guessed = match package {
        Some(package) => of_package(package),
        None => of_command(command),
    };
    guessed.unwrap_or_else(|| ServerName::parse("server").expect("`server` is a name of a server"))
}

/// `@scope/name`: the name, or the scope where that says nothing.
fn of_package(package: &str) -> Option<ServerName> {
    let mut parts = package.rsplit('/');
    parts.find_map(|part| stripped(part, OF_PACKAGES))
}

/// Of a program or its script the name of the file, or of the nearest folder that says something.
fn of_command(command: &[String]) -> Option<ServerName> {
    let is_runner = |word: &String| {
        let name = word.rsplit('/').next().unwrap_or(word);
        RUNNERS.contains(&name) || name.starts_with("python")
    };
    let words = || command.iter().filter(|word| !word.starts_with('-'));
    let word = words().find(|word| !is_runner(word)).or(command.first())?;
    // An image may have a tag.
    let path = Path::new(word.split(':').next().unwrap_or(word));
    let file = path.file_stem().and_then(|stem| stem.to_str());
    let folders = path
        .ancestors()
        .skip(1)
        .filter_map(|folder| folder.file_name()?.to_str());
    file.into_iter()
        .chain(folders)
        .find_map(|part| stripped(part, OF_PATHS))
}

/// `text` without the `idle` words at its ends, as a name.
fn stripped(text: &str, idle: &[&str]) -> Option<ServerName> {
    let text = text.to_ascii_lowercase();
    let all: Vec<_> = text
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect();
    let is_idle = |word: &&str| idle.contains(word);
    let first = all.iter().position(|word| !is_idle(word))?;
    let last = all.iter().rposition(|word| !is_idle(word))?;
    let mut name = all[first..=last].join("-");
    name.truncate(63);
    ServerName::parse(name.trim_end_matches('-')).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_called_by_what_tells_it_from_others() {
        for (package, name) in [
            ("@modelcontextprotocol/server-github", "github"),
            ("@notionhq/notion-mcp-server", "notion"),
            ("@brave/brave-search-mcp-server", "brave-search"),
            ("@zereight/mcp-gitlab", "gitlab"),
            ("@supabase/mcp-server-supabase", "supabase"),
            ("mcp-atlassian", "atlassian"),
            ("mcp_server_time", "time"),
            ("@acme/mcp-server", "acme"),
            ("tavily-mcp", "tavily"),
            ("mcp-server", "server"),
            ("oauth", "server"),
            (&"a-".repeat(100), &"a-".repeat(32)[..63]),
        ] {
            assert_eq!(guess(Some(package), &[]).as_str(), name, "{package}");
        }
    }

    #[test]
    fn a_program_is_called_by_its_file_or_folder() {
        for (line, name) in [
            ("notion-mcp-server --stdio", "notion"),
            ("/usr/local/bin/github_mcp", "github"),
            ("node /srv/weather/dist/index.js", "weather"),
            ("python3 -u server.py", "server"),
            ("python3 /opt/Jira/main.py", "jira"),
            ("uv run weather.py", "weather"),
            ("docker run -i --rm ghcr.io/x/jira-mcp-server:1", "jira"),
            ("node", "node"),
        ] {
            let command: Vec<_> = line.split(' ').map(str::to_owned).collect();
            assert_eq!(guess(None, &command).as_str(), name, "{line}");
        }
    }
}
