//! Writes telemetry: one line of JSON for each hop.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use quietwire::Telemetry;
use serde::Serialize;

use crate::atomic_file::AtomicFile;
use crate::error::FileError;
use crate::file_attributes::FileAttributes;

/// One hop. Values that the model does not have are left out.
#[derive(Serialize)]
struct Line {
    /// length of the input up to the end of the hop, s
    time_s: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    speech_probability: Option<f32>,
    snr_db: f32,
    gain_db: f32,
    input_dbfs: f32,
    output_dbfs: f32,
}

/// Writes the telemetry of one file while it is cleaned.
pub(crate) struct TelemetryWriter {
    path: PathBuf,
    part: AtomicFile,
    out: BufWriter<File>,
}

impl TelemetryWriter {
    pub(crate) fn create(
        path: &Path,
        overwrite: bool,
        attributes: &FileAttributes,
    ) -> Result<Self, FileError> {
        let (part, file) = AtomicFile::create(path, overwrite, attributes)?;
        Ok(Self {
            path: path.into(),
            part,
            out: BufWriter::new(file),
        })
    }

    /// Writes one hop that ended at `time_s` of the input.
    pub(crate) fn push(&mut self, time_s: f64, telemetry: Telemetry) -> Result<(), FileError> {
        let line = Line {
            time_s,
            speech_probability: telemetry.speech_probability,
            snr_db: telemetry.snr_db,
            gain_db: telemetry.gain_db,
            input_dbfs: telemetry.input_dbfs,
            output_dbfs: telemetry.output_dbfs,
        };
        serde_json::to_writer(&mut self.out, &line)
            .map_err(std::io::Error::from)
            .and_then(|()| self.out.write_all(b"\n"))
            .map_err(|source| FileError::Write {
                path: self.path.clone(),
                source,
            })
    }

    /// Gives the file its final name.
    pub(crate) fn finish(self) -> Result<(), FileError> {
        match self.out.into_inner() {
            Ok(file) => self.part.commit(&file),
            Err(error) => Err(FileError::Write {
                path: self.path,
                source: error.into_error(),
            }),
        }
    }
}
