//! The arguments of `clean` and `info`.

use std::num::NonZero;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, ValueEnum, value_parser};
use quietwire::{AttenuationLimit, ChannelMode, Strength};
use quietwire_file::{OutputFormat, ReportFormat, SampleFormat};

const EXAMPLES: &str = "\
Without -o, talk.wav becomes talk.clean.wav in the same folder and talk.flac becomes
talk.clean.flac. All other formats become WAV. With -o FOLDER the names stay the same and
subfolders are mirrored. Where two inputs would get one name, as talk.mp3 and talk.wav, one output
keeps the extension: talk.mp3.wav. A file appears under its name when it is complete, with the
permissions and the time of its input. A run that is stopped with Ctrl-C, SIGTERM or SIGHUP removes
the files in progress. A run that is killed leaves them as .NAME.quietwire.part. The next run with
the same output replaces them.

In a folder, files with the name of an audio or video format are cleaned, and files with other names
that begin like one. All others are counted and named at the end.

The output has as many samples as the input, at the same position, rate and depth
(lossy formats: 16 bit). With --attenuation 0 the samples do not change.

With -o NAME.mp4 (.m4v, .mov, .mkv, .webm) the output is a copy of the input video with cleaned sound.
That needs ffmpeg.

Examples:
  quietwire clean talk.wav
  quietwire clean talk.mp4 -o talk.clean.mp4
  quietwire clean *.mp3 -o cleaned/ --format flac
  quietwire clean recordings/ -o cleaned/ --resume
  quietwire clean talk.wav --residual noise.wav --spectrogram talk.png
  ffmpeg -i talk.mp3 -f wav - | quietwire clean - -o - | ffmpeg -i - talk.flac
  arecord -f S16_LE -r 48000 -t raw | quietwire clean - --raw s16le --rate 48000 -o - | aplay -f S16_LE -r 48000

Exit codes: 0 all done, 1 a file failed or is incomplete (the others were cleaned), 2 wrong usage; 130, 143 or 129 in a
shell after SIGINT (Ctrl-C), SIGTERM or SIGHUP.";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CleanArgs {
    /// Files, folders or pipes to clean, or - for standard input
    #[arg(required = true, value_name = "INPUT")]
    pub inputs: Vec<PathBuf>,

    /// The output: a file, a folder, or - for standard output
    #[arg(short, long, value_name = "OUT|DIR")]
    pub output: Option<PathBuf>,

    /// Strength of the noise reduction: at most 12, 20 or 40 dB
    #[arg(long, value_name = "LEVEL", conflicts_with = "attenuation")]
    pub level: Option<Level>,

    /// Largest attenuation of noise, dB. The remaining noise is at most 40 dB, or DB if that is more,
    /// below the speech level. 0: no change, inf: no limit [default: 40]
    #[arg(long, value_name = "DB", value_parser = attenuation_db, allow_hyphen_values = true)]
    pub attenuation: Option<f32>,

    /// An embedded or installed model, or a folder with a model.toml
    #[arg(long, value_name = "ID|FOLDER", default_value = "base")]
    pub model: String,

    /// Clean channels independently, or with one common mask, which keeps the stereo image
    #[arg(long, value_name = "MODE", default_value = "independent")]
    pub channels: Channels,

    /// Skip parts of the model when its own SNR estimate shows that a hop does not need them. The
    /// manifest must have a `gate` table
    #[arg(long, alias = "gate")]
    pub snr_gating: bool,

    /// Format of the output. auto: FLAC for names with .flac, otherwise WAV
    #[arg(long, default_value = "auto")]
    pub format: Format,

    /// Also write the residual: the input minus the output
    #[arg(long, value_name = "FILE|DIR")]
    pub residual: Option<PathBuf>,

    /// Also write NAME.report.json or NAME.report.html beside the output
    #[arg(long, value_name = "FORMAT", value_delimiter = ',')]
    pub report: Vec<Report>,

    /// Also write a picture with the spectrograms before and after
    #[arg(long, value_name = "PNG|DIR")]
    pub spectrogram: Option<PathBuf>,

    /// Also write a line of JSON for every hop: time, speech probability, SNR, gain, levels
    #[arg(long, value_name = "JSONL|DIR")]
    pub telemetry: Option<PathBuf>,

    /// Number of files to clean at the same time [default: number of cores]
    #[arg(long, value_name = "N", value_parser = jobs, allow_negative_numbers = true)]
    pub jobs: Option<NonZero<usize>>,

    /// Overwrite existing outputs
    #[arg(long, conflicts_with = "resume")]
    pub force: bool,

    /// Skip files whose output exists
    #[arg(long)]
    pub resume: bool,

    /// Print errors only
    #[arg(short, long)]
    pub quiet: bool,

    /// Read samples without a header from standard input, and write the same format to standard
    /// output
    #[arg(long, value_name = "FORMAT", requires = "rate")]
    pub raw: Option<Raw>,

    /// Sample rate for --raw, Hz
    #[arg(long, value_name = "HZ", requires = "raw", value_parser = value_parser!(u32).range(1..), allow_negative_numbers = true)]
    pub rate: Option<u32>,

    /// The audio track of a container with several: its number from 1, or all, which writes one file
    /// NAME.trackN for each [default: the one that players choose]
    #[arg(long, value_name = "N|all")]
    pub track: Option<Track>,

    /// Write no metadata: no tags, pictures, timecode or markers
    #[arg(long)]
    pub strip_metadata: bool,

    /// Let the program ffmpeg, if it is installed, decode what this program cannot decode
    #[arg(long)]
    pub via_ffmpeg: bool,

    /// Interleaved channels for --raw
    #[arg(long, value_name = "N", default_value_t = 1, requires = "raw", value_parser = value_parser!(u16).range(1..), allow_negative_numbers = true)]
    pub raw_channels: u16,
}

