//! The latest error of a stream. Errors of single datagrams allocate nothing until they are shown.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use quietwire_rtp::RtpError;

/// An error that an operator can act on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamError {
    /// a datagram came from the address that the stream sends to
    FromTarget(SocketAddr),
    /// `accept_from` does not contain the sender
    NotAccepted(SocketAddr),
    /// the network reports that nothing receives at the target
    Unreachable(SocketAddr, &'static str),
    /// the payloads are not of the codec
    Payload(RtpError),
    /// the other errors, with the field or the part that they concern
    Other(&'static str, String),
}

impl StreamError {
    /// Errors of one kind are reported once as an event.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::FromTarget(_) => "from_target",
            Self::NotAccepted(_) => "accept_from",
            Self::Unreachable(..) => "send_to",
            Self::Payload(_) => "payload",
            Self::Other(kind, _) => kind,
        }
    }

    pub fn text(&self) -> String {
        match self {
            Self::FromTarget(from) => format!(
                "from_target: packets come back from {from}, the address of send_to, and are dropped: \
                 set accept_from to it if this is intended"
            ),
            Self::NotAccepted(from) => {
                format!(
                    "accept_from: packets of {from} are dropped: accept_from does not contain it"
                )
            }
            Self::Unreachable(target, reason) => {
                format!("send_to: {target} does not receive: {reason}")
            }
            Self::Payload(error) => format!("payload: {error}"),
            Self::Other(kind, text) => format!("{kind}: {text}"),
        }
    }
}

/// The latest error and its time.
#[derive(Debug, Default)]
pub struct LatestError {
    latest: Option<(StreamError, Instant)>,
    /// kind and time of the latest error that was reported as an event
    reported: Option<(&'static str, Instant)>,
    unreported: bool,
}

impl LatestError {
    /// Shortest time between two reports of the same kind.
    const REPORT_INTERVAL: Duration = Duration::from_secs(60);

    pub fn set(&mut self, error: StreamError, now: Instant) {
        let is_reported = self.reported.is_some_and(|(kind, at)| {
            kind == error.kind() && now.saturating_duration_since(at) < Self::REPORT_INTERVAL
        });
        if !is_reported {
            self.reported = Some((error.kind(), now));
            self.unreported = true;
        }
        self.latest = Some((error, now));
    }

    /// The text of an error that was not reported yet.
    pub fn take_unreported(&mut self) -> Option<String> {
        let unreported = std::mem::take(&mut self.unreported);
        unreported.then(|| self.text()).flatten()
    }

    pub fn text(&self) -> Option<String> {
        self.latest.as_ref().map(|(error, _)| error.text())
    }

    pub fn age(&self, now: Instant) -> Option<Duration> {
        let (_, at) = self.latest.as_ref()?;
        Some(now.saturating_duration_since(*at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_one_kind_are_reported_once_a_minute() {
        let start = Instant::now();
        let mut errors = LatestError::default();
        assert_eq!(errors.take_unreported(), None);
        let error = |port| StreamError::NotAccepted(([127, 0, 0, 1], port).into());
        for n in 0..59 {
            errors.set(error(n), start + Duration::from_secs(n.into()));
            assert_eq!(errors.take_unreported().is_some(), n == 0);
        }
        errors.set(error(60), start + Duration::from_secs(60));
        assert!(errors.take_unreported().unwrap().contains("127.0.0.1:60"));
        errors.set(StreamError::Other("srtp_in", "x".into()), start);
        assert_eq!(errors.take_unreported().unwrap(), "srtp_in: x");
    }
}
