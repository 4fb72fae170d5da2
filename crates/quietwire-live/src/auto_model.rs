//! Chooses the model that this machine can run.

use std::sync::Arc;
use std::time::{Duration, Instant};

use quietwire::{Error, Model};

use crate::processor::Processor;
use crate::settings::{Settings, WhileLoading};

/// Hops that are measured, after as many to warm up.
const HOPS: usize = 40;
/// Largest part of a hop that the slower hops of a model may take. The rest is for other programs.
const MAX_PART: f64 = 0.35;

/// Measures the models, the best first, until one is fast enough. Returns that model with all after
/// it, and the reason. Takes a fraction of a second. While the path runs, an overload still steps down
/// to the next model.
///
/// # Errors
/// As [`Processor::new`].
pub fn auto_models(models: &[Arc<Model>]) -> Result<(Vec<Arc<Model>>, String), Error> {
    let mut costs = Vec::new();
    for (at, model) in models.iter().enumerate() {
        let (cost, hop) = measure(model)?;
        let part = cost.as_secs_f64() / hop.as_secs_f64();
        let id = model.manifest().id();
        costs.push(format!(
            "{id} takes {:.2} of {:.0} ms",
            1e3 * cost.as_secs_f64(),
            1e3 * hop.as_secs_f64()
        ));
        let is_last = at + 1 == models.len();
        if part <= MAX_PART || is_last {
            let limit = format!("the limit is {:.0} %", 100.0 * MAX_PART);
            let warning = if part > MAX_PART {
                ", too slow for this machine"
            } else {
                ""
            };
            let choice = format!("auto: {id}{warning} ({}; {limit})", costs.join(", "));
            return Ok((models[at..].to_vec(), choice));
        }
    }
    Err(Error::NoModel)
}

/// The time that nine of ten hops stay below, and the length of a hop.
fn measure(model: &Arc<Model>) -> Result<(Duration, Duration), Error> {
    let rate_hz = model.manifest().rate_hz();
    let mut processor = Processor::new(std::slice::from_ref(model), rate_hz, 1)?;
    let settings = Settings::new(40.0, WhileLoading::Raw);
    let frames = processor.hop_frames();
    let hop_length = Duration::from_secs_f64(frames as f64 / f64::from(rate_hz));
    // A tone in noise from a linear congruential generator (Numerical Recipes, 1992, section 7.1).
    let mut state = 1u32;
    let mut costs = Vec::with_capacity(HOPS);
    for at in 0..2 * HOPS {
        let hop: Vec<f32> = (0..frames)
            .map(|n| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let noise = state as f32 / u32::MAX as f32 - 0.5;
                0.1 * ((at * frames + n) as f32 * 0.05).sin() + 0.1 * noise
            })
            .collect();
        let start = Instant::now();
        processor.process(&hop, &settings, Duration::from_secs(1), || start.elapsed());
        if at >= HOPS {
            costs.push(start.elapsed());
        }
    }
    costs.sort();
    Ok((costs[HOPS * 9 / 10], hop_length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_choice_names_its_reason() {
        let models = ["base", "tiny"].map(|id| Model::embedded(id).unwrap());
        let (chosen, reason) = auto_models(&models).unwrap();
        assert!(!chosen.is_empty() && chosen.len() <= 2);
        let first = chosen[0].manifest().id();
        assert!(reason.starts_with(&format!("auto: {first}")), "{reason}");
        assert!(reason.contains("of 10 ms"), "{reason}");
        assert!(matches!(auto_models(&[]), Err(Error::NoModel)));
    }
}
