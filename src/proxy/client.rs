//! The address a request comes from, through proxies that are trusted to say it.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName};
use ipnet::IpNet;

/// The header that tells: each proxy appends the address it was called from. `Forwarded` (RFC 7239)
/// is not read: who sends both could say two things.
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The client's address; none on a Unix socket where nobody trusted says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAddress(pub Option<IpAddr>);

/// The proxies that may say on whose behalf they call.
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies {
    /// Those whose address is in one of these.
    pub networks: Vec<IpNet>,
    /// Whoever calls on a Unix socket.
    pub unix: bool,
}

impl TrustedProxies {
    pub(super) fn is_empty(&self) -> bool {
        self.networks.is_empty() && !self.unix
    }

    /// Whether `peer` is one of them; none is the other end of a Unix socket.
    pub(super) fn contain(&self, peer: Option<IpAddr>) -> bool {
        match peer {
            None => self.unix,
            Some(peer) => self.networks.iter().any(|network| network.contains(&peer)),
        }
    }

    /// Whom a request comes from on a connection from `peer`: the last address told that is not a
    /// trusted proxy's. Whatever stands before it may be the client's own invention, and so may all of
    /// it after something that is no address.
    pub(super) fn client(&self, peer: Option<IpAddr>, headers: &HeaderMap) -> ClientAddress {
        let mut client = peer;
        if !self.contain(peer) {
            return ClientAddress(client);
        }
        for told in headers.get_all(X_FORWARDED_FOR).iter().rev() {
            for text in told.as_bytes().rsplit(|&b| b == b',') {
                let Some(address) = address(text) else {
                    return ClientAddress(client);
                };
                client = Some(address);
                if !self.contain(client) {
                    return ClientAddress(client);
                }
            }
        }
        ClientAddress(client)
    }
}

/// An address, with or without a port; one of IPv6 that stands for one of IPv4 is that.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?.trim_matches([' ', '\t']);
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
    let address = bare.unwrap_or(text).parse::<IpAddr>().ok();
    let address = address.or_else(|| text.parse().ok().map(|socket: SocketAddr| socket.ip()))?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, told: &[&str]) -> String {
        let networks = ["10.0.0.0/8", "fd00::/8"].map(|network| network.parse().unwrap());
        let trusted = TrustedProxies {
            networks: networks.to_vec(),
            unix: true,
        };
        let lines = told
            .iter()
            .map(|told| (X_FORWARDED_FOR, told.parse().unwrap()));
        let ClientAddress(address) = trusted.client(peer.parse().ok(), &lines.collect());
        address.map_or("none".to_owned(), |address| address.to_string())
    }

    // Fails when the first address is taken, or an untrusted peer is believed.
    #[test]
    fn the_last_address_that_is_not_a_trusted_proxy_is_the_client() {
        for (peer, told, is) in [
            ("192.0.2.1", &["198.51.100.7"][..], "192.0.2.1"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.7"], "198.51.100.7"),
            ("10.0.0.1", &["6.6.6.6, 198.51.100.7"], "198.51.100.7"),
            ("10.0.0.1", &["6.6.6.6", "198.51.100.7"], "198.51.100.7"),
            (
                "10.0.0.1",
                &["6.6.6.6,198.51.100.7 ,\t10.9.9.9"],
                "198.51.100.7",
            ),
            ("10.0.0.1", &["198.51.100.7, fd00::1"], "198.51.100.7"),
            ("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            ("10.0.0.1", &["198.51.100.7:5000"], "198.51.100.7"),
            ("10.0.0.1", &["[2001:db8::1]:5000"], "2001:db8::1"),
            ("10.0.0.1", &["[2001:db8::1]"], "2001:db8::1"),
            ("10.0.0.1", &["::ffff:198.51.100.7"], "198.51.100.7"),
            ("10.0.0.1", &["6.6.6.6, unknown"], "10.0.0.1"),
            ("10.0.0.1", &["6.6.6.6, ,10.0.0.2"], "10.0.0.2"),
            ("10.0.0.1", &[""], "10.0.0.1"),
            ("a Unix socket", &[], "none"),
            ("a Unix socket", &["198.51.100.7"], "198.51.100.7"),
        ] {
            assert_eq!(client(peer, told), is, "{peer} {told:?}");
        }
        let nobody = TrustedProxies::default();
        let told = [(X_FORWARDED_FOR, "6.6.6.6".parse().unwrap())];
        let told: HeaderMap = told.into_iter().collect();
        for peer in [None, Some("10.0.0.1".parse().unwrap())] {
            assert_eq!(nobody.client(peer, &told), ClientAddress(peer));
        }
    }
}
