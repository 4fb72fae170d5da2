//! Scaling the input scales the output by the same factor.

use crate::signal::{db, error_db, rms, stream, voice};

#[test]
fn output_follows_the_level_of_the_input() {
    for id in ["base", "tiny"] {
        output_of_one_model_follows_the_level(id);
    }
}

fn output_of_one_model_follows_the_level(id: &'static str) {
    let input = voice(48_000, 1, 3.0, 1);
    let mut reference = input.clone();
    stream(id, 48_000, 1)
        .process_in_place(&mut reference)
        .unwrap();
    assert!(
        db(rms(&reference) / rms(&input)) > -20.0,
        "the voice is not removed"
    );
    for gain_db in [-45.0, -30.0, -20.0, -10.0, 10.0] {
        let gain = 10f32.powf(gain_db / 20.0);
        let mut scaled: Vec<f32> = input.iter().map(|x| x * gain).collect();
        stream(id, 48_000, 1).process_in_place(&mut scaled).unwrap();
        let back: Vec<f32> = scaled.iter().map(|x| x / gain).collect();
        let error = error_db(&reference, &back);
        // Only rounding remains: the features do not depend on the level.
        assert!(error < -60.0, "{id}, {gain_db} dB: {error:.1} dB");
    }
}
