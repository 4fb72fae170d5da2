//! `quietwire models`.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use quietwire::Model;

use crate::args::{ModelsArgs, ModelsCommand};
use crate::bench;

/// An embedded model by its id, or one from a folder.
pub fn load(name: &str) -> Result<Arc<Model>> {
    if Model::embedded_ids().any(|id| id == name) || !Path::new(name).is_dir() {
        return Model::embedded(name)
            .with_context(|| format!("--model {name}: neither an embedded model nor a folder"));
    }
    Model::from_folder(Path::new(name)).with_context(|| format!("--model {name}"))
}

pub fn run(args: &ModelsArgs) -> Result<()> {
    let text = match &args.command {
        ModelsCommand::List => list()?,
        ModelsCommand::Show { model } => show(model)?,
    };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(())
}

fn list() -> Result<String> {
    let mut text = String::new();
    for (at, id) in Model::embedded_ids().enumerate() {
        let model = Model::embedded(id)?;
        let (spec, note) = (model.spec(), if at == 0 { "  (default)" } else { "" });
        writeln!(
            text,
            "{id}  {}  {} kHz  {}{note}",
            spec.version(),
            f64::from(spec.rate_hz()) / 1000.0,
            spec.licence()
        )?;
    }
    Ok(text)
}

fn show(name: &str) -> Result<String> {
    let model = load(name)?;
    let spec = model.spec();
    let (lowest, highest) = spec.input_rates_hz();
    let mut text = String::new();
    writeln!(text, "model          {} {}", spec.id(), spec.version())?;
    writeln!(text, "licence        {}", spec.licence())?;
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
    if let Some(card) = Model::embedded_card(name) {
        write!(text, "\n{}\n", card.trim_end())?;
    } else if let Ok(card) = std::fs::read_to_string(Path::new(name).join("CARD.md")) {
        write!(text, "\n{}\n", card.trim_end())?;
    }
    Ok(text)
}
