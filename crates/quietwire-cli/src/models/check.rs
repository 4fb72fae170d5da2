//! `quietwire models check`.

use std::f32::consts::TAU;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use quietwire::{AttenuationLimit, Denoiser, Model};
use quietwire_store::{ModelStore, StoreError};

use crate::cost;
use crate::failure::message;

/// Largest difference between a run over a whole signal and a run hop by hop, relative to the largest
/// output: rounding.
const MAX_UNROLLED: f32 = 1e-4;
/// Largest difference of golden vectors: rounding, -60 dB of full scale.
const MAX_GOLDEN: f32 = 1e-3;
/// Largest difference between both executors, relative to the largest output: that of 8-bit weights.
const MAX_ENGINES: f32 = 1e-2;
/// Length of the test signals, s.
const SECONDS: usize = 3;

/// The result of one check: whether it passed, and a text.
type Finding = (bool, String);

pub(crate) fn run(name: &str) -> Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    let folder = ModelStore::user()?.installed(name);
    let folder = folder.or_else(|| Some(PathBuf::from(name)).filter(|path| path.is_dir()));
    let loaded = match &folder {
        Some(folder) => Model::from_folder(folder).map_err(StoreError::from),
        None => ModelStore::user()?.load(name),
    };
    let model = match loaded {
        Ok(model) => model,
        Err(error) => {
            writeln!(out, "FAIL  loads         {}", message(&error.into()))?;
            return Ok(ExitCode::FAILURE);
        }
    };
    let manifest = model.manifest();
    let loads = format!(
        "{} {}, {} Hz, {}",
        manifest.id(),
        manifest.version(),
        manifest.rate_hz(),
        manifest.license()
    );
    let mut findings = vec![("loads", (true, loads))];
    if let Some(folder) = &folder {
        if let Some(difference) = Model::whole_signal_difference(folder)? {
            let text = format!("hop by hop differs from the whole signal by {difference:.1e}");
            findings.push(("streams", (difference < MAX_UNROLLED, text)));
        }
        findings.push(("golden", golden(&model, folder)?));
    }
    for graph in model.graph_engines() {
        let because = graph
            .reason
            .map_or(String::new(), |reason| format!(": {reason}"));
        let text = format!("{} runs in {}{because}", graph.file, graph.engine);
        findings.push(("engine", (true, text)));
    }
    let difference = match &folder {
        Some(folder) => Model::engine_difference(folder)?,
        None => Model::embedded_engine_difference(manifest.id())?,
    };
    if let Some(difference) = difference {
        let text = format!("the outputs differ from those of tract by {difference:.1e}");
        findings.push(("reference", (difference <= MAX_ENGINES, text)));
    }
    findings.push(("latency", latency(&model)?));
    findings.push(("delay", delay(&model)?));
    findings.push(("hostile", hostile(&model)?));
    findings.push(("cost", cost(&model)?));
    let mut failed = 0;
    for (what, (passed, text)) in findings {
        failed += usize::from(!passed);
        writeln!(
            out,
            "{}  {what:<12}  {text}",
            if passed { "ok  " } else { "FAIL" }
        )?;
    }
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Compares the output for `golden/input.f32` with `golden/output.f32`: samples at the model's rate. The
/// golden output is one hop earlier than that of a stream, which collects a hop before it processes it.
fn golden(model: &Arc<Model>, folder: &Path) -> Result<Finding> {
    let folder = folder.join("golden");
    if !folder.join("input.f32").is_file() && !folder.join("output.f32").is_file() {
        let text = "no golden/input.f32 and output.f32: nothing to compare with";
        return Ok((true, text.into()));
    }
    let input = read_f32(&folder.join("input.f32"))?;
    let expected = read_f32(&folder.join("output.f32"))?;
    if input.is_empty() || input.len() != expected.len() {
        let text = format!(
            "input.f32 has {} samples and output.f32 has {}: expected the same number, 1 or more",
            input.len(),
            expected.len()
        );
        return Ok((false, text));
    }
    let (output, _) = cleaned(model, &input, AttenuationLimit::Unlimited)?;
    let found = &output[model.manifest().hop()..][..expected.len()];
    let difference = max_difference(found, &expected);
    let text = format!(
        "{} samples, largest difference {difference:.1e}",
        expected.len()
    );
    Ok((difference < MAX_GOLDEN, text))
}

fn read_f32(path: &Path) -> Result<Vec<f32>> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let (numbers, rest) = bytes.as_chunks();
    ensure!(
        rest.is_empty(),
        "{} has {} bytes: expected a multiple of 4",
        path.display(),
        bytes.len()
    );
    Ok(numbers
        .iter()
        .map(|bytes| f32::from_le_bytes(*bytes))
        .collect())
}

/// The largest difference of two signals. NaN if one of the differences is NaN.
fn max_difference(a: &[f32], b: &[f32]) -> f32 {
    let differences = a.iter().zip(b).map(|(a, b)| (a - b).abs());
    // In the total order, a positive NaN is above all numbers.
    differences.max_by(f32::total_cmp).unwrap_or(0.0)
}

