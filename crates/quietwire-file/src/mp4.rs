//! Reads the edit list of an MP4 audio track (ISO/IEC 14496-12, section 8.6.6): the part of the track
//! that a player plays. symphonia demuxes MP4 but does not read edit lists.

use std::io::{Read, Seek, SeekFrom};

/// The part of a track that is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Edit {
    /// First frame.
    pub start: u64,
    /// Number of frames. `None`: up to the end of the track.
    frames: Option<u64>,
    /// Resolution of `frames`, in frames.
    unit_frames: u64,
}

impl Edit {
    /// Frames to play of a track with `track_frames` frames. The unit of an edit is often a
    /// millisecond. If the length of the track agrees within that unit, it is exact and used instead.
    pub(crate) fn length(&self, track_frames: Option<u64>) -> Option<u64> {
        let frames = self.frames?;
        let rest = track_frames.map(|track| track.saturating_sub(self.start));
        rest.filter(|rest| rest.abs_diff(frames) <= self.unit_frames)
            .or(Some(frames))
    }
}

/// Largest number of bytes read from one box.
const MAX_BOX: u64 = 1 << 16;

/// The edit of the first audio track of a seekable MP4. `None` for other formats and for edit lists
/// with several parts; an empty edit in front of the part is allowed. Leaves the source at its start.
pub(crate) fn edit<R: Read + Seek + ?Sized>(source: &mut R, head: &[u8]) -> Option<Edit> {
    if head.get(4..8) != Some(b"ftyp") {
        return None;
    }
    let found = source
        .seek(SeekFrom::End(0))
        .ok()
        .and_then(|end| find(source, 0, end, b"moov"))
        .and_then(|(start, end)| movie_edit(source, start, end));
    source.seek(SeekFrom::Start(0)).ok()?;
    found
}

fn movie_edit<R: Read + Seek + ?Sized>(source: &mut R, start: u64, end: u64) -> Option<Edit> {
    let header = body(source, start, end, b"mvhd")?;
    let movie_scale = u64::from(timescale(&header)?);
    let mut at = start;
    loop {
        let (track, track_end) = find(source, at, end, b"trak")?;
        at = track_end;
        let (media, media_end) = find(source, track, track_end, b"mdia")?;
        if body(source, media, media_end, b"hdlr")?.get(8..12)? != b"soun" {
            continue;
        }
        // For audio the media time scale is the sample rate.
        let rate = u64::from(timescale(&body(source, media, media_end, b"mdhd")?)?);
        let (edits, edits_end) = find(source, track, track_end, b"edts")?;
        let (duration, start) = single_edit(&body(source, edits, edits_end, b"elst")?)?;
        let frames = duration.checked_mul(rate)?.checked_div(movie_scale)?;
        return Some(Edit {
            start,
            frames: Some(frames).filter(|&frames| frames > 0),
            unit_frames: rate.div_ceil(movie_scale),
        });
    }
}

/// Duration and start of the only edit that is not empty.
fn single_edit(elst: &[u8]) -> Option<(u64, u64)> {
    let long = elst.first()? == &1;
    let entries = elst.get(8..)?.chunks_exact(if long { 20 } else { 12 });
    let mut played = entries.filter_map(|entry| {
        let (duration, start) = if long {
            (be64(entry, 0)?, be64(entry, 8)? as i64)
        } else {
            (be32(entry, 0)?.into(), i64::from(be32(entry, 4)? as i32))
        };
        // A negative start marks an empty edit.
        u64::try_from(start).ok().map(|start| (duration, start))
    });
    played.next().filter(|_| played.next().is_none())
}

/// The time scale of an `mvhd` or `mdhd` box, units per second.
fn timescale(header: &[u8]) -> Option<u32> {
    be32(header, if header.first()? == &1 { 20 } else { 12 })
}

/// The body of the first box of a name between two positions.
fn body<R: Read + Seek + ?Sized>(
    source: &mut R,
    start: u64,
    end: u64,
    name: &[u8; 4],
) -> Option<Vec<u8>> {
    let (start, end) = find(source, start, end, name)?;
    source.seek(SeekFrom::Start(start)).ok()?;
    let mut bytes = Vec::new();
    source
        .take((end - start).min(MAX_BOX))
        .read_to_end(&mut bytes)
        .ok()?;
    Some(bytes)
}

/// Start and end of the body of the first box of a name between two positions.
fn find<R: Read + Seek + ?Sized>(
    source: &mut R,
    mut start: u64,
    end: u64,
    name: &[u8; 4],
) -> Option<(u64, u64)> {
    while start + 8 <= end {
        source.seek(SeekFrom::Start(start)).ok()?;
        let mut head = [0; 16];
        source.read_exact(&mut head[..8]).ok()?;
        let mut header = 8;
        let size = match be32(&head, 0)? {
            0 => end - start,
            1 => {
                source.read_exact(&mut head[8..]).ok()?;
                header = 16;
                be64(&head, 8)?
            }
            size => size.into(),
        };
        let box_end = start
            .checked_add(size)
            .filter(|&box_end| size >= header && box_end <= end)?;
        if &head[4..8] == name {
            return Some((start + header, box_end));
        }
        start = box_end;
    }
    None
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..at + 4)?
        .first_chunk()
        .map(|bytes| u32::from_be_bytes(*bytes))
}

fn be64(bytes: &[u8], at: usize) -> Option<u64> {
    bytes
        .get(at..at + 8)?
        .first_chunk()
        .map(|bytes| u64::from_be_bytes(*bytes))
}
