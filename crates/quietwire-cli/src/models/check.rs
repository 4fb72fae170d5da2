//! `quietwire models check`.

use std::f32::consts::TAU;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use quietwire::{Denoiser, Model, ModelStore};

use crate::bench;

/// Whole signal and hop by hop may differ by rounding, no more.
const MAX_UNROLLED: f32 = 1e-4;
/// The output of golden vectors may differ by rounding, -60 dB of full scale.
const MAX_GOLDEN: f32 = 1e-3;
const SECONDS: usize = 3;

/// What a check came to: right or not, and in words.
type Finding = (bool, String);

pub fn run(name: &str) -> Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    let folder = ModelStore::user()?.installed(name);
    let folder = folder.or_else(|| Some(PathBuf::from(name)).filter(|path| path.is_dir()));
    let loaded = match &folder {
        Some(folder) => Model::from_folder(folder),
        None => ModelStore::user()?.load(name),
    };
    let model = match loaded {
        Ok(model) => model,
        Err(error) => {
            writeln!(out, "FAIL  loads         {error}")?;
            return Ok(ExitCode::FAILURE);
        }
    };
    let spec = model.manifest();
    let loads = format!(
        "{} {}, {} Hz, {}",
        spec.id(),
        spec.version(),
        spec.rate_hz(),
        spec.license()
    );
    let mut findings = vec![("loads", (true, loads))];
    if let Some(folder) = &folder {
        if let Some(difference) = Model::whole_signal_difference(folder)? {
            let text = format!("hop by hop differs from the whole signal by {difference:.1e}");
            findings.push(("streams", (difference < MAX_UNROLLED, text)));
        }
        findings.push(("golden", golden(&model, folder)?));
    }
    findings.push(("latency", latency(&model)?));
    findings.push(("delay", delay(&model)?));
    findings.push(("hostile", hostile(&model)?));
    findings.push(("cost", cost(&model)?));
    let mut failed = 0;
    for (what, (right, text)) in findings {
        failed += usize::from(!right);
        writeln!(
            out,
            "{}  {what:<12}  {text}",
            if right { "ok  " } else { "FAIL" }
        )?;
    }
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// `golden/input.f32` and `golden/output.f32`: samples at the model's rate, the output as late as
/// the stream's latency makes it less one hop, which is what waits for a block to fill.
fn golden(model: &Arc<Model>, folder: &Path) -> Result<Finding> {
    let read = |name: &str| {
        let bytes = std::fs::read(folder.join("golden").join(name)).ok()?;
        let numbers = bytes.chunks_exact(4);
        let number = |b: &[u8]| f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
        Some(numbers.map(number).collect::<Vec<_>>())
    };
    let (Some(input), Some(expected)) = (read("input.f32"), read("output.f32")) else {
        let text = "no golden/input.f32 and output.f32: nothing to compare with";
        return Ok((true, text.into()));
    };
    let hop = model.manifest().hop();
    let found = cleaned(model, &input, f32::INFINITY)?.0;
    let pairs = found.iter().skip(hop).zip(&expected);
    let count = pairs.len();
    let difference = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    let text = format!("{count} samples, largest difference {difference:.1e}");
    Ok((count > 0 && difference < MAX_GOLDEN, text))
}

/// An impulse, half of which the limit lets through whatever the model says.
fn latency(model: &Arc<Model>) -> Result<Finding> {
    let rate = model.manifest().rate_hz() as usize;
    let mut impulse = vec![0.0; rate];
    impulse[rate / 2] = 0.5;
    let (output, latency) = cleaned(model, &impulse, 6.0)?;
    let peak = (0..output.len()).max_by(|a, b| output[*a].abs().total_cmp(&output[*b].abs()));
    let found = peak.map(|at| at as isize - (rate / 2) as isize);
    let ms = 1000.0 * latency as f64 / rate as f64;
    let came = found.map_or("never".into(), |after| format!("after {after}"));
    let text = format!("{latency} samples, {ms:.1} ms; an impulse came {came}");
    Ok((found == Some(latency as isize), text))
}

/// What the model itself makes of a voice-like sound must come as late as the dry signal does.
fn delay(model: &Arc<Model>) -> Result<Finding> {
    let input = voice(model.manifest().rate_hz() as usize);
    let (output, latency) = cleaned(model, &input, f32::INFINITY)?;
    let energy = |x: &[f32]| x.iter().map(|x| f64::from(x * x)).sum::<f64>();
    let kept_db = 10.0 * (energy(&output) / energy(&input)).log10();
    if kept_db < -20.0 {
        let text = format!("took a voice-like sound for noise ({kept_db:.0} dB): not measured");
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
    Ok((off_ms < 1.0, text))
}

/// Silence, full scale, tiny numbers and no numbers.
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
    let (output, _) = cleaned(model, &input, 40.0)?;
    let bad = output.iter().filter(|x| !x.is_finite()).count();
    let peak = output.iter().fold(0.0f32, |peak, x| peak.max(x.abs()));
    let text = format!("{bad} samples not finite, peak {peak:.2}");
    Ok((bad == 0 && peak < 100.0, text))
}

fn cost(model: &Arc<Model>) -> Result<Finding> {
    let cost = bench::measure(model, SECONDS as u32)?;
    let text = format!(
        "{:.0} us a hop of {:.1} ms, 99 % within {:.0} us, {:.0}x real time",
        cost.p50_us,
        cost.hop_us / 1000.0,
        cost.p99_us,
        cost.speed
    );
    Ok((cost.speed > 1.0, text))
}

/// Output of a new stream at the model's rate, its end included, and the latency.
fn cleaned(model: &Arc<Model>, input: &[f32], attenuation_db: f32) -> Result<(Vec<f32>, usize)> {
    let builder = Denoiser::builder(model.clone()).attenuation_db(attenuation_db);
    let mut stream = builder.build()?;
    let mut output = vec![0.0; input.len() + stream.latency()];
    let (body, tail) = output.split_at_mut(input.len());
    stream.process(input, body)?;
    stream.flush(tail)?;
    Ok((output, stream.latency()))
}

/// Syllables of harmonics of a gliding pitch under two formants, at -20 dBFS or so.
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
