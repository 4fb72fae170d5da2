//! Decodes all formats except WAV and FLAC: containers and codecs of symphonia, Opus with ropus and
//! surround Vorbis with lewton.

mod codec;
mod loss;
pub(crate) mod names;
mod not_audio;
mod opus;
mod probe;
mod surround;
mod trim;
mod vorbis;

use std::io;
use std::path::{Path, PathBuf};

use symphonia::core::audio::Channels;
use symphonia::core::codecs::CodecParameters;
use symphonia::core::codecs::audio::well_known::{CODEC_ID_AAC, CODEC_ID_ALAC, CODEC_ID_FLAC};
use symphonia::core::errors::Error as SymphoniaError;
use symphonia::core::formats::FormatReader;
use symphonia::core::io::MediaSource;
use symphonia::core::packet::Packet;
use symphonia::core::units::{TimeBase, Timestamp};

use crate::audio_info::AudioInfo;
use crate::decode::codec::{Codec, CodecError, Spec};
use crate::decode::names::{codec_name, container_name, sample_entry_name};
use crate::decode::not_audio::format_error;
use crate::decode::probe::{Probed, big_endian, choose, probe};
use crate::decode::trim::Trim;
use crate::error::FileError;
use crate::metadata::{Metadata, from_container};
use crate::mp4::Mp4Track;
use crate::note::Note;
use crate::sample_depth::depth;
use crate::sample_format::SampleFormat;
use crate::speaker_layout;
use crate::track::{AudioTrack, audio_tracks};

/// Silence is appended in blocks of this length, frames.
const SILENCE_FRAMES: u64 = 4096;
/// A longer start offset is not filled with silence, s.
const MAX_OFFSET_S: f64 = 6.0 * 3600.0;
/// Highest rate of the lower half of the band of HE-AAC, Hz.
const MAX_HE_AAC_HZ: u32 = 24_000;
/// A start offset below this length is the rounding of a container, s.
const MIN_OFFSET_S: f64 = 0.01;

/// One audio track, decoded packet by packet, without encoder delay and padding.
pub(crate) struct DecodedTrack {
    path: PathBuf,
    format: Box<dyn FormatReader>,
    track: u32,
    codec: Codec,
    is_lossless: bool,
    /// rate and channels of the first packet
    spec: Spec,
    trim: Trim,
    /// frames of silence before the audio
    silence: u64,
    silence_left: u64,
    /// samples of the first packet, which follow the silence
    first: Vec<f32>,
    /// frames in the header of a lossless file
    declared: Option<u64>,
    /// whether the track ends before the end of the file
    stopped: bool,
    ended: bool,
    damaged_first: usize,
    /// the time at which the next packet should start
    next_ts: Option<Timestamp>,
    notes: Vec<Note>,
    tracks: Vec<AudioTrack>,
    metadata: Metadata,
    is_certain: bool,
}

