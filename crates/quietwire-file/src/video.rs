//! Videos as outputs: a copy of the input with cleaned sound. ffmpeg decodes, encodes and copies.

mod container;
mod probe;

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};

use crate::atomic_file::AtomicFile;
use crate::clean_job::CleanOptions;
use crate::error::FileError;
use crate::file_attributes::FileAttributes;
use crate::note::Note;
use crate::process::Process;
use crate::video::container::Container;
use crate::video::probe::{Probe, Stream};

pub use crate::video::container::has_video_extension;

/// A video that is cleaned into another one.
#[derive(Debug)]
pub(crate) struct Video {
    input: PathBuf,
    output: PathBuf,
    container: &'static Container,
    probe: Probe,
    /// position of the audio stream that is cleaned, in `probe`
    audio: usize,
}

/// The writer of a video. The file appears when it is finished.
#[derive(Debug)]
pub(crate) struct VideoWriter {
    // Ended before the file is removed.
    ffmpeg: Process,
    part: AtomicFile,
    file: File,
    output: PathBuf,
    /// The usual name of the container.
    pub container: &'static str,
    /// The name of the audio codec.
    pub codec: &'static str,
    /// Streams of the input that the output cannot hold.
    left_out: Vec<String>,
    /// Length of the input's audio from time 0 on, s, if its header states it.
    expected_s: Option<f64>,
}

impl Video {
    /// Reads the streams of the input. `track` is the audio track to clean, counted from 1. `None`: the
    /// default one.
    pub(crate) fn open(
        input: &Path,
        output: &Path,
        track: Option<usize>,
    ) -> Result<Self, FileError> {
        let failed = |reason: String| FileError::Video {
            path: output.into(),
            reason,
        };
        let container = Container::of(output)
            .ok_or_else(|| failed("expected a name in .mp4, .m4v, .mov, .mkv or .webm".into()))?;
        let probe = Probe::of(input)?;
        let audio = probe.audio(track).ok_or_else(|| match track {
            Some(found) if probe.audio(None).is_some() => FileError::Track {
                path: input.into(),
                found,
                tracks: probe.audio_streams().count(),
            },
            _ => FileError::Unsupported {
                path: input.into(),
                what: "a file without an audio track".into(),
            },
        })?;
        Ok(Self {
            input: input.into(),
            output: output.into(),
            container,
            probe,
            audio,
        })
    }

    fn audio(&self) -> &Stream {
        &self.probe.streams[self.audio]
    }

    /// The codec of the input's audio.
    pub(crate) fn codec(&self) -> String {
        self.audio().codec_name.clone().unwrap_or_default()
    }

    /// The name of the input's container.
    pub(crate) fn container(&self) -> String {
        self.probe.format.format_long_name.clone()
    }

    /// Length of the input, s, if its header states it.
    pub(crate) fn duration_s(&self) -> Option<f64> {
        self.probe.format.duration.as_deref()?.parse().ok()
    }

