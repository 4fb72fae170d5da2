//! Reads what symphonia does not read of an MP4: the edit lists of its audio tracks (ISO/IEC 14496-12,
//! section 8.6.6), which are the parts that a player plays, and which tracks are enabled.

use std::io::{Read, Seek, SeekFrom};

use crate::big_endian::{be32, be64};
use crate::speaker_layout;

/// One audio track.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mp4Track {
    /// The number in its header, which is the id of symphonia's track.
    pub id: u32,
    /// Whether the track is enabled. Players play the first enabled track.
    pub is_enabled: bool,
    /// The part that is played. `None`: the whole track, or several parts.
    pub edit: Option<Edit>,
    /// Silence before the part, frames.
    pub offset_frames: u64,
    /// The type of the samples, for example `mp4a`.
    pub codec: [u8; 4],
    /// Whether samples of the type `in24`, `in32`, `fl32` or `fl64` are little-endian.
    pub is_little_endian: bool,
    /// ISO 639-2 code.
    pub language: Option<String>,
    /// Channels of PCM samples, and the position of their number in the file.
    pub pcm_channels: Option<(u16, u64)>,
    /// The speaker layout of PCM samples.
    pub layout: Option<Vec<u8>>,
}

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
/// Types of PCM samples.
const PCM: [&[u8; 4]; 7] = [
    b"twos", b"sowt", b"in24", b"in32", b"fl32", b"fl64", b"raw ",
];
/// Positions in an `stsd` box: after its version and the number of entries, and after the first 16 bytes
/// of the entry.
const VERSION_AT: usize = 24;
const CHANNELS_AT: usize = 32;
/// Largest number of tracks.
const MAX_TRACKS: usize = 1000;

/// Whether the first bytes are those of an MP4 or QuickTime file.
pub(crate) fn is_mp4(head: &[u8]) -> bool {
    matches!(
        head.get(4..8),
        Some(b"ftyp" | b"moov" | b"mdat" | b"wide" | b"free" | b"skip")
    )
}

/// The audio tracks of a seekable MP4. Empty for other formats. Leaves the source at its start.
/// `Err`: the file has no index, as a recording that was cut off.
pub(crate) fn tracks<R: Read + Seek + ?Sized>(
    source: &mut R,
    head: &[u8],
) -> Result<Vec<Mp4Track>, NoIndex> {
    if !is_mp4(head) {
        return Ok(Vec::new());
    }
    let movie = source
        .seek(SeekFrom::End(0))
        .ok()
        .and_then(|end| find(source, 0, end, b"moov"));
    let tracks = movie.map(|(start, end)| movie_tracks(source, start, end).unwrap_or_default());
    let _ = source.seek(SeekFrom::Start(0));
    tracks.ok_or(NoIndex)
}

/// The file has no `moov` box.
#[derive(Debug)]
pub(crate) struct NoIndex;

fn movie_tracks<R: Read + Seek + ?Sized>(
    source: &mut R,
    start: u64,
    end: u64,
) -> Option<Vec<Mp4Track>> {
    let header = body(source, start, end, b"mvhd")?;
    let movie_scale = u64::from(timescale(&header)?);
    let mut tracks = Vec::new();
    let mut at = start;
    while let Some((track, track_end)) = find(source, at, end, b"trak")
        && tracks.len() < MAX_TRACKS
    {
        at = track_end;
        tracks.extend(audio_track(source, track, track_end, movie_scale));
    }
    Some(tracks)
}

/// `None`: a track of another kind.
fn audio_track<R: Read + Seek + ?Sized>(
    source: &mut R,
    track: u64,
    track_end: u64,
    movie_scale: u64,
) -> Option<Mp4Track> {
    let (media, media_end) = find(source, track, track_end, b"mdia")?;
    if body(source, media, media_end, b"hdlr")?.get(8..12)? != b"soun" {
        return None;
    }
    let header = body(source, track, track_end, b"tkhd")?;
    let id = be32(&header, if header.first()? == &1 { 20 } else { 12 })?;
    // For audio the media time scale is the sample rate.
    let media_header = body(source, media, media_end, b"mdhd")?;
    let rate = u64::from(timescale(&media_header)?);
    let edits = find(source, track, track_end, b"edts")
        .and_then(|(edits, edits_end)| body(source, edits, edits_end, b"elst"))
        .and_then(|elst| edit_list(&elst));
    let to_rate = |duration: u64| {
        duration
            .checked_mul(rate)
            .and_then(|frames| frames.checked_div(movie_scale))
    };
    let (edit, empty) = match edits {
        Some((duration, start, empty)) => {
            let edit = Edit {
                start,
                frames: Some(to_rate(duration)?).filter(|&frames| frames > 0),
                unit_frames: rate.div_ceil(movie_scale),
            };
            (Some(edit), empty)
        }
        None => (None, 0),
    };
    let entry = sample_entry(source, media, media_end);
    let entry_at = entry.as_ref().map_or(0, |(_, at)| *at);
    let entry = entry.map(|(entry, _)| entry);
    let pcm_channels = entry.as_deref().and_then(pcm_channels);
    let layout = entry.as_deref().filter(|_| pcm_channels.is_some());
    let layout = layout.and_then(speaker_layout::of_sample_entry);
    let pcm_channels = pcm_channels.map(|channels| (channels, entry_at + CHANNELS_AT as u64));
    Some(Mp4Track {
        id,
        is_enabled: header.get(3)? & 1 == 1,
        edit,
        offset_frames: to_rate(empty)?,
        codec: entry
            .as_deref()
            .and_then(|entry| entry.get(12..16)?.first_chunk().copied())
            .unwrap_or(*b"    "),
        // The atom `enda` of QuickTime. Without it the samples are big-endian.
        is_little_endian: entry
            .is_some_and(|entry| entry.windows(6).any(|window| window == b"enda\x00\x01")),
        language: language(&media_header),
        pcm_channels,
        layout,
    })
}

