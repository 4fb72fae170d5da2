//! Settings from the control ports.

use quietwire::{AttenuationLimit, Denoiser, Error, Strength};

use crate::ports::{CONTROLS, MAX_ATTENUATION_DB, MAX_LEVEL, MAX_MODEL};

/// The settings of a block.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Settings {
    attenuation: AttenuationLimit,
    bypass: bool,
    model: usize,
}

impl Settings {
    /// From the values of the control ports, in the order of the ports. Ports without a value (`None`) and
    /// NaN give the default; values out of range give the nearest value in range.
    pub(crate) fn new(controls: [Option<f32>; CONTROLS]) -> Self {
        let controls = controls.map(|value| value.filter(|value| !value.is_nan()));
        let [attenuation_db, level, on, model] = controls;
        let integer = |value: Option<f32>, max: f32| value.unwrap_or(0.0).clamp(0.0, max).round();
        let attenuation = match integer(level, MAX_LEVEL) as usize {
            1 => Strength::Low.into(),
            2 => Strength::Medium.into(),
            3 => Strength::High.into(),
            4 => AttenuationLimit::Unlimited,
            _ => {
                let db = attenuation_db.unwrap_or(MAX_ATTENUATION_DB / 2.0);
                // Without the sign of a negative zero.
                AttenuationLimit::Db(db.clamp(0.0, MAX_ATTENUATION_DB).abs())
            }
        };
        Self {
            attenuation,
            bypass: on.is_some_and(|on| on <= 0.0),
            model: integer(model, MAX_MODEL) as usize,
        }
    }

    /// Brings a stream from the settings `old` to these.
    ///
    /// # Errors
    /// None, as long as the stream has all models.
    pub(crate) fn apply(self, old: Self, denoiser: &mut Denoiser) -> Result<(), Error> {
        if self.model != old.model {
            denoiser.set_model(self.model)?;
        }
        if self.attenuation != old.attenuation {
            denoiser.set_attenuation(self.attenuation)?;
        }
        if self.bypass != old.bypass {
            denoiser.set_bypass(self.bypass);
        }
        Ok(())
    }
}

impl Default for Settings {
    /// Those of ports that are not connected.
    fn default() -> Self {
        Self::new([None; CONTROLS])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(attenuation_db: f32, level: f32, on: f32, model: f32) -> Settings {
        Settings::new([attenuation_db, level, on, model].map(Some))
    }

    #[test]
    fn every_value_gives_valid_settings() {
        let default = Settings::default();
        assert_eq!(default.attenuation, AttenuationLimit::Db(40.0));
        assert!(!default.bypass && default.model == 0);
        assert_eq!(settings(f32::NAN, f32::NAN, f32::NAN, f32::NAN), default);
        assert_eq!(settings(40.0, 0.0, 1.0, 0.0), default);
        for (level, expected) in [
            (-7.0, 25.0),
            (0.4, 25.0),
            (0.6, 12.0),
            (2.0, 20.0),
            (3.0, 40.0),
        ] {
            let found = settings(25.0, level, 1.0, 0.0).attenuation;
            assert_eq!(found, AttenuationLimit::Db(expected), "level {level}");
        }
        for level in [4.0, 1e9, f32::INFINITY] {
            let found = settings(25.0, level, 1.0, 0.0).attenuation;
            assert_eq!(found, AttenuationLimit::Unlimited);
        }
        for (db, expected) in [(-1.0, 0.0), (-0.0, 0.0), (1e9, 80.0), (f32::INFINITY, 80.0)] {
            let AttenuationLimit::Db(found) = settings(db, 0.0, 1.0, 0.0).attenuation else {
                panic!("a limit in dB");
            };
            assert_eq!(found.to_bits(), f32::to_bits(expected));
        }
        for (on, bypass) in [(1.0, false), (0.1, false), (0.0, true), (-1.0, true)] {
            assert_eq!(settings(40.0, 0.0, on, 0.0).bypass, bypass);
        }
        for (model, expected) in [(-3.0, 0), (0.4, 0), (0.6, 1), (7.0, 1)] {
            assert_eq!(settings(40.0, 0.0, 1.0, model).model, expected);
        }
    }
}
