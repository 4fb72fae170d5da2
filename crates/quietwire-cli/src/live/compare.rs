//! `--ab`: the numbers of the clean and the raw signal, and the key Enter.

use std::io::BufRead as _;
use std::sync::mpsc::{self, Receiver};

use quietwire_live::Status;

/// Level of speech, noise floor and the distance of both, of the raw and the clean signal.
pub(crate) fn numbers(status: &Status) -> String {
    let levels = status.levels;
    let side = |name: &str, highest: f32, floor: f32| {
        format!(
            "{name}: level {highest:.1} dBFS, noise floor {floor:.1} dBFS, SNR {:.1} dB",
            highest - floor
        )
    };
    format!(
        "{}   {}",
        side("raw", levels.input_highest_dbfs, levels.input_floor_dbfs),
        side(
            "output",
            levels.output_highest_dbfs,
            levels.output_floor_dbfs
        )
    )
}

/// A message for each line of standard input.
pub(crate) fn enter_keys() -> Receiver<()> {
    let (pressed, keys) = mpsc::channel();
    // Ends with the process: a read of standard input cannot be interrupted.
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            if line.is_err() || pressed.send(()).is_err() {
                return;
            }
        }
    });
    keys
}
