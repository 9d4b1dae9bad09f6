//! `client-config`: what to paste into clients.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use zeroize::Zeroizing;

use super::args::ClientConfigArgs;
use super::client_config::{Connection, PLACEHOLDER, json_for_all, text_for_all};
use super::open::Source;
use super::secret::unknown_server;
use super::{Failure, Output, input};
use crate::config::{Backend, Config, Listen, Transport};
use crate::identity::KeyDigest;
use crate::names::{ProfileName, ServerName, UserName};

pub(super) fn run(args: &ClientConfigArgs, from: &Source, out: &Output) -> Result<(), Failure> {
    let (user, server) = names(&args.names)?;
    let config = from.load()?;
    let Some(settings) = config.servers.get(&server) else {
        return Err(Failure::new(unknown_server(&config, &server)));
    };
    let key = key(args.key.as_deref(), &config)?;
    if key.is_none() && !out.json() {
        let user = user.as_ref().map_or("USER", UserName::as_str);
        out.note(&format!(
            "put a key where it says {PLACEHOLDER}; a new one: cloakroom key issue {user}"
        ));
    }
    if args.url.is_none() && reached_otherwise(&config.listen) {
        out.note("the address is this machine's own: say how others reach it with --url BASE");
    }
    let of_listener = || base_url(&config.listen, config.tls.is_some());
    let base = args.url.clone().unwrap_or_else(of_listener);
    let transport = transport(&settings.backend);
    let connection = Connection {
        name: &name(&server, args.profile.as_ref()),
        url: &format!("{base}{}", path(&server, args.profile.as_ref(), transport)),
        transport,
        key: key.as_ref().map_or(PLACEHOLDER, |key| key.as_str()),
    };
    out.answer(&json_for_all(&connection), &text_for_all(&connection))
}

/// What clients speak where this backend is called.
pub(super) fn transport(backend: &Backend) -> Transport {
    match backend {
        Backend::Http { transport, .. } => *transport,
        Backend::Command(_) => Transport::Streamable,
    }
}

/// What the client calls the server. Two profiles of one server must not be the same to it, and not
/// every client takes a dot.
fn name(server: &ServerName, profile: Option<&ProfileName>) -> String {
    match profile {
        None => server.to_string(),
        Some(profile) => format!("{server}-{}", profile.as_str().replace('.', "-")),
    }
}

pub(super) fn path(
    server: &ServerName,
    profile: Option<&ProfileName>,
    transport: Transport,
) -> String {
    let last = match transport {
        Transport::Streamable => "mcp",
        Transport::Sse => "sse",
    };
    match profile {
        None => format!("/{server}/{last}"),
        Some(profile) => format!("/{server}/@{profile}/{last}"),
    }
}

/// Whether clients must be told another address: few can call a Unix socket.
pub(super) fn reached_otherwise(listen: &Listen) -> bool {
    !listen.is_local() || matches!(listen, Listen::Unix(_))
}

/// How a client on this machine reaches what listens there.
pub(super) fn base_url(listen: &Listen, secure: bool) -> String {
    let scheme = if secure { "https" } else { "http" };
    let Listen::Tcp(address) = listen else {
        return format!("{scheme}://localhost");
    };
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    format!("{scheme}://{}", SocketAddr::new(ip, address.port()))
}

fn names(names: &[String]) -> Result<(Option<UserName>, ServerName), Failure> {
    let (user, server) = match names {
        [server] => (None, server),
        [user, server] => (Some(UserName::parse(user).map_err(Failure::usage)?), server),
        _ => return Err(Failure::usage("give a server, or a user and a server")),
    };
    Ok((user, ServerName::parse(server).map_err(Failure::usage)?))
}

fn key(argument: Option<&str>, config: &Config) -> Result<Option<Zeroizing<String>>, Failure> {
    match argument {
        None => Ok(None),
        Some("-") => {
            let given = input::hidden("Key: ")?;
            let key = given.trim_ascii();
            KeyDigest::of_presented(key, &config.key_prefixes)
                .map_err(|_| Failure::new("that is not a key: its shape or checksum is wrong"))?;
            let key = std::str::from_utf8(key).map_err(Failure::new)?;
            Ok(Some(Zeroizing::new(key.to_owned())))
        }
        // Not repeated: it is most likely a key.
        Some(_) => Err(Failure::usage(
            "--key takes only - and then reads the key from standard input: an argument is seen by \
             others on this machine, and shells keep it",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_gets_an_address_it_can_call() {
        for (listen, url) in [
            ("127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("0.0.0.0:80", "http://127.0.0.1:80"),
            ("[::]:80", "http://[::1]:80"),
            ("[2001:db8::1]:80", "http://[2001:db8::1]:80"),
        ] {
            let listen = Listen::Tcp(listen.parse().unwrap());
            assert_eq!(base_url(&listen, false), url);
            let secure = url.replace("http:", "https:");
            assert_eq!(base_url(&listen, true), secure);
        }
    }
}
