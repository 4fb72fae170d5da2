//! What is quiet already stays: a floor beneath the talker, to which a hop is turned down and no further.
//!
//! A limit on attenuation alone takes 40 dB off the hiss of a quiet room as well, and with it the room:
//! each pause then sounds like a dropped line, and what a recording has of its own is lost.

/// The floor lies 40 dB below the talker, or the limit on attenuation if that is more; an amplitude. Chosen on
/// the development pairs, as all below: lab book, entry 33.
const BELOW: f32 = 0.01;
/// Before the first word: as if somebody had talked at -26 dBFS, the usual level of ITU-T test material. The
/// floor is then -66 dBFS, so that a quiet room is heard before the voice as it is after. A mean square. Entry 36.
const BEFORE: f32 = 2.511_886_4e-3;
/// From the first word on, his level is learnt from -46 dBFS, or from where the pause before has let it fall: a
/// whisperer's floor does not wait for [`FALL`].
const START: f32 = 2.511_886_4e-5;
/// Of the first hop with a word the model leaves half of the power, or more.
const WORD: f32 = 0.5;
/// Hops over which the talker's level is a mean.
const MEAN_HOPS: f32 = 25.0;
/// A hop of which the model leaves 10 dB less than the talker's level, or less yet, is a pause; a ratio of powers.
const PAUSE: f32 = 0.1;
/// By this the talker's power falls in a hop of a pause, for the next may be quieter: 2 dB a second.
const FALL: f32 = 0.995_405_4;

/// Knows the talker's level. Powers in one unit, whichever it is.
pub(crate) struct Floor {
    talker: f32,
    talked: bool,
    power_scale: f32,
}

impl Floor {
    /// `power_scale` makes its powers mean squares.
    pub(crate) fn new(power_scale: f32) -> Self {
        Self {
            talker: BEFORE / power_scale,
            talked: false,
            power_scale,
        }
    }

    /// Share of a hop of power `input` that stays in the output, as an amplitude from `limit` to 1;
    /// `limit` is what stays of a loud one, and 0 for no floor either.
    pub(crate) fn share(&self, limit: f32, input: f32) -> f32 {
        // Of silence the whole stays, which is nothing.
        let loud = (input / self.talker).sqrt().max(f32::MIN_POSITIVE);
        (limit.min(BELOW) / loud).clamp(limit, 1.0)
    }

    /// Takes the power of what the model left of a hop of power `input`.
    pub(crate) fn hear(&mut self, speech: f32, input: f32) {
        // What a broken model says is neither a word nor a talker.
        let speech = if speech.is_finite() { speech } else { 0.0 };
        if !self.talked && speech > input * WORD {
            self.talked = true;
            self.talker = self.talker.min(START / self.power_scale);
        }
        if speech > self.talker * PAUSE {
            self.talker += (speech - self.talker) / MEAN_HOPS;
        } else {
            self.talker = (self.talker * FALL).max(f32::MIN_POSITIVE);
        }
    }

    pub(crate) fn reset(&mut self) {
        *self = Self::new(self.power_scale);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn power(db: f32) -> f32 {
        10f32.powf(db / 10.0)
    }

    /// Hears a talker of -20 dBFS for a second.
    fn with_talker() -> Floor {
        let mut floor = Floor::new(1.0);
        for _ in 0..100 {
            floor.hear(power(-20.0), power(-20.0));
        }
        floor
    }

    /// dB by which a hop of `input_db` dBFS is turned down when the model would take all of it.
    fn down_db(floor: &Floor, limit_db: f32, input_db: f32) -> f32 {
        -20.0
            * floor
                .share(power(-limit_db).sqrt(), power(input_db))
                .log10()
    }

    #[test]
    fn what_is_left_of_noise_lies_40_db_below_the_talker() {
        let floor = with_talker();
        for noise_db in [-25.0, -40.0, -55.0] {
            let left_db = noise_db - down_db(&floor, 40.0, noise_db);
            assert!((left_db + 60.0).abs() < 0.2, "{noise_db}: {left_db}");
        }
        assert_eq!(floor.share(0.01, power(-61.0)), 1.0);
        assert_eq!(floor.share(0.01, 0.0), 1.0);
        // Louder than the talker: no more than the limit.
        assert_eq!(floor.share(0.01, power(-5.0)), 0.01);
    }

    #[test]
    fn a_lower_limit_has_no_lower_floor_and_a_higher_one_has() {
        let floor = with_talker();
        assert!((down_db(&floor, 12.0, -30.0) - 12.0).abs() < 1e-3);
        assert!((down_db(&floor, 12.0, -55.0) - 5.0).abs() < 0.2);
        assert!((down_db(&floor, 60.0, -55.0) - 25.0).abs() < 0.2);
        assert_eq!(floor.share(0.0, power(-30.0)), 0.0, "no limit, no floor");
        assert_eq!(floor.share(0.0, 0.0), 0.0);
        assert_eq!(floor.share(1.0, power(-30.0)), 1.0);
    }

    #[test]
    fn before_the_first_word_a_quiet_room_stays() {
        let mut floor = with_talker();
        floor.reset();
        assert!((down_db(&floor, 40.0, -46.0) - 20.0).abs() < 1e-3);
        assert_eq!(floor.share(0.01, power(-66.1)), 1.0);
        // Noise that the model takes away is no word; the floor falls by 2 dB in a second of it.
        for _ in 0..100 {
            floor.hear(power(-66.0), power(-46.0));
        }
        assert!((down_db(&floor, 40.0, -46.0) - 22.0).abs() < 0.1);
    }

    #[test]
    fn the_first_word_of_a_whisperer_takes_the_floor_down_at_once() {
        let mut floor = Floor::new(1.0);
        assert_eq!(floor.share(0.01, power(-70.0)), 1.0);
        floor.hear(power(-55.0), power(-54.0));
        assert!((down_db(&floor, 40.0, -70.0) - 16.0).abs() < 0.5);
        // As nobody before, so nobody after a reset.
        floor.reset();
        assert_eq!(floor.share(0.01, power(-70.0)), 1.0);
        // After half a minute of nobody it is lower than that, and the word does not lift it.
        for _ in 0..3000 {
            floor.hear(0.0, power(-46.0));
        }
        floor.hear(power(-80.0), power(-79.0));
        assert_eq!(floor.share(0.01, power(-70.0)), 0.01);
    }

    #[test]
    fn what_a_broken_model_says_is_no_first_word() {
        let mut floor = Floor::new(1.0);
        for nothing in [f32::INFINITY, f32::NAN] {
            floor.hear(nothing, power(-54.0));
        }
        assert_eq!(floor.share(0.01, power(-70.0)), 1.0);
    }

    #[test]
    fn a_whisperer_after_a_talker_is_known_before_20_seconds() {
        let mut floor = with_talker();
        for _ in 0..2000 {
            floor.hear(power(-55.0), power(-55.0));
        }
        let left_db = -80.0 - down_db(&floor, 40.0, -80.0);
        assert!((left_db + 95.0).abs() < 1.0, "{left_db}");
    }

    #[test]
    fn hours_of_silence_and_numbers_that_are_none_leave_it_usable() {
        let mut floor = with_talker();
        for _ in 0..1_000_000 {
            floor.hear(0.0, 0.0);
        }
        floor.hear(f32::INFINITY, f32::INFINITY);
        floor.hear(f32::NAN, f32::NAN);
        assert_eq!(floor.share(0.01, power(-60.0)), 0.01);
        for _ in 0..200 {
            floor.hear(power(-20.0), power(-20.0));
        }
        assert_eq!(floor.share(0.01, power(-61.0)), 1.0);
    }
}
