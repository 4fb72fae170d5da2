//! From where to where a stream sends, and whether packets come back to the relay in a ring.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};

/// The address that a stream receives on and the address that it sends to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    pub listen: SocketAddr,
    pub send_to: SocketAddr,
}

impl Route {
    /// Whether packets of this stream arrive at the socket of `other`.
    fn reaches(&self, other: &Self) -> bool {
        let (from, to) = (canonical(other.listen.ip()), canonical(self.send_to.ip()));
        if self.send_to.port() != other.listen.port() {
            return false;
        }
        // `::` receives IPv4 too.
        let is_same_family = to.is_ipv4() == from.is_ipv4() || from == Ipv6Addr::UNSPECIFIED;
        to == from || from.is_unspecified() && is_same_family && is_own_address(to)
    }

    /// Whether packets of this stream come back to it, directly or through streams of `others`.
    pub fn is_ring(&self, others: &[Self]) -> bool {
        let mut reached = vec![false; others.len()];
        let mut ends = vec![*self];
        while let Some(end) = ends.pop() {
            if end.reaches(self) {
                return true;
            }
            for (other, reached) in others.iter().zip(&mut reached) {
                if !*reached && end.reaches(other) {
                    *reached = true;
                    ends.push(*other);
                }
            }
        }
        false
    }
}

/// An IPv4-mapped IPv6 address as IPv4.
pub fn canonical(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}

/// Whether two addresses are equal when IPv4-mapped ones are written as IPv4.
pub fn is_same_address(a: SocketAddr, b: SocketAddr) -> bool {
    a.port() == b.port() && canonical(a.ip()) == canonical(b.ip())
}

/// Whether packets to `ip` stay on this host. A socket can be bound to such addresses only.
fn is_own_address(ip: IpAddr) -> bool {
    ip.is_loopback() || UdpSocket::bind((ip, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(listen: &str, send_to: &str) -> Route {
        Route {
            listen: listen.parse().unwrap(),
            send_to: send_to.parse().unwrap(),
        }
    }

    #[test]
    fn a_stream_that_sends_to_itself_is_a_ring() {
        for (listen, send_to) in [
            ("127.0.0.1:6000", "127.0.0.1:6000"),
            ("0.0.0.0:6000", "127.0.0.1:6000"),
            ("0.0.0.0:6000", "127.0.0.2:6000"),
            ("[::]:6000", "[::1]:6000"),
            ("[::]:6000", "[::ffff:127.0.0.1]:6000"),
            ("[::ffff:127.0.0.1]:6000", "[::ffff:127.0.0.1]:6000"),
            ("127.0.0.1:6000", "[::ffff:127.0.0.1]:6000"),
            ("[::ffff:0.0.0.0]:6000", "[::ffff:127.0.0.1]:6000"),
        ] {
            assert!(route(listen, send_to).is_ring(&[]), "{listen} {send_to}");
        }
        for (listen, send_to) in [
            ("127.0.0.1:6000", "127.0.0.1:6001"),
            ("127.0.0.1:6000", "127.0.0.2:6000"),
            // An address for documentation (RFC 5737): no address of this host.
            ("0.0.0.0:6000", "192.0.2.1:6000"),
            ("[::]:6000", "[2001:db8::1]:6000"),
            ("0.0.0.0:6000", "[::1]:6000"),
        ] {
            assert!(!route(listen, send_to).is_ring(&[]), "{listen} {send_to}");
        }
    }

    #[test]
    fn a_ring_through_other_streams_is_found() {
        let others = [
            route("127.0.0.1:2", "127.0.0.1:3"),
            route("0.0.0.0:3", "127.0.0.1:4"),
            // A ring of others does not contain the new stream, and the search still ends.
            route("127.0.0.1:7", "127.0.0.1:8"),
            route("127.0.0.1:8", "127.0.0.1:7"),
        ];
        assert!(route("127.0.0.1:4", "127.0.0.1:2").is_ring(&others));
        assert!(!route("127.0.0.1:5", "127.0.0.1:2").is_ring(&others));
        assert!(!route("127.0.0.1:6", "127.0.0.1:7").is_ring(&others));
    }
}
