//! Samples in the buffers of GStreamer, in all formats and layouts of the element, as planes of f32 and back.

use gst_audio::{AudioFormat, AudioInfo, AudioLayout, AudioMeta};

/// 16-bit samples per unit of f32, as in the core.
const S16_SCALE: f32 = 32768.0;

/// A buffer that does not fit the caps of its stream.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BufferError {
    #[error("expected whole frames of {frame_bytes} bytes, found {bytes} bytes")]
    Size { frame_bytes: usize, bytes: usize },
    #[error(
        "expected a GstAudioMeta, because the caps have the layout non-interleaved, found none"
    )]
    NoAudioMeta,
    #[error(
        "expected a GstAudioMeta with {channels} planes of {bytes} bytes inside of the buffer of {available} bytes, \
         found planes of {frames} frames at the offsets {offsets:?}"
    )]
    Planes {
        channels: usize,
        bytes: usize,
        available: usize,
        frames: usize,
        offsets: Vec<usize>,
    },
    #[error("the memory of the buffer cannot be {0}")]
    Memory(&'static str),
}

/// Where the samples of the channels are in a buffer, bytes.
struct Layout {
    frames: usize,
    /// [channels] the first sample of each channel
    offsets: Vec<usize>,
    /// from one sample of a channel to the next
    stride: usize,
}

impl Layout {
    fn interleaved(info: &AudioInfo, frames: usize) -> Self {
        Self {
            frames,
            offsets: (0..info.channels() as usize)
                .map(|channel| channel * sample_bytes(info))
                .collect(),
            stride: info.bpf() as usize,
        }
    }

    fn of(buffer: &gst::BufferRef, info: &AudioInfo) -> Result<Self, BufferError> {
        let (bytes, frame_bytes) = (buffer.size(), info.bpf() as usize);
        let channels = info.channels() as usize;
        // With one channel, both layouts are the same.
        if is_planar(info) && channels > 1 && bytes > 0 {
            let meta = buffer.meta::<AudioMeta>().ok_or(BufferError::NoAudioMeta)?;
            let (frames, offsets) = (meta.samples(), meta.offsets());
            let plane = frames.saturating_mul(sample_bytes(info));
            let fits = |offset: &usize| offset.checked_add(plane).is_some_and(|end| end <= bytes);
            if offsets.len() != channels || !offsets.iter().all(fits) {
                return Err(BufferError::Planes {
                    channels,
                    bytes: plane,
                    available: bytes,
                    frames,
                    offsets: offsets.to_vec(),
                });
            }
            return Ok(Self {
                frames,
                offsets: offsets.to_vec(),
                stride: sample_bytes(info),
            });
        }
        if !bytes.is_multiple_of(frame_bytes) {
            return Err(BufferError::Size { frame_bytes, bytes });
        }
        Ok(Self::interleaved(info, bytes / frame_bytes))
    }
}

fn is_planar(info: &AudioInfo) -> bool {
    info.layout() == AudioLayout::NonInterleaved
}

fn is_s16(info: &AudioInfo) -> bool {
    info.format() == AudioFormat::S16le || info.format() == AudioFormat::S16be
}

fn sample_bytes(info: &AudioInfo) -> usize {
    if is_s16(info) {
        size_of::<i16>()
    } else {
        size_of::<f32>()
    }
}

/// Frames of a buffer.
///
/// # Errors
/// A buffer whose length or planes do not fit the caps.
pub(crate) fn frames(buffer: &gst::BufferRef, info: &AudioInfo) -> Result<usize, BufferError> {
    Ok(Layout::of(buffer, info)?.frames)
}

/// Copies the samples of a buffer to `planes`, `[channels][frames]`, and sets their length. Returns the
/// number of frames.
///
/// # Errors
/// As [`frames`], and memory that cannot be read.
pub(crate) fn read(
    buffer: &gst::BufferRef,
    info: &AudioInfo,
    planes: &mut [Vec<f32>],
) -> Result<usize, BufferError> {
    let layout = Layout::of(buffer, info)?;
    let map = buffer
        .map_readable()
        .map_err(|_| BufferError::Memory("read"))?;
    for (plane, &offset) in planes.iter_mut().zip(&layout.offsets) {
        plane.clear();
        // An empty buffer has no first sample.
        let bytes = map.get(offset..).unwrap_or(&[]);
        if is_s16(info) {
            let samples = bytes.chunks(layout.stride).take(layout.frames);
            let samples = samples.filter_map(|chunk| chunk.first_chunk());
            plane.extend(samples.map(|s| f32::from(i16::from_ne_bytes(*s)) / S16_SCALE));
        } else {
            let samples = bytes.chunks(layout.stride).take(layout.frames);
            let samples = samples.filter_map(|chunk| chunk.first_chunk());
            plane.extend(samples.map(|s| f32::from_ne_bytes(*s)));
        }
    }
    Ok(layout.frames)
}

/// A buffer with the samples of `planes`, `[channels][frames]`, all of one length.
///
/// # Errors
/// No memory.
pub(crate) fn write(planes: &[&[f32]], info: &AudioInfo) -> Result<gst::Buffer, BufferError> {
    let no_memory = |_| BufferError::Memory("allocated");
    let frames = planes.first().map_or(0, |plane| plane.len());
    let mut bytes = vec![0; frames * info.bpf() as usize];
    let stride = if is_planar(info) {
        sample_bytes(info)
    } else {
        info.bpf() as usize
    };
    for (channel, plane) in planes.iter().enumerate() {
        let first = channel * sample_bytes(info) * if is_planar(info) { frames } else { 1 };
        let places = bytes
            .get_mut(first..)
            .unwrap_or_default()
            .chunks_mut(stride);
        for (place, sample) in places.zip(*plane) {
            if is_s16(info) {
                // The cast saturates at both ends.
                let sample = (sample * S16_SCALE).round() as i16;
                place[..size_of::<i16>()].copy_from_slice(&sample.to_ne_bytes());
            } else {
                place[..size_of::<f32>()].copy_from_slice(&sample.to_ne_bytes());
            }
        }
    }
    let mut buffer = gst::Buffer::from_mut_slice(bytes);
    if is_planar(info) {
        let buffer = buffer.make_mut();
        AudioMeta::add(buffer, info, frames, &[]).map_err(no_memory)?;
    }
    Ok(buffer)
}
