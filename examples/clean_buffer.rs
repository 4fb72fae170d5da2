//! Cleans a recording in memory. The output has the same length and is aligned with the input.
//!
//!     cargo run --example clean_buffer

use quietwire::{Denoiser, Error, Model};

/// Cleans `noisy`, mono at `rate_hz`. Each sample of the result belongs to the input sample with the
/// same index.
fn clean(noisy: &[f32], rate_hz: u32) -> Result<Vec<f32>, Error> {
    let mut stream = Denoiser::builder(Model::embedded("base")?)
        .rate_hz(rate_hz)
        .build()?;
    let mut output = noisy.to_vec();
    stream.process_in_place(&mut output)?;
    let mut tail = vec![0.0; stream.latency()];
    stream.flush(&mut tail)?;
    output.extend(tail);
    output.drain(..stream.latency());
    Ok(output)
}

fn main() -> Result<(), Error> {
    // Three seconds of hiss at 44.1 kHz.
    let rate_hz = 44_100;
    let mut seed = 1u32;
    let mut hiss = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 8) as f32 / 8_388_608.0 - 1.0
    };
    let noisy: Vec<f32> = (0..3 * rate_hz as usize).map(|_| 0.05 * hiss()).collect();
    let cleaned = clean(&noisy, rate_hz)?;
    assert_eq!(cleaned.len(), noisy.len());

    let level_db =
        |x: &[f32]| 10.0 * (x.iter().map(|x| x * x).sum::<f32>() / x.len() as f32).log10();
    // After the first second: the model adapts to the noise.
    let settled = rate_hz as usize;
    println!(
        "hiss: {:.1} dBFS in, {:.1} dBFS out",
        level_db(&noisy[settled..]),
        level_db(&cleaned[settled..])
    );
    Ok(())
}
