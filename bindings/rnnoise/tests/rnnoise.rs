//! The functions of rnnoise.h as C calls them.

use std::ffi::CString;
use std::path::Path;
use std::ptr::null_mut;

use quietwire::{Denoiser, Model};
use quietwire_testing::measure;
use quietwire_testing::signal::voice;
use rnnoise::*;

const FRAME: usize = 480;

/// Two seconds of speech in noise, in the scale of 16-bit samples.
fn input() -> Vec<f32> {
    voice(48_000, 1, 2.0, 4)
        .iter()
        .map(|x| x * 32768.0)
        .collect()
}

fn run(st: *mut DenoiseState, samples: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let mut output = samples.to_vec();
    let speech = output.chunks_exact_mut(FRAME).map(|frame| {
        // SAFETY: a live state, and 480 samples in place.
        unsafe { rnnoise_process_frame(st, frame.as_mut_ptr(), frame.as_ptr()) }
    });
    let speech = speech.collect();
    (output, speech)
}

#[test]
fn the_output_is_that_of_the_core_in_another_scale() {
    let input = input();
    let mut expected: Vec<f32> = input.iter().map(|x| x / 32768.0).collect();
    let model = Model::embedded("base").unwrap();
    let mut core = Denoiser::builder(model).hop_aligned(true).build().unwrap();
    assert_eq!(core.latency(), FRAME);
    let mut speech = Vec::new();
    for frame in expected.chunks_exact_mut(FRAME) {
        core.process_in_place(frame).unwrap();
        speech.push(core.telemetry().speech_probability.unwrap());
    }
    let expected: Vec<f32> = expected.iter().map(|x| x * 32768.0).collect();
    assert!(speech.iter().any(|x| *x > 0.5) && speech.iter().all(|x| (0.0..=1.0).contains(x)));
    assert_eq!(rnnoise_get_frame_size(), 480);
    // SAFETY: states and models live until they are freed, each once.
    unsafe {
        let st = rnnoise_create(null_mut());
        assert!(
            run(st, &input) == (expected.clone(), speech.clone()),
            "create"
        );
        rnnoise_destroy(st);

        // In memory of the program, made anew in the middle, with separate buffers.
        let mut memory = vec![0xAAu8; rnnoise_get_size() as usize + 8];
        let st = memory.as_mut_ptr().cast::<u64>();
        let st = st
            .cast::<u8>()
            .add(st.align_offset(8) * 8)
            .cast::<DenoiseState>();
        assert_eq!(rnnoise_init(st, null_mut()), 0);
        run(st, &input);
        assert_eq!(rnnoise_init(st, null_mut()), 0);
        let mut output = vec![0.0f32; FRAME];
        rnnoise_process_frame(st, output.as_mut_ptr(), input.as_ptr());
        assert!(output == expected[..FRAME]);
        assert!(run(st, &input[FRAME..]).0 == expected[FRAME..]);
    }
}

#[test]
fn models_are_ours_or_null() {
    let weights = [0u8; 64];
    assert!(rnnoise_model_from_buffer(weights.as_ptr().cast(), 64).is_null());
    assert!(rnnoise_model_from_file(null_mut()).is_null());
    let folder = |name: &str| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        CString::new(root.join(name).to_str().unwrap()).unwrap()
    };
    // SAFETY: texts, and models and states that are freed once.
    unsafe {
        assert!(rnnoise_model_from_filename(c"weights_blob.bin".as_ptr()).is_null());
        assert!(rnnoise_model_from_filename(std::ptr::null()).is_null());
        let wrong_rate = folder("tests/models/lookahead");
        assert!(rnnoise_model_from_filename(wrong_rate.as_ptr()).is_null());
        rnnoise_model_free(null_mut());

        let by_id = rnnoise_model_from_filename(c"tiny".as_ptr());
        let by_folder = rnnoise_model_from_filename(folder("models/tiny").as_ptr());
        let states = [by_id, by_folder, null_mut()].map(|model| {
            let st = rnnoise_create(model);
            rnnoise_model_free(model);
            st
        });
        let input = input();
        let [by_id, by_folder, base] = states.map(|st| run(st, &input).0);
        assert!(by_id == by_folder && by_id != base);
        for st in states {
            rnnoise_destroy(st);
        }
    }
}

#[test]
fn misuse_passes_the_samples() {
    let mut frame = [123.0f32; FRAME];
    let pointer = frame.as_mut_ptr();
    let mut memory = [7u64; 4];
    // SAFETY: null, or memory that can be read as a state.
    unsafe {
        assert_eq!(rnnoise_process_frame(null_mut(), pointer, pointer), 0.0);
        let none = memory.as_mut_ptr().cast::<DenoiseState>();
        assert_eq!(rnnoise_process_frame(none, pointer, pointer), 0.0);
        rnnoise_destroy(none);
        rnnoise_destroy(null_mut());
        assert_eq!(rnnoise_init(null_mut(), null_mut()), -1);
        let st = rnnoise_create(null_mut());
        assert_eq!(rnnoise_process_frame(st, null_mut(), pointer), 0.0);
        assert_eq!(rnnoise_process_frame(st, pointer, std::ptr::null()), 0.0);
        rnnoise_destroy(st);
    }
    assert_eq!(frame, [123.0; FRAME]);
}

#[test]
fn a_frame_allocates_nothing() {
    let mut frame = [100.0f32; FRAME];
    let pointer = frame.as_mut_ptr();
    // SAFETY: a live state, and 480 samples in place.
    unsafe {
        let st = rnnoise_create(null_mut());
        let counted = measure(|| {
            for _ in 0..10 {
                rnnoise_process_frame(st, pointer, pointer);
            }
        });
        assert_eq!(counted.count_total, 0);
        rnnoise_destroy(st);
    }
}
