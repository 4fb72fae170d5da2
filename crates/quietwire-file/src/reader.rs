//! Reads audio inputs block by block: WAV, FLAC and samples without a header here, all other formats with
//! [`DecodedTrack`].

mod open;

use std::path::PathBuf;

use crate::audio_info::AudioInfo;
use crate::catch_panic::catch_panic;
use crate::decode::DecodedTrack;
use crate::error::FileError;
use crate::flac::FlacReader;
use crate::input::Input;
use crate::metadata::Metadata;
use crate::note::Note;
use crate::read_options::ReadOptions;
use crate::track::AudioTrack;
use crate::wav::read::WavReader;

/// An open audio input, read block by block.
pub struct Reader {
    path: PathBuf,
    info: AudioInfo,
    source: Source,
    samples: Vec<f32>,
    /// samples at the front of `samples` that were returned already
    used: usize,
    frames: u64,
    non_finite_samples: u64,
}

enum Source {
    Wav(Box<WavReader>),
    Flac(Box<FlacReader>),
    Decoded(Box<DecodedTrack>),
}

impl Reader {
    /// Opens an input and reads its header. Of a container with several audio tracks, the default one.
    ///
    /// # Errors
    /// [`FileError::Open`] or [`FileError::Read`] when the input cannot be read,
    /// [`FileError::Empty`], [`FileError::NotAudio`], [`FileError::Wav`], [`FileError::Unsupported`]
    /// or [`FileError::Corrupt`] for its contents.
    pub fn open(input: Input) -> Result<Self, FileError> {
        Self::open_with(input, &ReadOptions::default())
    }

    /// Opens an input with options and reads its header.
    ///
    /// # Errors
    /// As [`open`](Self::open), and [`FileError::Track`] for a track that the file does not have.
    pub fn open_with(input: Input, options: &ReadOptions) -> Result<Self, FileError> {
        let path = input.name().to_path_buf();
        let reader = Self::open_any(input, &path, options)?;
        match options.track.filter(|&track| track != 1) {
            Some(found) if reader.tracks().is_empty() && !reader.is_decoded_by_ffmpeg() => {
                let tracks = 1;
                Err(FileError::Track {
                    path,
                    found,
                    tracks,
                })
            }
            _ => Ok(reader),
        }
    }

    /// The format and length of the input.
    pub fn info(&self) -> &AudioInfo {
        &self.info
    }

    fn is_decoded_by_ffmpeg(&self) -> bool {
        let mut notes = self.notes().iter();
        notes.any(|note| matches!(note, Note::DecodedBy { .. }))
    }

    fn may_be_he_aac(&self) -> bool {
        let mut notes = self.notes().iter();
        notes.any(|note| matches!(note, Note::MaybeHeAac { .. }))
    }

    /// Facts about the input. Complete when [`read`](Self::read) has returned 0.
    pub fn notes(&self) -> &[Note] {
        match &self.source {
            Source::Wav(wav) => wav.notes(),
            Source::Flac(flac) => flac.notes(),
            Source::Decoded(decoded) => decoded.notes(),
        }
    }

    /// Whether the audio has exactly the frames of [`info`](Self::info). A pipe or a FLAC file may end
    /// early.
    pub(crate) fn is_certain(&self) -> bool {
        match &self.source {
            Source::Wav(wav) => wav.is_certain(),
            Source::Flac(_) => false,
            Source::Decoded(decoded) => decoded.is_certain(),
        }
    }

    /// The metadata. That of a piped WAV is complete when [`read`](Self::read) has returned 0.
    pub(crate) fn metadata(&self) -> Metadata {
        match &self.source {
            Source::Wav(wav) => Metadata {
                chunks: wav.chunks().clone(),
                chunks_after: wav.chunks_after().clone(),
                ..Metadata::default()
            },
            Source::Flac(flac) => Metadata {
                blocks: flac.blocks().to_vec(),
                ..Metadata::default()
            },
            Source::Decoded(decoded) => decoded.metadata().clone(),
        }
    }

    /// The audio tracks of a container. Empty for a format that has no tracks.
    pub fn tracks(&self) -> &[AudioTrack] {
        match &self.source {
            Source::Wav(_) | Source::Flac(_) => &[],
            Source::Decoded(decoded) => decoded.tracks(),
        }
    }

    /// Samples read so far that were NaN or infinite. [`read`](Self::read) returns 0 for them.
    pub fn non_finite_samples(&self) -> u64 {
        self.non_finite_samples
    }

    /// Replaces `block` by the next `frames` frames, interleaved, and returns their number, which is
    /// smaller than `frames` only at the end. Samples that are NaN or infinite become 0.
    ///
    /// # Errors
    /// [`FileError::Read`] when the input cannot be read, [`FileError::Corrupt`],
    /// or [`FileError::Unsupported`] for its contents. A file that ends early is no error: see
    /// [`notes`](Self::notes).
    pub fn read(&mut self, frames: usize, block: &mut Vec<f32>) -> Result<usize, FileError> {
        let channels = usize::from(self.info.channels);
        let wanted = frames * channels;
        self.samples.drain(..self.used);
        self.used = 0;
        while self.samples.len() < wanted {
            let more = match &mut self.source {
                Source::Wav(wav) => wav.read(&mut self.samples)?,
                Source::Flac(flac) => {
                    let at_s = self.frames as f64 / f64::from(self.info.rate_hz);
                    catch_panic(&self.path, at_s, || flac.read(&mut self.samples))?
                }
                Source::Decoded(decoded) => {
                    let at_s = self.frames as f64 / f64::from(self.info.rate_hz);
                    catch_panic(&self.path, at_s, || decoded.read(&mut self.samples))?
                }
            };
            if !more {
                break;
            }
        }
        self.used = wanted.min(self.samples.len());
        block.clear();
        block.extend_from_slice(&self.samples[..self.used]);
        for sample in block.iter_mut().filter(|sample| !sample.is_finite()) {
            *sample = 0.0;
            self.non_finite_samples += 1;
        }
        let found = block.len() / channels;
        self.frames += found as u64;
        Ok(found)
    }
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader")
            .field("path", &self.path)
            .field("info", &self.info)
            .finish()
    }
}
