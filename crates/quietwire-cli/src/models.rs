//! `quietwire models`.

mod add;
mod check;

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use quietwire::{Model, ModelStore, Manifest};

use crate::args::{ModelsArgs, ModelsCommand};
use crate::bench;

/// A model by the name that a user gives.
pub fn load(name: &str) -> Result<Arc<Model>> {
    let model = ModelStore::user()?.load(name);
    model.with_context(|| format!("--model {name}"))
}

pub fn run(args: &ModelsArgs) -> Result<ExitCode> {
    let text = match &args.command {
        ModelsCommand::List => list()?,
        ModelsCommand::Show { model } => show(model)?,
        ModelsCommand::Add { id, from } => add::run(id, from.as_deref())?,
        ModelsCommand::Remove { id } => {
            ModelStore::user()?.remove(id)?;
            format!("removed {id}\n")
        }
        ModelsCommand::Check { model } => return check::run(model),
    };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn list() -> Result<String> {
    let store = ModelStore::user()?;
    let mut text = String::new();
    let mut line = |spec: &Manifest, note: &str| {
        let rate_khz = f64::from(spec.rate_hz()) / 1000.0;
        let (id, version) = (spec.id(), spec.version());
        let license = spec.license();
        writeln!(
            text,
            "{id:<11} {version:<7} {rate_khz:>3} kHz  {license:<18} {note}"
        )
    };
    for (at, id) in Model::embedded_ids().enumerate() {
        let default = if at == 0 { ", default" } else { "" };
        let note = format!("part of the program{default}");
        line(Model::embedded(id)?.manifest(), &note)?;
    }
    let installed = store.list()?;
    for id in &installed {
        match store.manifest(id) {
            Ok(spec) => line(&spec, "installed")?,
            Err(error) => eprintln!("warning: {id}, installed: {error}"),
        }
    }
    for spec in ModelStore::all_known() {
        if !installed.iter().any(|id| id == spec.id()) {
            line(&spec, &format!("known: quietwire models add {}", spec.id()))?;
        }
    }
    Ok(text)
}

fn show(name: &str) -> Result<String> {
    let model = load(name)?;
    let spec = model.manifest();
    let (lowest, highest) = spec.input_rates_hz();
    let mut text = String::new();
    writeln!(text, "model          {} {}", spec.id(), spec.version())?;
    writeln!(text, "license        {}", spec.license())?;
    writeln!(text, "source         {}", spec.source())?;
    writeln!(text, "training data  {}", spec.training_data())?;
    writeln!(
        text,
        "made for       {}, {lowest} to {highest} Hz",
        spec.speech()
    )?;
    writeln!(
        text,
        "works at       {} Hz, hop {}, window {}, lookahead {} hops",
        spec.rate_hz(),
        spec.hop(),
        spec.window(),
        spec.lookahead()
    )?;
    let cost = bench::measure(&model, 3)?;
    writeln!(
        text,
        "latency        {:.1} ms at {} Hz",
        cost.latency_ms,
        spec.rate_hz()
    )?;
    writeln!(
        text,
        "cost here      {:.0} us for each hop of {:.0} ms, {:.0}x real time",
        cost.p50_us,
        cost.hop_us / 1000.0,
        cost.speed
    )?;
    let folder = ModelStore::user()?.installed(name);
    let folder = folder.unwrap_or_else(|| Path::new(name).into());
    if let Some(card) = Model::embedded_card(name) {
        write!(text, "\n{}\n", card.trim_end())?;
    } else if let Ok(card) = std::fs::read_to_string(folder.join("CARD.md")) {
        write!(text, "\n{}\n", card.trim_end())?;
    }
    Ok(text)
}