    /// Starts decoding the audio into float WAV. The first sample is at time 0 of the video. Gaps are
    /// filled with silence.
    pub(crate) fn decode(&self) -> Result<impl Read + Send + Sync + use<>, FileError> {
        let mut command = ffmpeg();
        command
            .arg("-i")
            .arg(file_url(&self.input))
            .args(["-map", &format!("0:{}", self.audio().index)])
            .args(["-af", "aresample=async=1:first_pts=0"])
            .args(["-c:a", "pcm_f32le", "-f", "wav", "pipe:1"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        Decoded::start(&mut command).map_err(|source| not_started("ffmpeg", source))
    }

    /// Starts writing the output. The pipe takes the cleaned audio as WAV.
    pub(crate) fn encode(
        &self,
        options: &CleanOptions,
        attributes: &FileAttributes,
    ) -> Result<(VideoWriter, ChildStdin), FileError> {
        let (part, file) = AtomicFile::create(&self.output, options.overwrite, attributes)?;
        let (mut kept, mut left_out) = (Vec::new(), Vec::new());
        for (at, stream) in self.probe.streams.iter().enumerate() {
            if self.probe.is_metadata(stream, self.container.is_quicktime) {
                continue;
            }
            match at == self.audio || self.fits(stream, part.part())? {
                true => kept.push((at, stream)),
                false if stream.is_picture() => {
                    let reason = format!("{} cannot hold its {stream}", self.container.name);
                    return Err(FileError::Video {
                        path: self.output.clone(),
                        reason,
                    });
                }
                false => left_out.push(stream.to_string()),
            }
        }
        let codec = self.container.codec(self.audio().codec_name.as_deref());
        let mut command = ffmpeg();
        command.arg("-i").arg(file_url(&self.input));
        command.args(["-f", "wav", "-i", "pipe:0"]);
        for (at, stream) in &kept {
            match *at == self.audio {
                true => command.args(["-map", "1:a:0"]),
                false => command.args(["-map", &format!("0:{}", stream.index)]),
            };
        }
        let metadata = if options.strip_metadata { "-1" } else { "0" };
        command.args(["-c", "copy", "-map_metadata", metadata]);
        command.args(["-map_chapters", metadata]);
        for (to, (at, stream)) in kept.iter().enumerate() {
            command.arg(format!("-map_metadata:s:{to}"));
            command.arg(match options.strip_metadata {
                true => "-1".into(),
                false => format!("0:s:{}", stream.index),
            });
            if *at == self.audio {
                command.args([&format!("-c:{to}"), codec.encoder]);
                if let Some(bits) = codec.bits_per_s(stream) {
                    command.args([format!("-b:{to}"), bits.to_string()]);
                }
                command.args([format!("-disposition:{to}"), stream.disposition()]);
            }
        }
        if self.container.is_quicktime && self.probe.has_vendor_tags() {
            command.args(["-movflags", "use_metadata_tags"]);
        }
        command
            .args(["-strict", "-2", "-f", self.container.muxer, "-y"])
            .arg(file_url(part.part()))
            .stdin(Stdio::piped())
            .stdout(Stdio::null());
        let ffmpeg = Process::start(&mut command).map_err(|error| not_started("ffmpeg", error))?;
        let pipe = ffmpeg.stdin().ok_or_else(|| FileError::Video {
            path: self.output.clone(),
            reason: "ffmpeg has no standard input".into(),
        })?;
        let writer = VideoWriter {
            ffmpeg,
            part,
            file,
            output: self.output.clone(),
            container: self.container.name,
            codec: codec.name,
            left_out,
            expected_s: self.probe.end_s(self.audio()),
        };
        Ok((writer, pipe))
    }

    /// Whether the output can hold a stream: whether ffmpeg writes a header with it.
    fn fits(&self, stream: &Stream, part: &Path) -> Result<bool, FileError> {
        let mut command = ffmpeg();
        command
            .arg("-i")
            .arg(file_url(&self.input))
            .args(["-map", &format!("0:{}", stream.index)])
            .args(["-c", "copy", "-t", "0", "-strict", "-2"])
            // Ends after the header. Otherwise ffmpeg reads on to the first packet of the stream.
            .args(["-fs", "1"])
            .args(["-f", self.container.muxer, "-y"])
            .arg(file_url(part))
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let trial = Process::start(&mut command);
        let mut trial = trial.map_err(|error| not_started("ffmpeg", error))?;
        Ok(trial.wait().is_ok())
    }
}

impl VideoWriter {
    /// Facts about the input, of which `found` frames were read.
    pub(crate) fn notes(&self, found: u64, rate_hz: u32) -> Vec<Note> {
        let mut notes = Vec::new();
        let expected = self.expected_s.map(|s| (s * f64::from(rate_hz)) as u64);
        // The length in a header may be rounded or include the padding of the codec.
        let tolerance = u64::from(rate_hz) / 2;
        if expected.is_some_and(|expected| found + tolerance < expected) {
            notes.push(Note::Truncated { expected, found });
        }
        if !self.left_out.is_empty() {
            let names = self.left_out.clone();
            notes.push(Note::StreamsLeft { names });
        }
        notes
    }

    /// Waits until ffmpeg has written everything, and gives the file its name. The pipe must be closed.
    pub(crate) fn finish(mut self) -> Result<(), FileError> {
        self.ffmpeg.wait().map_err(|reason| FileError::Video {
            path: self.output.clone(),
            reason: format!("ffmpeg failed: {reason}"),
        })?;
        self.part.commit(&self.file)
    }
}

/// The audio that ffmpeg decodes. A failure of ffmpeg is an error at the end.
#[derive(Debug)]
pub(crate) struct Decoded {
    ffmpeg: Process,
    pipe: std::process::ChildStdout,
}

impl Decoded {
    pub(crate) fn start(command: &mut Command) -> io::Result<Self> {
        let ffmpeg = Process::start(command)?;
        let pipe = ffmpeg.stdout().ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(Self { ffmpeg, pipe })
    }
}

impl Read for Decoded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.pipe.read(buffer)?;
        if bytes == 0 && !buffer.is_empty() {
            let ended = self.ffmpeg.wait();
            ended.map_err(|reason| io::Error::other(format!("ffmpeg failed: {reason}")))?;
        }
        Ok(bytes)
    }
}

pub(crate) fn ffmpeg() -> Command {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-nostdin"]);
    command
}

/// A path as ffmpeg takes it, whatever letters it begins with.
pub(crate) fn file_url(path: &Path) -> OsString {
    let mut url = OsString::from("file:");
    url.push(path);
    url
}

pub(crate) fn not_started(program: &'static str, source: io::Error) -> FileError {
    FileError::Program { program, source }
}
