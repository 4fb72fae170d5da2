//! The text of an error: its causes, and what the user can do about it with this program.

use std::error::Error;

use quietwire_store::{ModelStore, StoreError};

use crate::shown;

/// Wrong usage of the command line. The exit code is 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Usage(pub String);

/// An error, its causes and a remedy on one line.
pub(crate) fn message(error: &anyhow::Error) -> String {
    let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
    let text = causes.join(": ");
    let text = shown::escaped(&text);
    match error.chain().find_map(remedy) {
        Some(remedy) => format!("{text}; {remedy}"),
        None => text,
    }
}

/// Whether the reader of our output has ended, as `head` does after some lines. That is no failure.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
    })
}

fn remedy(error: &(dyn Error + 'static)) -> Option<String> {
    #[cfg(feature = "clean")]
    if let Some(error) = error.downcast_ref() {
        return of_file(error).map(Into::into);
    }
    #[cfg(feature = "live")]
    if let Some(error) = error.downcast_ref() {
        return crate::live::remedy(error).map(Into::into);
    }
    of_store(error.downcast_ref()?)
}

fn of_store(error: &StoreError) -> Option<String> {
    match error {
        StoreError::UnknownModel { .. } => Some("quietwire models list shows all models".into()),
        StoreError::NotInstalled { id } if ModelStore::known(id).is_ok() => {
            Some(format!("quietwire models add {id} installs it"))
        }
        StoreError::NotInstalled { .. } => Some("quietwire models list shows all models".into()),
        StoreError::Archive { .. } => Some("get the archive again".into()),
        StoreError::Write { .. } => Some("free some space or check the permissions".into()),
        _ => None,
    }
}

#[cfg(feature = "clean")]
fn of_file(error: &quietwire_file::FileError) -> Option<&'static str> {
    use quietwire_file::FileError;
    use std::io::ErrorKind;
    match error {
        FileError::Write { source, .. } if source.kind() == ErrorKind::InvalidFilename => {
            Some("choose a shorter name with -o; in a folder given with -o the names stay the same")
        }
        FileError::InUse { .. } => {
            Some("wait until it is done; if no other run is active, delete that file")
        }
        FileError::Write { .. } => {
            Some("no output was left; free some space or choose another place with -o")
        }
        FileError::Empty { .. } => Some("record or export it again"),
        FileError::NotAudio { .. } => {
            Some("if it is audio, convert it first: ffmpeg -i INPUT OUTPUT.wav")
        }
        FileError::Wav { .. } => Some("export it again, or try ffmpeg -i INPUT OUTPUT.wav"),
        FileError::Unsupported { .. } => Some(
            "let ffmpeg decode it with --via-ffmpeg, or convert it: ffmpeg -i INPUT OUTPUT.wav",
        ),
        FileError::Corrupt { .. } => Some(
            "copy or export the file again, or skip the damage with ffmpeg -i INPUT OUTPUT.wav",
        ),
        FileError::Track { .. } => Some("choose another number with --track"),
        FileError::Rate { .. } => Some("resample it first: ffmpeg -i INPUT -ar 48000 OUTPUT.wav"),
        FileError::Channels { .. } => Some("mix it down first: ffmpeg -i INPUT -ac 2 OUTPUT.wav"),
        FileError::Exists { .. } => Some(
            "overwrite it with --force, skip finished files with --resume, or choose another name with -o",
        ),
        FileError::SameFile { .. } => Some("choose another name with -o"),
        FileError::TooLongForFlac { .. } | FileError::UnsupportedByFlac { .. } => {
            Some("choose --format wav")
        }
        FileError::Program { .. } => Some(
            "install ffmpeg, or do without it: choose -o OUTPUT.wav, and leave out --via-ffmpeg",
        ),
        FileError::Video { .. } => {
            Some("choose a name with .mkv, or -o OUTPUT.wav for the sound alone")
        }
        FileError::Encode { .. } => Some("please report this as a fault of quietwire"),
        FileError::Denoiser(quietwire::Error::Linked { .. }) => {
            Some("choose --channels independent")
        }
        FileError::Denoiser(quietwire::Error::Gate { .. }) => Some("leave out --snr-gating"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use anyhow::Context as _;

    use super::*;

    fn full_disk() -> StoreError {
        StoreError::Write {
            path: "models/a".into(),
            source: io::ErrorKind::StorageFull.into(),
        }
    }

    #[test]
    fn every_cause_is_printed_once_and_followed_by_the_remedy() {
        let reason = io::Error::from(io::ErrorKind::StorageFull).to_string();
        let error = Err::<(), _>(full_disk()).context("--model a").unwrap_err();
        assert_eq!(
            message(&error),
            format!(
                "--model a: cannot write models/a: {reason}; free some space or check the permissions"
            )
        );
        let error = StoreError::NotInstalled { id: "dfn3".into() };
        assert_eq!(
            message(&error.into()),
            "model `dfn3` is not installed; quietwire models add dfn3 installs it"
        );
    }

    #[cfg(feature = "clean")]
    #[test]
    fn errors_of_the_model_are_not_printed_twice() {
        let error = quietwire::Error::Gate { model: "a".into() };
        let expected = format!("{error}; leave out --snr-gating");
        let error = quietwire_file::FileError::from(error);
        assert_eq!(message(&error.into()), expected);
    }

    #[test]
    fn only_a_broken_pipe_is_no_failure() {
        let pipe = io::Error::from(io::ErrorKind::BrokenPipe);
        let error = StoreError::Write {
            path: "a".into(),
            source: pipe,
        };
        assert!(is_broken_pipe(&error.into()));
        assert!(!is_broken_pipe(&full_disk().into()));
    }
}
