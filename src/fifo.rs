//! A first-in, first-out fifo of samples. Its initial silence sets the latency of a stream.

/// Samples of one channel. Allocates in `new` only.
#[derive(Clone)]
pub(crate) struct Fifo {
    samples: Vec<f32>,
    /// index of the oldest sample
    head: usize,
    len: usize,
}

impl Fifo {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            samples: vec![0.0; capacity],
            head: 0,
            len: 0,
        }
    }

    /// Empties the fifo and pushes `silence` zeros.
    pub(crate) fn prime(&mut self, silence: usize) {
        assert!(
            silence <= self.samples.len(),
            "sized for its silence in `new`"
        );
        self.samples.fill(0.0);
        self.head = 0;
        self.len = silence;
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Appends samples. The capacity of `new` must hold them.
    pub(crate) fn push(&mut self, input: &[f32]) {
        let capacity = self.samples.len();
        assert!(
            self.len + input.len() <= capacity,
            "sized for the largest hop in `new`"
        );
        let tail = (self.head + self.len) % capacity;
        let first = input.len().min(capacity - tail);
        self.samples[tail..tail + first].copy_from_slice(&input[..first]);
        self.samples[..input.len() - first].copy_from_slice(&input[first..]);
        self.len += input.len();
    }

    /// Removes the oldest samples. The fifo must hold as many.
    pub(crate) fn pop(&mut self, output: &mut [f32]) {
        assert!(output.len() <= self.len, "primed so that it never runs dry");
        let capacity = self.samples.len();
        let first = output.len().min(capacity - self.head);
        output[..first].copy_from_slice(&self.samples[self.head..self.head + first]);
        let rest = output.len() - first;
        output[first..].copy_from_slice(&self.samples[..rest]);
        self.head = (self.head + output.len()) % capacity;
        self.len -= output.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_kept_when_the_indices_wrap() {
        let mut fifo = Fifo::new(7);
        fifo.prime(2);
        let (mut next_in, mut out) = (1.0, Vec::new());
        for size in [3, 5, 1, 4, 2, 5, 5] {
            let block: Vec<f32> = (0..size).map(|n| next_in + n as f32).collect();
            next_in += size as f32;
            fifo.push(&block);
            let mut popped = vec![0.0; size];
            fifo.pop(&mut popped);
            out.extend(popped);
            assert_eq!(fifo.len(), 2);
        }
        let expected: Vec<f32> = [0.0, 0.0]
            .into_iter()
            .chain((1..24).map(|n| n as f32))
            .collect();
        assert_eq!(out, expected);
    }
}
