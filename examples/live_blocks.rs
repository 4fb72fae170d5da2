//! The work of an audio callback: blocks of any length in place, switching on and off, telemetry.
//!
//!     cargo run --example live_blocks

use quietwire::{ChannelMode, Denoiser, Error, Model, Strength};

fn main() -> Result<(), Error> {
    // Outside the callback: everything that allocates.
    let mut stream = Denoiser::builder(Model::embedded("base")?)
        .rate_hz(48_000)
        .channels(2)
        .channel_mode(ChannelMode::Linked)
        .attenuation(Strength::High)
        .build()?;
    println!("latency: {} samples", stream.latency());
    let mut block = vec![0.0f32; 2 * 320];

    for callback in 0..300usize {
        // A device that was asked for 480 frames often passes 320, or another number.
        for (n, frame) in block.chunks_exact_mut(2).enumerate() {
            let t = (callback * 320 + n) as f32 / 48_000.0;
            let hum = 0.1 * (std::f32::consts::TAU * 100.0 * t).sin();
            frame.copy_from_slice(&[hum, hum]);
        }
        match callback {
            100 => stream.set_bypass(true),
            200 => stream.set_bypass(false),
            _ => {}
        }
        stream.process_in_place(&mut block)?;
        if callback % 60 == 0 {
            let now = stream.telemetry();
            println!(
                "{:.1} s: speech {:.2}, in {:.1} dBFS, out {:.1} dBFS",
                callback as f32 * 320.0 / 48_000.0,
                now.speech_probability.unwrap_or(f32::NAN),
                now.input_dbfs,
                now.output_dbfs
            );
        }
    }
    Ok(())
}
