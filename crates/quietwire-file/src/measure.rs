//! Measures a file without cleaning it.

use crate::audio_info::AudioInfo;
use crate::error::FileError;
use crate::input::Input;
use crate::levels::{ClipMeter, LevelMeter};
use crate::reader::Reader;
use crate::report::FileSummary;

/// Frames of one block.
const BLOCK_FRAMES: usize = 4096;

/// Reads a file to its end and measures its format, length and levels. Without a model there is no
/// speech level and no SNR.
///
/// # Errors
/// As [`Reader::open`] and [`Reader::read`]; [`FileError::Empty`] for a file without samples.
pub fn measure(input: Input) -> Result<FileSummary, FileError> {
    let path = input.name().to_path_buf();
    let mut reader = Reader::open(input)?;
    let info = reader.info().clone();
    let mut levels = LevelMeter::new(info.rate_hz, info.channels);
    let mut clips = ClipMeter::new(info.sample_format.full_scale(), info.channels);
    let (mut block, mut frames) = (Vec::new(), 0);
    loop {
        let found = reader.read(BLOCK_FRAMES, &mut block)?;
        if found == 0 {
            break;
        }
        frames += found as u64;
        levels.push(&block, false);
        clips.push(&block);
    }
    if frames == 0 {
        return Err(FileError::Empty {
            path,
            found: "a header without samples",
        });
    }
    Ok(FileSummary {
        path,
        seconds: frames as f64 / f64::from(info.rate_hz),
        info: AudioInfo {
            frames: Some(frames),
            frames_exact: true,
            ..info
        },
        levels: levels.finish(),
        notes: reader.notes().to_vec(),
        clipped_samples: clips.samples(),
        non_finite_samples: reader.non_finite_samples(),
    })
}
