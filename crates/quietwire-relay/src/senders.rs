//! Whose packets a stream accepts.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use ipnet::IpNet;

use crate::route::{canonical, is_same_address};

/// The senders that a stream accepts (`accept_from`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Senders {
    /// every address
    Any,
    /// the address of the first packet that is accepted
    First,
    /// one address and port
    Address(SocketAddr),
    /// every port of the addresses of a network
    Network(IpNet),
}

impl FromStr for Senders {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "any" => return Ok(Self::Any),
            "first" => return Ok(Self::First),
            _ => {}
        }
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(Self::Address(address));
        }
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Ok(Self::Network(IpNet::from(canonical(ip))));
        }
        let network = text.parse::<IpNet>().map(Self::Network);
        network.map_err(|_| {
            format!(
                "`{text}` is not valid: expected \"any\", \"first\", an address with or without a port, or a network such as 192.0.2.0/24"
            )
        })
    }
}

/// What a stream does with a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Accept,
    /// its sender is the address that the stream sends to
    FromTarget,
    /// its sender is not among the accepted ones
    NotAccepted,
}

/// Decides by the sender of a datagram.
#[derive(Debug, Clone, Copy)]
pub struct SenderFilter {
    /// `None`: every address except the one that the stream sends to
    senders: Option<Senders>,
    /// the first sender, for [`Senders::First`]
    first: Option<SocketAddr>,
}

impl SenderFilter {
    pub fn new(senders: Option<Senders>) -> Self {
        Self {
            senders,
            first: None,
        }
    }

    pub fn judge(&self, from: SocketAddr, send_to: SocketAddr) -> Verdict {
        let accepts = match self.senders {
            Some(Senders::Any) => return Verdict::Accept,
            Some(Senders::Address(address)) if is_same_address(from, address) => {
                return Verdict::Accept;
            }
            Some(Senders::Address(_)) => false,
            None => true,
            Some(Senders::First) => self.first.is_none_or(|first| first == from),
            Some(Senders::Network(network)) => network.contains(&canonical(from.ip())),
        };
        if is_same_address(from, send_to) {
            Verdict::FromTarget
        } else if accepts {
            Verdict::Accept
        } else {
            Verdict::NotAccepted
        }
    }

    /// Records the sender of a valid packet.
    pub fn accepted(&mut self, from: SocketAddr) {
        if self.senders == Some(Senders::First) && self.first.is_none() {
            self.first = Some(from);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: &str = "127.0.0.1:5000";

    fn judge(senders: Option<&str>, from: &str) -> Verdict {
        let filter = SenderFilter::new(senders.map(|text| text.parse().unwrap()));
        filter.judge(from.parse().unwrap(), TARGET.parse().unwrap())
    }

    #[test]
    fn packets_of_the_target_are_dropped_unless_they_are_expected() {
        use Verdict::{Accept, FromTarget, NotAccepted};
        for (senders, from, expected) in [
            (None, "127.0.0.1:5001", Accept),
            (None, TARGET, FromTarget),
            (None, "[::ffff:127.0.0.1]:5000", FromTarget),
            (Some("any"), TARGET, Accept),
            (Some(TARGET), TARGET, Accept),
            (Some(TARGET), "127.0.0.1:5001", NotAccepted),
            (Some("127.0.0.1"), "127.0.0.1:5001", Accept),
            (Some("127.0.0.1"), TARGET, FromTarget),
            (Some("127.0.0.1"), "[::ffff:127.0.0.1]:7", Accept),
            (Some("::ffff:127.0.0.1"), "127.0.0.1:7", Accept),
            (Some("127.0.0.0/8"), "127.9.9.9:1", Accept),
            (Some("192.0.2.0/24"), "127.0.0.1:5001", NotAccepted),
            (Some("2001:db8::/32"), "[2001:db8::7]:1", Accept),
            (Some("first"), TARGET, FromTarget),
        ] {
            assert_eq!(judge(senders, from), expected, "{senders:?} {from}");
        }
    }

    #[test]
    fn the_first_valid_sender_stays_the_only_one() {
        let mut filter = SenderFilter::new(Some(Senders::First));
        let [first, second, target] =
            ["127.0.0.1:1", "127.0.0.1:2", TARGET].map(|text| text.parse().unwrap());
        assert_eq!(filter.judge(second, target), Verdict::Accept);
        filter.accepted(first);
        filter.accepted(second);
        assert_eq!(filter.judge(first, target), Verdict::Accept);
        assert_eq!(filter.judge(second, target), Verdict::NotAccepted);
    }

    #[test]
    fn texts_that_are_no_senders_are_rejected() {
        for wrong in [
            "",
            "ANY",
            "localhost",
            "192.0.2.0/33",
            "1.2.3.4:99999",
            "1.2.3",
        ] {
            assert!(wrong.parse::<Senders>().is_err(), "{wrong}");
        }
    }
}
