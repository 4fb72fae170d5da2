//! `quietwire live`.

mod compare;
#[cfg(unix)]
mod control;
mod devices;
mod doctor;
mod paths;
mod print;
mod remedy;
mod signals;
mod spectrogram;
mod unit;
mod view;

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use quietwire::Model;
use quietwire_live::{DeviceSelector, Live, LiveError, LiveOptions, LoadedModels, auto_models};

use crate::args::live::{Level, LiveArgs, LiveCommand, RunArgs, WhileLoading};
use crate::failure::Usage;
use crate::live::paths::Paths;
use crate::live::signals::Signals;
use crate::load;

pub(crate) use remedy::remedy;

/// Pause of the main thread.
const PAUSE: Duration = Duration::from_millis(50);
/// Time between two lines.
const LINE_EVERY: Duration = Duration::from_secs(1);

pub(crate) fn run(args: LiveArgs) -> Result<ExitCode> {
    match args.command {
        None => run_path(&args.run),
        Some(LiveCommand::Devices { json }) => devices::run(json).map(|()| ExitCode::SUCCESS),
        Some(LiveCommand::Doctor) => doctor::run(),
        #[cfg(unix)]
        Some(LiveCommand::Ctl(args)) => control::send(&args).map(|()| ExitCode::SUCCESS),
        Some(LiveCommand::Unit { arguments }) => unit::run(&arguments).map(|()| ExitCode::SUCCESS),
    }
}

fn run_path(args: &RunArgs) -> Result<ExitCode> {
    check(args)?;
    let signals = Signals::new()?;
    // Before the devices are opened: a second instance must not take them.
    #[cfg(unix)]
    let control = control::Server::bind(args.control.clone())?;
    if args.model != "auto" {
        // A wrong name is an error at once, not a path without a model.
        load::model("--model", &args.model)?;
    }
    let paths = start(args)?;
    let start = Instant::now();
    let must_end = || {
        #[cfg(unix)]
        let is_stopped = control.answer(&paths);
        #[cfg(not(unix))]
        let is_stopped = false;
        let elapsed_s = start.elapsed().as_secs_f64();
        is_stopped || signals.is_raised() || args.seconds.is_some_and(|s| elapsed_s >= s)
    };
    if std::io::stdout().is_terminal() && !args.json && !args.plain {
        view::run(&paths, args.ab, must_end)?;
    } else {
        print_lines(&paths, args, must_end)?;
    }
    print::Lines::new(args.json).finish(&paths.stop())?;
    Ok(ExitCode::SUCCESS)
}

/// Opens the devices of all paths.
fn start(args: &RunArgs) -> Result<Paths> {
    let start = |options| {
        let model = args.model.clone();
        Live::start(options, move || {
            load_models(&model).map_err(|e| format!("{e:#}"))
        })
    };
    let speaker = args.virtual_speaker.as_ref().map(|name| {
        let live = start(speaker_options(args, name))?;
        eprintln!("the loudspeaker \"{name}\" is ready: choose it in any program");
        Ok::<_, anyhow::Error>(live)
    });
    let speaker = speaker.transpose()?;
    if let Some(speaker) = speaker {
        if args.virtual_mic.is_none() && args.output.is_none() {
            return Ok(Paths::new(speaker, None));
        }
        return Ok(Paths::new(start_microphone(args, start)?, Some(speaker)));
    }
    Ok(Paths::new(start_microphone(args, start)?, None))
}

fn start_microphone(
    args: &RunArgs,
    start: impl Fn(LiveOptions) -> Result<Live, LiveError>,
) -> Result<Live> {
    let live = start(options(args))?;
    if let Some(name) = &args.virtual_mic {
        eprintln!("the microphone \"{name}\" is ready: choose it in any program");
    }
    Ok(live)
}

/// Prints a line each second until `must_end`. With `--ab` each Enter swaps clean and raw.
fn print_lines(paths: &Paths, args: &RunArgs, must_end: impl Fn() -> bool) -> Result<()> {
    let mut lines = print::Lines::new(args.json);
    let mut next_line = Instant::now();
    let keys = args.ab.then(compare::enter_keys);
    while !must_end() {
        if keys.as_ref().is_some_and(|keys| keys.try_recv().is_ok()) {
            let numbers = compare::numbers(&paths.status().main);
            let settings = paths.main().settings();
            settings.set_bypass(!settings.bypass());
            let now = if settings.bypass() { "raw" } else { "clean" };
            eprintln!("{numbers}   now: {now}");
        }
        if Instant::now() >= next_line {
            next_line += LINE_EVERY;
            lines.print(&paths.status())?;
            std::io::stdout().flush()?;
        }
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

/// What the parser of the arguments cannot check.
fn check(args: &RunArgs) -> Result<()> {
    for (flag, name) in [
        ("--virtual-mic", &args.virtual_mic),
        ("--virtual-speaker", &args.virtual_speaker),
    ] {
        if name.as_deref().is_some_and(|name| name.trim().is_empty()) {
            bail!(Usage(format!("{flag} needs a name")));
        }
    }
    if let Some(path) = &args.record
        && path.exists()
        && !args.force
    {
        bail!(Usage(format!(
            "{} exists: overwrite it with --force, or choose another name",
            path.display()
        )));
    }
    Ok(())
}

fn options(args: &RunArgs) -> LiveOptions {
    let mut options = common_options(args);
    options.input = selector(args.input.as_deref());
    options.output = selector(args.output.as_deref());
    options.virtual_mic.clone_from(&args.virtual_mic);
    let monitor = args.monitor.as_deref().or(args.ab.then_some(""));
    options.monitor = monitor.map(|name| selector(Some(name)));
    let reference = args.echo_reference.as_deref();
    options.echo_reference = reference.map(|name| selector(Some(name)));
    options.channels = args.channels.into();
    options.record.clone_from(&args.record);
    options
}

/// The path from the virtual loudspeaker `name` to the real one.
fn speaker_options(args: &RunArgs, name: &str) -> LiveOptions {
    let mut options = common_options(args);
    options.virtual_speaker = Some(name.to_owned());
    options.output = selector(args.speaker_output.as_deref());
    options
}

fn common_options(args: &RunArgs) -> LiveOptions {
    let mut options = LiveOptions::default();
    options.buffer_ms = args.buffer_ms;
    options.attenuation_db = args.level.attenuation_db();
    options.auto_attenuation = matches!(args.level, Level::Auto);
    options.while_loading = match args.while_loading {
        WhileLoading::Raw => quietwire_live::WhileLoading::Raw,
        WhileLoading::Silence => quietwire_live::WhileLoading::Silence,
    };
    options
}

fn selector(name: Option<&str>) -> DeviceSelector {
    match name {
        Some(name) if !name.is_empty() => DeviceSelector::Name(name.to_owned()),
        _ => DeviceSelector::Default,
    }
}

/// The models of the path, the best first.
fn load_models(name: &str) -> Result<LoadedModels> {
    if name == "auto" {
        let models = ["base", "tiny"].map(Model::embedded);
        let models = models.into_iter().collect::<Result<Vec<_>, _>>()?;
        return Ok(auto_models(&models)?);
    }
    let model = load::model("--model", name)?;
    let mut models = vec![model.clone()];
    let tiny = Model::embedded("tiny")?;
    if tiny.manifest().id() != model.manifest().id()
        && tiny.manifest().rate_hz() == model.manifest().rate_hz()
        && tiny.manifest().hop() == model.manifest().hop()
    {
        models.push(tiny);
    }
    Ok((models, format!("{}: as requested", model.manifest().id())))
}
