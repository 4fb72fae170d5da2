//! Follows the source of the stream: sequence numbers and timestamps without wraps, and the change to
//! another source (RFC 3550 appendix A.1).

use std::time::Duration;

use crate::error::RtpError;
use crate::packet::Packet;

/// Packets further behind the expected one belong to a restarted source (MAX_MISORDER).
const MAX_MISORDER: i64 = 100;
/// Packets further ahead of the expected one belong to a restarted source (MAX_DROPOUT).
const MAX_DROPOUT: i64 = 3000;
/// Packets further ahead of the expected one continue the stream only if their timestamp fits the
/// time that has passed.
const MAX_UNCHECKED: i64 = 64;
/// Largest difference between the ticks and the time that have passed, seconds.
const MAX_TIME_ERROR_S: f64 = 2.0;
/// Offset of the sequence numbers without wraps, so that numbers before the first packet are
/// positive.
const FIRST_SEQUENCE: u64 = 1 << 32;

/// The place of a packet in the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// without wraps; those of a later source are larger
    pub(crate) sequence: u64,
    /// counts the sources of the stream
    pub(crate) source: u32,
    /// timestamp without wraps, ticks
    pub(crate) ticks: i64,
}

/// The present source.
#[derive(Debug)]
pub(crate) struct Source {
    rate_hz: f64,
    /// `None`: no packet was received
    current: Option<Current>,
    /// a source on probation and its expected next sequence number
    probation: Option<(u32, u16)>,
}

#[derive(Debug, Clone, Copy)]
struct Current {
    ssrc: u32,
    number: u32,
    /// sequence number without wraps of the first packet
    first_sequence: u64,
    /// timestamp and arrival of the latest packet
    latest: (i64, Duration),
}

impl Source {
    pub(crate) fn new(rate_hz: u32) -> Self {
        Self {
            rate_hz: f64::from(rate_hz),
            current: None,
            probation: None,
        }
    }

    /// Whether a packet of the present source with this number without wraps can still be played.
    pub(crate) fn has_number(&self, sequence: u64, next_sequence: u64) -> bool {
        self.current
            .is_some_and(|current| sequence >= next_sequence.max(current.first_sequence))
    }

    /// Whether a packet belongs to the present source.
    pub(crate) fn is_current(&self, packet: &Packet<'_>) -> bool {
        self.current
            .is_some_and(|current| current.ssrc == packet.ssrc())
    }

    /// Finds the place of a packet that arrives at `now`. `next_sequence`: that of the next packet to
    /// be played. `last_sequence`: the highest one in the jitter buffer.
    pub(crate) fn locate(
        &mut self,
        now: Duration,
        packet: &Packet<'_>,
        next_sequence: u64,
        last_sequence: Option<u64>,
    ) -> Result<Place, RtpError> {
        let (sequence, ssrc) = (packet.sequence(), packet.ssrc());
        let Some(current) = self.current else {
            return Ok(self.start(now, packet, FIRST_SEQUENCE, 0));
        };
        let expected = next_sequence.max(current.first_sequence);
        let ahead = i64::from(sequence.wrapping_sub(expected as u16) as i16);
        let ticks = self.unwrap_ticks(packet.timestamp(), current.latest.0);
        let continues = ssrc == current.ssrc
            && (-MAX_MISORDER..MAX_DROPOUT).contains(&ahead)
            && (ahead < MAX_UNCHECKED || self.fits_time(now, ticks, current.latest));
        if !continues {
            let is_successor = self.probation == Some((ssrc, sequence));
            self.probation = Some((ssrc, sequence.wrapping_add(1)));
            if !is_successor {
                return Err(RtpError::Probation { sequence, ssrc });
            }
            self.probation = None;
            // After every number of the source before it.
            let base = expected.max(last_sequence.unwrap_or(0)) + 2 * MAX_DROPOUT as u64;
            return Ok(self.start(now, packet, base, current.number + 1));
        }
        if ahead < 0 {
            return Err(RtpError::Late { sequence });
        }
        if let Some(current) = &mut self.current
            && ticks > current.latest.0
        {
            current.latest = (ticks, now);
        }
        Ok(Place {
            sequence: expected.wrapping_add_signed(ahead),
            source: current.number,
            ticks,
        })
    }

