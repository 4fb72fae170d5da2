//! What may have been in a lost packet of samples that stand alone: the last pitch period again and
//! again, fading (the idea of ITU-T G.711 appendix I).

/// Pitch periods that voices have.
const PERIOD_SECONDS: (f32, f32) = (0.0025, 0.015);
/// Compared to find the period.
const COMPARED_SECONDS: f32 = 0.02;
/// From the last sample that was heard to silence.
const FADE_SECONDS: f32 = 0.06;
/// Over which what was made up turns into what is heard again.
const JOIN_SECONDS: f32 = 0.004;

/// One stream's, all channels alike.
pub(in crate::rtp) struct Concealer {
    channels: usize,
    /// [history][channels] the latest samples, heard or made up
    history: Vec<f32>,
    shortest: usize,
    longest: usize,
    compared: usize,
    fade: usize,
    join: usize,
    /// samples made up since the last that was heard, and the period that is repeated
    made: usize,
    period: usize,
}

impl Concealer {
    pub(super) fn new(rate_hz: u32, channels: usize) -> Self {
        let samples = |seconds: f32| (seconds * rate_hz as f32) as usize;
        let (longest, compared) = (samples(PERIOD_SECONDS.1), samples(COMPARED_SECONDS));
        let block = samples(super::MAX_SECONDS);
        let mut history = Vec::with_capacity((longest + compared + block) * channels);
        history.resize((longest + compared) * channels, 0.0);
        Self {
            channels,
            history,
            shortest: samples(PERIOD_SECONDS.0).max(1),
            longest,
            compared,
            fade: samples(FADE_SECONDS),
            join: samples(JOIN_SECONDS).max(1),
            made: 0,
            period: longest,
        }
    }

    pub(super) fn reset(&mut self) {
        self.history.fill(0.0);
        self.made = 0;
    }

    /// Takes what was decoded; its beginning is joined to what was made up before it.
    pub(super) fn hear(&mut self, block: &mut [f32]) {
        if self.made > 0 {
            let join = self.join.min(block.len() / self.channels);
            for frame in 0..join {
                let share = (frame + 1) as f32 / (join + 1) as f32;
                let gain = self.gain();
                for channel in 0..self.channels {
                    let made = gain * self.again();
                    let sample = &mut block[frame * self.channels + channel];
                    *sample = made + share * (*sample - made);
                    self.remember(*sample);
                }
                self.made += 1;
            }
            self.made = 0;
            for sample in &block[join * self.channels..] {
                self.remember(*sample);
            }
        } else {
            for sample in &*block {
                self.remember(*sample);
            }
        }
        self.forget();
    }

    pub(super) fn conceal(&mut self, block: &mut [f32]) {
        if self.made == 0 {
            self.period = self.find_period();
        }
        for frame in block.chunks_exact_mut(self.channels) {
            let gain = self.gain();
            for sample in frame {
                let again = self.again();
                *sample = gain * again;
                // The period itself stays as it was heard.
                self.remember(again);
            }
            self.made += 1;
        }
        self.forget();
    }

    /// Drops what is older than anything looks back.
    fn forget(&mut self) {
        let kept = (self.longest + self.compared) * self.channels;
        self.history.drain(..self.history.len() - kept);
    }

    fn gain(&self) -> f32 {
        1.0 - self.made.min(self.fade) as f32 / self.fade as f32
    }

    fn remember(&mut self, sample: f32) {
        self.history.push(sample);
    }

    /// The sample a period before the next one; channels come in their order.
    fn again(&self) -> f32 {
        self.history[self.history.len() - self.period * self.channels]
    }

    /// The shift at which the latest samples are most alike those before.
    fn find_period(&self) -> usize {
        let latest = &self.history[self.history.len() - self.compared * self.channels..];
        let likeness = |period: usize| {
            let end = self.history.len() - period * self.channels;
            let before = &self.history[end - latest.len()..end];
            let (mut both, mut energy) = (0.0f32, 1e-9f32);
            for (a, b) in latest.iter().zip(before) {
                both += a * b;
                energy += b * b;
            }
            both / energy.sqrt()
        };
        let periods = self.shortest..=self.longest;
        let best = periods.max_by(|a, b| likeness(*a).total_cmp(&likeness(*b)));
        best.unwrap_or(self.longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tone_goes_on_and_fades_and_comes_back_without_a_jump() {
        for channels in [1, 2] {
            let mut concealer = Concealer::new(8_000, channels);
            let tone = |n: usize| (n as f32 * 2.0 * std::f32::consts::PI / 40.0).sin() * 0.5;
            let block = |from: usize| -> Vec<f32> {
                (from..from + 160)
                    .flat_map(|n| vec![tone(n); channels])
                    .collect()
            };
            let mut out = Vec::new();
            for packet in 0..10 {
                let mut heard = block(packet * 160);
                if packet == 5 || packet == 8 {
                    concealer.conceal(&mut heard);
                } else {
                    concealer.hear(&mut heard);
                }
                out.extend(heard.chunks_exact(channels).map(|frame| {
                    assert!(frame.iter().all(|x| *x == frame[0]));
                    frame[0]
                }));
            }
            for at in [5, 8] {
                let first = &out[at * 160..at * 160 + 40];
                let error = first
                    .iter()
                    .enumerate()
                    .map(|(n, x)| (x - tone(at * 160 + n)).abs());
                assert!(error.fold(0.0, f32::max) < 0.05, "the tone goes on");
            }
            let steps = out.windows(2).map(|pair| (pair[1] - pair[0]).abs());
            assert!(steps.fold(0.0, f32::max) < 0.12);
            let mut long = vec![0.0; 8_000 * channels];
            concealer.conceal(&mut long);
            assert_eq!(
                long[480 * channels..].iter().copied().fold(0.0, f32::max),
                0.0
            );
        }
    }
}
