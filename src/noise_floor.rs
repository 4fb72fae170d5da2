//! The noise floor: the level to which a quiet hop is attenuated, and not further.
//!
//! An attenuation limit alone also removes 40 dB of the hiss of a quiet room. Each pause then sounds
//! like a dropped line. The floor follows the level of the speech: residual noise never falls below
//! 40 dB under it. `docs/decisions.md` gives the reasons for the constants.

/// Distance of the floor below the speech level, dB, or the attenuation limit if that is larger.
const FLOOR_BELOW_SPEECH_DB: f64 = 40.0;
/// Assumed speech level before the first speech, dBFS: the nominal level of speech material in
/// ITU-T P.56 measurements (-26 dBov). The floor is then -66 dBFS.
const INITIAL_SPEECH_DBFS: f64 = -26.0;
/// Upper bound of the assumed speech level when the first speech arrives, dBFS. The level then rises
/// to that of the talker, so that the floor of a whispering talker does not wait for the release.
const ONSET_SPEECH_DBFS: f64 = -46.0;
/// The first hop of which the model keeps at least this part of the power is speech.
const ONSET_KEPT_RATIO: f32 = 0.5;
/// Time over which the speech level is averaged, s.
const AVERAGING_S: f64 = 0.25;
/// A hop of which the model keeps this much less than the speech level, dB, is a pause.
const PAUSE_BELOW_SPEECH_DB: f64 = 10.0;
/// Release of the speech level during a pause, dB per s, because the next talker may be quieter.
const RELEASE_DB_PER_S: f64 = 2.0;

/// Tracks the speech level and computes the floor. All powers have one unit, set in `new`.
pub(crate) struct NoiseFloor {
    speech_level: f32,
    speech_seen: bool,
    /// speech level before the first speech, and its upper bound when it arrives
    initial_level: f32,
    onset_level: f32,
    /// amplitude of the floor against the speech level
    floor: f32,
    /// power of a pause against the speech level
    pause: f32,
    /// hops over which the speech level is averaged
    averaging_hops: f32,
    /// factor of the speech level for each hop of a pause
    release: f32,
}

/// Decibels to a ratio of powers.
fn power_ratio(db: f64) -> f32 {
    10f64.powf(db / 10.0) as f32
}

impl NoiseFloor {
    /// `power_scale` turns the powers that are passed in into mean squares; `hop_s` is the length of
    /// a hop.
    pub(crate) fn new(power_scale: f32, hop_s: f64) -> Self {
        let initial_level = power_ratio(INITIAL_SPEECH_DBFS) / power_scale;
        Self {
            speech_level: initial_level,
            speech_seen: false,
            initial_level,
            onset_level: power_ratio(ONSET_SPEECH_DBFS) / power_scale,
            floor: power_ratio(-FLOOR_BELOW_SPEECH_DB / 2.0),
            pause: power_ratio(-PAUSE_BELOW_SPEECH_DB),
            averaging_hops: (AVERAGING_S / hop_s).max(1.0) as f32,
            release: power_ratio(-RELEASE_DB_PER_S * hop_s),
        }
    }

    /// Part of a hop of power `input` that stays in the output whatever the mask is, as an amplitude
    /// from `limit` to 1. `limit` is the part that stays of a loud hop; 0 means no limit and no floor.
    pub(crate) fn dry_gain(&self, limit: f32, input: f32) -> f32 {
        // A silent hop stays whole: it is zero.
        let loudness = (input / self.speech_level).sqrt().max(f32::MIN_POSITIVE);
        (limit.min(self.floor) / loudness).clamp(limit, 1.0)
    }

    /// Updates the speech level: `speech` is the power that the model kept of a hop of power `input`.
    pub(crate) fn update(&mut self, speech: f32, input: f32) {
        // The output of a broken model does not count as speech.
        let speech = if speech.is_finite() { speech } else { 0.0 };
        if !self.speech_seen && speech > input * ONSET_KEPT_RATIO {
            self.speech_seen = true;
            self.speech_level = self.speech_level.min(self.onset_level);
        }
        if speech > self.speech_level * self.pause {
            self.speech_level += (speech - self.speech_level) / self.averaging_hops;
        } else {
            self.speech_level = (self.speech_level * self.release).max(f32::MIN_POSITIVE);
        }
    }

