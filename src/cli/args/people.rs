//! What can be written about people: users, keys, secrets, groups, access, usage.

use std::time::Duration;

use clap::Subcommand;

use crate::names::{Email, GroupName, Label, Pattern, ProfileName, ServerName, UserName};

/// `user …`.
#[derive(Subcommand)]
pub enum UserCommand {
    /// Add a user
    Add {
        /// 1 to 128 of a-z 0-9 . _ @ + -
        name: UserName,
        /// For finding the user
        #[arg(long, value_parser = email)]
        email: Option<String>,
        /// Who it is, in words
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,
    },
    /// List users, in no particular order
    List {
        /// How many at most
        #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=100_000))]
        limit: u64,
        /// Those after this id, which the list before ended with
        #[arg(long, value_name = "ID")]
        after: Option<String>,
    },
    /// Change a user; an empty text takes away what was there
    Update(Box<UserUpdate>),
    /// Show a user
    Show {
        /// Who
        name: UserName,
    },
    /// Refuse all keys of a user until enabled again
    Disable {
        /// Who
        name: UserName,
    },
    /// Accept the keys of a disabled user again
    Enable {
        /// Who
        name: UserName,
    },
    /// Delete a user with all keys and secrets
    Delete {
        /// Who
        name: UserName,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

/// `key …`.
#[derive(Subcommand)]
pub enum KeyCommand {
    /// Make a key; it is shown this once
    Issue {
        /// Whose it will be
        user: UserName,
        /// What its owner calls it, such as "laptop"
        #[arg(long, value_parser = label)]
        name: Option<String>,
        /// How long it lives, such as 90d or 12h [default: until revoked]
        #[arg(long, value_parser = ttl)]
        ttl: Option<Duration>,
        /// The profile it uses where the path names none
        #[arg(long)]
        profile: Option<ProfileName>,
        #[command(flatten)]
        limits: LimitArgs,
    },
    /// List the keys of a user
    List {
        /// Whose
        user: UserName,
    },
    /// Revoke a key for good
    Revoke {
        /// The key's id, or - to give the key itself on standard input
        // Not parsed here: a complaint would repeat it, and some will give the key itself.
        #[arg(value_name = "ID|-")]
        id: String,
    },
}

/// `secret …`.
#[derive(Subcommand)]
pub enum SecretCommand {
    /// Set a secret: from a hidden prompt, or standard input (one newline at its end is dropped)
    Set {
        /// Whose it is
        user: UserName,
        /// The server it is for
        server: ServerName,
        /// Its name, as the server's slots write it: ${NAME}
        // Not parsed here, for the same reason as the id of a key.
        name: String,
        /// The set it belongs to
        #[arg(long, default_value = "default")]
        profile: ProfileName,
        /// Caught so that a value given here is not repeated in a complaint.
        #[arg(hide = true, num_args = 0..)]
        value: Vec<std::ffi::OsString>,
    },
    /// List the names of a user's secrets
    List {
        /// Whose
        user: UserName,
    },
    /// Delete a secret, or all for a server
    Delete {
        /// Whose it is
        user: UserName,
        /// The server it is for
        server: ServerName,
        /// Its name
        #[arg(required_unless_present = "all", conflicts_with = "all")]
        name: Option<String>,
        /// All secrets for the server, in the profile
        #[arg(long)]
        all: bool,
        /// The set it belongs to
        #[arg(long, default_value = "default")]
        profile: ProfileName,
    },
}

/// `user update`.
#[derive(clap::Args)]
pub struct UserUpdate {
    /// Who
    pub name: UserName,
    /// For finding the user
    #[arg(long, value_parser = email_or_none)]
    pub email: Option<String>,
    /// Who it is, in words
    #[arg(long, value_name = "TEXT")]
    pub description: Option<String>,
    /// What to keep in mind about the user
    #[arg(long, value_name = "TEXT")]
    pub notes: Option<String>,
    /// An object of JSON, in place of what is there
    #[arg(long, value_name = "JSON")]
    pub metadata: Option<String>,
    /// The users in whose name this one may call tools, such as '*' or team-*; several times
    #[arg(long, value_name = "PATTERN")]
    pub acts_for: Vec<String>,
    /// Leave groups that are gone from the store, whatever they blocked
    #[arg(long)]
    pub leave_lost_groups: bool,
    /// Bounds.
    #[command(flatten)]
    pub limits: LimitArgs,
}

/// Bounds; 0 is no bound, `default` what the configuration says.
#[derive(clap::Args)]
pub struct LimitArgs {
    /// Requests a minute, over all replicas [0: no bound; default: as configured]
    #[arg(long, value_name = "N")]
    pub rate: Option<Bound>,
    /// Of these, how many at once
    #[arg(long, value_name = "N")]
    pub burst: Option<Bound>,
    /// Requests a day (UTC)
    #[arg(long, value_name = "N")]
    pub daily: Option<Bound>,
    /// Requests of the user under way at one moment, in each replica
    #[arg(long, value_name = "N")]
    pub concurrent: Option<Bound>,
}

/// A number, or what the configuration says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound(pub Option<u32>);

impl std::str::FromStr for Bound {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WANTED: &str = "write a number from 0 to 1000000000, or default";
        match text.parse() {
            _ if text == "default" => Ok(Self(None)),
            Ok(number) if number <= 1_000_000_000 => Ok(Self(Some(number))),
            _ => Err(WANTED),
        }
    }
}

/// `group …`.
#[derive(Subcommand)]
pub enum GroupCommand {
    /// Add a group
    Add {
        /// 1 to 63 of a-z 0-9 . _ -
        name: GroupName,
        /// What it is for
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,
    },
    /// List all groups
    List,
    /// Show a group and its members
    Show {
        /// Which
        name: GroupName,
    },
    /// Put users into a group
    Join {
        /// Which
        name: GroupName,
        /// Who
        #[arg(required = true)]
        users: Vec<UserName>,
    },
    /// Take users out of a group
    Leave {
        /// Which
        name: GroupName,
        /// Who
        #[arg(required = true)]
        users: Vec<UserName>,
    },
    /// The secrets its members share: used where a member has none of the same name
    Secret {
        /// What about them.
        #[command(subcommand)]
        command: GroupSecretCommand,
    },
    /// Delete a group with what it shares; its members stay
    Delete {
        /// Which
        name: GroupName,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

/// `group secret …`.
#[derive(Subcommand)]
pub enum GroupSecretCommand {
    /// Set a secret: from a hidden prompt, or standard input (one newline at its end is dropped)
    Set {
        /// Whose it is
        group: GroupName,
        /// The server it is for
        server: ServerName,
        /// Its name, as the server's slots write it: ${NAME}
        // Not parsed here: a complaint would repeat it, and some will give the value.
        name: String,
        /// The set it belongs to
        #[arg(long, default_value = "default")]
        profile: ProfileName,
        /// Caught so that a value given here is not repeated in a complaint.
        #[arg(hide = true, num_args = 0..)]
        value: Vec<std::ffi::OsString>,
    },
    /// List the names of a group's secrets
    List {
        /// Whose
        group: GroupName,
    },
    /// Delete a secret, or all for a server
    Delete {
        /// Whose it is
        group: GroupName,
        /// The server it is for
        server: ServerName,
        /// Its name
        #[arg(required_unless_present = "all", conflicts_with = "all")]
        name: Option<String>,
        /// All secrets for the server, in the profile
        #[arg(long)]
        all: bool,
        /// The set it belongs to
        #[arg(long, default_value = "default")]
        profile: ProfileName,
    },
}

/// `access …`.
#[derive(Subcommand)]
pub enum AccessCommand {
    /// Show what a user may use, and which lists say so
    Show {
        /// Who
        user: UserName,
    },
    /// Say what a user or the members of a group may use: lists of patterns, * for any characters
    ///
    /// What is named here takes the place of what was there; '' alone empties a list. The lists of a user and
    /// of the groups he is in count together, and what is blocked is blocked whatever allows it.
    Set(AccessSet),
}

/// `access set`.
#[derive(clap::Args)]
pub struct AccessSet {
    /// Who
    #[arg(required_unless_present = "group", conflicts_with = "group")]
    pub user: Option<UserName>,
    /// The members of a group instead
    #[arg(long, value_name = "NAME")]
    pub group: Option<GroupName>,
    /// Servers; where any are allowed, others are not; several times
    #[arg(long, value_name = "PATTERN")]
    pub allow_server: Vec<String>,
    /// Servers; several times
    #[arg(long, value_name = "PATTERN")]
    pub block_server: Vec<String>,
    /// Tools as SERVER/TOOL, or TOOL of every server; where any of a server are allowed, others are not
    #[arg(long, value_name = "PATTERN")]
    pub allow_tool: Vec<String>,
    /// Tools; several times
    #[arg(long, value_name = "PATTERN")]
    pub block_tool: Vec<String>,
}

/// `usage`.
#[derive(clap::Args)]
pub struct UsageArgs {
    /// Of this user alone
    pub user: Option<UserName>,
    /// As CSV
    #[arg(long)]
    pub csv: bool,
}

/// Patterns in place of those there are: none named, nothing to change; '' alone, none.
///
/// # Errors
/// A text that is no pattern.
pub(in crate::cli) fn patterns(texts: &[String]) -> Result<Option<Vec<Pattern>>, String> {
    match texts {
        [] => Ok(None),
        [empty] if empty.is_empty() => Ok(Some(Vec::new())),
        texts => {
            let parsed = texts.iter().map(|text| Pattern::parse(text));
            let parsed: Result<_, _> = parsed.collect();
            parsed.map(Some).map_err(|error| error.to_string())
        }
    }
}

fn email_or_none(text: &str) -> Result<String, String> {
    if text.is_empty() {
        Ok(String::new())
    } else {
        email(text)
    }
}

pub(in crate::cli) fn ttl(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(ttl) if ttl.as_secs() > 0 => Ok(ttl),
        Ok(_) => Err("write at least 1s".to_owned()),
        Err(_) => Err("write a number and a unit, such as 90d, 12h or 30m".to_owned()),
    }
}

fn email(text: &str) -> Result<String, String> {
    let email = Email::parse(text).map_err(|_| "write an address such as alice@example.com")?;
    Ok(email.to_string())
}

fn label(text: &str) -> Result<String, String> {
    let label =
        Label::parse(text).map_err(|_| "write 1 to 128 bytes without control characters")?;
    Ok(label.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_held_to_their_form() {
        assert_eq!(ttl("90d"), Ok(Duration::from_secs(90 * 24 * 3600)));
        assert!(ttl("0s").is_err() && ttl("5ms").is_err() && ttl("soon").is_err());
        assert!(email("a@b.c").is_ok() && email("a b@c").is_err() && email("@b").is_err());
        assert!(label("my laptop").is_ok() && label("a\nb").is_err() && label("").is_err());
        assert_eq!("7".parse(), Ok(Bound(Some(7))));
        assert_eq!("default".parse(), Ok(Bound(None)));
        assert!("-1".parse::<Bound>().is_err() && "1000000001".parse::<Bound>().is_err());
    }

    // Fails when the empty text is a pattern, or empties a list beside others.
    #[test]
    fn an_empty_text_alone_empties_a_list() {
        let of =
            |texts: &[&str]| patterns(&texts.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(of(&[]), Ok(None));
        assert_eq!(of(&[""]), Ok(Some(Vec::new())));
        assert_eq!(of(&["a*"]).unwrap().unwrap().len(), 1);
        assert!(of(&["a*", ""]).is_err());
    }
}
