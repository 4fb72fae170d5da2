//! The tags, pictures and chapters that symphonia reads.

use symphonia::core::formats::FormatReader;
use symphonia::core::meta::{
    ChapterGroup, ChapterGroupItem, RawValue, StandardTag, StandardVisualKey, Tag, Visual,
};

use crate::metadata::{Chapter, Metadata, Picture};

/// The metadata of a container. `track`: the id of its track.
pub(crate) fn from_container(format: &mut dyn FormatReader, track: u32) -> Metadata {
    let mut found = Metadata::default();
    // The names of Matroska are those of Vorbis comments.
    let has_comments = format.format_info().short_name == "matroska";
    let mut log = format.metadata();
    // Tags in front of the container come first.
    while let Some(revision) = log.current() {
        let own = revision.per_track.iter();
        let own = own.filter(|other| other.track_id == u64::from(track));
        let containers = own.map(|other| &other.metadata).chain([&revision.media]);
        for container in containers {
            for tag in &container.tags {
                let standard = tag.std.as_ref().filter(|_| !has_comments);
                found.push_tag(tag, standard);
            }
            found.pictures.extend(container.visuals.iter().map(picture));
        }
        if log.pop().is_none() {
            break;
        }
    }
    if let Some(group) = format.chapters() {
        found.push_chapters(group);
    }
    found
}

impl Metadata {
    fn push_tag(&mut self, tag: &Tag, standard: Option<&StandardTag>) {
        if let RawValue::Binary(_) = tag.raw.value {
            self.left.push(tag.raw.key.clone());
            return;
        }
        let (name, value) = match standard {
            Some(StandardTag::TrackNumber(number)) => ("TRACKNUMBER".into(), number.to_string()),
            Some(StandardTag::TrackTotal(number)) => ("TRACKTOTAL".into(), number.to_string()),
            Some(StandardTag::DiscNumber(number)) => ("DISCNUMBER".into(), number.to_string()),
            Some(StandardTag::DiscTotal(number)) => ("DISCTOTAL".into(), number.to_string()),
            Some(standard) => {
                let name = name(standard).map_or_else(|| raw_name(&tag.raw.key), Into::into);
                (name, tag.raw.value.to_string())
            }
            None => (raw_name(&tag.raw.key), tag.raw.value.to_string()),
        };
        let tag = (name, value);
        if !tag.1.is_empty() && !self.tags.contains(&tag) {
            self.tags.push(tag);
        }
    }

    fn push_chapters(&mut self, group: &ChapterGroup) {
        for item in &group.items {
            match item {
                ChapterGroupItem::Group(group) => self.push_chapters(group),
                ChapterGroupItem::Chapter(chapter) => {
                    let tag = chapter.tags.first();
                    self.chapters.push(Chapter {
                        start_s: chapter.start_time.as_secs_f64(),
                        title: tag.map_or_else(String::new, |tag| tag.raw.value.to_string()),
                    });
                }
            }
        }
    }
}

/// The name of a tag in Vorbis comments.
fn name(tag: &StandardTag) -> Option<&'static str> {
    Some(match tag {
        StandardTag::Album(_) => "ALBUM",
        StandardTag::AlbumArtist(_) => "ALBUMARTIST",
        StandardTag::Artist(_) => "ARTIST",
        StandardTag::Bpm(_) => "BPM",
        StandardTag::Comment(_) => "COMMENT",
        StandardTag::Composer(_) => "COMPOSER",
        StandardTag::Conductor(_) => "CONDUCTOR",
        StandardTag::Copyright(_) => "COPYRIGHT",
        StandardTag::Description(_) => "DESCRIPTION",
        StandardTag::EncodedBy(_) => "ENCODED_BY",
        StandardTag::Encoder(_) | StandardTag::EncoderSettings(_) => "ENCODER",
        StandardTag::Engineer(_) => "ENGINEER",
        StandardTag::Genre(_) => "GENRE",
        StandardTag::IdentIsrc(_) => "ISRC",
        StandardTag::Keywords(_) => "KEYWORDS",
        StandardTag::Label(_) => "ORGANIZATION",
        StandardTag::Language(_) => "LANGUAGE",
        StandardTag::Lyrics(_) => "LYRICS",
        StandardTag::Performer(_) => "PERFORMER",
        StandardTag::RecordingDate(_)
        | StandardTag::RecordingYear(_)
        | StandardTag::ReleaseDate(_)
        | StandardTag::ReleaseYear(_) => "DATE",
        StandardTag::TrackSubtitle(_) => "SUBTITLE",
        StandardTag::TrackTitle(_) => "TITLE",
        _ => return None,
    })
}

/// The name that the container has for a tag, with the letters that a Vorbis comment can have.
fn raw_name(key: &str) -> String {
    let key = key.strip_prefix("TXXX:").unwrap_or(key);
    // In Matroska the level of the tag comes first: `ALBUM@ARTIST`.
    let key = key.rsplit('@').next().unwrap_or(key);
    key.chars()
        .filter(|letter| (' '..='}').contains(letter) && *letter != '=')
        .collect::<String>()
        .to_ascii_uppercase()
}

fn picture(visual: &Visual) -> Picture {
    let size = visual.dimensions.unwrap_or_default();
    Picture {
        kind: match visual.usage {
            Some(StandardVisualKey::FrontCover) | None => 3,
            Some(StandardVisualKey::BackCover) => 4,
            Some(StandardVisualKey::Leaflet) => 5,
            Some(StandardVisualKey::Media) => 6,
            Some(_) => 0,
        },
        media_type: visual.media_type.clone().unwrap_or_default(),
        description: String::new(),
        width: size.width,
        height: size.height,
        depth: 0,
        colors: 0,
        data: visual.data.to_vec(),
    }
}