    /// The first packet of a source. Its sequence number without wraps is at least `base`.
    fn start(&mut self, now: Duration, packet: &Packet<'_>, base: u64, number: u32) -> Place {
        let (ssrc, timestamp) = (packet.ssrc(), packet.timestamp());
        let ahead = packet.sequence().wrapping_sub(base as u16);
        let first_sequence = base + u64::from(ahead);
        // A source that restarted keeps its timestamps.
        let before = self.current.filter(|current| current.ssrc == ssrc);
        let ticks = before.map_or(i64::from(timestamp), |current| {
            self.unwrap_ticks(timestamp, current.latest.0)
        });
        self.current = Some(Current {
            ssrc,
            number,
            first_sequence,
            latest: (ticks, now),
        });
        Place {
            sequence: first_sequence,
            source: number,
            ticks,
        }
    }

    fn unwrap_ticks(&self, timestamp: u32, latest: i64) -> i64 {
        latest + i64::from(timestamp.wrapping_sub(latest as u32) as i32)
    }

    fn fits_time(&self, now: Duration, ticks: i64, latest: (i64, Duration)) -> bool {
        let ticks_s = (ticks - latest.0) as f64 / self.rate_hz;
        let passed_s = now.saturating_sub(latest.1).as_secs_f64();
        (ticks_s - passed_s).abs() < MAX_TIME_ERROR_S
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn datagram(sequence: u16, timestamp: u32, ssrc: u32) -> Vec<u8> {
        let mut bytes = vec![0x80, 111];
        bytes.extend(sequence.to_be_bytes());
        bytes.extend(timestamp.to_be_bytes());
        bytes.extend(ssrc.to_be_bytes());
        bytes
    }

    struct Case {
        name: &'static str,
        ms: u64,
        packet: (u16, u32, u32),
        /// sequence number from the first one on, source, ticks from the first packet on
        place: Result<(u64, u32, i64), &'static str>,
    }

    #[test]
    fn packets_are_placed_or_rejected_as_in_the_table() {
        let case = |name, ms, packet, place| Case {
            name,
            ms,
            packet,
            place,
        };
        let first = u32::MAX - 959;
        let at = |ticks: u32| first.wrapping_add(ticks);
        let cases = [
            case("first", 0, (65_535, at(0), 1), Ok((0, 0, 0))),
            case("wraps", 20, (0, at(960), 1), Ok((1, 0, 960))),
            case("reordered", 40, (3, at(3840), 1), Ok((4, 0, 3840))),
            case("the missing one", 45, (2, at(2880), 1), Ok((3, 0, 2880))),
            case("played before", 45, (65_535, at(0), 1), Err("late")),
            case(
                "far ahead, out of step",
                60,
                (2000, at(9_600_000), 1),
                Err("probation"),
            ),
            case(
                "far ahead, in step",
                20_000,
                (1000, at(960_960), 1),
                Ok((1001, 0, 960_960)),
            ),
            case("other source", 20_010, (7, 99, 2), Err("probation")),
            case(
                "its successor",
                20_030,
                (8, 1059, 2),
                Ok((u64::MAX, 1, 1059)),
            ),
            case("its third", 20_050, (9, 2019, 2), Ok((u64::MAX, 1, 2019))),
            case(
                "numbers restart",
                20_070,
                (30_000, 3000, 2),
                Err("probation"),
            ),
            case("again", 20_090, (30_001, 3960, 2), Ok((u64::MAX, 2, 3960))),
        ];
        let mut source = Source::new(48_000);
        let (mut first, mut last) = (0, 0);
        for case in cases {
            let (sequence, timestamp, ssrc) = case.packet;
            let bytes = datagram(sequence, timestamp, ssrc);
            let packet = Packet::parse(&bytes).unwrap();
            let next = if first == 0 { 1 << 32 } else { first + 1 };
            let found = source.locate(Duration::from_millis(case.ms), &packet, next, Some(last));
            match (found, case.place) {
                (Ok(place), Ok((sequence, number, ticks))) => {
                    if first == 0 {
                        first = place.sequence;
                    }
                    let origin = if number == 0 {
                        i64::from(u32::MAX - 959)
                    } else {
                        0
                    };
                    assert_eq!(place.source, number, "{}", case.name);
                    assert_eq!(place.ticks - origin, ticks, "{}", case.name);
                    if sequence == u64::MAX {
                        assert!(place.sequence > last, "{}", case.name);
                    } else {
                        assert_eq!(place.sequence - first, sequence, "{}", case.name);
                    }
                    last = last.max(place.sequence);
                }
                (Err(RtpError::Probation { .. }), Err("probation"))
                | (Err(RtpError::Late { .. }), Err("late")) => {}
                (found, _) => panic!("{}: {found:?}", case.name),
            }
        }
    }
}