/// The channels of PCM in a QuickTime sample description of version 0 or 1.
fn pcm_channels(entry: &[u8]) -> Option<u16> {
    let is_pcm = PCM.iter().any(|name| entry.get(12..16) == Some(&name[..]));
    let version = entry.get(VERSION_AT + 1).filter(|_| is_pcm)?;
    let channels = entry.get(CHANNELS_AT..)?.first_chunk()?;
    Some(u16::from_be_bytes(*channels)).filter(|_| *version < 2)
}

/// The sample descriptions (ISO/IEC 14496-12, section 8.5.2) and their position.
fn sample_entry<R: Read + Seek + ?Sized>(
    source: &mut R,
    start: u64,
    end: u64,
) -> Option<(Vec<u8>, u64)> {
    let (start, end) = find(source, start, end, b"minf")?;
    let (start, end) = find(source, start, end, b"stbl")?;
    let at = find(source, start, end, b"stsd")?.0;
    Some((body(source, start, end, b"stsd")?, at))
}

/// The language of an `mdhd` box: three letters of 5 bits each.
fn language(header: &[u8]) -> Option<String> {
    let at = if header.first()? == &1 { 32 } else { 20 };
    let code = header.get(at..at + 2)?.first_chunk()?;
    let code = u16::from_be_bytes(*code);
    let letters = [code >> 10 & 31, code >> 5 & 31, code & 31];
    let text: String = letters
        .iter()
        .map(|&letter| char::from(letter as u8 + 0x60))
        .collect();
    Some(text).filter(|text| text.bytes().all(|b| b.is_ascii_lowercase()) && text != "und")
}

/// The chapters of an MP4 (the `chpl` box of Nero): start, s, and title. Leaves the source at its start.
pub(crate) fn chapters<R: Read + Seek + ?Sized>(source: &mut R, head: &[u8]) -> Vec<(f64, String)> {
    let mut found = Vec::new();
    if is_mp4(head) {
        let list = source
            .seek(SeekFrom::End(0))
            .ok()
            .and_then(|end| find(source, 0, end, b"moov"))
            .and_then(|(start, end)| find(source, start, end, b"udta"))
            .and_then(|(start, end)| body(source, start, end, b"chpl"));
        found = list
            .and_then(|list| chapter_list(&list))
            .unwrap_or_default();
        let _ = source.seek(SeekFrom::Start(0));
    }
    found
}

fn chapter_list(list: &[u8]) -> Option<Vec<(f64, String)>> {
    // Version 1 has four reserved bytes before the number of chapters.
    let mut rest = list.get(if list.first()? == &1 { 8 } else { 4 }..)?;
    let (&count, after) = rest.split_first()?;
    rest = after;
    let mut chapters = Vec::new();
    for _ in 0..count {
        // 100 ns units.
        let start = be64(rest, 0)? as f64 / 1e7;
        let size = usize::from(*rest.get(8)?);
        let title = rest.get(9..9 + size)?;
        chapters.push((start, String::from_utf8_lossy(title).into_owned()));
        rest = &rest[9 + size..];
    }
    Some(chapters)
}

/// Duration and start of the only edit that is not empty, and the duration of the empty edits before it.
fn edit_list(elst: &[u8]) -> Option<(u64, u64, u64)> {
    let long = elst.first()? == &1;
    let (mut empty, mut played) = (0, None);
    for entry in elst.get(8..)?.chunks_exact(if long { 20 } else { 12 }) {
        let (duration, start) = if long {
            (be64(entry, 0)?, be64(entry, 8)? as i64)
        } else {
            (be32(entry, 0)?.into(), i64::from(be32(entry, 4)? as i32))
        };
        // A negative start marks an empty edit.
        match u64::try_from(start) {
            Ok(_) if played.is_some() => return None,
            Ok(start) => played = Some((duration, start)),
            Err(_) if played.is_none() => empty = duration.checked_add(empty)?,
            Err(_) => {}
        }
    }
    played.map(|(duration, start)| (duration, start, empty))
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
