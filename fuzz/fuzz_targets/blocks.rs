//! Arbitrary samples, blocks and switches: the output is finite and as long, and nothing panics.

#![no_main]

use std::path::Path;
use std::sync::{Arc, OnceLock};

use libfuzzer_sys::fuzz_target;
use quietwire::{ChannelMode, Denoiser, Model};

fn model() -> Arc<Model> {
    static MODEL: OnceLock<Arc<Model>> = OnceLock::new();
    let load = || {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/models/lookahead");
        Model::from_folder(&folder).expect("part of the repository")
    };
    MODEL.get_or_init(load).clone()
}

fuzz_target!(|data: &[u8]| {
    let [rate @ .., channels, mode] = match data.get(..4) {
        Some(head) => [head[0], head[1], head[2], head[3]],
        None => return,
    };
    let rate_hz = 7_900 + u32::from(u16::from_le_bytes(rate)) * 3;
    let built = Denoiser::builder(model())
        .rate_hz(rate_hz)
        .channels(usize::from(channels % 4))
        .channel_mode(if mode % 2 == 0 { ChannelMode::Linked } else { ChannelMode::Independent })
        .build();
    let Ok(mut stream) = built else { return };
    let mut rest = &data[4..];
    while let [command, size, tail @ ..] = rest {
        let bytes = usize::from(*size).min(tail.len());
        let (samples, next) = tail.split_at(bytes);
        rest = next;
        match command % 8 {
            0 => stream.set_bypass(*size % 2 == 0),
            1 => drop(stream.set_attenuation(f32::from(*size) - 10.0)),
            2 => stream.reset(),
            _ => {
                // Each byte becomes a run of one value, so that short inputs reach many hops.
                let mut block: Vec<f32> = samples
                    .chunks(4)
                    .flat_map(|raw| {
                        let mut word = [0; 4];
                        word[..raw.len()].copy_from_slice(raw);
                        std::iter::repeat_n(f32::from_le_bytes(word), 37)
                    })
                    .collect();
                block.truncate(block.len() / stream.channels() * stream.channels());
                let length = block.len();
                stream.process_in_place(&mut block).expect("whole frames");
                assert_eq!(block.len(), length);
                assert!(block.iter().all(|x| x.is_finite()));
            }
        }
    }
});
