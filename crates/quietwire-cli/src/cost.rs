//! `quietwire bench`.

use std::io::Write;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use quietwire::{Denoiser, Model};

use crate::args::BenchArgs;
use crate::models;

/// What one stream costs on one core, at the model's own rate.
pub struct Cost {
    /// What a hop lasts.
    pub hop_us: f64,
    pub latency_ms: f64,
    /// What a hop takes: the median, the 99th percentile and the worst.
    pub p50_us: f64,
    pub p99_us: f64,
    pub max_us: f64,
    /// Length of the audio by the time it took.
    pub speed: f64,
}

/// Runs a stream of noise for so many seconds of audio.
pub fn measure(model: &Arc<Model>, seconds: u32) -> Result<Cost> {
    let rate_hz = model.manifest().rate_hz();
    let mut denoiser = Denoiser::builder(Arc::clone(model)).build()?;
    let hop = denoiser.hop_frames();
    let (mut block, mut out) = (vec![0.0; hop], vec![0.0; hop]);
    let mut seed = 1u32;
    let hops = (seconds as usize * rate_hz as usize).div_ceil(hop);
    // Caches, clock and branch predictors settle in the first half second.
    let warm_up = rate_hz as usize / hop / 2;
    let mut times = Vec::with_capacity(hops);
    for at in 0..warm_up + hops {
        for sample in &mut block {
            // A small random generator (Numerical Recipes) is noise enough.
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
    let percentile = |share: usize| times[(times.len() - 1) * share / 100];
    Ok(Cost {
        hop_us,
        latency_ms: 1000.0 * denoiser.latency() as f64 / f64::from(rate_hz),
        p50_us: percentile(50),
        p99_us: percentile(99),
        max_us: percentile(100),
        speed: hop_us * times.len() as f64 / total,
    })
}

pub fn run(args: &BenchArgs) -> Result<()> {
    let model = models::load(&args.model)?;
    let cost = measure(&model, args.seconds)?;
    writeln!(
        std::io::stdout(),
        "model              {}\n\
         hop                {:.1} ms\n\
         time for one hop   median {:.0} us, 99 % within {:.0} us, worst {:.0} us\n\
         real-time factor   {:.4} ({:.0}x real time)\n\
         streams per core   {:.0}",
        model.manifest().id(),
        cost.hop_us / 1000.0,
        cost.p50_us,
        cost.p99_us,
        cost.max_us,
        1.0 / cost.speed,
        cost.speed,
        cost.speed.floor(),
    )?;
    Ok(())
}
