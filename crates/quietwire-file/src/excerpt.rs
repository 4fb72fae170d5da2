//! The start of a signal as FLAC, for the players of a report.

use std::io::Cursor;

use flac_codec::encode::{FlacSampleWriter, Options};

use crate::sample_format::SampleFormat;

/// Length of the audio in a report, s.
pub(crate) const EXCERPT_S: usize = 60;

/// At most the first [`EXCERPT_S`] seconds of a signal as 16-bit samples.
pub(crate) struct Excerpt {
    rate_hz: u32,
    channels: u16,
    samples: Vec<i16>,
    max_samples: usize,
}

impl Excerpt {
    pub(crate) fn new(rate_hz: u32, channels: u16) -> Self {
        let max_samples = rate_hz as usize * EXCERPT_S * usize::from(channels);
        Self {
            rate_hz,
            channels,
            samples: Vec::new(),
            max_samples,
        }
    }

    pub(crate) fn push(&mut self, samples: &[f32]) {
        let kept = samples.len().min(self.max_samples - self.samples.len());
        let mut samples = samples[..kept].to_vec();
        SampleFormat::S16.quantize(&mut samples);
        self.samples
            .extend(samples.iter().map(|&s| SampleFormat::S16.integer(s) as i16));
    }

    /// The excerpt as FLAC, which all current browsers play. Only the first two channels, because
    /// browsers order further channels differently.
    pub(crate) fn flac(&self) -> Result<Vec<u8>, flac_codec::Error> {
        let kept = self.channels.min(2);
        let integers: Vec<i32> = self
            .samples
            .chunks_exact(self.channels.into())
            .flat_map(|frame| &frame[..kept.into()])
            .map(|&sample| sample.into())
            .collect();
        let mut bytes = Cursor::new(Vec::new());
        let options = Options::default().no_padding();
        let total = Some(integers.len() as u64);
        let mut writer =
            FlacSampleWriter::new(&mut bytes, options, self.rate_hz, 16, kept as u8, total)?;
        writer.write(&integers)?;
        writer.finalize()?;
        Ok(bytes.into_inner())
    }
}
