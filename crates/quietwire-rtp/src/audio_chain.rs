//! The audio of a stream: decoded samples on their way to the denoiser, and clean samples on their way
//! to the encoder. Both are addressed by position; see [`crate::timeline`].

use crate::codec::{Decoder, Encoder, MAX_PACKET_S};

/// Length of the cross-fade where filled audio is left out, seconds.
const SPLICE_S: f32 = 0.0025;

/// Decoder, samples before and after the denoiser, encoder.
pub(crate) struct AudioChain {
    decoder: Decoder,
    encoder: Encoder,
    channels: usize,
    /// the denoiser takes whole multiples of it, frames; 1: blocks of any length
    hop: usize,
    splice_frames: usize,
    /// decoded samples that wait for the denoiser
    noisy: Vec<f32>,
    /// denoised samples, and the position of the first
    clean: Vec<f32>,
    clean_start: i64,
    /// position after the samples that were taken for the encoder. `None`: no sample was taken
    taken_end: Option<i64>,
    /// the latest samples are silence
    is_silent: bool,
    /// samples of one packet for the encoder
    block: Vec<f32>,
}

impl AudioChain {
    pub(crate) fn new(
        decoder: Decoder,
        encoder: Encoder,
        channels: usize,
        hop: usize,
        rate_hz: u32,
    ) -> Self {
        let max_packet = (rate_hz as f32 * MAX_PACKET_S) as usize;
        let capacity = 3 * (max_packet + hop) * channels;
        Self {
            decoder,
            encoder,
            channels,
            hop,
            splice_frames: (rate_hz as f32 * SPLICE_S) as usize,
            noisy: Vec::with_capacity(capacity),
            clean: Vec::with_capacity(capacity),
            clean_start: 0,
            taken_end: None,
            is_silent: false,
            block: Vec::with_capacity(max_packet * channels),
        }
    }

    pub(crate) fn decoder(&self) -> &Decoder {
        &self.decoder
    }

    /// Starts empty. `partial_hop`: frames of a hop that lie before the first sample. `clean_start`:
    /// position of the first clean sample.
    pub(crate) fn start(&mut self, partial_hop: usize, clean_start: i64) {
        self.decoder.reset();
        self.encoder.reset();
        self.noisy.clear();
        self.noisy.resize(partial_hop * self.channels, 0.0);
        self.clean.clear();
        self.clean_start = clean_start;
        self.taken_end = None;
    }

    /// Nothing is decoded until the next [`start`](Self::start).
    pub(crate) fn stop(&mut self) {
        self.noisy.clear();
        self.clean.clear();
    }

    /// Another source follows.
    pub(crate) fn reset_decoder(&mut self) {
        self.decoder.reset();
    }

    fn append(&mut self, frames: usize) -> (&mut Decoder, &mut [f32]) {
        let start = self.noisy.len();
        self.noisy.resize(start + frames * self.channels, 0.0);
        (&mut self.decoder, &mut self.noisy[start..])
    }

    /// Appends a decoded packet of `frames`. False: it could not be decoded, or `is_audio` rejects its
    /// samples, and it is concealed.
    pub(crate) fn decode(
        &mut self,
        payload: &[u8],
        frames: usize,
        is_audio: impl FnOnce(&[f32]) -> bool,
    ) -> bool {
        self.is_silent = false;
        self.encoder.match_mode(payload);
        let (decoder, block) = self.append(frames);
        let is_decoded = decoder.decode(payload, block).is_ok() && is_audio(block);
        if !is_decoded {
            decoder.conceal(block);
        }
        is_decoded
    }

    /// Appends the audio of the lost packet before `next`, if `next` holds it. False: it does not.
    pub(crate) fn recover(&mut self, next: &[u8], frames: usize) -> bool {
        let start = self.noisy.len();
        let (decoder, block) = self.append(frames);
        let is_recovered = decoder.recover(next, block);
        if !is_recovered {
            self.noisy.truncate(start);
        }
        is_recovered
    }

    /// Appends an extrapolation of the audio so far.
    pub(crate) fn conceal(&mut self, frames: usize) {
        let (decoder, block) = self.append(frames);
        decoder.conceal(block);
    }

    /// Appends `frames` of silence. After audio it fades out first.
    pub(crate) fn silence(&mut self, frames: usize) {
        let channels = self.channels;
        if std::mem::replace(&mut self.is_silent, true) {
            self.append(frames);
            return;
        }
        let (decoder, block) = self.append(frames);
        decoder.conceal(block);
        for (n, frame) in block.chunks_exact_mut(channels).enumerate() {
            let gain = 1.0 - (n + 1) as f32 / frames as f32;
            frame.iter_mut().for_each(|sample| *sample *= gain);
        }
        decoder.reset();
    }

    /// Appends the latest samples in reverse order: `frames`, less than a hop, that are not sent.
    pub(crate) fn mirror(&mut self, frames: usize) {
        let channels = self.channels;
        for n in 0..frames {
            let at = self.noisy.len().checked_sub((2 * n + 1) * channels);
            for channel in 0..channels {
                let sample = at.map_or(0.0, |at| self.noisy[at + channel]);
                self.noisy.push(sample);
            }
        }
    }

    /// Frames of the block that waits for the denoiser.
    pub(crate) fn pending_frames(&self) -> usize {
        let frames = self.noisy.len() / self.channels;
        frames - frames % self.hop
    }

    /// The block that waits for the denoiser, interleaved.
    pub(crate) fn pending(&mut self) -> &mut [f32] {
        let samples = self.pending_frames() * self.channels;
        &mut self.noisy[..samples]
    }

    /// The block that waits for the denoiser, interleaved.
    pub(crate) fn pending_block(&self) -> &[f32] {
        &self.noisy[..self.pending_frames() * self.channels]
    }

    /// The block was denoised: its samples are clean.
    pub(crate) fn complete_pending(&mut self) {
        let samples = self.pending_frames() * self.channels;
        self.clean.extend(self.noisy.drain(..samples));
    }

    /// Position after the clean samples.
    pub(crate) fn clean_end(&self) -> i64 {
        self.clean_start + (self.clean.len() / self.channels) as i64
    }

    /// Takes the clean samples of `frames` from position `start` on, interleaved, for the encoder.
    /// Samples before them that were not taken are left out with a cross-fade.
    pub(crate) fn take(&mut self, start: i64, frames: usize) -> (&[f32], &mut Encoder) {
        let channels = self.channels;
        let index = |position: i64| ((position - self.clean_start).max(0) as usize) * channels;
        let (first, end) = (index(start), index(start + frames as i64));
        self.block.clear();
        self.block.extend_from_slice(&self.clean[first..end]);
        if let Some(taken_end) = self.taken_end.filter(|taken_end| *taken_end < start) {
            let left_out = &self.clean[index(taken_end)..first];
            let fade_frames = self
                .splice_frames
                .min(left_out.len() / channels)
                .min(frames);
            let pairs = self.block.iter_mut().zip(left_out);
            for (n, (sample, before)) in pairs.take(fade_frames * channels).enumerate() {
                let weight = (n / channels + 1) as f32 / (fade_frames + 1) as f32;
                *sample = before + weight * (*sample - before);
            }
        }
        self.taken_end = Some(start + frames as i64);
        self.clean.drain(..end);
        self.clean_start += (end / channels) as i64;
        (&self.block, &mut self.encoder)
    }
}
