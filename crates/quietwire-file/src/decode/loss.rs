//! Packets that are damaged, lost, or not those of the track.

use symphonia::core::packet::Packet;

use crate::decode::DecodedTrack;
use crate::decode::codec::Spec;
use crate::error::FileError;
use crate::mp3;
use crate::note::Note;

/// Damaged packets at the start of a track that are skipped, as those of a file that was cut in front.
const MAX_DAMAGED_FIRST: usize = 8;
/// A gap between two packets below this length is the rounding of a container, s.
const MIN_GAP_S: f64 = 0.1;
/// Longer gaps are not filled with silence, s.
const MAX_GAP_S: f64 = 60.0;
/// Silence in place of one damaged packet is at most this long, frames.
const MAX_SILENCE_FRAMES: f64 = 4096.0;

impl DecodedTrack {
    /// The rate and the channels of an MPEG packet, if they are not those of the track. The decoder takes
    /// such a packet for damaged.
    pub(super) fn changed_mp3(&self, packet: &Packet) -> Option<Spec> {
        let is_mpeg = self.format.format_info().short_name.starts_with("mp");
        mp3::packet_spec(&packet.data)
            .filter(|&spec| is_mpeg && self.spec != (0, 0) && spec != self.spec)
    }

    pub(super) fn stop_at_change(&mut self, spec: Spec) {
        self.stop(format!(
            "the file changes from {} Hz and {} channels to {} Hz and {} channels",
            self.spec.0, self.spec.1, spec.0, spec.1
        ));
    }

    /// Fills the place of lost pages of an Ogg stream with silence. Their time is known from the pages
    /// around them.
    pub(super) fn fill_gap(&mut self, packet: &Packet, samples: &mut Vec<f32>) {
        let expected = self.next_ts;
        let length = [packet.dur, packet.trim_start, packet.trim_end];
        let length: u64 = length.iter().map(|part| part.get()).sum();
        self.next_ts = packet.pts.checked_add(length.into());
        if self.format.format_info().short_name != "ogg" {
            return;
        }
        let gap = expected.and_then(|expected| packet.pts.duration_from(expected));
        let gap_s = gap
            .and_then(|gap| self.time_base()?.calc_duration(gap))
            .map_or(0.0, |gap| gap.as_secs_f64());
        if gap_s < MIN_GAP_S {
            return;
        }
        let silence = gap_s <= MAX_GAP_S;
        let at_s = self.at_s();
        self.notes.push(Note::Gap {
            at_s,
            seconds: gap_s,
            silence,
        });
        if silence {
            let frames = (gap_s * f64::from(self.spec.0)).round() as usize;
            let start = samples.len();
            samples.resize(start + frames * self.spec.1, 0.0);
            self.trim.push(samples, start, self.spec.1);
        }
    }

    /// A packet that cannot be decoded. Of a lossy codec, silence takes its place.
    pub(super) fn damaged(
        &mut self,
        reason: String,
        packet: &Packet,
        samples: &mut Vec<f32>,
    ) -> Result<(), FileError> {
        let is_first = self.spec == (0, 0);
        if self.is_lossless || (is_first && self.damaged_first >= MAX_DAMAGED_FIRST) {
            return Err(FileError::Corrupt {
                path: self.path.clone(),
                at_s: self.at_s(),
                reason,
            });
        }
        if is_first {
            self.damaged_first += 1;
            return Ok(());
        }
        let at_s = self.at_s();
        match self.notes.last_mut() {
            Some(Note::Damaged { packets, .. }) => *packets += 1,
            _ => self.notes.push(Note::Damaged { packets: 1, at_s }),
        }
        let time_base = self.time_base();
        let duration_s = time_base
            .and_then(|base| base.calc_duration(packet.dur))
            .map_or(0.0, |time| time.as_secs_f64());
        let frames = (duration_s * f64::from(self.spec.0)).round();
        let start = samples.len();
        samples.resize(
            start + frames.min(MAX_SILENCE_FRAMES) as usize * self.spec.1,
            0.0,
        );
        self.trim.push(samples, start, self.spec.1);
        Ok(())
    }
}
