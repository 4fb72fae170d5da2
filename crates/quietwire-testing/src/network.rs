//! An emulated network: loss, duplication, jitter and so reordering, from a seed.

use std::time::Duration;

use crate::random::Random;

/// Packets at the start of a stream that are neither lost nor delayed, so that the stream starts
/// with its first packet.
const INTACT_START: usize = 5;
/// Packets at the end of a stream that are not lost, so that the loss can be detected.
const INTACT_END: usize = 10;

/// A datagram and its arrival time.
#[derive(Debug, Clone)]
pub struct TimedPacket {
    /// When it is sent or received, on the clock of the test.
    pub at: Duration,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// The impairments of a network. Default: none.
#[derive(Debug, Clone, Default)]
pub struct NetworkEmulator {
    /// Probability that a burst of losses starts at a packet, 0 to 1.
    pub loss: f64,
    /// Packets that are lost together; 0 counts as 1.
    pub burst_packets: usize,
    /// Probability that a packet arrives twice, 0 to 1.
    pub duplication: f64,
    /// Largest random delay. Above the distance of two packets it reorders them.
    pub jitter: Duration,
}

impl NetworkEmulator {
    /// The packets in the order of their arrival, and the number of lost packets.
    pub fn carry(&self, sent: &[TimedPacket], seed: u64) -> (Vec<TimedPacket>, usize) {
        let mut random = Random::new(seed);
        let (mut arriving, mut lost) = (Vec::new(), 0);
        let mut burst_left = 0;
        for (n, packet) in sent.iter().enumerate() {
            let is_inside = n > INTACT_START && n + INTACT_END < sent.len();
            if burst_left == 0 && is_inside && random.uniform() < self.loss {
                burst_left = self.burst_packets.max(1);
            }
            if burst_left > 0 {
                burst_left -= 1;
                lost += 1;
                continue;
            }
            let copies = if random.uniform() < self.duplication {
                2
            } else {
                1
            };
            for _ in 0..copies {
                let jitter = if n < INTACT_START {
                    Duration::ZERO
                } else {
                    self.jitter
                };
                arriving.push(TimedPacket {
                    at: packet.at + jitter.mul_f64(random.uniform()),
                    bytes: packet.bytes.clone(),
                });
            }
        }
        arriving.sort_by_key(|packet| packet.at);
        (arriving, lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent() -> Vec<TimedPacket> {
        let packet = |n: u64| TimedPacket {
            at: Duration::from_millis(20 * n),
            bytes: vec![n as u8],
        };
        (0..200).map(packet).collect()
    }

    #[test]
    fn a_network_without_impairments_changes_nothing() {
        let (arriving, lost) = NetworkEmulator::default().carry(&sent(), 1);
        assert_eq!((arriving.len(), lost), (200, 0));
        let bytes = arriving.iter().zip(sent());
        assert!(
            bytes
                .into_iter()
                .all(|(a, b)| (a.at, &a.bytes) == (b.at, &b.bytes))
        );
    }

    #[test]
    fn loss_duplication_and_jitter_occur_at_their_rates() {
        let network = NetworkEmulator {
            loss: 0.1,
            burst_packets: 2,
            duplication: 0.2,
            jitter: Duration::from_millis(50),
        };
        let (arriving, lost) = network.carry(&sent(), 2);
        assert!((20..60).contains(&lost) && lost % 2 == 0, "{lost}");
        let copies = arriving.len() + lost - 200;
        assert!((15..55).contains(&copies), "{copies}");
        assert!(arriving.windows(2).all(|pair| pair[0].at <= pair[1].at));
        assert!(
            arriving
                .windows(2)
                .any(|pair| pair[0].bytes > pair[1].bytes)
        );
    }
}
