//! The file shell: what goes in comes out at the same length, place and depth, and a file that
//! cannot be cleaned leaves nothing behind.
#![cfg(all(feature = "file", feature = "embedded-model"))]

mod formats;
mod outputs;
mod refusals;
#[path = "../shell/mod.rs"]
mod shell;

use std::fs;
use std::path::Path;

use quietwire::file::{
    CleanOptions, Cleaned, FileError, Input, Job, Output, Reader, ReportFormat, clean,
};
use quietwire::{Error, Model};
use shell::Folder;

fn options(attenuation_db: f32) -> CleanOptions {
    let mut options = CleanOptions::new(Model::embedded("base").unwrap());
    options.attenuation_db = Some(attenuation_db);
    options
}

fn run(input: &Path, output: &Path, options: &CleanOptions) -> Result<Cleaned, Error> {
    let job = Job::new(Input::File(input.into()), Output::File(output.into()));
    clean(job, options, &mut |_| ())
}

/// Cleans with an attenuation limit of 0, which changes nothing, and gives the output's bytes.
fn unchanged(folder: &Folder, input: &[u8]) -> Vec<u8> {
    let input = folder.put("in.wav", input);
    let output = folder.join("out.wav");
    let _ = fs::remove_file(&output);
    run(&input, &output, &options(0.0)).unwrap();
    fs::read(output).unwrap()
}

fn samples(path: &Path) -> Vec<f32> {
    let mut reader = Reader::open(Input::File(path.into())).unwrap();
    let (mut all, mut block) = (Vec::new(), Vec::new());
    while reader.read(1000, &mut block).unwrap() > 0 {
        all.extend_from_slice(&block);
    }
    all
}

/// The error of a file that cannot be cleaned, after checking that it left nothing behind.
fn refused(name: &str, file: &str, bytes: &[u8]) -> FileError {
    let folder = Folder::new(name);
    let input = folder.put(file, bytes);
    let mut job = Job::new(Input::File(input), Output::File(folder.join("out.wav")));
    job.residual = Some(folder.join("rest.wav"));
    job.spectrogram = Some(folder.join("picture.png"));
    job.reports = vec![(ReportFormat::Html, folder.join("out.html"))];
    job.telemetry = Some(folder.join("hops.jsonl"));
    let error = clean(job, &options(40.0), &mut |_| ()).unwrap_err();
    assert_eq!(folder.list(), [file], "{error}");
    match error {
        Error::File(error) => error,
        other => panic!("{other}"),
    }
}
