//! Decodes all formats except WAV: containers and codecs of symphonia, and Opus with ropus.

use std::path::{Path, PathBuf};

use symphonia::core::audio::GenericAudioBufferRef;
use symphonia::core::codecs::audio::well_known::{CODEC_ID_ALAC, CODEC_ID_FLAC, CODEC_ID_OPUS};
use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error as SymphoniaError;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, FormatReader, TrackType};
use symphonia::core::io::{MediaSource, MediaSourceStream};
use symphonia::core::meta::MetadataOptions;
use symphonia::core::packet::Packet;

use crate::audio_info::AudioInfo;
use crate::describe::{container_name, depth, not_audio};
use crate::error::FileError;
use crate::mp4;
use crate::opus::OpusStream;
use crate::sample_format::SampleFormat;

/// One audio track, decoded packet by packet, without encoder delay and padding.
pub(crate) struct DecodedTrack {
    path: PathBuf,
    format: Box<dyn FormatReader>,
    track: u32,
    codec: Codec,
    /// rate and channels of the first packet; all others must have the same
    spec: (u32, usize),
    /// frames to drop at the start: encoder delay that symphonia does not remove
    skip: u64,
    /// frames still to return, if the container marks the end
    left: Option<u64>,
    /// frames in the header of a lossless file
    declared: Option<u64>,
    frames: u64,
}

enum Codec {
    Symphonia(Box<dyn AudioDecoder>),
    Opus(Box<OpusStream>),
}

impl DecodedTrack {
    /// Finds the first audio track and appends its first packet to `samples`: some codecs have their
    /// rate and channels only in the packets.
    pub(crate) fn open(
        mut source: Box<dyn MediaSource>,
        path: &Path,
        head: &[u8],
        samples: &mut Vec<f32>,
    ) -> Result<(Self, AudioInfo), FileError> {
        let edit = mp4::edit(&mut *source, head);
        let mut hint = Hint::new();
        if let Some(extension) = path.extension().and_then(|extension| extension.to_str()) {
            hint.with_extension(extension);
        }
        let stream = MediaSourceStream::new(source, Default::default());
        let (fmt, meta) = (FormatOptions::default(), MetadataOptions::default());
        let format = symphonia::default::get_probe()
            .probe(&hint, stream, fmt, meta)
            .map_err(|error| not_audio(error, path, head))?;
        let unsupported = |what: &str| FileError::Unsupported {
            path: path.into(),
            what: what.into(),
        };
        let track = format
            .default_track(TrackType::Audio)
            .cloned()
            .ok_or_else(|| unsupported("a file without an audio track"))?;
        let params = track
            .codec_params
            .as_ref()
            .and_then(|params| params.audio())
            .ok_or_else(|| unsupported("the codec of the audio track"))?;

        let container = format.format_info().short_name;
        let (codec, codec_name, delay) = make_codec(params, path)?;
        let lossless =
            [CODEC_ID_FLAC, CODEC_ID_ALAC].contains(&params.codec) || codec_name.starts_with("pcm");
        let own_length = matches!(container, "flac" | "aiff" | "caf" | "wave");
        // Other lengths may be rounded, estimated or outdated.
        let exact = lossless && own_length;
        let left = edit.and_then(|edit| edit.length(track.num_frames));
        let length = left.or(track.num_frames.map(|frames| frames.saturating_sub(delay)));
        let mut decoded = Self {
            path: path.into(),
            track: track.id,
            codec,
            spec: (0, 0),
            skip: edit.map_or(delay, |edit| edit.start),
            left,
            declared: track.num_frames.filter(|_| exact),
            frames: 0,
            format,
        };
        if !decoded.read(samples)? {
            return Err(FileError::Empty {
                path: path.into(),
                found: "a header without samples",
            });
        }
        let (rate_hz, channels) = decoded.spec;
        let info = AudioInfo {
            container: container_name(container).into(),
            codec: codec_name.into(),
            rate_hz,
            channels: channels as u16,
            sample_format: if lossless {
                depth(params)
            } else {
                SampleFormat::S16
            },
            frames: length,
            frames_exact: exact && length.is_some(),
            channel_mask: None,
        };
        Ok((decoded, info))
    }

    /// Appends the samples of the next packet that has samples. Returns false at the end.
    pub(crate) fn read(&mut self, samples: &mut Vec<f32>) -> Result<bool, FileError> {
        let before = samples.len();
        while samples.len() == before {
            if self.left == Some(0) {
                return Ok(false);
            }
            match self.format.next_packet() {
                Ok(Some(packet)) if packet.track_id == self.track => {
                    self.decode(&packet, samples)?;
                }
                Ok(Some(_)) => {}
                Ok(None) => return self.end().map(|()| false),
                Err(SymphoniaError::IoError(error))
                    if error.kind() == std::io::ErrorKind::UnexpectedEof =>
                {
                    return self.end().map(|()| false);
                }
                Err(error) => return Err(self.symphonia_error(error)),
            }
        }
        Ok(true)
    }

