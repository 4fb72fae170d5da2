//! Detects payloads that are not of the codec: encrypted ones, and those of another codec.
//!
//! Opus has almost no syntax that could be wrong, so nearly every sequence of bytes can be decoded, to
//! loud noise. Two signs give such payloads away: their lengths contradict the timestamps while the
//! first byte (RFC 6716 section 3.1) changes from packet to packet, and their audio is far above full
//! scale. Encryption that leaves the first byte readable has only the second sign.

/// The score from which a source is silent, until the score is 0.
const THRESHOLD: u32 = 6;
const MAX_SCORE: u32 = 12;
/// The score of a new source: it is silent from its first implausible packet on.
const INITIAL_SCORE: u32 = 4;
/// A plausible packet lowers the score by one, an implausible one raises it by this much.
const IMPLAUSIBLE: u32 = 2;
/// Samples above this are no audio of an encoder: it codes at most full scale, 1.0, and coding noise.
const MAX_SAMPLE: f32 = 1.6;

/// The plausibility of the packets of a source.
#[derive(Debug)]
pub(crate) struct Plausibility {
    score: u32,
    is_other_codec: bool,
    first_byte: Option<u8>,
    /// length of the latest packet. `None`: it was implausible
    latest_frames: Option<usize>,
}

impl Default for Plausibility {
    fn default() -> Self {
        Self {
            score: INITIAL_SCORE,
            is_other_codec: false,
            first_byte: None,
            latest_frames: None,
        }
    }
}

impl Plausibility {
    /// Counts a packet with the audio of one Opus packet. `frames`: its length; `None`: it has none.
    /// `ticks`: from the timestamp of the packet before it to its own, if no packet was lost in
    /// between. False: the payload must not be decoded.
    pub(crate) fn check_payload(
        &mut self,
        payload: &[u8],
        frames: Option<usize>,
        ticks: Option<i64>,
    ) -> bool {
        let first_byte = payload.first().copied();
        let is_same_kind = std::mem::replace(&mut self.first_byte, first_byte) == first_byte;
        let frames_before = self.latest_frames.take();
        let Some(frames) = frames else {
            self.count(false);
            return false;
        };
        // Without the timestamp before it nothing is known of the length.
        let Some(ticks) = ticks else {
            self.latest_frames = Some(frames);
            return !self.is_other_codec();
        };
        let len = frames_before.unwrap_or(frames) as u64;
        let is_plausible = is_same_kind || 2 * ticks.abs_diff(len as i64) < len;
        self.latest_frames = Some(frames).filter(|_| is_plausible);
        let was_plausible = self.score == 0;
        self.count(is_plausible);
        // A sender with inexact timestamps changes its mode now and then, but not its length with it.
        let is_mode_change = was_plausible && frames as u64 == len;
        (is_plausible || is_mode_change) && !self.is_other_codec()
    }

    /// Checks the decoded samples of a packet. False: they are no audio.
    pub(crate) fn check_samples(&mut self, samples: &[f32]) -> bool {
        let is_plausible = samples.iter().all(|sample| sample.abs() <= MAX_SAMPLE);
        if !is_plausible {
            self.count(false);
        }
        is_plausible
    }

    fn count(&mut self, is_plausible: bool) {
        self.score = if is_plausible {
            self.score.saturating_sub(1)
        } else {
            (self.score + IMPLAUSIBLE).min(MAX_SCORE)
        };
        let threshold = if self.is_other_codec { 1 } else { THRESHOLD };
        self.is_other_codec = self.score >= threshold;
    }

    /// The latest packets are not of the codec.
    pub(crate) fn is_other_codec(&self) -> bool {
        self.is_other_codec
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quietwire_testing::Random;

    /// Passes packets of 20 ms. Returns how many of them may be decoded.
    fn decoded(check: &mut Plausibility, payload: &mut dyn FnMut() -> Vec<u8>) -> usize {
        let allowed = (0..50).map(|n| {
            let payload = payload();
            let frames = opus::packet::get_nb_samples(&payload, 48_000).ok();
            let frames = frames.filter(|frames| (1..=5760).contains(frames));
            check.check_payload(&payload, frames, (n > 0).then_some(960))
        });
        allowed.filter(|allowed| *allowed).count()
    }

    #[test]
    fn random_payloads_are_not_decoded_for_long() {
        for seed in 0..100 {
            let mut random = Random::new(seed);
            let mut noise = || (0..80).map(|_| random.bits() as u8).collect::<Vec<u8>>();
            let mut check = Plausibility::default();
            let count = decoded(&mut check, &mut noise);
            assert!(count < 15, "seed {seed}: {count}");
            assert!(check.is_other_codec(), "seed {seed}");
            // Audio follows.
            let count = decoded(&mut check, &mut || vec![0x78; 80]);
            assert!(count > 25, "seed {seed}: {count}");
            let count = decoded(&mut check, &mut noise);
            assert!(count < 15, "seed {seed}: {count}");
        }
    }

    #[test]
    fn a_sender_with_inexact_timestamps_may_change_its_mode() {
        let mut check = Plausibility::default();
        for n in 0..200 {
            let mode = if n / 20 % 2 == 0 { 0x78 } else { 0x80 };
            let ticks = (n > 0).then_some(160);
            assert!(check.check_payload(&[mode; 40], Some(960), ticks) || n < 4);
        }
    }

    #[test]
    fn samples_far_above_full_scale_are_no_audio() {
        let mut check = Plausibility::default();
        assert!(check.check_samples(&[0.9, -1.2]));
        assert!(!check.check_samples(&[0.1, 1.7]));
        assert!(!check.check_samples(&[0.1, f32::NAN]));
    }
}
