//! Records both sides of a path: the delayed input on the left, the output on the right.

use std::io;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::Duration;

use hound::{SampleFormat, WavSpec, WavWriter};
use rtrb::{Consumer, Producer, RingBuffer};

use crate::error::LiveError;

/// Audio that waits for the disk, s.
const RING_S: u32 = 10;
/// Time between two updates of the header: a process that is killed loses no more.
const FLUSH_S: u64 = 5;
/// Frames of one file. A WAV file holds 4 GiB; this is below 2 GiB.
const MAX_FRAMES: u64 = 1 << 28;
/// Pause of the thread when nothing waits.
const PAUSE: Duration = Duration::from_millis(50);

/// A recording. It ends when the other side of its ring is dropped.
#[derive(Debug)]
pub(crate) struct Recording {
    thread: JoinHandle<Result<(), LiveError>>,
}

impl Recording {
    /// Starts a recording at `rate_hz`. A recording of another rate or more than 2 GiB continues in
    /// `NAME-2.wav`, `NAME-3.wav`, ...
    pub(crate) fn start(path: &Path, rate_hz: u32) -> Result<(Self, Producer<f32>), LiveError> {
        let (producer, consumer) = RingBuffer::new((2 * RING_S * rate_hz) as usize);
        let first = File::create(path.to_owned(), rate_hz)?;
        let path = path.to_owned();
        let thread = std::thread::Builder::new()
            .name("quietwire-record".into())
            .spawn(move || run(consumer, first, &path, rate_hz))
            .map_err(LiveError::Thread)?;
        Ok((Self { thread }, producer))
    }

    /// Whether it has ended, by a failure or because the ring was dropped.
    pub(crate) fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for its end.
    pub(crate) fn join(self) -> Result<(), LiveError> {
        self.thread.join().unwrap_or(Ok(()))
    }
}

/// The first of `NAME.wav`, `NAME-2.wav`, ... that `is_free`.
pub(crate) fn part_path(path: &Path, part: u32) -> PathBuf {
    if part <= 1 {
        return path.to_owned();
    }
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!("{stem}-{part}.wav"))
}

struct File {
    path: PathBuf,
    writer: WavWriter<io::BufWriter<std::fs::File>>,
    frames: u64,
    next_flush: u64,
    flush_frames: u64,
}

impl File {
    fn create(path: PathBuf, rate_hz: u32) -> Result<Self, LiveError> {
        let spec = WavSpec {
            channels: 2,
            sample_rate: rate_hz,
            bits_per_sample: 16,
            sample_format: SampleFormat::Int,
        };
        let flush_frames = FLUSH_S * u64::from(rate_hz);
        match WavWriter::create(&path, spec) {
            Ok(writer) => Ok(Self {
                path,
                writer,
                frames: 0,
                next_flush: flush_frames,
                flush_frames,
            }),
            Err(error) => Err(failed(path, error)),
        }
    }

    fn write(&mut self, samples: impl Iterator<Item = f32>) -> Result<(), LiveError> {
        let mut count = 0;
        for sample in samples {
            let sample = (sample * 32768.0).round().clamp(-32768.0, 32767.0) as i16;
            if let Err(error) = self.writer.write_sample(sample) {
                return Err(failed(self.path.clone(), error));
            }
            count += 1;
        }
        self.frames += count / 2;
        if self.frames >= self.next_flush {
            self.next_flush = self.frames + self.flush_frames;
            let flushed = self.writer.flush();
            flushed.map_err(|error| failed(self.path.clone(), error))?;
        }
        Ok(())
    }

    fn finish(self) -> Result<(), LiveError> {
        let path = self.path;
        self.writer.finalize().map_err(|error| failed(path, error))
    }
}

fn run(
    mut ring: Consumer<f32>,
    mut file: File,
    path: &Path,
    rate_hz: u32,
) -> Result<(), LiveError> {
    let mut part = 1;
    loop {
        let has_ended = ring.is_abandoned();
        let samples = ring.slots() / 2 * 2;
        if let Ok(chunk) = ring.read_chunk(samples) {
            file.write(chunk.into_iter())?;
        }
        if file.frames >= MAX_FRAMES {
            part += 1;
            let next = File::create(part_path(path, part), rate_hz)?;
            std::mem::replace(&mut file, next).finish()?;
        }
        if samples == 0 {
            if has_ended {
                return file.finish();
            }
            std::thread::sleep(PAUSE);
        }
    }
}

fn failed(path: PathBuf, error: hound::Error) -> LiveError {
    let source = match error {
        hound::Error::IoError(source) => source,
        other => io::Error::other(other.to_string()),
    };
    LiveError::Record { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_are_written_and_the_file_is_complete() {
        let folder = quietwire_testing::files::Folder::new("live-record");
        let path = folder.join("both.wav");
        let (recording, mut ring) = Recording::start(&path, 8000).unwrap();
        for n in 0..16_000 {
            let value = n as f32 / 16_000.0;
            ring.push(value).unwrap();
            ring.push(-value).unwrap();
        }
        drop(ring);
        recording.join().unwrap();
        let mut reader = hound::WavReader::open(&path).unwrap();
        assert_eq!(reader.duration(), 16_000);
        let samples: Vec<i16> = reader.samples().map(Result::unwrap).collect();
        assert_eq!(samples[20_000], -samples[20_001]);
        assert_eq!(samples[20_000], (10_000.0 / 16_000.0 * 32768.0) as i16);
        assert_eq!(part_path(&path, 2).file_name().unwrap(), "both-2.wav");
    }

    #[test]
    fn a_folder_that_does_not_exist_is_reported_at_once() {
        let path = Path::new("/nonexistent/both.wav");
        let error = Recording::start(path, 8000).map(|_| ()).unwrap_err();
        assert!(matches!(error, LiveError::Record { .. }), "{error}");
    }
}
