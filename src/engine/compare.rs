//! Compares the outputs of a plan with those of tract.

use std::sync::Arc;

use super::fault::engine_error;
use super::graphs::Graphs;
use super::plan::{Plan, PlanSession};
use super::tract::{Graph, TractSession};
use crate::error::Error;
use crate::manifest::{GraphSpec, Role};

/// Largest difference of two executors, relative to the largest output: that of 8-bit weights whose
/// inputs have 16 bits.
pub(super) const MAX_DIFFERENCE: f32 = 1e-2;
/// Hops of a comparison, so that every state has an effect.
const HOPS: usize = 8;
/// Streams of a comparison of batches.
const ROWS: usize = 3;

/// The largest difference between the outputs of the executor of this library and those of tract, on
/// noise, relative to the largest value of each output. `None` for graphs that run in tract anyway.
/// Infinite if a stream differs alone and in a batch.
///
/// # Errors
/// As [`Graphs::load`].
pub(crate) fn reference_difference(
    onnx: &[&[u8]],
    specs: &[GraphSpec],
    batched: bool,
) -> Result<Option<f32>, Error> {
    match Plan::new(onnx, specs, batched) {
        Ok(plan) => plan_difference(&Arc::new(plan), onnx, specs, batched).map(Some),
        Err(_) => Graphs::load(onnx, specs, batched).map(|_| None),
    }
}

/// [`reference_difference`] of `plan`.
pub(super) fn plan_difference(
    plan: &Arc<Plan>,
    onnx: &[&[u8]],
    specs: &[GraphSpec],
    batched: bool,
) -> Result<f32, Error> {
    let mut reference = Vec::with_capacity(specs.len());
    for (onnx, spec) in onnx.iter().zip(specs) {
        reference.push(Graph::load_reference(onnx, spec, specs)?);
    }
    let rows = if batched { ROWS } else { 1 };
    let mut plans: Vec<_> = (0..rows).map(|_| PlanSession::new(plan, 1)).collect();
    let mut batch = PlanSession::new(plan, rows);
    let mut expected = TractSession::new(&reference)?;
    let mut noise = Noise(1);
    // The largest output and the largest difference.
    let outputs = specs
        .iter()
        .map(|spec| vec![(0.0f32, 0.0f32); spec.outputs.len()]);
    let mut found: Vec<_> = outputs.collect();
    for _ in 0..HOPS {
        for (graph, spec) in specs.iter().enumerate() {
            for (input, tensor) in spec.inputs.iter().enumerate() {
                if matches!(tensor.role, Role::State | Role::Intermediate) {
                    continue;
                }
                for (row, session) in plans.iter_mut().enumerate() {
                    let numbers = session.input_mut(graph, input, 0);
                    numbers.fill_with(|| noise.next());
                    batch.input_mut(graph, input, row).copy_from_slice(numbers);
                    if row == 0 {
                        expected.input_mut(graph, input, 0).copy_from_slice(numbers);
                    }
                }
            }
            plans.iter_mut().for_each(|session| session.run(graph));
            batch.run(graph);
            if expected.run(graph).is_err() {
                return Err(engine_error(expected.last_failure().unwrap_or_default()));
            }
            let used = spec
                .outputs
                .iter()
                .map(|tensor| tensor.role != Role::Unused);
            let outputs = found[graph].iter_mut().enumerate().zip(used);
            for ((output, (largest, difference)), _) in outputs.filter(|(_, used)| *used) {
                let numbers = plans[0].output(graph, output, 0);
                for (a, b) in numbers.iter().zip(expected.output(graph, output, 0)) {
                    *largest = largest.max(b.abs());
                    // A NaN of one of them is a difference.
                    let is_equal = a == b || a.is_nan() && b.is_nan();
                    let new = if is_equal { 0.0 } else { (a - b).abs() };
                    *difference = if new.is_nan() {
                        f32::INFINITY
                    } else {
                        difference.max(new)
                    };
                }
                for (row, session) in plans.iter().enumerate() {
                    let alone = session.output(graph, output, 0);
                    let mut pairs = alone.iter().zip(batch.output(graph, output, row));
                    if pairs.any(|(a, b)| a.to_bits() != b.to_bits()) {
                        return Ok(f32::INFINITY);
                    }
                }
            }
        }
    }
    let relative = found.iter().flatten().map(|(largest, difference)| {
        if *difference == 0.0 {
            0.0
        } else {
            difference / largest.max(f32::MIN_POSITIVE)
        }
    });
    Ok(relative.fold(0.0, f32::max))
}

/// Numbers from -1 to 1.
struct Noise(u32);

impl Noise {
    fn next(&mut self) -> f32 {
        // Linear congruential generator of Numerical Recipes.
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.0 >> 8) as f32 / (1 << 23) as f32 - 1.0
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::manifest::Manifest;

    /// The manifest and the graphs of the model in `folder`.
    fn model(folder: &str) -> (Manifest, Vec<Vec<u8>>) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        let text = std::fs::read_to_string(folder.join("model.toml")).unwrap();
        let manifest = Manifest::parse(&text).unwrap();
        let read = |file: &str| std::fs::read(folder.join(file)).unwrap();
        let files = manifest.graph_files().map(|file| read(file.name()));
        let files = files.collect();
        (manifest, files)
    }

    fn difference(folder: &str) -> Option<f32> {
        let (manifest, files) = model(folder);
        let onnx: Vec<&[u8]> = files.iter().map(Vec::as_slice).collect();
        let found = reference_difference(&onnx, manifest.graphs(), manifest.can_batch()).unwrap();
        println!("{folder}: {found:?}");
        found
    }

    #[test]
    fn a_plan_that_computes_something_else_is_found() {
        let [(manifest, unity), (_, half)] = ["tests/models/unity", "tests/models/half"].map(model);
        let plan = Plan::new(&[&half[0]], manifest.graphs(), true).unwrap();
        let found = plan_difference(&Arc::new(plan), &[&unity[0]], manifest.graphs(), true);
        assert_eq!(found.unwrap(), 0.5);
    }

    #[test]
    fn plans_equal_tract() {
        for model in ["models/base", "models/tiny", "tests/models/time_frequency"] {
            let found = difference(model).expect("a plan");
            assert!(found < 1e-3, "{model}: {found}");
        }
        for model in [
            "unity",
            "half",
            "lookahead",
            "frame",
            "spectrum",
            "recurrent",
        ] {
            let found = difference(&format!("tests/models/{model}")).expect("a plan");
            assert!(found < 1e-4, "{model}: {found}");
        }
        for model in ["whole", "fragile", "linked"] {
            let is_plan = difference(&format!("tests/models/{model}")).is_some();
            assert!(
                !is_plan,
                "{model} has operators or axes that only tract has"
            );
        }
    }
}
