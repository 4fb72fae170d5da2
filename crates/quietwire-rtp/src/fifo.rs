//! A first-in, first-out buffer of samples.

/// Samples, interleaved. Allocates in `new` only.
pub(crate) struct Fifo {
    samples: Vec<f32>,
    /// index of the oldest sample
    head: usize,
    len: usize,
}

impl Fifo {
    /// A fifo that holds `silence` zeros and has room for `block` more samples.
    pub(crate) fn new(silence: usize, block: usize) -> Self {
        Self {
            samples: vec![0.0; silence + block],
            head: 0,
            len: silence,
        }
    }

    /// Pushes a block and replaces it by the oldest samples: delays it by the initial silence.
    pub(crate) fn delay(&mut self, block: &mut [f32]) {
        self.push(block);
        self.pop(block);
    }

    fn push(&mut self, input: &[f32]) {
        let capacity = self.samples.len();
        assert!(
            self.len + input.len() <= capacity,
            "sized for the longest block in `new`"
        );
        let tail = (self.head + self.len) % capacity.max(1);
        let first = input.len().min(capacity - tail);
        self.samples[tail..tail + first].copy_from_slice(&input[..first]);
        self.samples[..input.len() - first].copy_from_slice(&input[first..]);
        self.len += input.len();
    }

    fn pop(&mut self, output: &mut [f32]) {
        let capacity = self.samples.len();
        let first = output.len().min(capacity - self.head);
        output[..first].copy_from_slice(&self.samples[self.head..self.head + first]);
        let rest = output.len() - first;
        output[first..].copy_from_slice(&self.samples[..rest]);
        self.head = (self.head + output.len()) % capacity.max(1);
        self.len -= output.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_any_length_come_out_after_the_silence_in_order() {
        let mut fifo = Fifo::new(3, 5);
        let (mut next, mut output) = (1.0, Vec::new());
        for len in [2, 5, 1, 4, 5, 5, 3] {
            let mut block: Vec<f32> = (0..len).map(|n| next + n as f32).collect();
            next += len as f32;
            fifo.delay(&mut block);
            output.extend(block);
        }
        let silence = [0.0; 3].into_iter();
        let expected: Vec<f32> = silence.chain((1..23).map(|n| n as f32)).collect();
        assert_eq!(output, expected);
        let mut block = [1.0, 2.0];
        Fifo::new(0, 2).delay(&mut block);
        assert_eq!(block, [1.0, 2.0]);
    }
}
