//! Where a replica listens.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

/// A name or IP address, and a port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ReplicaAddress {
    host: Arc<str>,
    port: u16,
}

/// Of the text of an address. Clients bring it back inside sealed ids, to any process and after a
/// restart: it stays this one.
const IDS: crc::Crc<u64> = crc::Crc::<u64>::new(&crc::CRC_64_XZ);

impl ReplicaAddress {
    /// An address; an IPv6 address may stand in brackets. Two spellings of one name or IP address are
    /// one address.
    #[must_use]
    pub fn new(host: &str, port: u16) -> Self {
        let host = host.trim_matches(['[', ']']);
        let host: Arc<str> = match host.parse::<IpAddr>() {
            Ok(ip) => ip.to_string().into(),
            Err(_) => host.to_ascii_lowercase().into(),
        };
        Self { host, port }
    }

    /// What a connection is opened to.
    pub(in crate::proxy) fn pair(&self) -> (&str, u16) {
        (&self.host, self.port)
    }

    /// The same for the same address in every process.
    pub(super) fn id(&self) -> u64 {
        IDS.checksum(self.to_string().as_bytes())
    }

    /// Its place on the ring. A name stands there for itself, not for the IP address it has at the
    /// moment: in place of one there is its number, in the range nobody routes (RFC 4193).
    pub(super) fn on_ring(&self) -> SocketAddr {
        let ip = self.host.parse().unwrap_or_else(|_| {
            let unique_local = 0xfd00_u128 << 112;
            IpAddr::V6(Ipv6Addr::from(unique_local | u128::from(self.id())))
        });
        SocketAddr::new(ip, self.port)
    }
}

impl From<SocketAddr> for ReplicaAddress {
    fn from(address: SocketAddr) -> Self {
        Self::new(&address.ip().to_string(), address.port())
    }
}

impl fmt::Display for ReplicaAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (host, port) = self.pair();
        if host.contains(':') {
            write!(f, "[{host}]:{port}")
        } else {
            write!(f, "{host}:{port}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Clients hold these numbers: should one of them change, every session ends.
    #[test]
    fn an_address_has_one_spelling_and_its_number_stays() {
        for (host, shown, id) in [
            ("10.0.0.1", "10.0.0.1:9001", 0xeb38_ccfc_b02c_b887),
            ("[::0001]", "[::1]:9001", 0x7f6e_ca63_6da5_64eb),
            ("MCP-0.mcp", "mcp-0.mcp:9001", 0xe3b6_815a_624c_e318),
        ] {
            let address = ReplicaAddress::new(host, 9001);
            assert_eq!(address.to_string(), shown);
            assert_eq!(address.id(), id, "{:#x}", address.id());
        }
        let ring = |host| ReplicaAddress::new(host, 9001).on_ring().to_string();
        assert_eq!(ring("10.0.0.1"), "10.0.0.1:9001");
        assert!(ring("mcp-0").starts_with("[fd00::") && ring("mcp-0") != ring("mcp-1"));
    }
}
