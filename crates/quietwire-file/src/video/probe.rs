//! The streams of a video, as ffprobe reports them.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::process::{Command, Stdio};

use serde::Deserialize;

use crate::error::FileError;
use crate::video::file_url;

/// The contents of a file.
#[derive(Debug, Deserialize)]
pub(super) struct Probe {
    #[serde(default)]
    pub streams: Vec<Stream>,
    #[serde(default)]
    chapters: Vec<serde::de::IgnoredAny>,
    pub format: Format,
}

#[derive(Debug, Deserialize)]
pub(super) struct Format {
    #[serde(default)]
    pub format_long_name: String,
    /// s
    start_time: Option<String>,
    /// s
    pub duration: Option<String>,
    #[serde(default)]
    tags: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Stream {
    pub index: usize,
    #[serde(default)]
    codec_type: String,
    pub codec_name: Option<String>,
    #[serde(default)]
    codec_tag_string: String,
    pub channels: Option<u64>,
    /// s
    start_time: Option<String>,
    /// s
    duration: Option<String>,
    /// bit/s
    pub bit_rate: Option<String>,
    #[serde(default)]
    disposition: BTreeMap<String, u8>,
    #[serde(default)]
    tags: BTreeMap<String, String>,
}

impl Probe {
    /// Runs ffprobe.
    pub(super) fn of(path: &Path) -> Result<Self, FileError> {
        let output = Command::new("ffprobe")
            .args(["-v", "error", "-of", "json"])
            .args(["-show_streams", "-show_format", "-show_chapters"])
            .arg("-i")
            .arg(file_url(path))
            .stdin(Stdio::null())
            .output()
            .map_err(|source| FileError::Program {
                program: "ffprobe",
                source,
            })?;
        let probe = serde_json::from_slice(&output.stdout).ok();
        probe
            .filter(|_| output.status.success())
            .ok_or_else(|| FileError::Unsupported {
                path: path.into(),
                what: "a file in which ffprobe finds no streams".into(),
            })
    }

    /// The positions of all audio streams.
    pub(super) fn audio_streams(&self) -> impl Iterator<Item = usize> {
        (0..self.streams.len()).filter(|&at| self.streams[at].codec_type == "audio")
    }

    /// The position of an audio stream, counted from 1. `None`: of the one that players choose, the
    /// default one or the first.
    pub(super) fn audio(&self, track: Option<usize>) -> Option<usize> {
        let is_default = |at: &usize| self.streams[*at].disposition.get("default") == Some(&1);
        let mut all = self.audio_streams();
        match track {
            Some(number) => all.nth(number.checked_sub(1)?),
            None => all.find(is_default).or_else(|| self.audio_streams().next()),
        }
    }

    /// The end of a stream, counted from the start of the file, s, if the headers agree on it.
    pub(super) fn end_s(&self, stream: &Stream) -> Option<f64> {
        let number = |text: &Option<String>| text.as_deref()?.parse::<f64>().ok();
        let start_s = number(&stream.start_time)? - number(&self.format.start_time)?;
        let length_s = number(&stream.duration).or_else(|| {
            // Matroska: hours, minutes and seconds.
            let mut parts = stream.tags.get("DURATION")?.split(':');
            let end_s = parts.try_fold(0.0, |sum, part| {
                part.parse::<f64>().map(|part| 60.0 * sum + part)
            });
            Some(end_s.ok()? - start_s)
        })?;
        Some((start_s + length_s).min(number(&self.format.duration)?))
    }

    /// Whether a stream is a copy of metadata, which ffmpeg writes anew: the names of chapters, and the
    /// time code where `has_time_code` is set for the output.
    pub(super) fn is_metadata(&self, stream: &Stream, has_time_code: bool) -> bool {
        stream.codec_type == "data"
            && match stream.codec_tag_string.as_str() {
                "text" => !self.chapters.is_empty(),
                "tmcd" => has_time_code && stream.tags.contains_key("timecode"),
                _ => false,
            }
    }

    /// Whether there is metadata with a key of a vendor, as `com.apple.quicktime.make`.
    pub(super) fn has_vendor_tags(&self) -> bool {
        self.format.tags.keys().any(|key| key.starts_with("com."))
    }
}

impl Stream {
    /// Whether this is the moving picture, not a cover.
    pub(super) fn is_picture(&self) -> bool {
        self.codec_type == "video" && self.disposition.get("attached_pic") != Some(&1)
    }

    /// Its flags in the form of ffmpeg's option.
    pub(super) fn disposition(&self) -> String {
        let flags = self.disposition.iter().filter(|(_, value)| **value == 1);
        let flags: Vec<&str> = flags.map(|(flag, _)| flag.as_str()).collect();
        match flags.is_empty() {
            true => "0".into(),
            false => flags.join("+"),
        }
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let codec = match self.codec_name.as_deref() {
            Some(name) if name != "bin_data" => Some(name),
            _ => Some(self.codec_tag_string.as_str()).filter(|tag| !tag.starts_with('[')),
        };
        let mut names = ["title", "filename", "language"].into_iter();
        let name = names.find_map(|key| self.tags.get(key)).map(String::as_str);
        let details: Vec<&str> = codec.into_iter().chain(name).collect();
        write!(f, "{} stream {}", self.codec_type, self.index)?;
        match details.is_empty() {
            true => Ok(()),
            false => write!(f, " ({})", details.join(", ")),
        }
    }
}
