//! Levels of a signal: of a hop, and the range of the last seconds.

/// Level of digital silence, dBFS.
pub(crate) const SILENCE_DBFS: f32 = -140.0;
/// Time over which the lowest and the highest level are searched, s.
const RANGE_S: f64 = 5.0;

/// RMS level of a block, dBFS.
pub(crate) fn level_dbfs(signal: &[f32]) -> f32 {
    let power = signal.iter().map(|s| s * s).sum::<f32>() / signal.len().max(1) as f32;
    (10.0 * power.log10()).max(SILENCE_DBFS)
}

/// The lowest and the highest level of the last seconds: two halves, the older one is replaced.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct LevelRange {
    /// (lowest, highest) of the half that is filled now, and of the one before, dBFS
    halves: [Option<(f32, f32)>; 2],
    for_s: f64,
}

impl LevelRange {
    /// Takes the level of a hop. Returns the lowest and the highest level, dBFS.
    pub(crate) fn update(&mut self, dbfs: f32, elapsed_s: f64) -> (f32, f32) {
        self.for_s += elapsed_s;
        if self.for_s > RANGE_S / 2.0 {
            self.for_s = 0.0;
            self.halves = [None, self.halves[0]];
        }
        let (low, high) = self.halves[0].unwrap_or((dbfs, dbfs));
        let present = (low.min(dbfs), high.max(dbfs));
        self.halves[0] = Some(present);
        let before = self.halves[1].unwrap_or(present);
        (present.0.min(before.0), present.1.max(before.1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_range_follows_after_five_seconds() {
        let mut range = LevelRange::default();
        for _ in 0..100 {
            range.update(-60.0, 0.01);
        }
        assert_eq!(range.update(-20.0, 0.01), (-60.0, -20.0));
        for _ in 0..600 {
            range.update(-40.0, 0.01);
        }
        assert_eq!(range.update(-40.0, 0.01), (-40.0, -40.0));
    }
}
