//! The powers of one hop.

/// What a mask did to one hop: sums of |X|^2 over bins, unscaled.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct HopPowers {
    pub(crate) input: f32,
    pub(crate) output: f32,
    /// of the model's estimate of the speech
    pub(crate) speech: f32,
    /// of the input less the estimate of the speech
    pub(crate) noise: f32,
}

impl HopPowers {
    pub(crate) fn scaled(self, scale: f32) -> Self {
        Self {
            input: self.input * scale,
            output: self.output * scale,
            speech: self.speech * scale,
            noise: self.noise * scale,
        }
    }
}

impl std::ops::AddAssign for HopPowers {
    fn add_assign(&mut self, other: Self) {
        self.input += other.input;
        self.output += other.output;
        self.speech += other.speech;
        self.noise += other.noise;
    }
}
