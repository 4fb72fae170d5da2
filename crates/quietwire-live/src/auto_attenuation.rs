//! Chooses the attenuation limit for the noise at hand: a quiet room needs less than a train, and less
//! attenuation leaves more of the voice.

use quietwire::Strength;

/// Time between two decisions, s. The levels are those of the last 5 s.
const EVERY_S: f64 = 2.5;
/// Distance of the highest level to the noise floor below which there is no speech to measure, dB.
const MIN_RANGE_DB: f32 = 12.0;
/// Noise floor below which the input is digital silence, as of a muted microphone, dBFS.
const MIN_FLOOR_DBFS: f32 = -100.0;
/// Distances from which [`Strength::Medium`] and [`Strength::Low`] suffice, dB. The highest 10 ms of
/// speech are some 8 dB above its mean level, so that these are SNRs of 17 and 32 dB.
const FROM_DB: [f32; 2] = [25.0, 40.0];
/// A choice stays until the distance is this far beyond its bound, dB.
const HYSTERESIS_DB: f32 = 3.0;

/// The attenuation limit that follows the noise.
#[derive(Debug)]
pub(crate) struct AutoAttenuation {
    strength: Strength,
    for_s: f64,
}

impl Default for AutoAttenuation {
    fn default() -> Self {
        Self {
            strength: Strength::High,
            for_s: 0.0,
        }
    }
}

impl AutoAttenuation {
    /// Takes the noise floor and the highest level of the input after each hop, dBFS. Returns the
    /// attenuation limit, dB. It stays while nobody speaks and while the input is digital silence.
    pub(crate) fn update(&mut self, floor_dbfs: f32, highest_dbfs: f32, elapsed_s: f64) -> f32 {
        self.for_s += elapsed_s;
        let range_db = highest_dbfs - floor_dbfs;
        let is_measurable = range_db >= MIN_RANGE_DB && floor_dbfs > MIN_FLOOR_DBFS;
        if self.for_s >= EVERY_S && is_measurable {
            self.for_s = 0.0;
            let [medium_db, low_db] = FROM_DB;
            let (up, down) = (HYSTERESIS_DB, -HYSTERESIS_DB);
            let (to_medium, to_low) = match self.strength {
                Strength::Low => (medium_db, low_db + down),
                Strength::Medium => (medium_db + down, low_db + up),
                _ => (medium_db + up, low_db + up),
            };
            self.strength = if range_db >= to_low {
                Strength::Low
            } else if range_db >= to_medium {
                Strength::Medium
            } else {
                Strength::High
            };
        }
        self.strength.attenuation_db()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after_ten_seconds(auto: &mut AutoAttenuation, floor_dbfs: f32, highest_dbfs: f32) -> f32 {
        (0..1000).fold(0.0, |_, _| auto.update(floor_dbfs, highest_dbfs, 0.01))
    }

    #[test]
    fn the_limit_follows_the_noise_and_stays_in_pauses() {
        let mut auto = AutoAttenuation::default();
        // A microphone that was muted shows nothing of the noise.
        assert_eq!(after_ten_seconds(&mut auto, -140.0, -15.0), 40.0);
        assert_eq!(after_ten_seconds(&mut auto, -70.0, -15.0), 12.0);
        // Nobody speaks: it stays.
        assert_eq!(after_ten_seconds(&mut auto, -30.0, -25.0), 12.0);
        assert_eq!(after_ten_seconds(&mut auto, -45.0, -15.0), 20.0);
        assert_eq!(after_ten_seconds(&mut auto, -30.0, -15.0), 40.0);
        // Just above a bound is not enough.
        assert_eq!(after_ten_seconds(&mut auto, -41.0, -15.0), 40.0);
        assert_eq!(after_ten_seconds(&mut auto, -44.0, -15.0), 20.0);
        assert_eq!(after_ten_seconds(&mut auto, -41.0, -15.0), 20.0);
    }
}
