//! Where clients connect, who may, and who says on whose behalf.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use ipnet::IpNet;

use super::document::Value;
use super::reader::optional;
use super::reader::{Section, text};
use super::values;

/// The longest path of a Unix socket, in bytes (unix(7): `sun_path`, without its end).
const PATH: usize = 107;
/// What the path of a Unix socket follows.
const UNIX: &str = "unix:";

/// Where something listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// An IP address and a port.
    Tcp(SocketAddr),
    /// The file of a Unix socket.
    Unix(PathBuf),
}

impl Listen {
    /// Whether only this machine can connect.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().is_loopback(),
            Self::Unix(_) => true,
        }
    }

    fn is_unix(&self) -> bool {
        matches!(self, Self::Unix(_))
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

/// The proxies that may say on whose behalf they call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedProxies {
    /// Those with an address in one of these.
    pub networks: Vec<IpNet>,
    /// Whoever may connect to a Unix socket.
    pub unix: bool,
}

/// An address, or the path of a socket relative to `folder`.
pub(super) fn listen(value: &Value, folder: &Path) -> Result<Listen, String> {
    const WANTED: &str = "an IP address and a port, such as \"127.0.0.1:8080\" or \"[::1]:8080\", or \
                          a Unix socket, such as \"unix:/run/cloakroom/mcp.sock\"";
    let text = text(value, WANTED)?;
    if let Some(path) = text.strip_prefix(UNIX) {
        return Ok(Listen::Unix(socket_path(path, folder)?));
    }
    let address = text
        .parse()
        .map_err(|_| format!("not an address; write {WANTED}"))?;
    Ok(Listen::Tcp(address))
}

/// Whether the system chooses the port: two such are not the same.
pub(super) fn is_any(listen: &Listen) -> bool {
    matches!(listen, Listen::Tcp(address) if address.port() == 0)
}

/// The path of a Unix socket, relative to `folder`.
pub(super) fn socket_path(path: &str, folder: &Path) -> Result<PathBuf, String> {
    let path = values::file(path, folder)?;
    if path.as_os_str().len() > PATH {
        return Err(format!(
            "is longer than the {PATH} bytes a Unix socket's path may have; write a shorter one"
        ));
    }
    Ok(path)
}

/// The number of a user.
pub(super) fn uid(value: &Value) -> Result<u32, String> {
    let number = match value {
        Value::Integer(number) => u32::try_from(*number).ok(),
        Value::Raw(text) => text.trim().parse().ok(),
        _ => None,
    };
    // The last one means "no user" to the system.
    let number = number.filter(|&number| number < u32::MAX);
    number.ok_or_else(|| "write the number of a user (uid), without quotes".to_owned())
}

/// The users who may connect; `None` inside when the key is absent. Each listener is none when it is
/// wrong.
pub(super) fn uids(
    root: &Section<'_>,
    listen: Option<&Listen>,
    others: [Option<Option<&Listen>>; 2],
) -> Option<Option<Vec<u32>>> {
    const KEY: &str = "listen_uids";
    const WANTED: &str = "write a list of users' numbers: [1000, 1001]";
    // One that is wrong may have been meant to be a socket.
    let no_socket = listen.is_some_and(|listen| !listen.is_unix())
        && others
            .iter()
            .all(|other| other.is_some_and(|other| other.is_none_or(|listen| !listen.is_unix())));
    if root.has(KEY) && no_socket {
        let message = "is for a Unix socket only (`listen = \"unix:…\"`); remove it";
        root.fail_key(KEY, message);
        return None;
    }
    let read = |value: &Value| {
        let found: Result<Vec<_>, _> = match value {
            Value::List(items) => items.iter().map(|item| uid(&item.value)).collect(),
            Value::Raw(text) => text
                .split(',')
                .filter(|piece| !piece.trim().is_empty())
                .map(|piece| uid(&Value::Raw(piece.to_owned())))
                .collect(),
            other => return Err(format!("is {}; {WANTED}", other.kind())),
        };
        match found {
            Ok(uids) if uids.is_empty() => {
                Err(format!("is empty, so nobody could connect; {WANTED}"))
            }
            Ok(uids) => Ok(uids),
            Err(_) => Err(WANTED.to_owned()),
        }
    };
    optional(root, KEY, read)
}

/// Whether every connection begins with a header of the PROXY protocol.
pub(super) fn proxy_protocol(value: &Value) -> Result<bool, String> {
    const WANTED: &str =
        "\"off\", or \"required\" when a proxy in front sends it on every connection";
    match text(value, WANTED)? {
        "off" => Ok(false),
        "required" => Ok(true),
        _ => Err(format!("write {WANTED}")),
    }
}

pub(super) fn trusted_proxies(root: &Section<'_>) -> Option<TrustedProxies> {
    const EXAMPLE: &str = "[\"10.0.0.0/8\"]";
    let mut unix = false;
    let networks = root.list("trusted_proxies", EXAMPLE, |text| match text {
        UNIX => Ok(None),
        _ => network(text).map(Some),
    })?;
    let networks = networks.into_iter().filter_map(|network| {
        unix |= network.is_none();
        network
    });
    Some(TrustedProxies {
        networks: networks.collect(),
        unix,
    })
}

/// A network, or one address.
fn network(text: &str) -> Result<IpNet, String> {
    let network = text
        .parse()
        .or_else(|_| text.parse().map(|one: IpAddr| one.into()));
    let network: IpNet = network.map_err(|_| {
        "not a network; write one such as \"10.0.0.0/8\", an address, or \"unix:\" for whoever may \
         connect to the Unix socket"
            .to_owned()
    })?;
    if network.prefix_len() == 0 {
        return Err(
            "trusts the whole world, which could then call itself anything; write the \
                    networks of your proxies"
                .to_owned(),
        );
    }
    Ok(network)
}