impl DecodedTrack {
    /// Finds the audio track and appends its first packet to `samples`: some codecs have their rate and
    /// channels only in the packets. `number`: the track, from 1; `None`: the default track.
    pub(crate) fn open(
        mut source: Box<dyn MediaSource>,
        path: &Path,
        head: &[u8],
        number: Option<usize>,
        samples: &mut Vec<f32>,
    ) -> Result<(Self, AudioInfo), FileError> {
        let mut probed = Probed::new(&mut *source, head);
        let mut format = probe(source, path, head, &probed)?;
        let tracks = audio_tracks(&*format, &probed.mp4, &probed.matroska.tracks);
        let chosen = choose(&tracks, number, path)?.clone();
        let track = format.tracks().iter().find(|track| track.id == chosen.id);
        let track = track.cloned().expect("the list was made from these tracks");
        let mp4 = probed.mp4.iter().find(|other| other.id == track.id);
        let unsupported = |what: String| FileError::Unsupported {
            path: path.into(),
            what,
        };
        let Some(CodecParameters::Audio(params)) = &track.codec_params else {
            let entry = mp4.map_or(*b"    ", |track| track.codec);
            return Err(unsupported(sample_entry_name(entry)));
        };
        let mut params = params.clone();
        if mp4.is_some_and(|track| !track.is_little_endian) {
            params.codec = big_endian(mp4.map_or([0; 4], |track| track.codec), params.codec);
        }
        if let Some((channels @ 3.., _)) = mp4.and_then(|track| track.pcm_channels) {
            params.with_channels(Channels::Discrete(channels));
        }
        let params = &params;
        let codec = Codec::new(params).map_err(unsupported)?;
        let short_name = format.format_info().short_name;
        let is_lossless = [CODEC_ID_FLAC, CODEC_ID_ALAC].contains(&params.codec)
            || codec.name().starts_with("pcm");
        let own_length = matches!(short_name, "aiff" | "caf" | "wave");
        // Other lengths may be rounded, estimated or outdated.
        let exact = own_length && codec.name().starts_with("pcm");
        let trim = Trim::new(&track, params, &codec, short_name, &probed);
        let mut metadata = from_container(&mut *format, track.id);
        if metadata.chapters.is_empty() {
            metadata.chapters = std::mem::take(&mut probed.chapters);
        }
        if let Some(title) = probed.matroska.title.take() {
            metadata.tags.insert(0, ("TITLE".into(), title));
        }
        if let Some(trailing) = probed.trailing.take().filter(|_| metadata.tags.is_empty()) {
            metadata.tags = trailing.tags;
        }
        metadata.id3 = probed.id3.take().filter(|_| short_name.starts_with("mp"));
        let length = trim.length().or(track
            .num_frames
            .map(|frames| frames.saturating_sub(codec.delay())));
        let mut decoded = Self {
            path: path.into(),
            track: track.id,
            is_lossless,
            codec,
            spec: (0, 0),
            trim,
            silence: 0,
            silence_left: 0,
            first: Vec::new(),
            declared: track.num_frames.filter(|_| exact),
            stopped: false,
            ended: false,
            damaged_first: 0,
            next_ts: None,
            notes: Vec::new(),
            tracks,
            metadata,
            is_certain: false,
            format,
        };
        decoded.note_other_tracks(chosen.number);
        decoded.first_packet(mp4, samples)?;
        let (rate_hz, channels) = decoded.spec;
        // Neither the header of ADTS nor a short configuration announces the upper half of the band.
        let is_short = params
            .extra_data
            .as_deref()
            .is_none_or(|config| config.len() == 2);
        if params.codec == CODEC_ID_AAC && is_short && rate_hz <= MAX_HE_AAC_HZ {
            decoded.notes.push(Note::MaybeHeAac { rate_hz });
        }
        // symphonia ignores the layouts of QuickTime and reads some of CAF as others.
        let layout = probed.caf_layout.as_deref();
        let layout = layout.or_else(|| mp4.and_then(|track| track.layout.as_deref()));
        let channel_mask = match layout {
            Some(layout) if decoded.codec.name().starts_with("pcm") => {
                speaker_layout::mask(layout, channels).filter(|_| channels > 2)
            }
            _ => decoded.codec.channel_mask(),
        };
        let length = length.map(|frames| frames + decoded.silence);
        let frame_bytes = channels as u64 * u64::from(depth(params).bits() / 8);
        decoded.is_certain = exact
            && length
                .zip(probed.bytes)
                .is_some_and(|(frames, bytes)| frames.saturating_mul(frame_bytes) < bytes);
        let info = AudioInfo {
            container: container_name(short_name).into(),
            codec: decoded.codec.name().into(),
            rate_hz,
            channels: channels as u16,
            sample_format: if is_lossless {
                depth(params)
            } else {
                SampleFormat::S16
            },
            frames: length,
            frames_exact: exact && length.is_some(),
            channel_mask,
        };
        Ok((decoded, info))
    }

    /// Facts about the file. Complete at the end of the track.
    pub(crate) fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// The tags, pictures and chapters.
    pub(crate) fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Whether the track has exactly the frames that its header states.
    pub(crate) fn is_certain(&self) -> bool {
        self.is_certain
    }

    /// The audio tracks of the file.
    pub(crate) fn tracks(&self) -> &[AudioTrack] {
        &self.tracks
    }

    fn note_other_tracks(&mut self, read: usize) {
        let others = self.tracks.iter().filter(|track| track.number != read);
        let others: Vec<_> = others.map(ToString::to_string).collect();
        if !others.is_empty() {
            self.notes.push(Note::OtherTracks { read, others });
        }
    }

    /// Reads up to the first samples, and the start offset of the track.
    fn first_packet(
        &mut self,
        mp4: Option<&Mp4Track>,
        samples: &mut Vec<f32>,
    ) -> Result<(), FileError> {
        let start = loop {
            let packet = self.next_packet()?.ok_or_else(|| FileError::Empty {
                path: self.path.clone(),
                found: "a header without samples",
            })?;
            let start = packet.pts;
            self.decode(packet, samples)?;
            if self.spec.1 > 0 {
                break start;
            }
        };
        let time_base = self.time_base();
        let rate_hz = f64::from(self.spec.0);
        let offset = match (mp4, self.format.format_info().short_name) {
            (Some(track), _) => track.offset_frames as f64 / rate_hz,
            (None, "matroska") => time_base
                .and_then(|base| base.calc_time(start))
                .map_or(0.0, |time| time.as_secs_f64()),
            _ => 0.0,
        };
        if offset >= MIN_OFFSET_S {
            // The other tracks start at the start of the file.
            let silence = self.format.tracks().len() > 1 && offset <= MAX_OFFSET_S;
            self.silence = if silence {
                (offset * rate_hz).round() as u64
            } else {
                0
            };
            self.notes.push(Note::StartOffset {
                offset_s: offset,
                silence,
            });
            self.silence_left = self.silence;
            if silence {
                self.first = std::mem::take(samples);
            }
        }
        Ok(())
    }