impl CleanArgs {
    /// The limit of `--attenuation` or `--level`, or the default.
    pub(crate) fn attenuation(&self) -> AttenuationLimit {
        match (self.attenuation, self.level) {
            (Some(db), _) => db.into(),
            (None, Some(level)) => Strength::from(level).into(),
            (None, None) => AttenuationLimit::default(),
        }
    }
}

#[derive(Args)]
pub(crate) struct InfoArgs {
    /// Audio files, or - for standard input
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

/// The audio track of a container.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Track {
    /// Its number, from 1.
    Number(NonZero<usize>),
    All,
}

impl FromStr for Track {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "all" => Ok(Self::All),
            text => text
                .parse()
                .map(Self::Number)
                .map_err(|_| "expected a number from 1 or all"),
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Level {
    /// 12 dB: the room stays audible
    Low,
    /// 20 dB: noise is a quiet background
    Medium,
    /// 40 dB, the default: noise is nearly inaudible
    High,
}

impl From<Level> for Strength {
    fn from(level: Level) -> Self {
        match level {
            Level::Low => Self::Low,
            Level::Medium => Self::Medium,
            Level::High => Self::High,
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Channels {
    Independent,
    Linked,
}

impl From<Channels> for ChannelMode {
    fn from(channels: Channels) -> Self {
        match channels {
            Channels::Independent => Self::Independent,
            Channels::Linked => Self::Linked,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Auto,
    Wav,
    Flac,
}

impl From<Format> for OutputFormat {
    fn from(format: Format) -> Self {
        match format {
            Format::Auto => Self::Auto,
            Format::Wav => Self::Wav,
            Format::Flac => Self::Flac,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Report {
    Json,
    Html,
}

impl From<Report> for ReportFormat {
    fn from(report: Report) -> Self {
        match report {
            Report::Json => Self::Json,
            Report::Html => Self::Html,
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Raw {
    S16le,
    S24le,
    S32le,
    F32le,
}

impl From<Raw> for SampleFormat {
    fn from(raw: Raw) -> Self {
        match raw {
            Raw::S16le => Self::S16,
            Raw::S24le => Self::S24,
            Raw::S32le => Self::S32,
            Raw::F32le => Self::F32,
        }
    }
}

fn attenuation_db(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(limit) if limit >= 0.0 => Ok(limit),
        _ => Err("expected a number of dB, 0 or more, or inf".into()),
    }
}

fn jobs(text: &str) -> Result<NonZero<usize>, String> {
    text.parse()
        .map_err(|_| "expected a number of files, 1 or more".into())
}
