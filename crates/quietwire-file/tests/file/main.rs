//! The output has the length, position and depth of the input. A file that cannot be cleaned leaves no
//! output.

mod codecs;
mod containers;
mod damage;
mod formats;
mod lengths;
mod metadata;
mod outputs;
mod refusals;

use std::fs;
use std::path::{Path, PathBuf};

use quietwire::Model;
use quietwire_file::{
    CleanJob, CleanOptions, CleanReport, FileError, Input, Note, Output, Reader, ReportFormat,
    clean,
};
use quietwire_testing::files::Folder;

fn options(attenuation_db: f32) -> CleanOptions {
    let mut options = CleanOptions::new(Model::embedded("base").unwrap());
    options.denoiser.attenuation = attenuation_db.into();
    options
}

fn run(input: &Path, output: &Path, options: &CleanOptions) -> Result<CleanReport, FileError> {
    let job = CleanJob::new(Input::File(input.into()), Output::File(output.into()));
    clean(job, options, &mut |_| ())
}

/// A sample clip of the repository.
fn sample(name: &str) -> PathBuf {
    quietwire_testing::files::sample(env!("CARGO_MANIFEST_DIR"), name)
}

/// Cleans with an attenuation limit of 0 dB, which changes nothing. Returns the bytes of the output.
fn unchanged(folder: &Folder, input: &[u8]) -> Vec<u8> {
    let input = folder.put("in.wav", input);
    let output = folder.join("out.wav");
    let _ = fs::remove_file(&output);
    run(&input, &output, &options(0.0)).unwrap();
    fs::read(output).unwrap()
}

fn samples(path: &Path) -> Vec<f32> {
    read(Reader::open(Input::File(path.into())).unwrap()).0
}

/// All samples of an input, and its notes.
fn read(mut reader: Reader) -> (Vec<f32>, Vec<Note>) {
    let (mut all, mut block) = (Vec::new(), Vec::new());
    while reader.read(1000, &mut block).unwrap() > 0 {
        all.extend_from_slice(&block);
    }
    let notes = reader.notes().to_vec();
    (all, notes)
}

/// The error of a file that cannot be cleaned. Checks that no output is left.
fn refused(name: &str, file: &str, bytes: &[u8]) -> FileError {
    let folder = Folder::new(name);
    let input = folder.put(file, bytes);
    let mut job = CleanJob::new(Input::File(input), Output::File(folder.join("out.wav")));
    job.residual = Some(folder.join("rest.wav"));
    job.spectrogram = Some(folder.join("picture.png"));
    job.reports = vec![(ReportFormat::Html, folder.join("out.html"))];
    job.telemetry = Some(folder.join("hops.jsonl"));
    let error = clean(job, &options(40.0), &mut |_| ()).unwrap_err();
    assert_eq!(folder.list(), [file], "{error}");
    error
}
