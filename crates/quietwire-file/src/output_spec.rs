//! The format and the metadata of an output.

use std::path::Path;

use crate::audio_info::AudioInfo;
use crate::clean_job::CleanOptions;
use crate::file_attributes::FileAttributes;
use crate::metadata::{FlacMetadata, Metadata, WavMetadata};
use crate::output::OutputFormat;
use crate::sample_format::SampleFormat;
use crate::wav::format::WavSpec;
use crate::writer::{Container, WriterSpec};

/// The format of an output with the samples of `info` and a name.
pub(crate) fn writer_spec(
    info: &AudioInfo,
    path: &Path,
    options: &CleanOptions,
    attributes: &FileAttributes,
) -> WriterSpec {
    let is_named_flac = path
        .extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("flac"));
    let container = match options.format {
        OutputFormat::Flac => Container::Flac,
        OutputFormat::Auto if is_named_flac => Container::Flac,
        _ => Container::Wav,
    };
    let format = match (container, info.sample_format) {
        (Container::Flac, SampleFormat::S32 | SampleFormat::F32 | SampleFormat::F64) => {
            SampleFormat::S24
        }
        (_, format) => format,
    };
    WriterSpec {
        container,
        wav: WavSpec {
            format,
            rate_hz: info.rate_hz,
            channels: info.channels,
            channel_mask: info.channel_mask,
        },
        frames: info.frames.filter(|_| info.frames_exact),
        overwrite: options.overwrite,
        attributes: attributes.clone(),
        is_certain: false,
        wav_metadata: WavMetadata::default(),
        flac_metadata: FlacMetadata::default(),
    }
}

/// Adds the metadata of the input to an output. Returns the names of what the output cannot hold.
pub(crate) fn add_metadata(
    spec: &mut WriterSpec,
    metadata: &Metadata,
    options: &CleanOptions,
) -> Vec<String> {
    if options.strip_metadata {
        spec.flac_metadata.add_mask(&spec.wav);
        return Vec::new();
    }
    match spec.container {
        Container::Wav => {
            let mut wav = metadata.for_wav(spec.wav.rate_hz);
            let left = std::mem::take(&mut wav.left);
            spec.wav_metadata = wav;
            left
        }
        Container::Flac => {
            let mut flac = metadata.for_flac();
            let left = std::mem::take(&mut flac.left);
            flac.add_mask(&spec.wav);
            spec.flac_metadata = flac;
            left
        }
        // Samples without a header come from samples without a header.
        Container::Raw => Vec::new(),
    }
}