    fn decode(&mut self, packet: &Packet, samples: &mut Vec<f32>) -> Result<(), FileError> {
        let start = samples.len();
        let spec = match &mut self.codec {
            Codec::Symphonia(decoder) => match decoder.decode(packet) {
                Ok(buffer) => append(&buffer, samples),
                Err(error) => return Err(self.symphonia_error(error)),
            },
            Codec::Opus(opus) => match opus.decode(packet, samples) {
                Ok(spec) => spec,
                Err(reason) => return Err(self.corrupt(reason)),
            },
        };
        let frames = (samples.len() - start) / spec.1.max(1);
        if frames == 0 {
            return Ok(());
        }
        if self.spec == (0, 0) {
            self.spec = spec;
        } else if self.spec != spec {
            let what = "a change of sample rate or channels within the file".into();
            return Err(FileError::Unsupported {
                path: self.path.clone(),
                what,
            });
        }
        // Keeps the frames between the delay and the padding.
        let skipped = self.skip.min(frames as u64);
        self.skip -= skipped;
        let mut kept = frames as u64 - skipped;
        if let Some(left) = &mut self.left {
            kept = kept.min(*left);
            *left -= kept;
        }
        samples.drain(start..start + skipped as usize * spec.1);
        samples.truncate(start + kept as usize * spec.1);
        self.frames += kept;
        Ok(())
    }

    /// Checks at the end of the file that no frame is missing and that the checksum is right.
    fn end(&mut self) -> Result<(), FileError> {
        if let Some(expected) = self.declared.filter(|&declared| declared > self.frames) {
            let found = self.frames;
            return Err(FileError::Truncated {
                path: self.path.clone(),
                expected,
                found,
            });
        }
        let verified = match &mut self.codec {
            Codec::Symphonia(decoder) => decoder.finalize().verify_ok,
            Codec::Opus(_) => None,
        };
        match verified {
            Some(false) => {
                Err(self.corrupt("the checksum of the samples does not match the header's"))
            }
            _ => Ok(()),
        }
    }

    fn symphonia_error(&self, error: SymphoniaError) -> FileError {
        match error {
            SymphoniaError::IoError(source) => FileError::Read {
                path: self.path.clone(),
                source,
            },
            SymphoniaError::Unsupported(what) => FileError::Unsupported {
                path: self.path.clone(),
                what: what.into(),
            },
            SymphoniaError::ResetRequired => FileError::Unsupported {
                path: self.path.clone(),
                what: "a file with several recordings one after another".into(),
            },
            SymphoniaError::DecodeError(reason) | SymphoniaError::LimitError(reason) => {
                self.corrupt(reason)
            }
            other => self.corrupt(&other.to_string()),
        }
    }

    fn corrupt(&self, reason: &str) -> FileError {
        FileError::Corrupt {
            path: self.path.clone(),
            at_s: self.frames as f64 / f64::from(self.spec.0.max(1)),
            reason: reason.into(),
        }
    }
}

/// The decoder, its name and the encoder delay that it does not remove, frames.
fn make_codec(
    params: &AudioCodecParameters,
    path: &Path,
) -> Result<(Codec, &'static str, u64), FileError> {
    let failed = |what: String| FileError::Unsupported {
        path: path.into(),
        what,
    };
    if params.codec == CODEC_ID_OPUS {
        let opus = OpusStream::new(params).map_err(failed)?;
        let pre_skip = opus.pre_skip();
        return Ok((Codec::Opus(Box::new(opus)), "opus", pre_skip));
    }
    // Only FLAC has a checksum of its samples.
    let options = AudioDecoderOptions::default().verify(params.codec == CODEC_ID_FLAC);
    let decoder = symphonia::default::get_codecs()
        .make_audio_decoder(params, &options)
        .map_err(|error| failed(format!("the codec of the audio track ({error})")))?;
    let name = decoder.codec_info().short_name;
    Ok((Codec::Symphonia(decoder), name, 0))
}

/// Appends decoded samples. Returns their rate and channels.
fn append(buffer: &GenericAudioBufferRef<'_>, samples: &mut Vec<f32>) -> (u32, usize) {
    let start = samples.len();
    samples.resize(start + buffer.samples_interleaved(), 0.0);
    buffer.copy_to_slice_interleaved(&mut samples[start..]);
    (buffer.spec().rate(), buffer.spec().channels().count())
}
