//! Facts about an input that its user needs: what is missing, what was left out, what was chosen.

/// A fact about one input. It does not stop the work, but the user needs it.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Note {
    /// The length in the header is wrong, as a recorder leaves it that never finished its file. All
    /// frames of the file were read.
    WrongLength {
        /// Frames in the header. `None`: the header states no length.
        stated: Option<u64>,
        /// Frames in the file.
        found: u64,
    },
    /// The file ends early. The frames that it has were read.
    Truncated {
        /// Frames in the header, if it states them.
        expected: Option<u64>,
        /// Frames in the file.
        found: u64,
    },
    /// The rest of the file cannot be read. The frames before were read.
    Stopped {
        /// Length of the audio that was read, s.
        at_s: f64,
        /// The reason.
        reason: String,
    },
    /// Packets that cannot be decoded. Silence takes their place.
    Damaged {
        /// Number of packets.
        packets: u64,
        /// Length of the audio before the first of them, s.
        at_s: f64,
    },
    /// A part of the audio is missing.
    Gap {
        /// Length of the audio before the gap, s.
        at_s: f64,
        /// Length of the gap, s.
        seconds: f64,
        /// Whether silence takes its place.
        silence: bool,
    },
    /// Bytes behind the audio are neither audio nor metadata. They were skipped.
    TrailingBytes {
        /// Number of bytes.
        bytes: u64,
    },
    /// The file has more than one audio track. One was read.
    OtherTracks {
        /// The track that was read, counted from 1.
        read: usize,
        /// The tracks that were not read, each with its number.
        others: Vec<String>,
    },
    /// The audio starts later than the file.
    StartOffset {
        /// Time between the two starts, s.
        offset_s: f64,
        /// Whether the output begins with as much silence.
        silence: bool,
    },
    /// AAC at a low rate that may be HE-AAC. Of HE-AAC only the lower half of the band was decoded.
    MaybeHeAac {
        /// Sample rate, Hz.
        rate_hz: u32,
    },
    /// Metadata that the output format cannot hold. It is missing in the output.
    MetadataLeft {
        /// Names of the chunks, tags or pictures.
        names: Vec<String>,
    },
    /// Streams of a video that the output cannot hold. They are missing in the output.
    StreamsLeft {
        /// The streams.
        names: Vec<String>,
    },
    /// Another program decoded the input.
    DecodedBy {
        /// The program.
        program: String,
    },
}

impl Note {
    /// Whether a part of the audio is missing in the output.
    pub fn is_loss(&self) -> bool {
        matches!(
            self,
            Self::Gap { .. } | Self::Truncated { .. } | Self::Stopped { .. } | Self::Damaged { .. }
        )
    }
}

impl std::fmt::Display for Note {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::WrongLength { stated, found } => {
                match stated {
                    Some(stated) => write!(f, "its header states {stated} frames")?,
                    None => write!(f, "its header states no length")?,
                }
                write!(f, ", the file has {found}: all of them were read")
            }
            Self::Truncated { expected, found } => {
                write!(f, "the file is cut off: ")?;
                match expected {
                    Some(expected) => write!(f, "its header states {expected} frames, ")?,
                    None => write!(f, "its last packets are missing, ")?,
                }
                write!(f, "{found} were found and read")
            }
            Self::Stopped { at_s, reason } => {
                write!(f, "only the first {at_s:.3} s were read: {reason}")
            }
            Self::Damaged { packets, at_s } => write!(
                f,
                "{packets} damaged packets from {at_s:.3} s on were replaced by silence"
            ),
            Self::Gap {
                at_s,
                seconds,
                silence,
            } => {
                write!(f, "{seconds:.3} s are missing from about {at_s:.3} s on")?;
                f.write_str(if *silence {
                    "; silence takes their place"
                } else {
                    ""
                })
            }
            Self::TrailingBytes { bytes } => {
                write!(
                    f,
                    "skipped {bytes} bytes after the audio that are not audio"
                )
            }
            Self::OtherTracks { read, others } => {
                write!(
                    f,
                    "read audio track {read}; the file also has {}",
                    others.join(", ")
                )
            }
            Self::StartOffset { offset_s, silence } => {
                write!(
                    f,
                    "the audio starts {offset_s:.3} s after the start of the file; "
                )?;
                f.write_str(match silence {
                    true => "the output starts with silence of this length",
                    false => "the output starts with the audio",
                })
            }
            Self::MaybeHeAac { rate_hz } => write!(
                f,
                "AAC at {rate_hz} Hz: if it is HE-AAC, only the lower half of its band was decoded"
            ),
            Self::MetadataLeft { names } => {
                write!(
                    f,
                    "the output cannot hold this metadata: {}",
                    names.join(", ")
                )
            }
            Self::StreamsLeft { names } => {
                write!(
                    f,
                    "the output cannot hold these streams: {}",
                    names.join(", ")
                )
            }
            Self::DecodedBy { program } => write!(f, "decoded by {program}"),
        }
    }
}
