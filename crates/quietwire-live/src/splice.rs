//! Joins two pieces of a signal without a step.

/// Length of the correction, s. Long enough that the ramp of a full-scale step is below the slope of
/// a 30 Hz tone at full scale.
const SPLICE_S: f64 = 0.01;

/// Adds the difference between the last frame before a join and the first frame after it, faded to
/// zero over 10 ms. The output is continuous at the join.
#[derive(Debug)]
pub(crate) struct Splice {
    /// [channels] difference at the join
    offset: Vec<f32>,
    /// [channels] latest output frame
    last: Vec<f32>,
    /// frames of the correction that are left
    left: usize,
    length: usize,
    /// whether the next frame comes after a join
    is_join: bool,
}

impl Splice {
    pub(crate) fn new(channels: usize, rate_hz: u32) -> Self {
        Self {
            offset: vec![0.0; channels],
            last: vec![0.0; channels],
            left: 0,
            length: ((f64::from(rate_hz) * SPLICE_S) as usize).max(1),
            is_join: false,
        }
    }

    /// The next frame does not continue the latest one.
    pub(crate) fn join(&mut self) {
        self.is_join = true;
    }

    /// The output of the next frame, in place.
    pub(crate) fn apply(&mut self, frame: &mut [f32]) {
        if self.is_join {
            self.is_join = false;
            for ((offset, last), next) in self.offset.iter_mut().zip(&self.last).zip(&*frame) {
                *offset = last - next;
            }
            self.left = self.length;
        }
        if self.left > 0 {
            // A raised cosine: no step in the slope either, except at the join itself.
            let phase = self.left as f32 / self.length as f32;
            let weight = 0.5 - 0.5 * (std::f32::consts::PI * phase).cos();
            for (sample, offset) in frame.iter_mut().zip(&self.offset) {
                *sample += weight * offset;
            }
            self.left -= 1;
        }
        self.last.copy_from_slice(frame);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_becomes_a_ramp() {
        let mut splice = Splice::new(1, 48_000);
        let mut output = Vec::new();
        for n in 0..2000 {
            if n == 1000 {
                splice.join();
            }
            let mut frame = [if n < 1000 { 0.8 } else { -0.8 }];
            splice.apply(&mut frame);
            output.push(frame[0]);
        }
        let step = output.windows(2).map(|w| (w[1] - w[0]).abs());
        assert!(step.fold(0.0, f32::max) < 0.006);
        assert_eq!(output[1999], -0.8);
    }
}
