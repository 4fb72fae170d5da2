//! Measures the processing time of a model on this computer.

use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use quietwire::{Denoiser, Model};

/// The cost of one stream on one core, at the model's own rate.
pub(crate) struct Cost {
    /// Duration of a hop.
    pub hop_us: f64,
    pub latency_ms: f64,
    /// Median processing time of a hop.
    pub p50_us: f64,
    /// 99th percentile of the processing times.
    pub p99_us: f64,
    /// Longest processing time.
    pub max_us: f64,
    /// Length of the audio divided by the processing time.
    pub speed: f64,
}

/// Processes `seconds` of noise, hop by hop.
pub(crate) fn measure(model: &Arc<Model>, seconds: u32) -> Result<Cost> {
    let rate_hz = model.manifest().rate_hz();
    let mut denoiser = Denoiser::builder(Arc::clone(model)).build()?;
    let hop = denoiser.hop_frames();
    let (mut block, mut out) = (vec![0.0; hop], vec![0.0; hop]);
    let mut seed = 1u32;
    let hops = (seconds as usize * rate_hz as usize).div_ceil(hop);
    // The first half second warms up caches, clock and branch predictors.
    let warm_up = rate_hz as usize / hop / 2;
    let mut times = Vec::with_capacity(hops);
    for at in 0..warm_up + hops {
        for sample in &mut block {
            // A linear congruential generator (Press et al., Numerical Recipes).
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *sample = (seed >> 8) as f32 / (1 << 24) as f32 * 0.1 - 0.05;
        }
        let start = Instant::now();
        denoiser.process(&block, &mut out)?;
        if at >= warm_up {
            times.push(start.elapsed().as_secs_f64() * 1e6);
        }
    }
    times.sort_by(f64::total_cmp);
    let hop_us = 1e6 * hop as f64 / f64::from(rate_hz);
    let total: f64 = times.iter().sum();
    let percentile = |percent: usize| times[(times.len() - 1) * percent / 100];
    Ok(Cost {
        hop_us,
        latency_ms: 1000.0 * denoiser.latency() as f64 / f64::from(rate_hz),
        p50_us: percentile(50),
        p99_us: percentile(99),
        max_us: percentile(100),
        speed: hop_us * times.len() as f64 / total,
    })
}
