//! Concealment of lost packets for PCM codecs: repeats the last pitch period and fades to silence
//! (after ITU-T G.711 appendix I).

/// Range of pitch periods, seconds.
const PERIOD_RANGE_S: (f32, f32) = (0.0025, 0.015);
/// Length of the segments that the period search correlates, seconds.
const SEARCH_S: f32 = 0.02;
/// Fade from the last received sample to silence, seconds.
const FADE_S: f32 = 0.06;
/// Cross-fade from concealed to received audio, seconds.
const BLEND_S: f32 = 0.004;

/// The concealment of one stream. All channels share one pitch period.
pub(crate) struct Concealer {
    channels: usize,
    /// [history][channels] the latest samples, received or concealed
    history: Vec<f32>,
    min_period: usize,
    max_period: usize,
    search_len: usize,
    fade_len: usize,
    blend_len: usize,
    /// frames concealed since the last received one
    concealed: usize,
    /// the period that is repeated, frames
    period: usize,
}

impl Concealer {
    pub(super) fn new(rate_hz: u32, channels: usize) -> Self {
        let frames = |seconds: f32| (seconds * rate_hz as f32) as usize;
        let (max_period, search_len) = (frames(PERIOD_RANGE_S.1), frames(SEARCH_S));
        let max_block = frames(super::MAX_PACKET_S);
        let mut history = Vec::with_capacity((max_period + search_len + max_block) * channels);
        history.resize((max_period + search_len) * channels, 0.0);
        Self {
            channels,
            history,
            min_period: frames(PERIOD_RANGE_S.0).max(1),
            max_period,
            search_len,
            fade_len: frames(FADE_S),
            blend_len: frames(BLEND_S).max(1),
            concealed: 0,
            period: max_period,
        }
    }

    pub(super) fn reset(&mut self) {
        self.history.fill(0.0);
        self.concealed = 0;
    }

    /// Takes a received block. Cross-fades its start from the concealed audio before it.
    pub(super) fn push(&mut self, block: &mut [f32]) {
        if self.concealed > 0 {
            let blend_len = self.blend_len.min(block.len() / self.channels);
            for frame in 0..blend_len {
                let weight = (frame + 1) as f32 / (blend_len + 1) as f32;
                let gain = self.gain();
                for channel in 0..self.channels {
                    let concealed = gain * self.one_period_ago();
                    let sample = &mut block[frame * self.channels + channel];
                    *sample = concealed + weight * (*sample - concealed);
                    self.history.push(*sample);
                }
                self.concealed += 1;
            }
            self.concealed = 0;
            self.history
                .extend_from_slice(&block[blend_len * self.channels..]);
        } else {
            self.history.extend_from_slice(block);
        }
        self.trim_history();
    }

    /// Fills a block with the repeated period.
    pub(super) fn conceal(&mut self, block: &mut [f32]) {
        if self.concealed == 0 {
            self.period = self.find_period();
        }
        for frame in block.chunks_exact_mut(self.channels) {
            let gain = self.gain();
            for sample in frame {
                let repeated = self.one_period_ago();
                *sample = gain * repeated;
                // Without the fade, so that the next repetition has the full level.
                self.history.push(repeated);
            }
            self.concealed += 1;
        }
        self.trim_history();
    }

    /// Drops samples older than the period search needs.
    fn trim_history(&mut self) {
        let kept = (self.max_period + self.search_len) * self.channels;
        self.history.drain(..self.history.len() - kept);
    }

    fn gain(&self) -> f32 {
        1.0 - self.concealed.min(self.fade_len) as f32 / self.fade_len as f32
    }

    /// The sample one period before the next one. Samples are pushed in the order of the channels.
    fn one_period_ago(&self) -> f32 {
        self.history[self.history.len() - self.period * self.channels]
    }

    /// The lag with the largest normalized correlation of the latest samples with earlier ones,
    /// frames.
    fn find_period(&self) -> usize {
        let latest = &self.history[self.history.len() - self.search_len * self.channels..];
        let correlation = |period: usize| {
            let end = self.history.len() - period * self.channels;
            let earlier = &self.history[end - latest.len()..end];
            let (mut product, mut energy) = (0.0f32, 1e-9f32);
            for (a, b) in latest.iter().zip(earlier) {
                product += a * b;
                energy += b * b;
            }
            product / energy.sqrt()
        };
        let periods = self.min_period..=self.max_period;
        let best = periods.max_by(|a, b| correlation(*a).total_cmp(&correlation(*b)));
        best.unwrap_or(self.max_period)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tone_continues_then_fades_and_returns_without_a_step() {
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
                let mut decoded = block(packet * 160);
                if packet == 5 || packet == 8 {
                    concealer.conceal(&mut decoded);
                } else {
                    concealer.push(&mut decoded);
                }
                out.extend(decoded.chunks_exact(channels).map(|frame| {
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
                assert!(error.fold(0.0, f32::max) < 0.05, "the tone continues");
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
