//! Comfort noise payloads (RFC 3389 section 3): one byte with the level, 0 to 127 dB below full scale,
//! then reflection coefficients.

/// The static payload type for clocks of 8 kHz (RFC 3551 section 6).
pub(crate) const PAYLOAD_TYPE: u8 = 13;
/// The lowest level, dB below full scale.
const MAX_LEVEL: u8 = 127;

/// Lowers the level of a received payload by `gain_db`, 0 or less, as the denoiser lowers the noise
/// that the payload describes.
pub(crate) fn apply_gain(payload: &mut [u8], gain_db: f32) {
    if let Some(level) = payload.first_mut() {
        // The cast saturates.
        let lowered = (f32::from(*level & MAX_LEVEL) - gain_db).round() as u8;
        *level = lowered.min(MAX_LEVEL);
    }
}

/// Clean audio louder than this is not replaced by comfort noise, dB below full scale.
const MIN_LEVEL: u8 = 45;
/// Audio is sent for this long after speech, seconds.
const HANGOVER_S: f32 = 0.2;
/// Comfort noise is sent again when its level has changed by this much, dB.
const UPDATE_DB: u8 = 3;

/// Decides when comfort noise is sent instead of audio.
#[derive(Debug)]
pub(crate) struct ComfortNoise {
    hangover_frames: usize,
    /// frames since the latest speech
    silent_frames: usize,
    /// level that was sent since then
    sent_level: Option<u8>,
}

/// How a packet of audio is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    /// as audio
    Audio,
    /// as comfort noise with this payload
    Noise([u8; 1]),
    /// not at all: the receiver has the comfort noise
    Nothing,
}

impl ComfortNoise {
    pub(crate) fn new(rate_hz: u32) -> Self {
        Self {
            hangover_frames: (rate_hz as f32 * HANGOVER_S) as usize,
            silent_frames: 0,
            sent_level: None,
        }
    }

    /// Decides for a packet of `frames` with `level`, dB below full scale.
    pub(crate) fn decide(&mut self, is_speech: bool, level: u8, frames: usize) -> Decision {
        if is_speech || level < MIN_LEVEL {
            self.silent_frames = 0;
            self.sent_level = None;
            return Decision::Audio;
        }
        self.silent_frames = self.silent_frames.saturating_add(frames);
        if self.silent_frames <= self.hangover_frames {
            return Decision::Audio;
        }
        if self
            .sent_level
            .is_some_and(|sent| sent.abs_diff(level) < UPDATE_DB)
        {
            return Decision::Nothing;
        }
        self.sent_level = Some(level);
        Decision::Noise([level.min(MAX_LEVEL)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_follows_the_gain() {
        let mut noise = [40, 9, 8];
        apply_gain(&mut noise, -12.4);
        assert_eq!(noise, [52, 9, 8]);
        apply_gain(&mut noise, -200.0);
        assert_eq!(noise[0], 127);
        apply_gain(&mut [], -3.0);
    }

    #[test]
    fn noise_replaces_audio_after_the_hangover_and_until_speech() {
        let mut noise = ComfortNoise::new(8000);
        assert_eq!(noise.decide(true, 60, 160), Decision::Audio);
        for _ in 0..10 {
            assert_eq!(noise.decide(false, 60, 160), Decision::Audio);
        }
        assert_eq!(noise.decide(false, 60, 160), Decision::Noise([60]));
        assert_eq!(noise.decide(false, 62, 160), Decision::Nothing);
        assert_eq!(noise.decide(false, 200, 160), Decision::Noise([127]));
        assert_eq!(noise.decide(false, 40, 160), Decision::Audio);
        assert_eq!(noise.decide(false, 60, 160), Decision::Audio);
    }
}