/// Checks the delay of an impulse. The limit of 6 dB passes half of it, whatever the model outputs.
fn latency(model: &Arc<Model>) -> Result<Finding> {
    let rate = model.manifest().rate_hz() as usize;
    let mut impulse = vec![0.0; rate];
    impulse[rate / 2] = 0.5;
    let (output, latency) = cleaned(model, &impulse, 6.0.into())?;
    let peak = (0..output.len()).max_by(|a, b| output[*a].abs().total_cmp(&output[*b].abs()));
    let found = peak.map(|at| at as isize - (rate / 2) as isize);
    let ms = 1000.0 * latency as f64 / rate as f64;
    let came = found.map_or("never".into(), |after| format!("after {after}"));
    let text = format!("{latency} samples, {ms:.1} ms; an impulse came {came}");
    Ok((found == Some(latency as isize), text))
}

/// Checks that the model's output for a voice-like signal has the latency of the stream.
fn delay(model: &Arc<Model>) -> Result<Finding> {
    let input = voice(model.manifest().rate_hz() as usize);
    let (output, latency) = cleaned(model, &input, AttenuationLimit::Unlimited)?;
    let energy = |x: &[f32]| x.iter().map(|x| f64::from(x * x)).sum::<f64>();
    let kept_db = 10.0 * (energy(&output) / energy(&input)).log10();
    if kept_db < -20.0 {
        let text =
            format!("a voice-like sound was removed as noise ({kept_db:.0} dB): not measured");
        return Ok((true, text));
    }
    let match_at = |delay: usize| -> f64 {
        let pairs = output[delay..].iter().zip(&input);
        pairs.map(|(a, b)| f64::from(a * b)).sum()
    };
    let best = (0..2 * latency + 1).max_by(|a, b| match_at(*a).total_cmp(&match_at(*b)));
    let best = best.unwrap_or(0);
    let off_ms = 1000.0 * best.abs_diff(latency) as f64 / f64::from(model.manifest().rate_hz());
    let text = format!("a voice-like sound came {best} samples later, kept {kept_db:.1} dB");
    Ok((off_ms < 1.0 && kept_db.is_finite(), text))
}

/// Checks the output for silence, full scale, tiny numbers, NaN and infinity.
fn hostile(model: &Arc<Model>) -> Result<Finding> {
    let rate = model.manifest().rate_hz() as usize;
    let mut input = vec![0.0; rate];
    for (at, sample) in input.iter_mut().enumerate() {
        *sample = match (4 * at / rate, at % 2) {
            (0, _) => 0.0,
            (1, 0) => 1.0,
            (1, _) => -1.0,
            (2, _) => 1e-30,
            (_, 0) => f32::NAN,
            _ => f32::INFINITY,
        };
    }
    let (output, _) = cleaned(model, &input, 40.0.into())?;
    let bad = output.iter().filter(|x| !x.is_finite()).count();
    let peak = output.iter().fold(0.0f32, |peak, x| peak.max(x.abs()));
    let text = format!("{bad} samples not finite, peak {peak:.2}");
    Ok((bad == 0 && peak < 100.0, text))
}

fn cost(model: &Arc<Model>) -> Result<Finding> {
    let cost = cost::measure(model, SECONDS as u32)?;
    let text = format!(
        "{:.0} us a hop of {:.1} ms, 99 % within {:.0} us, {:.0}x real time",
        cost.p50_us,
        cost.hop_us / 1000.0,
        cost.p99_us,
        cost.speed
    );
    Ok((cost.speed > 1.0, text))
}

/// The output of a new stream at the model's rate with its tail, and the latency.
fn cleaned(
    model: &Arc<Model>,
    input: &[f32],
    attenuation: AttenuationLimit,
) -> Result<(Vec<f32>, usize)> {
    let builder = Denoiser::builder(model.clone()).attenuation(attenuation);
    let mut stream = builder.build()?;
    let mut output = vec![0.0; input.len() + stream.latency()];
    let (body, tail) = output.split_at_mut(input.len());
    stream.process(input, body)?;
    stream.flush(tail)?;
    Ok((output, stream.latency()))
}

/// A voice-like signal: syllables of harmonics with a gliding pitch and two formants, about -20 dBFS.
fn voice(rate: usize) -> Vec<f32> {
    let mut phase = 0.0f32;
    (0..SECONDS * rate)
        .map(|at| {
            let time = at as f32 / rate as f32;
            let pitch = 120.0 + 25.0 * (TAU * 0.7 * time).sin();
            phase = (phase + pitch / rate as f32).fract();
            let formant = |hz: f32, center: f32| (-((hz - center) / 200.0).powi(2)).exp();
            let drift = 300.0 * (TAU * 1.3 * time).sin();
            let sum: f32 = (1..25)
                .map(|harmonic| {
                    let hz = pitch * harmonic as f32;
                    let level = formant(hz, 600.0) + 0.5 * formant(hz, 1500.0 + drift) + 0.02;
                    level * (TAU * phase * harmonic as f32).sin()
                })
                .sum();
            let syllable = (TAU * 2.0 * time).sin().max(0.0);
            0.1 * sum * syllable
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nan_is_the_largest_difference() {
        assert_eq!(max_difference(&[0.0, 1.0, -2.0], &[0.5, 1.0, -1.0]), 1.0);
        for nan in [f32::NAN, -f32::NAN] {
            assert!(max_difference(&[0.0, nan, 0.0], &[0.0, 0.0, 9.0]).is_nan());
        }
    }
}
