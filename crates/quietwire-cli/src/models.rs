//! `quietwire models`.

mod add;
mod check;

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, bail};
use quietwire::{Manifest, Model};
use quietwire_store::ModelStore;

use crate::args::{ModelsArgs, ModelsCommand};
use crate::failure::message;
use crate::{cost, load};

pub(crate) fn run(args: &ModelsArgs) -> Result<ExitCode> {
    let text = match &args.command {
        ModelsCommand::List => list()?,
        ModelsCommand::Show { model } => show(model)?,
        ModelsCommand::Add { id, from } => add::run(id, from.as_deref())?,
        ModelsCommand::Remove { id } => {
            if Model::embedded_ids().any(|embedded| embedded == id) {
                bail!("model `{id}` is part of the program: it cannot be removed");
            }
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
    let mut line = |manifest: &Manifest, note: &str| {
        let rate_khz = f64::from(manifest.rate_hz()) / 1000.0;
        let (id, version) = (manifest.id(), manifest.version());
        let license = manifest.license();
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
            Ok(manifest) => line(&manifest, "installed")?,
            Err(error) => eprintln!("warning: {id}, installed: {}", message(&error.into())),
        }
    }
    for manifest in ModelStore::all_known() {
        if !installed.iter().any(|id| id == manifest.id()) {
            line(
                &manifest,
                &format!("known: quietwire models add {}", manifest.id()),
            )?;
        }
    }
    Ok(text)
}

fn show(name: &str) -> Result<String> {
    let store = ModelStore::user()?;
    let model = load::model("models show", name)?;
    let manifest = model.manifest();
    let (lowest, highest) = manifest.input_rates_hz();
    let mut text = String::new();
    writeln!(
        text,
        "model          {} {}",
        manifest.id(),
        manifest.version()
    )?;
    writeln!(text, "license        {}", manifest.license())?;
    writeln!(text, "source         {}", manifest.source())?;
    writeln!(text, "training data  {}", manifest.training_data())?;
    writeln!(
        text,
        "made for       {}, {lowest} to {highest} Hz",
        manifest.speech()
    )?;
    writeln!(
        text,
        "works at       {} Hz, hop {}, window {}, lookahead {} hops",
        manifest.rate_hz(),
        manifest.hop(),
        manifest.window(),
        manifest.lookahead()
    )?;
    let cost = cost::measure(&model, 3)?;
    writeln!(
        text,
        "latency        {:.1} ms at {} Hz",
        cost.latency_ms,
        manifest.rate_hz()
    )?;
    writeln!(
        text,
        "cost here      {:.0} us for each hop of {:.0} ms, {:.0}x real time",
        cost.p50_us,
        cost.hop_us / 1000.0,
        cost.speed
    )?;
    let folder = store.installed(name);
    let folder = folder.unwrap_or_else(|| Path::new(name).into());
    if let Some(card) = Model::embedded_card(name) {
        write!(text, "\n{}\n", card.trim_end())?;
    } else if let Ok(card) = std::fs::read_to_string(folder.join("CARD.md")) {
        write!(text, "\n{}\n", card.trim_end())?;
    }
    Ok(text)
}
