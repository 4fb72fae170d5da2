//! The longest time that frames wait on the input side of a path.

/// Time over which the longest wait is searched, s.
const WAIT_S: f64 = 5.0;
/// The wait that counts is this one in the order of length, so that single delays do not count.
const WAIT_RANK: usize = 4;
/// Seconds by which the wait falls each second.
const WAIT_FALL: f64 = 0.0025;

/// The longest time that frames wait on the input side: for the end of their block and their hop, and
/// for the worker. Single delays are left out, the output's reserve covers them.
#[derive(Debug, Default)]
pub(crate) struct Wait {
    /// the longest of the seconds that are counted now, longest first
    longest_s: [f64; WAIT_RANK],
    /// the one that counts of the seconds before
    before_s: f64,
    for_s: f64,
    value_s: f64,
}

impl Wait {
    /// Takes the wait of a hop, s. Returns the wait to provide for, s.
    pub(crate) fn update(&mut self, wait_s: f64, elapsed_s: f64) -> f64 {
        let mut left = wait_s;
        for longest in &mut self.longest_s {
            if left > *longest {
                std::mem::swap(longest, &mut left);
            }
        }
        self.for_s += elapsed_s;
        let counted = self.longest_s[WAIT_RANK - 1];
        if self.for_s > WAIT_S {
            self.before_s = counted;
            self.longest_s = [0.0; WAIT_RANK];
            self.for_s = 0.0;
        }
        // Longer at once, shorter slowly: the resampling follows without a jump.
        let target = counted.max(self.before_s);
        let slowest = self.value_s - WAIT_FALL * elapsed_s;
        self.value_s = target.max(slowest);
        self.value_s
    }
}
