//! `quietwire info`.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use quietwire::file::{Input, Side, measure};

use crate::args::InfoArgs;

pub fn run(args: &InfoArgs) -> Result<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    for file in &args.files {
        let input = match file == Path::new("-") {
            true => Input::Stream(Box::new(std::io::stdin())),
            false => Input::File(file.clone()),
        };
        match measure(input) {
            Ok(side) => write!(std::io::stdout(), "{}", describe(&side))?,
            Err(error) => {
                eprintln!("error: {error}");
                code = ExitCode::FAILURE;
            }
        }
    }
    Ok(code)
}

fn describe(side: &Side) -> String {
    let (info, levels) = (&side.info, &side.levels);
    format!(
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
        side.path.display(),
        info.container,
        info.codec,
        info.rate_hz,
        info.channels,
        info.sample_format,
        side.seconds,
        info.frames.unwrap_or_default(),
        levels.peak_dbfs,
        levels.rms_dbfs,
        levels.noise_floor_dbfs,
        side.clipped_samples,
    )
}
