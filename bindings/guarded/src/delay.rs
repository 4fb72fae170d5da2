//! A delay of a constant number of samples.

/// Delays interleaved samples by a constant number of them.
#[derive(Debug)]
pub(crate) struct Delay {
    /// the samples on their way, as a ring
    ring: Vec<f32>,
    /// index of the oldest
    oldest: usize,
}

impl Delay {
    pub(crate) fn new(samples: usize) -> Self {
        Self {
            ring: vec![0.0; samples],
            oldest: 0,
        }
    }

    /// Puts samples in and replaces them by the delayed ones.
    pub(crate) fn exchange(&mut self, mut samples: &mut [f32]) {
        if self.ring.is_empty() {
            return;
        }
        while !samples.is_empty() {
            let len = samples.len().min(self.ring.len() - self.oldest);
            let (now, rest) = samples.split_at_mut(len);
            now.swap_with_slice(&mut self.ring[self.oldest..self.oldest + len]);
            self.oldest = (self.oldest + len) % self.ring.len();
            samples = rest;
        }
    }

    pub(crate) fn reset(&mut self) {
        self.ring.fill(0.0);
        self.oldest = 0;
    }
}