    /// Appends the samples of the next packet that has samples. Returns false at the end.
    pub(crate) fn read(&mut self, samples: &mut Vec<f32>) -> Result<bool, FileError> {
        let before = samples.len();
        while samples.len() == before {
            if self.silence_left > 0 {
                let frames = self.silence_left.min(SILENCE_FRAMES);
                self.silence_left -= frames;
                samples.resize(before + frames as usize * self.spec.1, 0.0);
                return Ok(true);
            }
            samples.append(&mut self.first);
            if self.ended || self.trim.is_complete() {
                return Ok(samples.len() > before);
            }
            match self.next_packet()? {
                Some(packet) => self.decode(packet, samples)?,
                None => self.end(samples)?,
            }
        }
        Ok(true)
    }

    /// The next packet of the track. `None`: the end of the file.
    fn next_packet(&mut self) -> Result<Option<Packet>, FileError> {
        while !self.stopped {
            match self.format.next_packet() {
                Ok(Some(packet)) if packet.track_id == self.track => return Ok(Some(packet)),
                Ok(Some(_)) => {}
                Ok(None) => return Ok(None),
                Err(SymphoniaError::IoError(error))
                    if error.kind() == io::ErrorKind::UnexpectedEof =>
                {
                    self.trim.cut_off();
                    return Ok(None);
                }
                Err(SymphoniaError::ResetRequired) => self.next_link(),
                Err(error) => {
                    let error = format_error(error, &self.path, self.at_s());
                    match error {
                        FileError::Corrupt { reason, .. } if self.trim.frames() > 0 => {
                            self.stop(reason);
                        }
                        error => return Err(error),
                    }
                }
            }
        }
        Ok(None)
    }

    /// Continues with the next of several streams one after another (RFC 3533, section 4).
    fn next_link(&mut self) {
        let audio = self.format.tracks().iter().find_map(|track| {
            let params = track.codec_params.as_ref()?.audio()?;
            Some((track.id, Codec::new(params).ok()?))
        });
        let Some((id, codec)) = audio else {
            self.stop("the next stream of the file has no audio that can be decoded".into());
            return;
        };
        self.trim.next_link(codec.delay());
        (self.track, self.codec, self.next_ts) = (id, codec, None);
    }

    fn decode(&mut self, mut packet: Packet, samples: &mut Vec<f32>) -> Result<(), FileError> {
        if let Some(spec) = self.changed_mp3(&packet) {
            self.stop_at_change(spec);
            return Ok(());
        }
        self.fill_gap(&packet, samples);
        let start = samples.len();
        self.trim.adjust(&mut packet);
        let spec = match self.codec.decode(&packet, samples) {
            Ok(spec) => spec,
            // In the middle of a track it is damage that looks like a feature.
            Err(CodecError::Unsupported) if self.spec != (0, 0) => {
                let reason = "a packet cannot be decoded".into();
                return self.damaged(reason, &packet, samples);
            }
            Err(CodecError::Unsupported) => {
                let track = self.format.tracks().iter().find(|t| t.id == self.track);
                let params = track
                    .and_then(|track| track.codec_params.as_ref())
                    .and_then(|params| params.audio());
                return Err(FileError::Unsupported {
                    path: self.path.clone(),
                    what: params.map_or("this codec".into(), codec_name),
                });
            }
            Err(CodecError::Damaged(reason)) => return self.damaged(reason, &packet, samples),
        };
        if self.spec == (0, 0) {
            self.spec = spec;
        }
        if spec != self.spec {
            samples.truncate(start);
            self.stop_at_change(spec);
            return Ok(());
        }
        self.trim.push(samples, start, spec.1);
        Ok(())
    }

    /// Ends the track before the end of the file.
    fn stop(&mut self, reason: String) {
        let at_s = self.at_s();
        self.notes.push(Note::Stopped { at_s, reason });
        self.trim.cut_off();
        self.stopped = true;
    }

    /// The end of the file: appends the frames that may have been padding, and checks that no frame is
    /// missing and that the checksum is right.
    fn end(&mut self, samples: &mut Vec<f32>) -> Result<(), FileError> {
        self.ended = true;
        self.trim.end(samples);
        let found = self.trim.frames();
        if self.stopped {
            return Ok(());
        }
        let declared = self.declared.filter(|&declared| declared > found);
        let expected = declared.or(self.trim.missing_of());
        if expected.is_some() || self.trim.is_cut_off() {
            self.notes.push(Note::Truncated { expected, found });
            return Ok(());
        }
        match self.codec.verify() {
            Some(false) => Err(FileError::Corrupt {
                path: self.path.clone(),
                at_s: self.at_s(),
                reason: "the checksum of the samples does not match the header's".into(),
            }),
            _ => Ok(()),
        }
    }

    fn time_base(&self) -> Option<TimeBase> {
        let mut tracks = self.format.tracks().iter();
        tracks.find(|track| track.id == self.track)?.time_base
    }

    fn at_s(&self) -> f64 {
        self.trim.frames() as f64 / f64::from(self.spec.0.max(1))
    }
}
