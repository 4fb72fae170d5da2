//! Which frames of a track belong to the audio: those between the encoder delay at its start and the
//! padding at its end.

use symphonia::core::codecs::audio::AudioCodecParameters;
use symphonia::core::codecs::audio::well_known::{CODEC_ID_AAC, CODEC_ID_OPUS};
use symphonia::core::formats::Track;
use symphonia::core::packet::Packet;
use symphonia::core::units::Duration;

use crate::decode::codec::Codec;
use crate::decode::probe::Probed;

/// Lengths in a container that differ by less are the rounding of its time scale, frames.
const TOLERANCE: u64 = 4096;
/// Some encoders count the first packet of an MP3, which has no audio, frames.
const MP3_TOLERANCE: u64 = 1152;
/// Padding is shorter than a packet, ns.
const MAX_PADDING_NS: u64 = 1_000_000_000;
/// Nanoseconds per second.
const NS: u128 = 1_000_000_000;

/// Removes delay and padding from decoded samples.
#[derive(Debug, Default)]
pub(super) struct Trim {
    /// frames to drop at the start: encoder delay that symphonia does not remove
    skip: u64,
    /// frames still to return, if the container marks the end
    left: Option<u64>,
    length: Option<u64>,
    /// the number of frames that symphonia trims to is an estimate or outdated
    ignores_end: bool,
    /// frames at the end that may be padding
    padding: u64,
    /// the padding is dropped only if the track has this many frames, padding included
    padding_after: Option<u64>,
    /// frames without delay and padding that the header of an MP3 states
    stated: Option<u64>,
    /// the last samples, which may be padding
    held: Vec<f32>,
    channels: usize,
    /// frames returned
    frames: u64,
    is_cut_off: bool,
}

impl Trim {
    pub(super) fn new(
        track: &Track,
        params: &AudioCodecParameters,
        codec: &Codec,
        short_name: &str,
        probed: &Probed,
    ) -> Self {
        let mut trim = Self {
            skip: codec.delay(),
            ..Self::default()
        };
        if let Some(mp4) = probed.mp4.iter().find(|other| other.id == track.id)
            && let Some(edit) = mp4.edit
        {
            trim.skip = edit.start;
            trim.left = edit.length(track.num_frames);
            trim.length = trim.left;
        }
        let id = u64::from(track.id);
        if let Some(matroska) = probed
            .matroska
            .tracks
            .iter()
            .find(|other| other.number == id)
        {
            let is_opus = params.codec == CODEC_ID_OPUS;
            let rate_hz = if is_opus {
                48_000
            } else {
                params.sample_rate.unwrap_or_default()
            };
            let frames = |ns: u64| ((u128::from(ns) * u128::from(rate_hz) + NS / 2) / NS) as u64;
            // The header of Opus states its delay exactly.
            if !is_opus {
                trim.skip = frames(matroska.delay_ns);
            }
            trim.padding = frames(matroska.padding_ns.min(MAX_PADDING_NS));
        }
        // The packet table of a CAF counts both. ALAC has exact packets.
        if short_name == "caf" && params.codec == CODEC_ID_AAC {
            trim.skip = track.delay.unwrap_or(0).into();
            trim.left = track.num_frames;
            trim.length = trim.left;
        }
        if matches!(short_name, "mp1" | "mp2" | "mp3") {
            trim.ignores_end = true;
            let (delay, padding) = (track.delay.unwrap_or(0), track.padding.unwrap_or(0));
            let (delay, padding) = (u64::from(delay), u64::from(padding));
            trim.padding = padding;
            // A joined file has the padding of its first part.
            let is_complete = probed.mp3.is_some_and(|header| header.is_complete);
            trim.padding_after = track
                .num_frames
                .map(|frames| frames + padding)
                .filter(|_| !is_complete);
            trim.stated = probed
                .mp3
                .map(|header| header.frames.saturating_sub(delay + padding));
        }
        trim
    }

    /// The length that the container marks, frames.
    pub(super) fn length(&self) -> Option<u64> {
        self.length
    }

    /// Frames returned.
    pub(super) fn frames(&self) -> u64 {
        self.frames
    }

    /// Whether all frames that the container marks were returned.
    pub(super) fn is_complete(&self) -> bool {
        self.left == Some(0)
    }

    /// Takes back what symphonia trims from a packet by mistake.
    pub(super) fn adjust(&self, packet: &mut Packet) {
        if self.ignores_end {
            packet.trim_end = Duration::ZERO;
        }
    }

    /// Keeps, of the samples from `start`, the frames that belong to the audio.
    pub(super) fn push(&mut self, samples: &mut Vec<f32>, start: usize, channels: usize) {
        self.channels = channels;
        let frames = ((samples.len() - start) / channels) as u64;
        let skipped = self.skip.min(frames);
        self.skip -= skipped;
        let mut kept = frames - skipped;
        if let Some(left) = &mut self.left {
            kept = kept.min(*left);
            *left -= kept;
        }
        samples.drain(start..start + skipped as usize * channels);
        samples.truncate(start + kept as usize * channels);
        if self.padding > 0 {
            samples.splice(start..start, self.held.drain(..));
            let held = (self.padding as usize * channels).min(samples.len() - start);
            self.held.extend(samples.drain(samples.len() - held..));
        }
        self.frames += ((samples.len() - start) / channels) as u64;
    }

    /// The next of several streams starts: its delay is dropped, and what was held is audio.
    pub(super) fn next_link(&mut self, delay: u64) {
        self.skip = delay;
        self.left = None;
    }

    /// The file ends early: its last frames are no padding.
    pub(super) fn cut_off(&mut self) {
        self.is_cut_off = true;
    }

    pub(super) fn is_cut_off(&self) -> bool {
        self.is_cut_off
    }

    /// The end of the track: appends the held samples unless they are padding.
    pub(super) fn end(&mut self, samples: &mut Vec<f32>) {
        let held = (self.held.len() / self.channels.max(1)) as u64;
        let is_padding = self
            .padding_after
            .is_none_or(|frames| frames == self.frames + held);
        if !is_padding || self.is_cut_off {
            samples.append(&mut self.held);
            self.frames += held;
        }
    }

    /// Frames that the track should have, if clearly fewer were returned.
    pub(super) fn missing_of(&self) -> Option<u64> {
        let length = self
            .length
            .filter(|&length| length > self.frames + TOLERANCE);
        let stated = self
            .stated
            .filter(|&stated| stated > self.frames + MP3_TOLERANCE);
        length.or(stated)
    }
}
