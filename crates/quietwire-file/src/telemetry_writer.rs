//! A line of JSON for every hop.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::error::FileError;
use super::part::PartFile;
use crate::Telemetry;

/// One hop. What the model does not tell is left out.
#[derive(Serialize)]
struct Line {
    /// input up to the end of the hop, s
    time_s: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    speech_probability: Option<f32>,
    snr_db: f32,
    gain_db: f32,
    input_dbfs: f32,
    output_dbfs: f32,
}

/// Telemetry of a whole file, written as it comes.
pub(super) struct Trace {
    path: PathBuf,
    part: PartFile,
    out: BufWriter<File>,
    has_vad: bool,
    hops: u64,
}

impl Trace {
    /// `has_vad`: whether the model tells a probability of speech.
    pub(super) fn create(
        path: &Path,
        overwrite: bool,
        has_vad: bool,
    ) -> Result<Self, FileError> {
        let (part, file) = PartFile::create(path, overwrite)?;
        Ok(Self {
            path: path.into(),
            part,
            out: BufWriter::new(file),
            has_vad,
            hops: 0,
        })
    }

    /// Notes the latest hop, if there was one since the last call; `hops` counts all of them.
    pub(super) fn push(
        &mut self,
        hops: u64,
        time_s: f64,
        telemetry: Telemetry,
    ) -> Result<(), FileError> {
        if hops == self.hops {
            return Ok(());
        }
        self.hops = hops;
        let line = Line {
            time_s,
            speech_probability: self.has_vad.then_some(telemetry.speech_probability),
            snr_db: telemetry.snr_db,
            gain_db: telemetry.gain_db,
            input_dbfs: telemetry.input_dbfs,
            output_dbfs: telemetry.output_dbfs,
        };
        serde_json::to_writer(&mut self.out, &line)
            .map_err(std::io::Error::from)
            .and_then(|()| self.out.write_all(b"\n"))
            .map_err(|source| self.failed(source))
    }

    /// Gives the file its name.
    pub(super) fn finish(self) -> Result<(), FileError> {
        let path = self.path;
        match self.out.into_inner() {
            Ok(file) => self.part.commit(&file),
            Err(error) => Err(FileError::Write {
                path,
                source: error.into_error(),
            }),
        }
    }

    fn failed(&self, source: std::io::Error) -> FileError {
        FileError::Write {
            path: self.path.clone(),
            source,
        }
    }
}
