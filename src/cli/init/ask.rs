//! What `init` has to know: from options, guesses, and questions whose default is shown.

use std::io::{self, Write as _};

use http::Uri;

use super::text::{Slot, default_secret};
use crate::cli::Failure;
use crate::cli::args::InitArgs;
use crate::inject::Template;
use crate::names::ServerName;

/// The slot the options name, if they do.
pub(super) fn slot_of(args: &InitArgs) -> Result<Option<Slot>, Failure> {
    let slot = if args.no_secret {
        Some(Ok(Slot::None))
    } else if let Some(header) = &args.header {
        Some(header_slot(header))
    } else if let Some(query) = &args.query {
        Some(pair(query, '=', "key=${TOKEN}").map(|(name, template)| Slot::Query(name, template)))
    } else {
        args.argument.as_ref().map(|argument| {
            let (name, template) = pair(argument, '=', "api_token=${TOKEN}")?;
            Ok(Slot::Argument(name, template, args.tools.clone()))
        })
    };
    slot.transpose().map_err(Failure::usage)
}

fn header_slot(text: &str) -> Result<Slot, String> {
    let (name, template) = pair(text, ':', "Authorization: Bearer ${TOKEN}")?;
    Ok(Slot::Header(name, template))
}

/// `NAME` and what comes after the separator, which is a template of secrets.
fn pair(text: &str, separator: char, example: &str) -> Result<(String, String), String> {
    // Whoever writes the secret itself here must not see it again in a log of commands.
    let wanted = format!(
        "write a name, `{separator}` and where the secret goes, as in '{example}' (the secret itself is \
         set later, by `cloakroom secret set`)"
    );
    let (name, template) = text.split_once(separator).ok_or_else(|| wanted.clone())?;
    let (name, template) = (name.trim(), template.trim());
    let parsed = Template::parse(template).map_err(|error| error.to_string())?;
    if name.is_empty() || parsed.is_constant() {
        return Err(wanted);
    }
    Ok((name.to_owned(), template.to_owned()))
}

/// A URL a backend may have; the configuration says the rest.
pub(super) fn url(text: &str) -> Result<String, String> {
    const WRITE: &str = "write http:// or https:// and where the server is, such as \
                         http://127.0.0.1:9001/mcp";
    let uri: Uri = text.parse().map_err(|_| WRITE)?;
    let known = matches!(uri.scheme_str(), Some("http" | "https"));
    let bare = uri.authority().is_some_and(|at| !at.as_str().contains('@'));
    if !known || !bare {
        return Err(WRITE.to_owned());
    }
    Ok(text.to_owned())
}

/// A name for the server at `url`: the part of its host's name that says most, else `server`.
pub(super) fn guess(url: &str) -> ServerName {
    const SAYS_NOTHING: [&str; 5] = ["www", "api", "mcp", "localhost", "sse"];
    let uri: Uri = url.parse().unwrap_or_default();
    let host = uri.host().unwrap_or_default().to_ascii_lowercase();
    let is_name = host.contains(|c: char| c.is_ascii_lowercase());
    let labels = host
        .split('.')
        .filter(|_| is_name && !host.starts_with('['));
    let mut named = labels
        .filter(|label| !SAYS_NOTHING.contains(label))
        .filter_map(|label| ServerName::parse(label).ok());
    named
        .next()
        .unwrap_or_else(|| ServerName::parse("server").expect("`server` is a name of a server"))
}

/// Asks until the answer is one; an empty one is `default`.
pub(super) fn line<T>(
    question: &str,
    default: &str,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<T, Failure> {
    loop {
        let answer = read(&format!("{question} [{default}] "))?;
        let answer = if answer.is_empty() { default } else { &answer };
        match parse(answer) {
            Ok(parsed) => return Ok(parsed),
            Err(why) => say(&format!("{why}\n")),
        }
    }
}

/// Where the server wants its secret.
pub(super) fn slot(server: &ServerName) -> Result<Slot, Failure> {
    let secret = default_secret(server);
    say(&format!(
        "Where does it expect the user's secret?\n  \
         1  header `Authorization: Bearer ${{{secret}}}`\n  \
         2  another header\n  3  an argument of its tools\n  4  a parameter of its URL\n  \
         5  nowhere\n"
    ));
    let number = |text: &str| match text.parse() {
        Ok(number @ 1..=5) => Ok(number),
        _ => Err("write a number from 1 to 5".to_owned()),
    };
    match line("Which?", "1", number)? {
        1 => Ok(Slot::bearer(server)),
        2 => line("Header", &format!("X-API-Key: ${{{secret}}}"), header_slot),
        3 => {
            let default = format!("api_token=${{{secret}}}");
            let (name, template) = line("Argument", &default, |text| pair(text, '=', &default))?;
            let tools = read("For which tools? Names with commas, or nothing for every tool: ")?;
            let tools = tools
                .split(',')
                .map(str::trim)
                .filter(|name| !name.is_empty());
            Ok(Slot::Argument(
                name,
                template,
                tools.map(str::to_owned).collect(),
            ))
        }
        4 => {
            let default = format!("key=${{{secret}}}");
            let (name, template) = line("Parameter", &default, |text| pair(text, '=', &default))?;
            Ok(Slot::Query(name, template))
        }
        _ => Ok(Slot::None),
    }
}

fn read(prompt: &str) -> Result<String, Failure> {
    say(prompt);
    let mut line = String::new();
    match io::stdin().read_line(&mut line) {
        Ok(1..) => Ok(line.trim().to_owned()),
        _ => Err(Failure::new("nothing was written: the answer is missing")),
    }
}

fn say(text: &str) {
    // Standard output is for what was asked for; nobody can be told that standard error is gone.
    let _ = io::stderr().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_guessed_from_what_says_most() {
        for (url, name) in [
            ("https://api.githubcopilot.com/mcp/", "githubcopilot"),
            ("https://mcp.linear.app/sse", "linear"),
            ("https://MCP.Example.com/mcp", "example"),
            ("http://127.0.0.1:9001/mcp", "server"),
            ("http://[::1]:9001/mcp", "server"),
            ("http://localhost:9001/mcp", "server"),
            ("http://jira-mcp:9001/mcp", "jira-mcp"),
        ] {
            assert_eq!(guess(url).as_str(), name, "{url}");
        }
    }

    // Fails when `pair` takes what has no ${NAME}: a secret would stand in the configuration.
    #[test]
    fn a_secret_itself_is_no_slot_and_is_not_repeated() {
        for bad in [
            "Authorization: Bearer hunter2",
            "X",
            ": ${A}",
            "X-Key hunter2",
        ] {
            let error = header_slot(bad).err().unwrap();
            assert!(
                error.contains("${TOKEN}") && !error.contains("hunter2"),
                "{error}"
            );
        }
        assert!(header_slot("X-API-Key:${KEY}").is_ok());
        assert!(pair("key=${A}", '=', "").is_ok());
    }
}