    pub(crate) fn reset(&mut self) {
        self.speech_level = self.initial_level;
        self.speech_seen = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOP_S: f64 = 0.01;

    fn power(db: f32) -> f32 {
        10f32.powf(db / 10.0)
    }

    /// After one second of speech at -20 dBFS.
    fn after_speech() -> NoiseFloor {
        let mut floor = NoiseFloor::new(1.0, HOP_S);
        for _ in 0..100 {
            floor.update(power(-20.0), power(-20.0));
        }
        floor
    }

    /// Attenuation in dB of a hop of `input_db` dBFS that the model removes.
    fn attenuation_db(floor: &NoiseFloor, limit_db: f32, input_db: f32) -> f32 {
        -20.0
            * floor
                .dry_gain(power(-limit_db).sqrt(), power(input_db))
                .log10()
    }

    #[test]
    fn residual_noise_is_40_db_below_the_speech() {
        let floor = after_speech();
        for noise_db in [-25.0, -40.0, -55.0] {
            let left_db = noise_db - attenuation_db(&floor, 40.0, noise_db);
            assert!((left_db + 60.0).abs() < 0.2, "{noise_db}: {left_db}");
        }
        assert_eq!(floor.dry_gain(0.01, power(-61.0)), 1.0);
        assert_eq!(floor.dry_gain(0.01, 0.0), 1.0);
        // Louder than the speech: attenuated by no more than the limit.
        assert_eq!(floor.dry_gain(0.01, power(-5.0)), 0.01);
    }

    #[test]
    fn a_lower_limit_keeps_the_floor_and_a_higher_one_lowers_it() {
        let floor = after_speech();
        assert!((attenuation_db(&floor, 12.0, -30.0) - 12.0).abs() < 1e-3);
        assert!((attenuation_db(&floor, 12.0, -55.0) - 5.0).abs() < 0.2);
        assert!((attenuation_db(&floor, 60.0, -55.0) - 25.0).abs() < 0.2);
        assert_eq!(floor.dry_gain(0.0, power(-30.0)), 0.0, "no limit, no floor");
        assert_eq!(floor.dry_gain(0.0, 0.0), 0.0);
        assert_eq!(floor.dry_gain(1.0, power(-30.0)), 1.0);
    }

    #[test]
    fn a_quiet_room_stays_before_the_first_speech() {
        let mut floor = after_speech();
        floor.reset();
        assert!((attenuation_db(&floor, 40.0, -46.0) - 20.0).abs() < 1e-3);
        assert_eq!(floor.dry_gain(0.01, power(-66.1)), 1.0);
        // Noise that the model removes is no speech. The floor falls by 2 dB in one second of it.
        for _ in 0..100 {
            floor.update(power(-66.0), power(-46.0));
        }
        assert!((attenuation_db(&floor, 40.0, -46.0) - 22.0).abs() < 0.1);
    }

    #[test]
    fn the_first_whispered_speech_lowers_the_floor_at_once() {
        let mut floor = NoiseFloor::new(1.0, HOP_S);
        assert_eq!(floor.dry_gain(0.01, power(-70.0)), 1.0);
        floor.update(power(-55.0), power(-54.0));
        assert!((attenuation_db(&floor, 40.0, -70.0) - 16.0).abs() < 0.5);
        // A reset restores the initial level.
        floor.reset();
        assert_eq!(floor.dry_gain(0.01, power(-70.0)), 1.0);
        // After 30 s without speech the level is lower than that, and the onset does not raise it.
        for _ in 0..3000 {
            floor.update(0.0, power(-46.0));
        }
        floor.update(power(-80.0), power(-79.0));
        assert_eq!(floor.dry_gain(0.01, power(-70.0)), 0.01);
    }

    #[test]
    fn the_output_of_a_broken_model_is_no_first_speech() {
        let mut floor = NoiseFloor::new(1.0, HOP_S);
        for nothing in [f32::INFINITY, f32::NAN] {
            floor.update(nothing, power(-54.0));
        }
        assert_eq!(floor.dry_gain(0.01, power(-70.0)), 1.0);
    }

    #[test]
    fn the_level_follows_to_a_whisper_within_20_seconds() {
        let mut floor = after_speech();
        for _ in 0..2000 {
            floor.update(power(-55.0), power(-55.0));
        }
        let left_db = -80.0 - attenuation_db(&floor, 40.0, -80.0);
        assert!((left_db + 95.0).abs() < 1.0, "{left_db}");
    }

    /// The release is a rate per second and the averaging a time, whatever the length of a hop.
    #[test]
    fn times_do_not_depend_on_the_hop() {
        for hop_s in [0.008, 0.01, 0.016] {
            let hops = |seconds: f64| (seconds / hop_s).round() as usize;
            let mut floor = NoiseFloor::new(1.0, hop_s);
            for _ in 0..hops(2.0) {
                floor.update(power(-20.0), power(-20.0));
            }
            let level_db = |floor: &NoiseFloor| 10.0 * floor.speech_level.log10();
            assert!((level_db(&floor) + 20.0).abs() < 0.1, "{hop_s}");
            for _ in 0..hops(4.0) {
                floor.update(0.0, power(-60.0));
            }
            assert!((level_db(&floor) + 28.0).abs() < 0.2, "{hop_s}");
            // One averaging time takes the level 1 - 1/e of the way up.
            let before = floor.speech_level;
            for _ in 0..hops(0.25) {
                floor.update(power(-10.0), power(-10.0));
            }
            let part = (floor.speech_level - before) / (power(-10.0) - before);
            assert!((part - 0.63).abs() < 0.03, "{hop_s}: {part}");
        }
    }

    #[test]
    fn hours_of_silence_and_infinities_leave_a_usable_level() {
        let mut floor = after_speech();
        for _ in 0..1_000_000 {
            floor.update(0.0, 0.0);
        }
        floor.update(f32::INFINITY, f32::INFINITY);
        floor.update(f32::NAN, f32::NAN);
        assert_eq!(floor.dry_gain(0.01, power(-60.0)), 0.01);
        for _ in 0..200 {
            floor.update(power(-20.0), power(-20.0));
        }
        assert_eq!(floor.dry_gain(0.01, power(-61.0)), 1.0);
    }
}
