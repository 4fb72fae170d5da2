//! The arguments of `live`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use quietwire::Strength;

const EXAMPLES: &str = "\
The clean signal goes to the output device, or with --virtual-mic to a microphone that other
programs can choose (Linux with PulseAudio or PipeWire). It is removed when this command ends.

Examples:
  quietwire live devices                        all devices
  quietwire live --virtual-mic Quiet            the default microphone, cleaned, as \"Quiet\"
  quietwire live --input headset --output cable by a part of their names
  quietwire live --virtual-mic Quiet --monitor  also to the default output, to listen to
  quietwire live --virtual-mic Quiet --ab       compare clean and raw by ear, with the space key
  quietwire live --virtual-speaker \"Clean Speaker\"  also clean what programs play to \"Clean Speaker\"
  quietwire live --record both.wav              left: as captured, right: clean, aligned
  quietwire live ctl toggle                     switches a running one, for a hotkey
  quietwire live doctor                         what is here, what will go wrong, what to do

Exit codes: 0 ended by a signal or --seconds, 1 a device, the sound server or a file failed,
2 wrong usage.";

#[derive(Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub(crate) struct LiveArgs {
    #[command(subcommand)]
    pub command: Option<LiveCommand>,

    #[command(flatten)]
    pub run: RunArgs,
}

#[derive(Args)]
pub(crate) struct RunArgs {
    /// The microphone: its name, or a part of it [default: the default input]
    #[arg(short, long, value_name = "NAME")]
    pub input: Option<String>,

    /// The device for the clean signal: its name, or a part of it [default: the default output]
    #[arg(short, long, value_name = "NAME", conflicts_with = "virtual_mic")]
    pub output: Option<String>,

    /// Create a microphone of this name that any program can choose
    #[arg(long, value_name = "NAME")]
    pub virtual_mic: Option<String>,

    /// Create a loudspeaker of this name: what programs play to it is cleaned and goes to
    /// --speaker-output. Without --virtual-mic or --output no microphone is cleaned
    #[arg(long, value_name = "NAME")]
    pub virtual_speaker: Option<String>,

    /// The real loudspeaker for --virtual-speaker [default: the default output]
    #[arg(long, value_name = "NAME", requires = "virtual_speaker")]
    pub speaker_output: Option<String>,

    /// Also play the clean signal on this device, to listen to [default: the default output]
    #[arg(long, value_name = "NAME", num_args = 0..=1, default_missing_value = "")]
    pub monitor: Option<String>,

    /// Compare by ear: play on the default output; the space key (with --plain: Enter) swaps clean and
    /// raw and prints level, noise floor and SNR of both
    #[arg(long)]
    pub ab: bool,

    /// Remove the echo of the loudspeaker, whose signal this source carries [default: the monitor of the default output]
    #[arg(long, value_name = "NAME", num_args = 0..=1, default_missing_value = "", conflicts_with = "channels")]
    pub echo_reference: Option<String>,

    /// Strength of the noise reduction: at most 12, 20 or 40 dB, or auto: as the noise needs it
    #[arg(long, value_name = "LEVEL", default_value = "high")]
    pub level: Level,

    /// A model, or auto: the best that this computer runs with time to spare
    #[arg(long, value_name = "auto|ID|FOLDER", default_value = "auto")]
    pub model: String,

    /// Play the microphone as it is, or silence, while the model loads
    #[arg(long, value_name = "WHAT", default_value = "raw")]
    pub while_loading: WhileLoading,

    /// Record both sides, aligned: left as captured, right clean
    #[arg(long, value_name = "WAV")]
    pub record: Option<PathBuf>,

    /// Overwrite the recording
    #[arg(long, requires = "record")]
    pub force: bool,

    /// Requested size of the device buffers
    #[arg(long, value_name = "MS", default_value_t = 10.0, value_parser = buffer_ms)]
    pub buffer_ms: f64,

    /// Channels of the clean signal: 2 keeps the stereo image
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=2))]
    pub channels: u8,

    /// Print one line of JSON each second
    #[arg(long, conflicts_with = "plain")]
    pub json: bool,

    /// Print one line each second, also in a terminal
    #[arg(long)]
    pub plain: bool,

    /// End after this time
    #[arg(long, value_name = "S", value_parser = seconds)]
    pub seconds: Option<f64>,

    /// Control socket for `quietwire live ctl`
    #[arg(long, value_name = "SOCKET")]
    pub control: Option<PathBuf>,
}

#[derive(Subcommand)]
pub(crate) enum LiveCommand {
    /// List the input and output devices
    Devices {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Check devices, sound server, priorities and speed of this computer
    Doctor,
    /// Control a running `quietwire live`
    #[cfg(unix)]
    Ctl(CtlArgs),
    /// Print a systemd user unit that runs `quietwire live` with these arguments
    Unit {
        /// The arguments of `quietwire live`
        #[arg(
            trailing_var_arg = true,
            allow_hyphen_values = true,
            value_name = "ARGUMENTS"
        )]
        arguments: Vec<String>,
    },
}

#[cfg(unix)]
#[derive(Args)]
pub(crate) struct CtlArgs {
    /// Its control socket, if it was started with --control
    #[arg(long, value_name = "SOCKET")]
    pub control: Option<PathBuf>,

    /// on, off, toggle, mute, unmute, level low|medium|high|auto|DB, monitor on|off, status or stop;
    /// with \"speaker\" before it, the path of --virtual-speaker
    #[arg(required = true, value_name = "COMMAND", num_args = 1..=3)]
    pub request: Vec<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Level {
    Low,
    Medium,
    High,
    Auto,
}

impl Level {
    /// The attenuation limit, dB, at the start for `Auto`.
    pub(crate) fn attenuation_db(self) -> f32 {
        match self {
            Self::Low => Strength::Low,
            Self::Medium => Strength::Medium,
            Self::High | Self::Auto => Strength::High,
        }
        .attenuation_db()
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum WhileLoading {
    Raw,
    Silence,
}

fn buffer_ms(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(ms) if (1.0..=200.0).contains(&ms) => Ok(ms),
        _ => Err("expected 1 to 200".into()),
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(s) if (0.1..=1e9).contains(&s) => Ok(s),
        _ => Err("expected 0.1 or more".into()),
    }
}
