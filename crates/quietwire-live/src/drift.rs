//! Follows the difference of two clocks.

/// Natural frequency of the control loop, rad/s: it settles in about 10 s, and jitter of a
/// callback's time by 1 ms changes the ratio by less than 100 ppm.
const OMEGA: f64 = 0.4;
/// Time constant of the average over the measured delays, s.
const SMOOTHING_S: f64 = 0.4;
/// Largest change of the ratio: 5 cents.
const MAX_CORRECTION: f64 = 3e-3;

/// Controls the ratio of the resampling so that the queued audio stays at its target. A proportional
/// and integral controller with critical damping: the integral becomes the difference of the clocks.
#[derive(Debug, Clone, Default)]
pub struct DriftControl {
    /// error, smoothed, s
    error_s: Option<f64>,
    integral: f64,
}

impl DriftControl {
    /// Takes the error (queued audio minus target, s) after `elapsed_s` seconds. Returns the factor
    /// by which to change the ratio of the resampling: below 1 when too much is queued.
    pub fn update(&mut self, error_s: f64, elapsed_s: f64) -> f64 {
        let weight = (elapsed_s / SMOOTHING_S).min(1.0);
        let smoothed = self
            .error_s
            .map_or(error_s, |old| old + weight * (error_s - old));
        self.error_s = Some(smoothed);
        let proportional = 2.0 * OMEGA * smoothed;
        // The integral stands still while the output is limited.
        if (proportional + self.integral).abs() < MAX_CORRECTION {
            self.integral += OMEGA * OMEGA * smoothed * elapsed_s;
        }
        self.integral = self.integral.clamp(-MAX_CORRECTION, MAX_CORRECTION);
        1.0 - (proportional + self.integral).clamp(-MAX_CORRECTION, MAX_CORRECTION)
    }

    /// After queued audio was inserted or dropped: the error starts anew, the clocks are the same.
    pub fn restart(&mut self) {
        self.error_s = None;
    }

    /// The difference of the clocks, parts per million. Positive: the input is faster.
    pub fn drift_ppm(&self) -> f64 {
        1e6 * self.integral
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_integral_becomes_the_difference_of_the_clocks() {
        let mut control = DriftControl::default();
        let (mut error_s, mut worst_s) = (0.0f64, 0.0f64);
        for hop in 0..60_000 {
            let ratio = control.update(error_s, 0.01);
            error_s += 0.01 * (300e-6 + ratio - 1.0);
            worst_s = worst_s.max(error_s.abs());
            if hop > 6000 {
                assert!(error_s.abs() < 1e-5, "{error_s}");
            }
        }
        assert!(worst_s < 1e-3, "{worst_s}");
        assert!((control.drift_ppm() - 300.0).abs() < 1.0);
    }
}
