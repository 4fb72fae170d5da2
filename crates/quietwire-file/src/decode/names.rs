//! Names of containers and codecs in messages and reports.

use symphonia::core::audio::Channels;
use symphonia::core::codecs::audio::AudioCodecParameters;
use symphonia::core::codecs::audio::well_known::*;

/// The usual name of a container.
pub(super) fn container_name(short: &'static str) -> &'static str {
    match short {
        "aac" => "ADTS",
        "aiff" => "AIFF",
        "caf" => "CAF",
        "flac" => "FLAC",
        "isomp4" => "MP4",
        "matroska" => "Matroska",
        "mp1" => "MP1",
        "mp2" => "MP2",
        "mp3" => "MP3",
        "ogg" => "Ogg",
        "wave" => "WAV",
        other => other,
    }
}

/// The name of a codec that no decoder accepted.
pub(super) fn codec_name(params: &AudioCodecParameters) -> String {
    let name = match params.codec {
        CODEC_ID_AAC => return aac_name(params),
        CODEC_ID_AC3 => "AC-3 (Dolby Digital)",
        CODEC_ID_EAC3 => "E-AC-3 (Dolby Digital Plus)",
        CODEC_ID_AC4 => "AC-4",
        CODEC_ID_ADPCM_G722 => "G.722",
        CODEC_ID_ADPCM_G726 | CODEC_ID_ADPCM_G726LE => "G.726",
        CODEC_ID_ADPCM_IMA_QT | CODEC_ID_ADPCM_IMA_WAV => "IMA ADPCM",
        CODEC_ID_ADPCM_MS => "Microsoft ADPCM",
        CODEC_ID_ALAC => "ALAC",
        CODEC_ID_ATRAC1 | CODEC_ID_ATRAC3 | CODEC_ID_ATRAC3PLUS | CODEC_ID_ATRAC9 => "ATRAC",
        CODEC_ID_DCA => "DTS",
        CODEC_ID_MONKEYS_AUDIO => "Monkey's Audio",
        CODEC_ID_MUSEPACK => "Musepack",
        CODEC_ID_RA10 | CODEC_ID_RA20 | CODEC_ID_SIPR | CODEC_ID_COOK | CODEC_ID_RALF => {
            "RealAudio"
        }
        CODEC_ID_SPEEX => "Speex",
        CODEC_ID_TRUEHD => "TrueHD",
        CODEC_ID_TTA => "TTA",
        CODEC_ID_VORBIS => "Vorbis with broken headers",
        CODEC_ID_WAVPACK => "WavPack",
        CODEC_ID_WMA => "Windows Media Audio",
        _ => "the codec of the audio track",
    };
    name.into()
}

/// Which AAC it is (ISO/IEC 14496-3, section 1.6): the decoder takes AAC-LC with one or two channels.
fn aac_name(params: &AudioCodecParameters) -> String {
    let config = params.extra_data.as_deref().unwrap_or_default();
    let object_type = config.first().map(|byte| byte >> 3);
    let channels = match (config, &params.channels) {
        ([a, b, ..], _) if *a >> 3 < 31 && (*a & 7, b >> 7) != (7, 1) => b >> 3 & 15,
        (_, Some(channels)) => Channels::count(channels) as u8,
        _ => 0,
    };
    match (object_type, channels) {
        (Some(1), _) => "AAC Main".into(),
        (Some(3), _) => "AAC-SSR".into(),
        (Some(4), _) => "AAC-LTP".into(),
        (Some(5), _) => "HE-AAC".into(),
        // The extension after the AAC-LC configuration announces the high band.
        (Some(2), 1 | 2) if config.len() >= 4 => "HE-AAC".into(),
        (Some(29), _) => "HE-AAC v2".into(),
        (Some(23 | 39), _) => "AAC-LD".into(),
        (Some(31), _) => "xHE-AAC or another AAC than AAC-LC".into(),
        (_, 7) => "AAC with 8 channels".into(),
        (_, channels @ 3..) => format!("AAC with {channels} channels"),
        _ => "this kind of AAC".into(),
    }
}

/// The codec of an MP4 sample entry that the demuxer does not recognize.
pub(super) fn sample_entry_name(entry: [u8; 4]) -> String {
    match &entry {
        b"samr" => "AMR-NB (speech codec of phones)".into(),
        b"sawb" | b"sawp" => "AMR-WB (speech codec of phones)".into(),
        b"agsm" => "GSM 6.10".into(),
        b"ac-3" => "AC-3 (Dolby Digital)".into(),
        b"ec-3" => "E-AC-3 (Dolby Digital Plus)".into(),
        b"dtsc" | b"dtsh" | b"dtsl" | b"dtse" => "DTS".into(),
        b"enca" => "an encrypted audio track".into(),
        b"Qclp" | b"sqcp" => "QCELP".into(),
        b"QDM2" | b"QDMC" => "QDesign Music".into(),
        b"ima4" => "IMA ADPCM (QuickTime)".into(),
        b"MAC3" | b"MAC6" => "MACE".into(),
        entry => format!("the codec `{}` of the audio track", entry.escape_ascii()),
    }
}

/// The codec of a compressed WAV, by its format tag.
pub(crate) fn wav_codec(tag: u16) -> String {
    match tag {
        0x0002 => "WAV with Microsoft ADPCM".into(),
        0x0006 => "WAV with A-law".into(),
        0x0007 => "WAV with mu-law".into(),
        0x0011 => "WAV with IMA ADPCM".into(),
        0x0022 => "WAV with TrueSpeech".into(),
        0x0031 => "WAV with GSM 6.10".into(),
        0x0014 | 0x0040 | 0x0045 | 0x0064 | 0x0085 => "WAV with G.726".into(),
        0x0042 | 0x0111 => "WAV with G.723.1".into(),
        0x0050 => "WAV with MPEG audio".into(),
        0x0055 => "WAV with MP3".into(),
        0x0065 => "WAV with G.722".into(),
        0x0083 | 0x0133 => "WAV with G.729".into(),
        0x00FF | 0x1600 | 0x1610 | 0x706D | 0x4143 => "WAV with AAC".into(),
        0x0160..=0x0163 => "WAV with Windows Media Audio".into(),
        0x0270 => "WAV with ATRAC3".into(),
        0x2000 => "WAV with AC-3 (Dolby Digital)".into(),
        0x2001 => "WAV with DTS".into(),
        0xFFFE => "WAV with an unknown WAVE_FORMAT_EXTENSIBLE format".into(),
        tag => format!("WAV with the format tag {tag:#06x}"),
    }
}

/// The format of a file that no demuxer accepts, from its first bytes.
pub(super) fn unsupported_format(head: &[u8]) -> Option<&'static str> {
    let is = |mark: &[u8], at: usize| head.get(at..at + mark.len()) == Some(mark);
    let formats: [(&[u8], usize, &str); 24] = [
        (b"#!AMR-WB", 0, "AMR-WB (speech codec of phones)"),
        (b"#!AMR", 0, "AMR-NB (speech codec of phones)"),
        (
            &[0x30, 0x26, 0xB2, 0x75, 0x8E, 0x66, 0xCF, 0x11],
            0,
            "ASF (Windows Media Audio or Video)",
        ),
        (b"MAC ", 0, "Monkey's Audio"),
        (b"wvpk", 0, "WavPack"),
        (b"TTA1", 0, "TTA"),
        (b"MPCK", 0, "Musepack"),
        (b"MP+", 0, "Musepack"),
        (b".snd", 0, "Sun AU"),
        (b"DSD ", 0, "DSD"),
        (b"FRM8", 0, "DSD"),
        (b".RMF", 0, "RealMedia"),
        (b".ra\xFD", 0, "RealAudio"),
        (b"FLV\x01", 0, "Flash Video"),
        (b"AVI ", 8, "AVI"),
        (b"MThd", 0, "MIDI (notes, not sound)"),
        (b"\x00\x00\x01\xBA", 0, "MPEG program stream"),
        (b"\x0B\x77", 0, "AC-3 (Dolby Digital)"),
        (b"\x7F\xFE\x80\x01", 0, "DTS"),
        (b"Speex   ", 28, "Ogg with Speex"),
        (b"caff", 0, "CAF with a codec that is not decoded"),
        (b"8SVX", 8, "8SVX"),
        (b"PK\x03\x04", 0, "ZIP archive"),
        (b"%PDF", 0, "PDF"),
    ];
    formats
        .iter()
        .find(|(mark, at, _)| is(mark, *at))
        .map(|(_, _, name)| *name)
}
