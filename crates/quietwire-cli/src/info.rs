//! `quietwire info`.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use quietwire_file::{FileSummary, Input, measure};

use crate::args::clean::InfoArgs;
use crate::failure::message;
use crate::shown;

pub(crate) fn run(args: &InfoArgs) -> Result<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    for file in &args.files {
        let input = match file == Path::new("-") {
            true => Input::Stream(Box::new(std::io::stdin())),
            false => Input::File(file.clone()),
        };
        match measure(input) {
            Ok(summary) => write!(std::io::stdout(), "{}", describe(&summary))?,
            Err(error) => {
                eprintln!("error: {}", message(&error.into()));
                code = ExitCode::FAILURE;
            }
        }
    }
    Ok(code)
}

fn describe(summary: &FileSummary) -> String {
    let (info, levels) = (&summary.info, &summary.levels);
    let mut text = format!(
        "{}\n\
         \x20 format       {}, {}\n\
         \x20 rate         {} Hz\n\
         \x20 channels     {}\n\
         \x20 depth        {}\n\
         \x20 length       {:.3} s, {} frames\n\
         \x20 peak         {:.1} dBFS\n\
         \x20 mean level   {:.1} dBFS\n\
         \x20 noise floor  {:.1} dBFS\n\
         \x20 clipped      {} samples\n",
        shown::path(&summary.path),
        info.container,
        info.codec,
        info.rate_hz,
        info.channels,
        info.sample_format,
        summary.seconds,
        info.frames.unwrap_or_default(),
        levels.peak_dbfs,
        levels.rms_dbfs,
        levels.noise_floor_dbfs,
        summary.clipped_samples,
    );
    for note in &summary.notes {
        text += &format!("  note         {}\n", shown::escaped(&note.to_string()));
    }
    if summary.non_finite_samples > 0 {
        let samples = summary.non_finite_samples;
        text += &format!("  not finite   {samples} samples (NaN or infinity)\n");
    }
    text
}
